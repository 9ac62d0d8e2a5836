/* The fixture of the store's tests, and its checker.
 *
 * The checker has two halves. One reads the outbox from the start through the public interface, folds the events and
 * compares the records: what an auditor of the events topic would do. The other looks at the keys themselves by a Lua
 * script of its own, written from the description of the keys and not from the store's scripts, so that an index which
 * nobody reads in a test is checked all the same. */
#include "fx.h"
#include "penstock/store_policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX 65536

/* --- set-up ------------------------------------------------------------------------------------------------------- */

int fx_group_setup(void **state) {
    struct fx *fx = mem_calloc(1, sizeof *fx);
    fx->redis = test_redis_start();
    *state = fx;
    return 0;
}

static void release(struct fx *fx) {
    store_free(fx->st);
    fx->st = NULL;
    free(fx->events);
    fx->events = NULL;
    arena_done(&fx->arena);
}

int fx_group_teardown(void **state) {
    struct fx *fx = *state;
    release(fx);
    test_redis_stop(fx->redis);
    free(fx);
    return 0;
}

struct store *fx_open(struct fx *fx, const struct store_config *cfg) {
    struct store *st = NULL;
    struct err err = {0};
    if (store_open(cfg, &st, &err) != 0) fail_msg("store_open: %s", err.msg);
    (void)fx;
    return st;
}

void fx_reopen(struct fx *fx) {
    store_free(fx->st);
    fx->st = fx_open(fx, &fx->cfg);
    if (store_attach(fx->st, &fx->err) != 0) fail_msg("store_attach: %s", fx->err.msg);
}

int fx_setup(void **state) {
    struct fx *fx = *state;
    release(fx); /* of a test that failed */
    *fx = (struct fx){.redis = fx->redis, .cursor = ""};
    arena_init(&fx->arena);
    fx->cfg = (struct store_config){.url = test_redis_url(fx->redis),
                                    .prefix = "penstock:",
                                    .timeout_ms = 5000,
                                    .retention_ms = 3600000,
                                    .tombstone_ms = 3600000,
                                    .may_recover = true,
                                    .max_crashes = 3};
    fx_redis(fx, "CONFIG SET maxmemory 0 maxmemory-policy noeviction"); /* as a test that failed may have left it */
    fx_redis(fx, "FLUSHALL");
    fx_reopen(fx);
    return 0;
}

int fx_teardown(void **state) {
    struct fx *fx = *state;
    fx_check(fx);
    release(fx);
    return 0;
}

/* --- Redis itself ------------------------------------------------------------------------------------------------- */

const char *fx_redis(struct fx *fx, const char *fmt, ...) {
    char *command, *reply = arena_alloc(&fx->arena, REPLY_MAX);
    va_list args;
    va_start(args, fmt);
    assert_true(vasprintf(&command, fmt, args) >= 0);
    va_end(args);
    test_redis_command(fx->redis, command, reply, REPLY_MAX);
    free(command);
    return reply;
}

int64_t fx_redis_int(struct fx *fx, const char *fmt, ...) {
    char *command;
    va_list args;
    va_start(args, fmt);
    assert_true(vasprintf(&command, fmt, args) >= 0);
    va_end(args);
    const char *reply = fx_redis(fx, "%s", command);
    if (reply[0] != ':') fail_msg("%s: %s", command, reply);
    free(command);
    return strtoll(reply + 1, NULL, 10);
}

int64_t fx_now_ms(struct fx *fx) {
    return fx_redis_int(fx, "EVAL \"local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)\" 0");
}

const char *fx_hash(struct fx *fx, const char *job_id) {
    return fx_redis(
        fx,
        "EVAL \"local h, out = redis.call('HGETALL', KEYS[1]), {} for i = 1, #h, 2 do out[#out + 1] = h[i] .. '=' .. "
        "h[i + 1] end table.sort(out) return table.concat(out, ' ')\" 1 penstock:job:%s",
        job_id);
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static struct store_item item_of(struct fx *fx, enum store_item_kind kind, const char *job_id) {
    char *raw = arena_printf(&fx->arena, "{\"job_id\":\"%s\",\"kind\":%d}", job_id, (int)kind);
    return (struct store_item){.kind = kind,
                               .source = {FX_TOPIC, 0, fx->next_offset++},
                               .job_id = job_id,
                               .traceparent = FX_TRACEPARENT,
                               .key = job_id,
                               .key_len = strlen(job_id),
                               .raw = raw,
                               .raw_len = strlen(raw),
                               .raw_size = strlen(raw)};
}

struct store_item fx_item_create(struct fx *fx, const char *job_id) {
    struct store_item item = item_of(fx, STORE_ITEM_CREATE, job_id);
    item.model = FX_MODEL;
    item.model_version = "1";
    item.priority = JOB_PRIORITY_DEFAULT;
    item.max_attempts = 3;
    item.timeout_ms = 300000;
    item.spec = arena_printf(&fx->arena, "{\"model\":\"m\",\"for\":\"%s\"}", job_id);
    item.spec_len = strlen(item.spec);
    return item;
}

struct store_item fx_item_cancel(struct fx *fx, const char *job_id) {
    struct store_item item = item_of(fx, STORE_ITEM_CANCEL, job_id);
    item.reason = "user asked";
    return item;
}

void fx_ingest(struct fx *fx, struct store_item *items, size_t count) {
    if (store_ingest(fx->st, items, count, &fx->err) != 0) fail_msg("store_ingest: %s", fx->err.msg);
}

enum store_verdict fx_ingest_one(struct fx *fx, struct store_item item) {
    fx_ingest(fx, &item, 1);
    return item.verdict;
}

void fx_create(struct fx *fx, const char *job_id) {
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, job_id)), STORE_ACCEPTED);
}

enum store_verdict fx_cancel(struct fx *fx, const char *job_id) {
    return fx_ingest_one(fx, fx_item_cancel(fx, job_id));
}

/* --- workers and deadlines ---------------------------------------------------------------------------------------- */

struct store_claims fx_claim(struct fx *fx, const char *worker, int max_jobs, int64_t lease_ms) {
    const char *const models[] = {FX_MODEL};
    struct store_claim want = {
        .worker = worker, .models = models, .max_jobs = &max_jobs, .model_count = 1, .lease_ms = lease_ms};
    struct store_claims claims = {0};
    if (store_claim(fx->st, &want, &fx->arena, &claims, &fx->err) != 0) fail_msg("store_claim: %s", fx->err.msg);
    return claims;
}

struct store_claimed fx_claim_one(struct fx *fx, const char *worker) {
    struct store_claims claims = fx_claim(fx, worker, 1, FX_LEASE_MS);
    assert_int_equal(claims.count, 1);
    return claims.jobs[0];
}

bool fx_finish_one(struct fx *fx, const char *worker, struct store_finish finish) {
    finish.accepted = false;
    if (store_finish(fx->st, worker, &finish, 1, NULL, &fx->arena, NULL, &fx->err) != 0)
        fail_msg("store_finish: %s", fx->err.msg);
    return finish.accepted;
}

bool fx_finish(struct fx *fx, const char *worker, const struct store_claimed *job, enum store_outcome outcome) {
    static const char result[] = "{\"outputs\":[]}", error[] = "{\"code\":\"execution_failed\"}";
    struct store_finish finish = {.job_id = job->job_id, .token = job->token, .outcome = outcome};
    if (outcome == STORE_COMPLETED) finish.doc = result;
    if (outcome == STORE_FAILED) finish.doc = error;
    if (outcome == STORE_FAILED) finish.code = ERR_EXECUTION_FAILED;
    finish.doc_len = finish.doc ? strlen(finish.doc) : 0;
    return fx_finish_one(fx, worker, finish);
}

enum store_lease fx_renew(struct fx *fx, const char *worker, const struct store_claimed *job) {
    struct store_renewal renewal = {.job_id = job->job_id, .token = job->token, .progress = -1};
    if (store_renew(fx->st, worker, FX_LEASE_MS, &renewal, 1, &fx->err) != 0) fail_msg("store_renew: %s", fx->err.msg);
    return renewal.answer;
}

size_t fx_sweep(struct fx *fx, size_t limit, int64_t *ret_next_ms) {
    size_t done = 0;
    int64_t next_ms;
    if (store_sweep(fx->st, limit, &done, &next_ms, &fx->err) != 0) fail_msg("store_sweep: %s", fx->err.msg);
    if (ret_next_ms) *ret_next_ms = next_ms;
    return done;
}

struct sweep_goal {
    struct fx *fx;
    const char *job_id;
    enum job_state state;
};

static bool sweep_reaches(void *arg) {
    struct sweep_goal *goal = arg;
    fx_sweep(goal->fx, 100, NULL);
    return fx_state(goal->fx, goal->job_id) == goal->state;
}

void fx_sweep_until(struct fx *fx, const char *job_id, enum job_state state) {
    struct sweep_goal goal = {fx, job_id, state};
    if (!test_wait_for(sweep_reaches, &goal, FX_DEADLINE_MS))
        fail_msg("job %s is %s, not %s", job_id, job_state_name(fx_state(fx, job_id)), job_state_name(state));
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

struct job_record fx_record(struct fx *fx, const char *job_id) {
    struct job_record rec = {0};
    if (store_job_get(fx->st, job_id, &fx->arena, &rec, &fx->err) != 0) fail_msg("store_job_get: %s", fx->err.msg);
    return rec;
}

enum job_state fx_state(struct fx *fx, const char *job_id) { return fx_record(fx, job_id).state; }

const char *fx_doc(struct fx *fx, const char *what, const char *job_id, size_t *ret_len) {
    const char *doc = NULL;
    size_t len = 0;
    if (store_job_doc(fx->st, what, job_id, &fx->arena, &doc, &len, &fx->err) != 0)
        fail_msg("store_job_doc: %s", fx->err.msg);
    if (ret_len) *ret_len = len;
    return doc;
}

static int64_t entry_number(const char *id) {
    char *end;
    int64_t n = strtoll(id, &end, 10);
    if (strcmp(end, "-0") != 0) fail_msg("outbox entry id %s is not <gseq>-0", id);
    return n;
}

void fx_drain(struct fx *fx) {
    struct store_outbox_entry *entries;
    size_t count;
    do {
        if (store_outbox_read(fx->st, fx->cursor, 100, 0, &fx->arena, &entries, &count, &fx->err) != 0)
            fail_msg("store_outbox_read: %s", fx->err.msg);
        for (size_t i = 0; i < count; i++) {
            fx->entry_count++;
            for (size_t k = 0; k < entries[i].count; k++) {
                if (fx->event_count == fx->event_cap) {
                    fx->event_cap = fx->event_cap ? fx->event_cap * 2 : 64;
                    fx->events = mem_realloc(fx->events, fx->event_cap * sizeof *fx->events);
                }
                fx->events[fx->event_count++] = entries[i].events[k];
            }
            /* Increasing, and no event between two entries is missing. */
            assert_int_equal(entry_number(entries[i].id), fx->event_count);
            fx->cursor = entries[i].id;
        }
    } while (count > 0);
}

size_t fx_event_count(struct fx *fx, const char *job_id) {
    size_t count = 0;
    fx_drain(fx);
    for (size_t i = 0; i < fx->event_count; i++)
        if (fx->events[i].job_id && strcmp(fx->events[i].job_id, job_id) == 0) count++;
    return count;
}

const struct job_event *fx_last_event(struct fx *fx, const char *job_id) {
    fx_drain(fx);
    for (size_t i = fx->event_count; i > 0; i--)
        if (fx->events[i - 1].job_id && strcmp(fx->events[i - 1].job_id, job_id) == 0) return &fx->events[i - 1];
    fail_msg("job %s has no event", job_id);
    return NULL;
}

/* --- the checker -------------------------------------------------------------------------------------------------- */

static void check_fold(struct fx *fx, size_t first) {
    struct job_record folded = {0};
    const char *job_id = fx->events[first].job_id;
    for (size_t i = first; i < fx->event_count; i++) {
        const struct job_event *ev = &fx->events[i];
        if (!ev->job_id || strcmp(ev->job_id, job_id) != 0) continue;
        if (job_fold(&folded, ev, &fx->err) != 0) fail_msg("%s", fx->err.msg);
    }
    struct job_record stored = fx_record(fx, job_id);
    int64_t kept_ms = store_retention_ms(&fx->cfg, folded.state);
    if (stored.state == JOB_STATE_NONE && kept_ms > 0 && job_state_is_terminal(folded.state) &&
        fx_now_ms(fx) >= folded.finished_at + kept_ms)
        return;                                                                   /* forgotten, as it should be */
    if (stored.state == JOB_STATE_NONE && folded.state == JOB_STATE_NONE) return; /* was only ever refused */
    const char *diff = job_record_diff(&folded, &stored);
    if (diff) fail_msg("job %s: the record's %s is not what its events say: %s", job_id, diff, fx_hash(fx, job_id));
}

static bool seen_before(const struct fx *fx, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (fx->events[i].job_id && strcmp(fx->events[i].job_id, fx->events[at].job_id) == 0) return true;
    return false;
}

/* Sent as an inline command, so: single quotes only, and one line in the end. Returns 'OK' or what is wrong. */
static const char check_keys_lua[] =
    "local P, RETENTION, GRACE = KEYS[1], tonumber(ARGV[1]), 30000 "
    "local call = redis.call "
    "local function keys(pattern) return call('KEYS', P .. pattern) end "
    "local function rest(key, prefix) return string.sub(key, #P + #prefix + 1) end "
    "local members = { index = 0, ready = 0, held = 0, timers = call('ZCARD', P .. 'timers') } "
    "for _, k in ipairs(keys('index:*')) do members.index = members.index + call('ZCARD', k) end "
    "for _, k in ipairs(keys('ready:*')) do members.ready = members.ready + call('ZCARD', k) end "
    "for _, k in ipairs(keys('parked:*')) do members.ready = members.ready + call('ZCARD', k) end "
    "for _, k in ipairs(keys('held:*')) do members.held = members.held + call('ZCARD', k) end "
    "local step, counts = tonumber(call('HGET', P .. 'meta', 'ageing_us') or 0), {} "
    "local function count(name) counts[name] = (counts[name] or 0) + 1 end "
    "local found = { index = 0, ready = 0, held = 0, timers = 0 } "
    "local docs = 0 "
    "for _, key in ipairs(keys('job:*')) do "
    "  local id, flat, h = rest(key, 'job:'), call('HGETALL', key), {} "
    "  for i = 1, #flat, 2 do h[flat[i]] = flat[i + 1] end "
    "  local function n(name) return tonumber(h[name] or 0) end "
    "  local function wrong(what) return id .. ' (' .. h.state .. '): ' .. what end "
    "  local since = ({ queued = n('queued_at'), running = n('started_at') })[h.state] or n('finished_at') "
    "  if tonumber(call('ZSCORE', P .. 'index:' .. h.state, id) or -1) ~= since then return wrong('not in its index at "
    "its time') end "
    "  found.index = found.index + 1 "
    "  local ready = call('ZSCORE', P .. 'ready:' .. h.model, id) "
    "  local parked = h.tenant and call('ZSCORE', P .. 'parked:' .. h.model .. ':' .. h.tenant, id) "
    "  if ready and parked then return wrong('ready and parked') end "
    "  ready = ready or parked "
    "  if h.state == 'queued' or h.state == 'running' then count(h.state .. ':' .. h.model) end "
    "  if h.state == 'running' and h.tenant then count('tenant:' .. h.tenant) end "
    "  local timer = tonumber(call('ZSCORE', P .. 'timers', id) or nil) "
    "  local want "
    "  if h.state == 'queued' then "
    "    local from = math.max(n('queued_at'), n('not_before')) "
    "    if not ready then want = n('not_before') "
    "    elseif n('queue_timeout_ms') > 0 then want = from + n('queue_timeout_ms') end "
    "    if not ready and want <= n('queued_at') then return wrong('neither ready nor delayed') end "
    "    if ready and step == 0 and math.floor((ready - n('queued_at') * 1000) / 281474976710656) ~= 9 - n('priority') "
    "then return wrong('ready at another "
    "priority') end "
    "    if h.worker or h.token or h.lease_until or h.started_at then return wrong('traces of a run') end "
    "  elseif h.state == 'running' then "
    "    want = n('lease_until') "
    "    if n('timeout_ms') ~= 0 then want = math.min(want, n('started_at') + n('timeout_ms') + GRACE) end "
    "    if not (h.worker and h.token) then return wrong('nobody runs it') end "
    "    if not call('ZSCORE', P .. 'held:' .. h.worker, id) then return wrong('not held by its worker') end "
    "    found.held = found.held + 1 "
    "  else "
    "    if RETENTION > 0 then want = n('finished_at') + RETENTION end "
    "    if h.lease_until or h.cancel_requested or h.not_before then return wrong('traces of a run') end "
    "  end "
    "  if ready and h.state ~= 'queued' then return wrong('ready') end "
    "  if ready then found.ready = found.ready + 1 end "
    "  if timer then found.timers = found.timers + 1 end "
    "  if timer ~= want then return wrong('timer ' .. tostring(timer) .. ', wanted ' .. tostring(want)) end "
    "  if call('EXISTS', P .. 'spec:' .. id) == 0 then return wrong('no spec') end "
    "  if call('EXISTS', P .. 'result:' .. id) ~= (h.state == 'completed' and 1 or 0) then return wrong('result') end "
    "  if call('EXISTS', P .. 'error:' .. id) ~= (h.state == 'failed' and 1 or 0) then return wrong('error') end "
    "  docs = docs + 1 + call('EXISTS', P .. 'result:' .. id, P .. 'error:' .. id) "
    "end "
    "for what, count in pairs(members) do "
    "  if found[what] ~= count then return what .. ': ' .. count .. ' members, of which of jobs: ' .. found[what] end "
    "end "
    "local flat = call('HGETALL', P .. 'counts') "
    "for i = 1, #flat, 2 do "
    "  if counts[flat[i]] ~= tonumber(flat[i + 1]) then return 'count ' .. flat[i] .. ': ' .. flat[i + 1] .. ', jobs: "
    "' .. "
    "tostring(counts[flat[i]]) end "
    "  counts[flat[i]] = nil "
    "end "
    "if next(counts) then return 'not counted: ' .. next(counts) end "
    "if docs ~= #keys('spec:*') + #keys('result:*') + #keys('error:*') then return 'documents without a job' end "
    "if call('ZCARD', P .. 'tombstones') ~= call('HLEN', P .. 'tombstone_reasons') then return 'tombstones and "
    "reasons' end "
    "return 'OK'";

void fx_check(struct fx *fx) {
    fx_drain(fx);
    for (size_t i = 0; i < fx->event_count; i++)
        if (fx->events[i].job_id && !seen_before(fx, i)) check_fold(fx, i);
    struct store_stats stats;
    if (store_stats_get(fx->st, &stats, &fx->err) != 0) fail_msg("store_stats_get: %s", fx->err.msg);
    assert_int_equal(stats.gseq, fx->event_count);
    const char *verdict = fx_redis(fx, "EVAL \"%s\" 1 penstock: %" PRId64, check_keys_lua, fx->cfg.retention_ms);
    if (strcmp(verdict, "$2\r\nOK\r\n") != 0) fail_msg("keys: %s", verdict);
}

/* The read side: records, documents, lists, statistics, workers. Plain commands, each bounded; nothing here takes part
 * in a transition. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

/* --- helpers -------------------------------------------------------------------------------------------------------
 */

/* Sends a plain command and checks the reply's type. */
static int ask(struct store *st, const struct store__args *args, int type, redisReply **ret, struct err *err) {
    if (store__command(st, args, ret, err) != 0) return -1;
    if ((*ret)->type == type) return 0;
    freeReplyObject(*ret);
    *ret = NULL;
    return store__bad_reply(args->argv[0], err);
}

/* A member of a HGETALL reply, or NULL. */
static const redisReply *member(const redisReply *hash, const char *name) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (strcmp(hash->element[i]->str, name) == 0) return hash->element[i + 1];
    return NULL;
}

static const char *text_member(const redisReply *hash, const char *name, struct arena *arena) {
    const redisReply *value = member(hash, name);
    return value && value->len ? arena_strndup(arena, value->str, value->len) : NULL;
}

static int64_t int_member(const redisReply *hash, const char *name) {
    const redisReply *value = member(hash, name);
    return value ? strtoll(value->str, NULL, 10) : 0;
}

/* --- one job -------------------------------------------------------------------------------------------------------
 */

/* Fields "label:<name>", by name: the order in which Redis has them is by chance. A value may be empty. */
static struct job_label *labels_decode(const redisReply *hash, struct arena *arena, size_t *ret_count) {
    static const char prefix[] = "label:";
    size_t count = 0, done = 0;
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        count += strncmp(hash->element[i]->str, prefix, sizeof prefix - 1) == 0;
    *ret_count = count;
    if (count == 0) return NULL;
    struct job_label *labels = arena_alloc(arena, count * sizeof *labels);
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        const redisReply *field = hash->element[i], *value = hash->element[i + 1];
        if (strncmp(field->str, prefix, sizeof prefix - 1) != 0) continue;
        const char *name = field->str + sizeof prefix - 1;
        size_t at = done++;
        for (; at > 0 && strcmp(labels[at - 1].name, name) > 0; at--) labels[at] = labels[at - 1];
        labels[at] = (struct job_label){arena_strdup(arena, name), arena_strndup(arena, value->str, value->len)};
    }
    return labels;
}

static int record_decode(const redisReply *hash, const char *job_id, struct arena *arena, struct job_record *ret,
                         struct err *err) {
    const redisReply *state = member(hash, "state"), *progress = member(hash, "progress");
    int code = state ? job_state_from_name(state->str, state->len) : -1;
    if (code <= JOB_STATE_NONE || code >= JOB_STATE_COUNT)
        return err_set(err, ERR_STORE_CORRUPT, "job %s: its record has no valid state", job_id);
    *ret = (struct job_record){
        .job_id = arena_strdup(arena, job_id),
        .state = (enum job_state)code,
        .seq = int_member(hash, "seq"),
        .model = text_member(hash, "model", arena),
        .model_version = text_member(hash, "model_version", arena),
        .priority = (int)int_member(hash, "priority"),
        .attempt = (int)int_member(hash, "attempt"),
        .max_attempts = (int)int_member(hash, "max_attempts"),
        .crashes = (int)int_member(hash, "crashes"),
        .token = text_member(hash, "token", arena),
        .worker = text_member(hash, "worker", arena),
        .progress = progress ? strtod(progress->str, NULL) : 0,
        .progress_message = text_member(hash, "progress_message", arena),
        .cancel_requested = int_member(hash, "cancel_requested") != 0,
        .cancel_reason = text_member(hash, "cancel_reason", arena),
        .created_at = int_member(hash, "created_at"),
        .queued_at = int_member(hash, "queued_at"),
        .started_at = int_member(hash, "started_at"),
        .finished_at = int_member(hash, "finished_at"),
        .updated_at = int_member(hash, "updated_at"),
        .duration_ms = int_member(hash, "duration_ms"),
        .not_before = int_member(hash, "not_before"),
        .timeout_ms = int_member(hash, "timeout_ms"),
        .queue_timeout_ms = int_member(hash, "queue_timeout_ms"),
        .lease_until = int_member(hash, "lease_until"),
        .backoff_ms = int_member(hash, "backoff_ms"),
        .backoff_max_ms = int_member(hash, "backoff_max_ms"),
        .error_code = text_member(hash, "error_code", arena),
        .traceparent = text_member(hash, "traceparent", arena),
        .tenant = text_member(hash, "tenant", arena),
    };
    ret->labels = labels_decode(hash, arena, &ret->label_count);
    return 0;
}

int store_job_get(struct store *st, const char *job_id, struct arena *arena, struct job_record *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "HGETALL");
    store__args_key(&args, st, arena_printf(&args.arena, "job:%s", job_id));
    int rc = ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc == 0 && reply->elements == 0)
        *ret = (struct job_record){0};
    else if (rc == 0)
        rc = record_decode(reply, job_id, arena, ret, err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_job_doc(struct store *st, const char *what, const char *job_id, struct arena *arena, const char **ret,
                  size_t *ret_len, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "GET");
    store__args_key(&args, st, arena_printf(&args.arena, "%s:%s", what, job_id));
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0) {
        *ret = reply->type == REDIS_REPLY_STRING ? arena_strndup(arena, reply->str, reply->len) : NULL;
        *ret_len = reply->type == REDIS_REPLY_STRING ? reply->len : 0;
    }
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* --- lists ---------------------------------------------------------------------------------------------------------
 */

/* How many records a call may look at for each one that it returns, so that a filter that matches little stays bounded.
 */
#define LOOK_FACTOR 10

/* A cursor is "<state>:<score>:<job_id>": the last one looked at. Going on by score and id, not by rank, keeps a page
 * stable while jobs move above it. States are listed one after the other. */
struct place {
    enum job_state state;
    int64_t score;
    const char *id; /* NULL: from the top of `state` */
};

static int place_parse(const char *cursor, struct arena *arena, struct place *ret, struct err *err) {
    const char *colon = strchr(cursor, ':');
    int state = colon ? job_state_from_name(cursor, (size_t)(colon - cursor)) : -1;
    char *end = NULL;
    int64_t score = colon ? strtoll(colon + 1, &end, 10) : 0;
    if (state <= JOB_STATE_NONE || state >= JOB_STATE_COUNT || end == colon + 1 || *end != ':' ||
        !job_id_is_valid(end + 1, strlen(end + 1)))
        return err_set(err, ERR_INVALID_MEMBER, "cursor: not one that a list returned");
    *ret = (struct place){(enum job_state)state, score, arena_strdup(arena, end + 1)};
    return 0;
}

/* Ids of one state's index, newest first, from the place's score downwards, those of the same score included, less the
 * first `skip`. */
static int index_page(struct store *st, const struct place *at, size_t skip, size_t max, redisReply **ret,
                      struct err *err) {
    struct store__args args;
    store__args_init(&args);
    store__args_str(&args, "ZRANGE");
    store__args_key(&args, st, arena_printf(&args.arena, "index:%s", job_state_name(at->state)));
    store__args_str(&args, at->id ? arena_printf(&args.arena, "%" PRId64, at->score) : "+inf");
    store__args_str(&args, "-inf");
    store__args_str(&args, "BYSCORE");
    store__args_str(&args, "REV");
    store__args_str(&args, "LIMIT");
    store__args_int(&args, (int64_t)skip);
    store__args_int(&args, (int64_t)max);
    store__args_str(&args, "WITHSCORES");
    int rc = ask(st, &args, REDIS_REPLY_ARRAY, ret, err);
    store__args_done(&args);
    return rc;
}

/* Among equal scores, REV gives ids in descending order: what is not below the cursor was seen already. */
static bool already_seen(const struct place *at, int64_t score, const char *id) {
    return at->id && score == at->score && strcmp(id, at->id) >= 0;
}

struct page {
    struct job_record *jobs;
    size_t count, looked;
};

/* Looks at one id. *ret_full: the page has no room for it. */
static int list_one(struct store *st, const struct store_list *query, const char *id, int64_t score, struct place *at,
                    struct arena *arena, struct page *page, bool *ret_full, struct err *err) {
    struct job_record rec;
    *ret_full = page->count == query->limit || page->looked == query->limit * LOOK_FACTOR;
    if (*ret_full) return 0;
    if (store_job_get(st, id, arena, &rec, err) != 0) return -1;
    page->looked++;
    *at = (struct place){at->state, score, arena_strdup(arena, id)};
    bool wanted = rec.state == at->state && (!query->model || strcmp(query->model, rec.model) == 0);
    if (wanted) page->jobs[page->count++] = rec;
    return 0;
}

/* Adds what matches of one state to the page. *ret_more: stopped because the page is full. More ids may share the
 * cursor's score than one call fetches (a batch is created in one millisecond): then it skips on until something new
 * comes. */
static int list_state(struct store *st, const struct store_list *query, struct place *at, struct arena *arena,
                      struct page *page, bool *ret_more, struct err *err) {
    const struct place start = *at;
    size_t fetch = query->limit * LOOK_FACTOR + 1;
    *ret_more = false;
    for (size_t skip = 0;; skip += fetch) {
        redisReply *ids;
        if (index_page(st, &start, skip, fetch, &ids, err) != 0) return -1;
        size_t got = ids->elements / 2;
        int rc = 0;
        for (size_t i = 0; i < got && rc == 0 && !*ret_more; i++) {
            const char *id = ids->element[2 * i]->str;
            int64_t score = strtoll(ids->element[2 * i + 1]->str, NULL, 10);
            if (!already_seen(&start, score, id)) rc = list_one(st, query, id, score, at, arena, page, ret_more, err);
        }
        freeReplyObject(ids);
        if (rc != 0) return -1;
        if (*ret_more || got < fetch) return 0;
    }
}

int store_job_list(struct store *st, const struct store_list *query, struct arena *arena, struct job_record **ret,
                   size_t *ret_count, const char **ret_cursor, struct err *err) {
    struct place at = {.state = query->state == JOB_STATE_NONE ? JOB_STATE_QUEUED : query->state};
    struct page page = {.jobs = arena_alloc(arena, (query->limit + 1) * sizeof *page.jobs)};
    bool more = false;
    if (query->cursor && place_parse(query->cursor, arena, &at, err) != 0) return -1;
    for (;;) {
        if (list_state(st, query, &at, arena, &page, &more, err) != 0) return -1;
        if (more || query->state != JOB_STATE_NONE || at.state + 1 == JOB_STATE_COUNT) break;
        at = (struct place){.state = at.state + 1};
    }
    *ret = page.jobs;
    *ret_count = page.count;
    /* A full page that stopped at the top of a state goes on from that state's newest: a score above any. */
    *ret_cursor = !more   ? NULL
                  : at.id ? arena_printf(arena, "%s:%" PRId64 ":%s", job_state_name(at.state), at.score, at.id)
                          : arena_printf(arena, "%s:%" PRId64 ":-", job_state_name(at.state), INT64_MAX);
    return 0;
}

/* --- statistics ----------------------------------------------------------------------------------------------------
 */

static int count_of(struct store *st, const char *command, const char *key, int64_t *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, command);
    store__args_key(&args, st, key);
    int rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (rc == 0) *ret = reply->integer;
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_stats_get(struct store *st, struct store_stats *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    struct store_stats stats = {0};
    store__args_init(&args);
    int rc = 0;
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT && rc == 0; state++)
        rc = count_of(st, "ZCARD", arena_printf(&args.arena, "index:%s", job_state_name(state)), &stats.by_state[state],
                      err);
    if (rc == 0) rc = count_of(st, "XLEN", "outbox", &stats.outbox_entries, err);
    if (rc == 0) rc = count_of(st, "ZCARD", "timers", &stats.timers, err);
    if (rc != 0) goto out;
    store__args_str(&args, "HGETALL");
    store__args_key(&args, st, "meta");
    rc = ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc != 0) goto out;
    stats.gseq = int_member(reply, "gseq");
    stats.store_epoch = int_member(reply, "store_epoch");
    *ret = stats;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* --- workers -------------------------------------------------------------------------------------------------------
 */

static int set_worker(struct store *st, const struct store_worker *worker, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "HSET");
    store__args_key(&args, st, arena_printf(&args.arena, "worker:%s", worker->id));
    const char *pairs[] = {"host",   worker->host,   "executor", worker->executor,
                           "device", worker->device, "models",   worker->models};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) store__args_str(&args, pairs[i]);
    store__args_str(&args, "pid");
    store__args_int(&args, worker->pid);
    store__args_str(&args, "started_at");
    store__args_int(&args, worker->started_at);
    store__args_str(&args, "seen_at");
    store__args_int(&args, worker->seen_at);
    int rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* The registration is one hash that expires by itself, and a set of names to find it by, tidied when read. */
int store_worker_register(struct store *st, const struct store_worker *worker, int64_t ttl_ms, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    int rc = set_worker(st, worker, err);
    if (rc != 0) goto out;
    store__args_str(&args, "PEXPIRE");
    store__args_key(&args, st, arena_printf(&args.arena, "worker:%s", worker->id));
    store__args_int(&args, ttl_ms);
    rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (rc != 0) goto out;
    freeReplyObject(reply);
    reply = NULL;
    args.count = 0;
    store__args_str(&args, "SADD");
    store__args_key(&args, st, "workers");
    store__args_str(&args, worker->id);
    rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_worker_unregister(struct store *st, const char *id, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "DEL");
    store__args_key(&args, st, arena_printf(&args.arena, "worker:%s", id));
    int rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (rc != 0) goto out;
    freeReplyObject(reply);
    reply = NULL;
    args.count = 0;
    store__args_str(&args, "SREM");
    store__args_key(&args, st, "workers");
    store__args_str(&args, id);
    rc = ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* One worker's hash. *ret_found false: it has expired. */
static int worker_get(struct store *st, const char *id, struct arena *arena, struct store_worker *ret, bool *ret_found,
                      struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "HGETALL");
    store__args_key(&args, st, arena_printf(&args.arena, "worker:%s", id));
    int rc = ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc == 0) *ret_found = reply->elements > 0;
    if (rc == 0 && *ret_found)
        *ret = (struct store_worker){
            .id = arena_strdup(arena, id),
            .host = text_member(reply, "host", arena),
            .executor = text_member(reply, "executor", arena),
            .device = text_member(reply, "device", arena),
            .models = text_member(reply, "models", arena),
            .pid = int_member(reply, "pid"),
            .started_at = int_member(reply, "started_at"),
            .seen_at = int_member(reply, "seen_at"),
        };
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_worker_list(struct store *st, struct arena *arena, struct store_worker **ret, size_t *ret_count,
                      struct err *err) {
    struct store__args args;
    redisReply *ids = NULL;
    size_t count = 0;
    store__args_init(&args);
    store__args_str(&args, "SMEMBERS");
    store__args_key(&args, st, "workers");
    int rc = ask(st, &args, REDIS_REPLY_ARRAY, &ids, err);
    store__args_done(&args);
    if (rc != 0) return -1;
    struct store_worker *workers = arena_alloc(arena, (ids->elements + 1) * sizeof *workers);
    for (size_t i = 0; i < ids->elements && rc == 0; i++) {
        bool found = false;
        rc = worker_get(st, ids->element[i]->str, arena, &workers[count], &found, err);
        if (rc == 0 && found)
            count++;
        else if (rc == 0)
            rc = store_worker_unregister(st, ids->element[i]->str, err);
    }
    freeReplyObject(ids);
    if (rc != 0) return -1;
    *ret = workers;
    *ret_count = count;
    return 0;
}

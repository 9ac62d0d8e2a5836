/* Lists of jobs, page by page.
 *
 * Problem: a state may have millions of jobs, which come and go while somebody turns the pages, and a filter may match
 * few of them; yet no call may be long, and none that stays may be skipped or shown twice. Design: a page goes on from
 * the score and id of the last job that was looked at, not from a rank; ids come in chunks, their records in one round
 * trip a chunk; and a call looks at a bounded number of records, so that a page may come back short, or empty, with a
 * cursor to go on from. What breaks if changed: a cursor by rank shows jobs twice as soon as one leaves above it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define LOOK_FACTOR 10 /* records that a call may look at for each one that it may return */
#define CHUNK       128

/* A cursor is "<state>:<score>:<job_id>". States are listed one after the other. */
struct place {
    enum job_state state;
    int64_t score;
    const char *id; /* NULL: from the top of `state` */
};

struct page {
    const struct store_list *query;
    struct arena *arena;
    struct job_record *jobs;
    size_t count, looked;
    struct place at;
    bool full;
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

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static const char *score_text(struct arena *arena, int64_t score) { return arena_printf(arena, "%" PRId64, score); }

/* The score to begin with: the cursor's, or just below `until`. */
static const char *top(const struct store_list *query, const struct place *at, struct arena *arena) {
    int64_t until = query->until ? query->until - 1 : INT64_MAX;
    if (at->id && at->score < until) return score_text(arena, at->score);
    return query->until ? score_text(arena, until) : "+inf";
}

/* Ids of one state's index, newest first, those of the place's score included, less the first `skip`. */
static int index_chunk(struct store *st, const struct store_list *query, const struct place *at, size_t skip,
                       redisReply **ret, struct err *err) {
    struct store__args args;
    store__args_init(&args);
    store__args_str(&args, "ZRANGE");
    store__args_key(&args, st, arena_printf(&args.arena, "index:%s", job_state_name(at->state)));
    store__args_str(&args, top(query, at, &args.arena));
    store__args_str(&args, query->since ? score_text(&args.arena, query->since) : "-inf");
    store__args_str(&args, "BYSCORE");
    store__args_str(&args, "REV");
    store__args_str(&args, "LIMIT");
    store__args_int(&args, (int64_t)skip);
    store__args_int(&args, CHUNK);
    store__args_str(&args, "WITHSCORES");
    int rc = store__ask(st, &args, REDIS_REPLY_ARRAY, ret, err);
    store__args_done(&args);
    return rc;
}

/* Among equal scores, REV gives ids in descending order: what is not below the cursor was seen already. */
static bool already_seen(const struct place *at, int64_t score, const char *id) {
    return at->id && score == at->score && strcmp(id, at->id) >= 0;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static bool has_label(const struct job_record *rec, const struct job_label *label) {
    for (size_t i = 0; i < rec->label_count; i++)
        if (strcmp(rec->labels[i].name, label->name) == 0) return strcmp(rec->labels[i].value, label->value) == 0;
    return false;
}

static bool matches(const struct page *page, const struct job_record *rec) {
    const struct store_list *query = page->query;
    if (rec->state != page->at.state) return false; /* it moved on while we looked */
    if (query->model && (!rec->model || strcmp(query->model, rec->model) != 0)) return false;
    for (size_t i = 0; i < query->label_count; i++)
        if (!has_label(rec, &query->labels[i])) return false;
    return true;
}

static bool is_full(const struct page *page) {
    return page->count == page->query->limit || page->looked == page->query->limit * LOOK_FACTOR;
}

/* Looks at the records of a chunk, in order, until the page is full. ids: (id, score) pairs from `from` on. */
static int look_at(struct store *st, struct page *page, const redisReply *ids, size_t from, struct err *err) {
    struct store__batch batch = {0};
    size_t most = page->query->limit * LOOK_FACTOR - page->looked, count = ids->elements / 2 - from;
    if (count > most) count = most;
    for (size_t i = 0; i < count; i++)
        store__batch_key(&batch, st, "HGETALL", arena_printf(page->arena, "job:%s", ids->element[2 * (from + i)]->str));
    int rc = count ? store__batch_send(&batch, st, err) : 0;
    for (size_t i = 0; i < count && rc == 0 && !is_full(page); i++) {
        const redisReply *record = store__batch_reply(&batch, i, REDIS_REPLY_ARRAY);
        const char *id = ids->element[2 * (from + i)]->str;
        struct job_record rec = {0};
        if (!record) rc = store__bad_reply("HGETALL", err);
        if (rc == 0 && record->elements) rc = store__record_decode(record, id, page->arena, &rec, err);
        if (rc != 0) break;
        page->looked++;
        page->at.score = strtoll(ids->element[2 * (from + i) + 1]->str, NULL, 10);
        page->at.id = arena_strdup(page->arena, id);
        if (matches(page, &rec)) page->jobs[page->count++] = rec;
    }
    store__batch_done(&batch);
    return rc;
}

/* Adds what matches of one state to the page. A whole chunk may be known already, since more ids may share the cursor's
 * score than a chunk has (a batch is created in one millisecond): only then the next one begins behind it. */
static int list_state(struct store *st, struct page *page, struct err *err) {
    for (size_t skip = 0;;) {
        redisReply *ids;
        size_t known = 0;
        if (index_chunk(st, page->query, &page->at, skip, &ids, err) != 0) return -1;
        size_t got = ids->elements / 2;
        while (known < got && already_seen(&page->at, strtoll(ids->element[2 * known + 1]->str, NULL, 10),
                                           ids->element[2 * known]->str))
            known++;
        page->full = known < got && is_full(page);
        int rc = page->full ? 0 : look_at(st, page, ids, known, err);
        freeReplyObject(ids);
        if (rc != 0 || page->full) return rc;
        if (got < CHUNK && !is_full(page)) return 0;
        skip = known == got ? skip + got : 0;
        if (got == 0) return 0;
    }
}

int store_job_list(struct store *st, const struct store_list *query, struct arena *arena, struct job_record **ret,
                   size_t *ret_count, const char **ret_cursor, struct err *err) {
    struct page page = {
        .query = query, .arena = arena, .jobs = arena_alloc(arena, (query->limit + 1) * sizeof *page.jobs)};
    page.at.state = query->state == JOB_STATE_NONE ? JOB_STATE_QUEUED : query->state;
    if (query->cursor && place_parse(query->cursor, arena, &page.at, err) != 0) return -1;
    for (;;) {
        if (list_state(st, &page, err) != 0) return -1;
        if (page.full || query->state != JOB_STATE_NONE || page.at.state + 1 == JOB_STATE_COUNT) break;
        page.at = (struct place){.state = page.at.state + 1};
    }
    const struct place *at = &page.at;
    *ret = page.jobs;
    *ret_count = page.count;
    /* A full page that stopped at the top of a state goes on from that state's newest: a score above any. */
    *ret_cursor = !page.full ? NULL
                  : at->id   ? arena_printf(arena, "%s:%" PRId64 ":%s", job_state_name(at->state), at->score, at->id)
                             : arena_printf(arena, "%s:%" PRId64 ":-", job_state_name(at->state), INT64_MAX);
    return 0;
}

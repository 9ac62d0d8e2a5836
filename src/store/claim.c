/* What a worker asks of the store: claim, renew, finish. */
#include <stdio.h>
#include <string.h>

#include "store_internal.h"

#define CLAIM_MAX 1024 /* jobs in one claim: a script passes at most some thousand values to one call */

void store__claim_args(struct store__args *args, const struct store_claim *want) {
    store__args_str(args, want->worker);
    store__args_int(args, want->lease_ms);
    store__args_int(args, (int64_t)want->model_count);
    for (size_t i = 0; i < want->model_count; i++) {
        store__args_str(args, want->models[i]);
        store__args_int(args, want->max_jobs[i] < CLAIM_MAX ? want->max_jobs[i] : CLAIM_MAX);
        store__args_int(args, want->max_delay_us ? want->max_delay_us[i] : 0);
    }
}

static const char *text_of(const redisReply *reply, struct arena *arena) {
    return reply->type == REDIS_REPLY_STRING && reply->len > 0 ? arena_strndup(arena, reply->str, reply->len) : NULL;
}

int store__claim_reply(const redisReply *rows, struct arena *arena, struct store_claims *ret, struct err *err) {
    enum {
        ID,
        MODEL,
        VERSION,
        TOKEN,
        TRACEPARENT,
        ATTEMPT,
        CRASHES,
        TIMEOUT_MS,
        BACKOFF_MS,
        BACKOFF_MAX_MS,
        SPEC,
        COLUMNS
    };
    if (rows->type != REDIS_REPLY_ARRAY || rows->elements == 0 || rows->element[0]->type != REDIS_REPLY_INTEGER)
        return store__bad_reply("claim", err);
    size_t count = rows->elements - 1; /* the first is the wait */
    struct store_claimed *jobs = arena_alloc(arena, (count + 1) * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        const redisReply *row = rows->element[i + 1];
        if (row->type != REDIS_REPLY_ARRAY || row->elements != COLUMNS ||
            row->element[ATTEMPT]->type != REDIS_REPLY_INTEGER)
            return store__bad_reply("claim", err);
        jobs[i] = (struct store_claimed){
            .job_id = text_of(row->element[ID], arena),
            .model = text_of(row->element[MODEL], arena),
            .model_version = text_of(row->element[VERSION], arena),
            .token = text_of(row->element[TOKEN], arena),
            .traceparent = text_of(row->element[TRACEPARENT], arena),
            .attempt = (int)row->element[ATTEMPT]->integer,
            .crashes = (int)row->element[CRASHES]->integer,
            .timeout_ms = row->element[TIMEOUT_MS]->integer,
            .backoff_ms = row->element[BACKOFF_MS]->integer,
            .backoff_max_ms = row->element[BACKOFF_MAX_MS]->integer,
            .spec = text_of(row->element[SPEC], arena),
            .spec_len = row->element[SPEC]->len,
        };
        if (!jobs[i].job_id || !jobs[i].model || !jobs[i].token) return store__bad_reply("claim", err);
    }
    *ret = (struct store_claims){.jobs = jobs, .count = count, .wait_us = rows->element[0]->integer};
    return 0;
}

int store_claim(struct store *st, const struct store_claim *want, struct arena *arena, struct store_claims *ret,
                struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_CLAIM, &args, err);
    if (rc != 0) goto out;
    store__claim_args(&args, want);
    rc = store__call(st, "claim", &args, &reply, err);
    if (rc == 0) rc = store__claim_reply(reply, arena, ret, err);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_renew(struct store *st, const char *worker, int64_t lease_ms, struct store_renewal *jobs, size_t count,
                struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_RENEW, &args, err);
    if (rc != 0) goto out;
    store__args_str(&args, worker);
    store__args_int(&args, lease_ms);
    for (size_t i = 0; i < count; i++) {
        store__args_str(&args, jobs[i].job_id);
        store__args_str(&args, jobs[i].token);
        store__args_str(&args, jobs[i].progress < 0 ? "" : arena_printf(&args.arena, "%.4g", jobs[i].progress));
        store__args_str(&args, jobs[i].progress_message);
    }
    rc = store__call(st, "renew", &args, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)) rc = store__bad_reply("renew", err);
    for (size_t i = 0; rc == 0 && i < count; i++) jobs[i].answer = (enum store_lease)reply->element[i]->integer;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static void put_finish(struct store__args *args, const struct store_finish *job) {
    static const char *const outcomes[] = {"C", "F", "X", "R"};
    store__args_str(args, job->job_id);
    store__args_str(args, job->token);
    store__args_str(args, outcomes[job->outcome]);
    store__args_str(args, job->outcome == STORE_FAILED ? err_code_name(job->code) : "");
    store__args_str(args, job->retryable ? "1" : "0");
    store__args_int(args, job->backoff_ms);
    store__args_bytes(args, job->doc, job->doc_len);
}

int store_finish(struct store *st, const char *worker, struct store_finish *jobs, size_t count,
                 const struct store_claim *want, struct arena *arena, struct store_claims *ret_claims,
                 struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_FINISH, &args, err);
    if (rc != 0) goto out;
    store__args_int(&args, (int64_t)count);
    for (size_t i = 0; i < count; i++) put_finish(&args, &jobs[i]);
    if (want) store__claim_args(&args, want);
    rc = store__call(st, "finish", &args, &reply, err);
    if (rc != 0) goto out;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_ARRAY ||
        reply->element[0]->elements != count) {
        rc = store__bad_reply("finish", err);
        goto out;
    }
    if (want) rc = store__claim_reply(reply->element[1], arena, ret_claims, err);
    for (size_t i = 0; rc == 0 && i < count; i++) jobs[i].accepted = reply->element[0]->element[i]->integer == 1;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

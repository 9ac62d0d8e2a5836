/* Opening a store and attaching to an epoch.
 *
 * Problem: Redis may restart at any instant and come back without its last second, or be replaced by a replica that
 * lacks a suffix. Whoever goes on writing as if nothing had happened mixes two histories. Design: `meta` holds the
 * store epoch and the run id of the Redis process that it was opened on. Attaching reads both and the run id that INFO
 * tells now, all on one connection, so that one process answers throughout. Equal: load the scripts of that epoch and
 * go on. Different: Redis was restarted, and only a control process (may_recover) may begin another epoch, after which
 * everybody's scripts are unknown or fenced and everybody attaches anew. What breaks if changed: loading scripts before
 * the run ids were compared lets a process write into a Redis that has lost a suffix; doing it on a second connection
 * has the same effect when Redis restarts in between. */
#include "penstock/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/store_view.h"
#include "store_internal.h"

static char *copy(const char *s) { return s ? mem_strdup(s) : NULL; }

struct store *store__new(const struct store_config *cfg, struct store__transport *conn) {
    struct store *st = mem_calloc(1, sizeof *st);
    st->cfg = *cfg;
    st->cfg.url = mem_strdup(cfg->url);
    st->cfg.password = copy(cfg->password);
    st->cfg.tls_ca_file = copy(cfg->tls_ca_file);
    st->cfg.tls_cert_file = copy(cfg->tls_cert_file);
    st->cfg.tls_key_file = copy(cfg->tls_key_file);
    st->cfg.prefix = mem_strdup(cfg->prefix);
    st->conn = conn;
    return st;
}

int store_open(const struct store_config *cfg, struct store **ret, struct err *err) {
    struct store__transport *conn = store__redis_new(cfg, err);
    if (!conn) return -1;
    *ret = store__new(cfg, conn);
    return 0;
}

void store_free(struct store *st) {
    if (!st) return;
    st->conn->free(st->conn);
    if (st->sub) st->sub->free(st->sub);
    free((char *)st->cfg.url);
    free((char *)st->cfg.password);
    free((char *)st->cfg.tls_ca_file);
    free((char *)st->cfg.tls_cert_file);
    free((char *)st->cfg.tls_key_file);
    free((char *)st->cfg.prefix);
    free(st);
}

/* --- attaching -----------------------------------------------------------------------------------------------------
 */

bool store__info_field(const char *info, const char *name, char *ret, size_t size) {
    size_t name_len = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            snprintf(ret, size, "%.*s", (int)strcspn(value, "\r\n"), value);
            return true;
        }
    return false;
}

static int read_info(struct store *st, char *ret_run_id, size_t size, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    char version[32] = "", policy[32] = "";
    store__args_init(&args);
    store__args_str(&args, "INFO");
    int rc = store__command(st, &args, &reply, err);
    if (rc != 0) goto out;
    if (reply->type != REDIS_REPLY_STRING || !store__info_field(reply->str, "run_id", ret_run_id, size) ||
        !store__info_field(reply->str, "redis_version", version, sizeof version)) {
        rc = store__bad_reply("INFO", err);
        goto out;
    }
    if (atoi(version) < 7)
        rc = err_set(err, ERR_STORE_UNFIT, "redis %s is too old: 7.0 or newer is needed", version);
    else if (!st->cfg.allow_unfit && store__info_field(reply->str, "maxmemory_policy", policy, sizeof policy) &&
             strcmp(policy, "noeviction") != 0)
        rc = err_set(err, ERR_STORE_UNFIT, "redis may evict job records: maxmemory-policy is %s and must be noeviction",
                     policy);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static int read_meta(struct store *st, char *ret_epoch, char *ret_run_id, size_t size, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "HMGET");
    store__args_key(&args, st, "meta");
    store__args_str(&args, "store_epoch");
    store__args_str(&args, "run_id");
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)) rc = store__bad_reply("HMGET meta", err);
    if (rc == 0) {
        snprintf(ret_epoch, size, "%s", reply->element[0]->str ? reply->element[0]->str : "");
        snprintf(ret_run_id, size, "%s", reply->element[1]->str ? reply->element[1]->str : "");
    }
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* Refuses, by name, a user who may not do all that is going to be done. */
static int check_rights(struct store *st, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "EVAL");
    store__args_str(&args, store__lua_rights);
    store__args_str(&args, "1");
    store__args_key(&args, st, "meta");
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0 && reply->type != REDIS_REPLY_STRING) rc = store__bad_reply("EVAL rights", err);
    if (rc == 0 && reply->len > 0)
        rc = err_set(err, ERR_STORE_UNFIT, "redis: the user of store.url may not run %.200s", reply->str);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* Begins an epoch that nobody knows yet, unless another control process was faster. */
static int recover(struct store *st, const char *epoch_seen, const char *run_id, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "EVAL");
    store__args_str(&args, store__lua_recover);
    store__args_str(&args, "1");
    store__args_key(&args, st, "meta");
    store__args_str(&args, epoch_seen);
    store__args_str(&args, run_id);
    store__args_str(&args, st->epoch);
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0 && reply->type != REDIS_REPLY_STRING) rc = store__bad_reply("EVAL recover", err);
    if (rc == 0) snprintf(st->epoch, sizeof st->epoch, "%s", reply->str);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_check(struct store *st, struct err *err) {
    char run_id[64];
    if (read_info(st, run_id, sizeof run_id, err) != 0) return -1;
    return check_rights(st, err);
}

int store_check_epoch(struct store *st, struct err *err) {
    char epoch[64] = "", run_id[64] = "";
    if (!st->attached) return 0;
    if (read_meta(st, epoch, run_id, sizeof epoch, err) != 0) return -1;
    if (strcmp(epoch, st->epoch) == 0) return 0;
    st->attached = false;
    return err_set(err, ERR_STORE_FENCED, "redis: the store epoch has changed (%.20s, not %s)", epoch, st->epoch);
}

int store_attach(struct store *st, struct err *err) {
    char run_id[64] = "", known_run_id[64] = "", epoch[64] = "";
    st->attached = false;
    if (read_info(st, run_id, sizeof run_id, err) != 0) return -1;
    uint64_t generation = st->conn->generation;
    if (check_rights(st, err) != 0) return -1;
    if (read_meta(st, epoch, known_run_id, sizeof epoch, err) != 0) return -1;
    if (!epoch[0] || strcmp(run_id, known_run_id) != 0) {
        if (!st->cfg.may_recover)
            return err_set(err, ERR_STORE_FENCED,
                           "redis was %s: waiting for a control process (`penstock serve`) to open the store",
                           epoch[0] ? "restarted" : "never opened");
        if (recover(st, epoch, run_id, err) != 0) return -1;
    } else {
        snprintf(st->epoch, sizeof st->epoch, "%.20s", epoch);
    }
    if (store__scripts_load(st, err) != 0) return -1;
    if (st->conn->generation != generation)
        return err_set(err, ERR_STORE_UNAVAILABLE, "redis: the connection was lost while attaching");
    st->attached = true;
    return 0;
}

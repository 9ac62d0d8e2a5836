/* What the simulated Redis knows of data: hashes, strings, sets, sorted sets and streams, and the commands on them.
 *
 * Every type is one array of entries, small enough for linear search. Options that src/store/ does not use are refused.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sim_redis_internal.h"

enum kind { HASH, STRING, ZSET, SET, STREAM };

struct entry {
    char *name, *value; /* field and value; member; a stream entry's packed fields in value */
    size_t name_len, value_len;
    double score; /* ZSET; STREAM: the first part of the id, the second always being 0 */
};

struct sim_redis_value {
    char *key;
    enum kind kind;
    struct entry *entries; /* HASH, SET: in order of arrival; ZSET: by score, then name; STREAM: by id */
    size_t count, cap;
    int64_t expire_ms; /* 0: never */
    double last_id;    /* STREAM */
};

void sim_redis__die(const char *what, const struct store__args *args) {
    fprintf(stderr, "sim_redis: %s:", what);
    for (size_t i = 0; args && i < args->count && i < 12; i++)
        fprintf(stderr, " %.*s", (int)args->lens[i], args->argv[i]);
    fputc('\n', stderr);
    abort();
}

/* --- replies ----------------------------------------------------------------------------------------------------- */

static redisReply *reply_new(int type) {
    redisReply *reply = mem_calloc(1, sizeof *reply);
    reply->type = type;
    return reply;
}

redisReply *sim_redis__reply_int(int64_t n) {
    redisReply *reply = reply_new(REDIS_REPLY_INTEGER);
    reply->integer = n;
    return reply;
}

redisReply *sim_redis__reply_text(int type, const char *bytes, size_t len) {
    redisReply *reply = reply_new(type);
    reply->str = mem_alloc(len + 1);
    memcpy(reply->str, bytes, len);
    reply->str[len] = '\0';
    reply->len = len;
    return reply;
}

static redisReply *reply_str(const char *s) { return sim_redis__reply_text(REDIS_REPLY_STRING, s, strlen(s)); }
static redisReply *reply_ok(void) { return sim_redis__reply_text(REDIS_REPLY_STATUS, "OK", 2); }
redisReply *sim_redis__reply_nil(void) { return reply_new(REDIS_REPLY_NIL); }

redisReply *sim_redis__reply_array(void) {
    redisReply *reply = reply_new(REDIS_REPLY_ARRAY);
    reply->element = mem_calloc(1, sizeof *reply->element);
    return reply;
}

void sim_redis__reply_push(redisReply *reply, redisReply *element_take) {
    reply->element = mem_realloc(reply->element, (reply->elements + 1) * sizeof *reply->element);
    reply->element[reply->elements++] = element_take;
}

static redisReply *reply_score(double score) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", score);
    return reply_str(text);
}

static redisReply *reply_value(const struct entry *entry) {
    return entry ? sim_redis__reply_text(REDIS_REPLY_STRING, entry->value, entry->value_len) : sim_redis__reply_nil();
}

static redisReply *reply_name(const struct entry *entry) {
    return sim_redis__reply_text(REDIS_REPLY_STRING, entry->name, entry->name_len);
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static int64_t now_us(const struct sim_redis *redis) { return *redis->now_us + redis->skew_us; }

static char *copy(const char *bytes, size_t len) {
    char *to = mem_alloc(len + 1);
    memcpy(to, bytes, len);
    to[len] = '\0';
    return to;
}

static void value_clear(struct sim_redis_value *value) {
    for (size_t i = 0; i < value->count; i++) {
        free(value->entries[i].name);
        free(value->entries[i].value);
    }
    value->count = 0;
}

static void value_delete(struct sim_redis *redis, struct sim_redis_value *value) {
    value_clear(value);
    free(value->entries);
    free(value->key);
    struct sim_redis_value *end = redis->values + --redis->value_count;
    memmove(value, value + 1, (size_t)(end - value) * sizeof *value);
}

/* Where `key` stands or would stand. */
static size_t value_place(const struct sim_redis *redis, const char *key, bool *ret_found) {
    size_t low = 0, high = redis->value_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(redis->values[mid].key, key);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

/* The value of the key that is argument `at`, or NULL. */
static struct sim_redis_value *value_get(struct sim_redis *redis, const struct store__args *args, size_t at,
                                         enum kind kind) {
    bool found;
    size_t place = value_place(redis, args->argv[at], &found);
    struct sim_redis_value *value = &redis->values[place];
    if (found && value->expire_ms && value->expire_ms <= now_us(redis) / 1000) {
        value_delete(redis, value);
        found = false;
    }
    if (!found) return NULL;
    if (value->kind != kind) sim_redis__die("a key of another type", args);
    return value;
}

static struct sim_redis_value *value_make(struct sim_redis *redis, const struct store__args *args, size_t at,
                                          enum kind kind) {
    struct sim_redis_value *value = value_get(redis, args, at, kind);
    bool found;
    if (value) return value;
    size_t place = value_place(redis, args->argv[at], &found);
    if (redis->value_count == redis->value_cap) {
        redis->value_cap = redis->value_cap ? 2 * redis->value_cap : 64;
        redis->values = mem_realloc(redis->values, redis->value_cap * sizeof *redis->values);
    }
    value = &redis->values[place];
    memmove(value + 1, value, (redis->value_count++ - place) * sizeof *value);
    *value = (struct sim_redis_value){.key = mem_strdup(args->argv[at]), .kind = kind};
    return value;
}

static struct entry *entry_find(const struct sim_redis_value *value, const char *name, size_t len) {
    for (size_t i = 0; value && i < value->count; i++)
        if (value->entries[i].name_len == len && memcmp(value->entries[i].name, name, len) == 0)
            return &value->entries[i];
    return NULL;
}

static struct entry *entry_insert(struct sim_redis_value *value, size_t place, const char *name, size_t len,
                                  double score) {
    if (value->count == value->cap) {
        value->cap = value->cap ? 2 * value->cap : 8;
        value->entries = mem_realloc(value->entries, value->cap * sizeof *value->entries);
    }
    struct entry *entry = &value->entries[place];
    memmove(entry + 1, entry, (value->count++ - place) * sizeof *entry);
    *entry = (struct entry){.name = copy(name, len), .name_len = len, .score = score};
    return entry;
}

static void entry_remove(struct sim_redis_value *value, struct entry *entry) {
    free(entry->name);
    free(entry->value);
    struct entry *end = value->entries + --value->count;
    memmove(entry, entry + 1, (size_t)(end - entry) * sizeof *entry);
}

/* Redis has no empty hashes, sets and sorted sets; an empty stream stays. */
static void drop_if_empty(struct sim_redis *redis, struct sim_redis_value *value) {
    if (value && value->count == 0) value_delete(redis, value);
}

bool sim_redis__word_is(const struct store__args *args, size_t at, const char *word) {
    return at < args->count && strcasecmp(args->argv[at], word) == 0;
}

double sim_redis__number(const struct store__args *args, size_t at) {
    char *end;
    if (at >= args->count) sim_redis__die("an argument is missing", args);
    double n = strtod(args->argv[at], &end);
    if (end == args->argv[at] || *end) sim_redis__die("not a number", args);
    return n;
}

/* --- hashes, strings, sets --------------------------------------------------------------------------------------- */

static redisReply *cmd_hset(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *hash = value_make(redis, args, 1, HASH);
    int64_t added = 0;
    if (args->count < 4 || args->count % 2 != 0) sim_redis__die("HSET wants pairs", args);
    for (size_t i = 2; i < args->count; i += 2) {
        struct entry *entry = entry_find(hash, args->argv[i], args->lens[i]);
        if (!entry) {
            entry = entry_insert(hash, hash->count, args->argv[i], args->lens[i], 0);
            added++;
        }
        free(entry->value);
        entry->value = copy(args->argv[i + 1], args->lens[i + 1]);
        entry->value_len = args->lens[i + 1];
    }
    return sim_redis__reply_int(added);
}

static redisReply *cmd_hget(struct sim_redis *redis, const struct store__args *args) {
    return reply_value(entry_find(value_get(redis, args, 1, HASH), args->argv[2], args->lens[2]));
}

static redisReply *cmd_hmget(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *hash = value_get(redis, args, 1, HASH);
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 2; i < args->count; i++)
        sim_redis__reply_push(reply, reply_value(entry_find(hash, args->argv[i], args->lens[i])));
    return reply;
}

static redisReply *cmd_hgetall(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *hash = value_get(redis, args, 1, HASH);
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 0; hash && i < hash->count; i++) {
        sim_redis__reply_push(reply, reply_name(&hash->entries[i]));
        sim_redis__reply_push(reply, reply_value(&hash->entries[i]));
    }
    return reply;
}

static redisReply *cmd_hkeys(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *hash = value_get(redis, args, 1, HASH);
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 0; hash && i < hash->count; i++) sim_redis__reply_push(reply, reply_name(&hash->entries[i]));
    return reply;
}

static redisReply *cmd_hincrby(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *hash = value_make(redis, args, 1, HASH);
    struct entry *entry = entry_find(hash, args->argv[2], args->lens[2]);
    if (!entry) entry = entry_insert(hash, hash->count, args->argv[2], args->lens[2], 0);
    int64_t sum = (entry->value ? strtoll(entry->value, NULL, 10) : 0) + (int64_t)sim_redis__number(args, 3);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)sum);
    free(entry->value);
    entry->value_len = strlen(text);
    entry->value = copy(text, entry->value_len);
    return sim_redis__reply_int(sum);
}

static redisReply *remove_names(struct sim_redis *redis, const struct store__args *args, enum kind kind) {
    struct sim_redis_value *value = value_get(redis, args, 1, kind);
    int64_t removed = 0;
    for (size_t i = 2; value && i < args->count; i++) {
        struct entry *entry = entry_find(value, args->argv[i], args->lens[i]);
        if (entry) entry_remove(value, entry);
        removed += entry != NULL;
    }
    drop_if_empty(redis, value);
    return sim_redis__reply_int(removed);
}

static redisReply *cmd_hdel(struct sim_redis *redis, const struct store__args *args) {
    return remove_names(redis, args, HASH);
}
static redisReply *cmd_srem(struct sim_redis *redis, const struct store__args *args) {
    return remove_names(redis, args, SET);
}
static redisReply *cmd_zrem(struct sim_redis *redis, const struct store__args *args) {
    return remove_names(redis, args, ZSET);
}

static struct sim_redis_value *string_put(struct sim_redis *redis, const struct store__args *args, size_t at) {
    struct sim_redis_value *string = value_make(redis, args, at, STRING);
    value_clear(string);
    struct entry *entry = entry_insert(string, 0, "", 0, 0);
    entry->value = copy(args->argv[at + 1], args->lens[at + 1]);
    entry->value_len = args->lens[at + 1];
    string->expire_ms = 0;
    return string;
}

static redisReply *cmd_set(struct sim_redis *redis, const struct store__args *args) {
    bool expires = sim_redis__word_is(args, 3, "PX");
    if (args->count != (expires ? 5U : 3U)) sim_redis__die("unknown option", args);
    struct sim_redis_value *string = string_put(redis, args, 1);
    if (expires) string->expire_ms = now_us(redis) / 1000 + (int64_t)sim_redis__number(args, 4);
    return reply_ok();
}

static redisReply *cmd_mset(struct sim_redis *redis, const struct store__args *args) {
    if (args->count % 2 != 1) sim_redis__die("MSET wants pairs", args);
    for (size_t i = 1; i < args->count; i += 2) string_put(redis, args, i);
    return reply_ok();
}

static redisReply *cmd_get(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *string = value_get(redis, args, 1, STRING);
    return reply_value(string ? &string->entries[0] : NULL);
}

/* A key of another type is nil to Redis; to us it is a mistake. */
static redisReply *cmd_mget(struct sim_redis *redis, const struct store__args *args) {
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 1; i < args->count; i++) {
        const struct sim_redis_value *string = value_get(redis, args, i, STRING);
        sim_redis__reply_push(reply, reply_value(string ? &string->entries[0] : NULL));
    }
    return reply;
}

/* DEL, EXISTS and PEXPIRE take a key of any type. */
static struct sim_redis_value *value_any(struct sim_redis *redis, const struct store__args *args, size_t at) {
    bool found;
    size_t place = value_place(redis, args->argv[at], &found);
    return found ? value_get(redis, args, at, redis->values[place].kind) : NULL;
}

static redisReply *cmd_del(struct sim_redis *redis, const struct store__args *args) {
    int64_t deleted = 0;
    for (size_t i = 1; i < args->count; i++) {
        struct sim_redis_value *value = value_any(redis, args, i);
        if (value) value_delete(redis, value);
        deleted += value != NULL;
    }
    return sim_redis__reply_int(deleted);
}

static redisReply *cmd_exists(struct sim_redis *redis, const struct store__args *args) {
    return sim_redis__reply_int(value_any(redis, args, 1) != NULL);
}

static redisReply *cmd_pexpire(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *value = value_any(redis, args, 1);
    if (value) value->expire_ms = now_us(redis) / 1000 + (int64_t)sim_redis__number(args, 2);
    return sim_redis__reply_int(value != NULL);
}

static redisReply *cmd_sadd(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *set = value_make(redis, args, 1, SET);
    int64_t added = 0;
    for (size_t i = 2; i < args->count; i++)
        if (!entry_find(set, args->argv[i], args->lens[i])) {
            entry_insert(set, set->count, args->argv[i], args->lens[i], 0);
            added++;
        }
    return sim_redis__reply_int(added);
}

static redisReply *members(const struct sim_redis_value *set, size_t max) {
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 0; set && i < set->count && i < max; i++)
        sim_redis__reply_push(reply, reply_name(&set->entries[i]));
    return reply;
}

static redisReply *cmd_smembers(struct sim_redis *redis, const struct store__args *args) {
    return members(value_get(redis, args, 1, SET), SIZE_MAX);
}

/* The first ones are as random as any. */
static redisReply *cmd_srandmember(struct sim_redis *redis, const struct store__args *args) {
    return members(value_get(redis, args, 1, SET), (size_t)sim_redis__number(args, 2));
}

/* --- sorted sets ------------------------------------------------------------------------------------------------- */

static int name_order(const struct entry *entry, const char *name, size_t len) {
    int order = memcmp(entry->name, name, entry->name_len < len ? entry->name_len : len);
    return order ? order : (entry->name_len > len) - (entry->name_len < len);
}

static bool zset_put(struct sim_redis_value *zset, double score, const char *name, size_t len) {
    struct entry *old = entry_find(zset, name, len);
    bool is_new = !old;
    size_t place = 0;
    if (old) entry_remove(zset, old);
    while (place < zset->count &&
           (zset->entries[place].score < score ||
            (zset->entries[place].score == score && name_order(&zset->entries[place], name, len) < 0)))
        place++;
    entry_insert(zset, place, name, len, score);
    return is_new;
}

static redisReply *cmd_zadd(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *zset = value_make(redis, args, 1, ZSET);
    int64_t added = 0;
    if (args->count % 2 != 0) sim_redis__die("ZADD wants pairs", args);
    for (size_t i = 2; i < args->count; i += 2)
        added += zset_put(zset, sim_redis__number(args, i), args->argv[i + 1], args->lens[i + 1]);
    return sim_redis__reply_int(added);
}

static redisReply *cmd_zscore(struct sim_redis *redis, const struct store__args *args) {
    const struct entry *entry = entry_find(value_get(redis, args, 1, ZSET), args->argv[2], args->lens[2]);
    return entry ? reply_score(entry->score) : sim_redis__reply_nil();
}

static redisReply *cmd_zpopmin(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *zset = value_get(redis, args, 1, ZSET);
    redisReply *reply = sim_redis__reply_array();
    for (double left = sim_redis__number(args, 2); zset && zset->count > 0 && left > 0; left--) {
        sim_redis__reply_push(reply, reply_name(&zset->entries[0]));
        sim_redis__reply_push(reply, reply_score(zset->entries[0].score));
        entry_remove(zset, &zset->entries[0]);
    }
    drop_if_empty(redis, zset);
    return reply;
}

static redisReply *cmd_zrangebyscore(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *zset = value_get(redis, args, 1, ZSET);
    if (args->count != 7 || !sim_redis__word_is(args, 4, "LIMIT") || sim_redis__number(args, 5) != 0)
        sim_redis__die("unknown option", args);
    double min = sim_redis__number(args, 2), max = sim_redis__number(args, 3);
    size_t limit = (size_t)sim_redis__number(args, 6);
    redisReply *reply = sim_redis__reply_array();
    for (size_t i = 0; zset && i < zset->count && reply->elements < limit; i++)
        if (zset->entries[i].score >= min && zset->entries[i].score <= max)
            sim_redis__reply_push(reply, reply_name(&zset->entries[i]));
    return reply;
}

static redisReply *cmd_zrange(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *zset = value_get(redis, args, 1, ZSET);
    bool scores = sim_redis__word_is(args, 4, "WITHSCORES");
    if (args->count != (scores ? 5U : 4U)) sim_redis__die("unknown option", args);
    int64_t first = (int64_t)sim_redis__number(args, 2), last = (int64_t)sim_redis__number(args, 3),
            count = zset ? (int64_t)zset->count : 0;
    if (last < 0) last += count;
    redisReply *reply = sim_redis__reply_array();
    for (int64_t i = first; i <= last && i < count; i++) {
        sim_redis__reply_push(reply, reply_name(&zset->entries[i]));
        if (scores) sim_redis__reply_push(reply, reply_score(zset->entries[i].score));
    }
    return reply;
}

static redisReply *cmd_zcard(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *zset = value_get(redis, args, 1, ZSET);
    return sim_redis__reply_int(zset ? (int64_t)zset->count : 0);
}

/* --- streams: ids are "<n>-0" ------------------------------------------------------------------------------------ */

static double stream_id(const struct store__args *args, size_t at, const char *suffix) {
    char *end;
    double id = strtod(args->argv[at], &end);
    if (end == args->argv[at] || (*end && strcmp(end, suffix) != 0)) sim_redis__die("not a stream id of ours", args);
    return id;
}

static redisReply *cmd_xadd(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *stream = value_make(redis, args, 1, STREAM);
    struct buf packed = {0};
    double id = stream_id(args, 2, "-0");
    if (args->count < 5 || args->count % 2 != 1) sim_redis__die("XADD wants pairs", args);
    if (id <= stream->last_id) {
        static const char text[] = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
        return sim_redis__reply_text(REDIS_REPLY_ERROR, text, sizeof text - 1);
    }
    for (size_t i = 3; i < args->count; i++) {
        buf_append(&packed, &args->lens[i], sizeof args->lens[i]);
        buf_append(&packed, args->argv[i], args->lens[i]);
    }
    struct entry *entry = entry_insert(stream, stream->count, args->argv[2], args->lens[2], id);
    entry->value = packed.data;
    entry->value_len = packed.len;
    stream->last_id = id;
    return sim_redis__reply_text(REDIS_REPLY_STRING, args->argv[2], args->lens[2]);
}

static redisReply *stream_entry(const struct entry *entry) {
    redisReply *reply = sim_redis__reply_array(), *fields = sim_redis__reply_array();
    for (size_t at = 0, len; at < entry->value_len; at += len) {
        memcpy(&len, entry->value + at, sizeof len);
        at += sizeof len;
        sim_redis__reply_push(fields, sim_redis__reply_text(REDIS_REPLY_STRING, entry->value + at, len));
    }
    sim_redis__reply_push(reply, reply_name(entry));
    sim_redis__reply_push(reply, fields);
    return reply;
}

/* Without waiting: BLOCK passes no time. */
static redisReply *cmd_xread(struct sim_redis *redis, const struct store__args *args) {
    size_t at = sim_redis__word_is(args, 3, "BLOCK") ? 5 : 3;
    if (!sim_redis__word_is(args, 1, "COUNT") || !sim_redis__word_is(args, at, "STREAMS") || args->count != at + 3)
        sim_redis__die("unknown option", args);
    size_t max = (size_t)sim_redis__number(args, 2);
    double after = stream_id(args, at + 2, "-0");
    const struct sim_redis_value *stream = value_get(redis, args, at + 1, STREAM);
    redisReply *rows = sim_redis__reply_array();
    for (size_t i = 0; stream && i < stream->count && rows->elements < max; i++)
        if (stream->entries[i].score > after) sim_redis__reply_push(rows, stream_entry(&stream->entries[i]));
    if (rows->elements == 0) {
        freeReplyObject(rows);
        return sim_redis__reply_nil();
    }
    redisReply *reply = sim_redis__reply_array(), *named = sim_redis__reply_array();
    sim_redis__reply_push(named, reply_str(args->argv[at + 1]));
    sim_redis__reply_push(named, rows);
    sim_redis__reply_push(reply, named);
    return reply;
}

static redisReply *cmd_xtrim(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_value *stream = value_get(redis, args, 1, STREAM);
    int64_t removed = 0;
    if (args->count != 5 || !sim_redis__word_is(args, 2, "MINID") || !sim_redis__word_is(args, 3, "="))
        sim_redis__die("unknown option", args);
    double last = stream_id(args, 4, "-1"); /* entries have "-0": the one named goes too */
    for (; stream && stream->count > 0 && stream->entries[0].score <= last; removed++)
        entry_remove(stream, &stream->entries[0]);
    return sim_redis__reply_int(removed);
}

static redisReply *cmd_xlen(struct sim_redis *redis, const struct store__args *args) {
    const struct sim_redis_value *stream = value_get(redis, args, 1, STREAM);
    return sim_redis__reply_int(stream ? (int64_t)stream->count : 0);
}

/* --- the server -------------------------------------------------------------------------------------------------- */

static redisReply *cmd_time(struct sim_redis *redis, const struct store__args *args) {
    char text[24];
    redisReply *reply = sim_redis__reply_array();
    snprintf(text, sizeof text, "%" PRId64, now_us(redis) / 1000000);
    sim_redis__reply_push(reply, reply_str(text));
    snprintf(text, sizeof text, "%" PRId64, now_us(redis) % 1000000);
    sim_redis__reply_push(reply, reply_str(text));
    return reply;
}

/* Nobody listens: what is told in this way may be lost at any time, so here it always is. */
static redisReply *cmd_publish(struct sim_redis *redis, const struct store__args *args) {
    return sim_redis__reply_int(0);
}

static redisReply *cmd_info(struct sim_redis *redis, const struct store__args *args) {
    char text[160];
    snprintf(text, sizeof text,
             "# Server\r\nredis_version:7.0.15\r\nrun_id:%040" PRIx64 "\r\nmaxmemory_policy:noeviction\r\n",
             redis->incarnation);
    return reply_str(text);
}

/* --- dispatch ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t min_args;
    sim_redis__command_fn *run;
} commands[] = {
    {"DEL", 2, cmd_del},
    {"EXISTS", 2, cmd_exists},
    {"GET", 2, cmd_get},
    {"HDEL", 3, cmd_hdel},
    {"HGET", 3, cmd_hget},
    {"HGETALL", 2, cmd_hgetall},
    {"HINCRBY", 4, cmd_hincrby},
    {"HKEYS", 2, cmd_hkeys},
    {"HMGET", 3, cmd_hmget},
    {"HSET", 4, cmd_hset},
    {"INFO", 1, cmd_info},
    {"MGET", 2, cmd_mget},
    {"MSET", 3, cmd_mset},
    {"PEXPIRE", 3, cmd_pexpire},
    {"PUBLISH", 3, cmd_publish},
    {"SADD", 3, cmd_sadd},
    {"SET", 3, cmd_set},
    {"SMEMBERS", 2, cmd_smembers},
    {"SRANDMEMBER", 3, cmd_srandmember},
    {"SREM", 3, cmd_srem},
    {"TIME", 1, cmd_time},
    {"XADD", 5, cmd_xadd},
    {"XLEN", 2, cmd_xlen},
    {"XREAD", 6, cmd_xread},
    {"XTRIM", 5, cmd_xtrim},
    {"ZADD", 4, cmd_zadd},
    {"ZCARD", 2, cmd_zcard},
    {"ZPOPMIN", 3, cmd_zpopmin},
    {"ZRANGE", 4, cmd_zrange},
    {"ZRANGEBYSCORE", 4, cmd_zrangebyscore},
    {"ZREM", 3, cmd_zrem},
    {"ZSCORE", 3, cmd_zscore},
};

sim_redis__command_fn *sim_redis__data_command(const struct store__args *args) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (sim_redis__word_is(args, 0, commands[i].name) && args->count >= commands[i].min_args)
            return commands[i].run;
    return NULL;
}

void sim_redis__data_free(struct sim_redis *redis) {
    while (redis->value_count > 0) value_delete(redis, &redis->values[redis->value_count - 1]);
    free(redis->values);
}

/* A Redis in memory.
 *
 * Problem: whether the store's scripts keep the promises under crashes, lost replies and late commands cannot be tried
 * often enough, nor repeated exactly, against a real server.
 * Design: every type is one array of entries, small enough for linear search; replies are hiredis replies, so that the
 * store sees what it sees in production; scripts run in Lua 5.1, as in Redis, with redis.call doing what the same
 * command does from outside. Everything is deterministic: chance comes from one generator, time from the world's clock.
 * What breaks if changed: an answer that Redis would not give turns proofs into fiction; so what is not known dies, and
 * the differential test compares the rest with a real server. */
#include "sim_redis.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_redis_internal.h"
#include "sim_rng.h"

struct sim_redis_script {
    char sha[41], name[16];
    int ref; /* in Lua's registry */
};

struct sim_redis_delayed {
    struct store__args args;
};

struct conn {
    struct store__transport base; /* first: the vtable's self */
    struct sim_redis *redis;
    uint64_t incarnation;
    bool up, reliable, dead, doom_after;
    int doom; /* calls until it dies; -1: not doomed */
};

static redisReply *execute(struct sim_redis *redis, const struct store__args *args);

/* --- Lua --------------------------------------------------------------------------------------------------------- */

static void push_reply(lua_State *lua, const redisReply *reply) {
    luaL_checkstack(lua, 4, "a reply is nested too deeply");
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        lua_pushnumber(lua, (lua_Number)reply->integer);
        break;
    case REDIS_REPLY_STRING:
        lua_pushlstring(lua, reply->str, reply->len);
        break;
    case REDIS_REPLY_NIL:
        lua_pushboolean(lua, 0);
        break;
    case REDIS_REPLY_STATUS:
        lua_newtable(lua);
        lua_pushlstring(lua, reply->str, reply->len);
        lua_setfield(lua, -2, "ok");
        break;
    default:
        lua_newtable(lua);
        for (size_t i = 0; i < reply->elements; i++) {
            push_reply(lua, reply->element[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
    }
}

/* Numbers become text as Redis does it, which is not how Lua's tostring does it. */
static int lua_redis_call(lua_State *lua) {
    struct sim_redis *redis = lua_touserdata(lua, lua_upvalueindex(1));
    struct store__args args;
    store__args_init(&args);
    for (int i = 1; i <= lua_gettop(lua); i++) {
        size_t len;
        if (lua_type(lua, i) == LUA_TNUMBER) {
            store__args_str(&args, arena_printf(&args.arena, "%.17g", lua_tonumber(lua, i)));
        } else if (lua_type(lua, i) == LUA_TSTRING) {
            const char *bytes = lua_tolstring(lua, i, &len);
            store__args_bytes(&args, bytes, len);
        } else {
            sim_redis__die("redis.call with an argument that is neither string nor number", &args);
        }
    }
    redisReply *reply = execute(redis, &args);
    store__args_done(&args);
    bool failed = reply->type == REDIS_REPLY_ERROR;
    if (failed)
        lua_pushlstring(lua, reply->str, reply->len);
    else
        push_reply(lua, reply);
    freeReplyObject(reply);
    return failed ? lua_error(lua) : 1;
}

static int lua_error_reply(lua_State *lua) {
    lua_newtable(lua);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "err");
    return 1;
}

/* The value on top of the stack as a reply; pops it. */
static redisReply *pop_reply(lua_State *lua) {
    redisReply *reply;
    size_t len;
    const char *bytes;
    luaL_checkstack(lua, 4, "a result is nested too deeply");
    switch (lua_type(lua, -1)) {
    case LUA_TNUMBER:
        reply = sim_redis__reply_int((int64_t)lua_tonumber(lua, -1));
        break;
    case LUA_TSTRING:
        bytes = lua_tolstring(lua, -1, &len);
        reply = sim_redis__reply_text(REDIS_REPLY_STRING, bytes, len);
        break;
    case LUA_TBOOLEAN:
        reply = lua_toboolean(lua, -1) ? sim_redis__reply_int(1) : sim_redis__reply_nil();
        break;
    case LUA_TTABLE:
        lua_getfield(lua, -1, "err");
        bytes = lua_tolstring(lua, -1, &len);
        reply = bytes ? sim_redis__reply_text(REDIS_REPLY_ERROR, bytes, len) : sim_redis__reply_array();
        lua_pop(lua, 1);
        for (int i = 1; !bytes; i++) {
            lua_rawgeti(lua, -1, i);
            if (lua_isnil(lua, -1)) {
                lua_pop(lua, 1);
                break;
            }
            sim_redis__reply_push(reply, pop_reply(lua));
        }
        break;
    default:
        reply = sim_redis__reply_nil();
    }
    lua_pop(lua, 1);
    return reply;
}

static void set_list(lua_State *lua, const char *name, const struct store__args *args, size_t from, size_t to) {
    lua_pushstring(lua, name);
    lua_newtable(lua);
    for (size_t i = from; i < to; i++) {
        lua_pushlstring(lua, args->argv[i], args->lens[i]);
        lua_rawseti(lua, -2, (int)(i - from) + 1);
    }
    lua_rawset(lua, LUA_GLOBALSINDEX);
}

/* Runs the function on top of the stack. args: EVAL or EVALSHA, script, number of keys, keys, arguments. */
static redisReply *run_script(struct sim_redis *redis, const struct store__args *args) {
    lua_State *lua = redis->lua;
    size_t keys = (size_t)sim_redis__number(args, 2);
    set_list(lua, "KEYS", args, 3, 3 + keys);
    set_list(lua, "ARGV", args, 3 + keys, args->count);
    if (lua_pcall(lua, 0, 1, 0) != 0) sim_redis__die(lua_tostring(lua, -1), NULL);
    return pop_reply(lua);
}

static redisReply *cmd_eval(struct sim_redis *redis, const struct store__args *args) {
    if (luaL_loadbuffer(redis->lua, args->argv[1], args->lens[1], "@script") != 0)
        sim_redis__die(lua_tostring(redis->lua, -1), NULL);
    return run_script(redis, args);
}

static struct sim_redis_script *script_find(const struct sim_redis *redis, const char *sha) {
    for (size_t i = 0; i < redis->script_count; i++)
        if (strcmp(redis->scripts[i].sha, sha) == 0) return &redis->scripts[i];
    return NULL;
}

static redisReply *cmd_evalsha(struct sim_redis *redis, const struct store__args *args) {
    static const char missing[] = "NOSCRIPT No matching script. Please use EVAL.";
    char sha[41];
    snprintf(sha, sizeof sha, "%.*s", (int)args->lens[1], args->argv[1]);
    const struct sim_redis_script *script = script_find(redis, sha);
    if (!script) return sim_redis__reply_text(REDIS_REPLY_ERROR, missing, sizeof missing - 1);
    lua_rawgeti(redis->lua, LUA_REGISTRYINDEX, script->ref);
    return run_script(redis, args);
}

/* In place of SHA-1 a shorter hash written as long: what counts is that another text has another name. */
static redisReply *cmd_script(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_script script = {0};
    uint64_t hash = SIM_HASH_START;
    if (!sim_redis__word_is(args, 1, "LOAD")) sim_redis__die("unknown option", args);
    sim_hash(&hash, args->argv[2], args->lens[2]);
    snprintf(script.sha, sizeof script.sha, "%040" PRIx64, hash);
    if (script_find(redis, script.sha)) return sim_redis__reply_text(REDIS_REPLY_STRING, script.sha, 40);
    if (sscanf(args->argv[2], "-- penstock %15s", script.name) != 1) sim_redis__die("a script without a name", NULL);
    char *other = redis->hooks.rewrite ? redis->hooks.rewrite(redis->hooks.self, args->argv[2]) : NULL;
    const char *text = other ? other : args->argv[2];
    if (luaL_loadbuffer(redis->lua, text, strlen(text), script.name) != 0)
        sim_redis__die(lua_tostring(redis->lua, -1), NULL);
    free(other);
    script.ref = luaL_ref(redis->lua, LUA_REGISTRYINDEX);
    redis->scripts = mem_realloc(redis->scripts, (redis->script_count + 1) * sizeof script);
    redis->scripts[redis->script_count++] = script;
    return sim_redis__reply_text(REDIS_REPLY_STRING, script.sha, 40);
}

/* --- dispatch ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    sim_redis__command_fn *run;
} script_commands[] = {
    {"EVAL", cmd_eval},
    {"EVALSHA", cmd_evalsha},
    {"SCRIPT", cmd_script},
};

static redisReply *execute(struct sim_redis *redis, const struct store__args *args) {
    sim_redis__command_fn *run = sim_redis__data_command(args);
    for (size_t i = 0; !run && i < sizeof script_commands / sizeof script_commands[0]; i++)
        if (sim_redis__word_is(args, 0, script_commands[i].name) && args->count >= 3) run = script_commands[i].run;
    if (!run) sim_redis__die("a command that this Redis does not know", args);
    return run(redis, args);
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static redisReply *execute_seen(struct sim_redis *redis, const struct conn *conn, const struct store__args *args) {
    redisReply *reply = execute(redis, args);
    if (!redis->hooks.after || (conn && conn->reliable)) return reply;
    const struct sim_redis_script *script =
        sim_redis__word_is(args, 0, "EVALSHA") ? script_find(redis, args->argv[1]) : NULL;
    redis->hooks.after(redis->hooks.self, conn ? &conn->base : NULL, script ? script->name : NULL, args, reply);
    return reply;
}

/* Somebody gave up on this command, but the server has it and may still do it. */
static void delay(struct sim_redis *redis, const struct store__args *args) {
    struct sim_redis_delayed late;
    store__args_init(&late.args);
    for (size_t i = 0; i < args->count; i++)
        store__args_bytes(&late.args, arena_strndup(&late.args.arena, args->argv[i], args->lens[i]), args->lens[i]);
    redis->delayed = mem_realloc(redis->delayed, (redis->delayed_count + 1) * sizeof late);
    redis->delayed[redis->delayed_count++] = late;
}

static void do_delayed(struct sim_redis *redis) {
    if (redis->delayed_count == 0 || !sim_rng_chance(&redis->rng, 100)) return;
    struct store__args args = redis->delayed[0].args;
    redis->delayed_count--;
    memmove(redis->delayed, redis->delayed + 1, redis->delayed_count * sizeof *redis->delayed);
    freeReplyObject(execute_seen(redis, NULL, &args));
    store__args_done(&args);
}

static int broken(struct conn *conn, const char *what, struct err *err) {
    conn->up = false;
    return err_set(err, ERR_STORE_UNAVAILABLE, "redis (simulated): %s", what);
}

static const struct sim_redis_faults *faults_of(const struct conn *conn) {
    static const struct sim_redis_faults none;
    return conn->reliable ? &none : &conn->redis->faults;
}

/* What may happen before the server sees a call. */
static int before_call(struct conn *conn, struct err *err) {
    struct sim_redis *redis = conn->redis;
    if (!conn->reliable) {
        if (redis->hooks.before) redis->hooks.before(redis->hooks.self);
        do_delayed(redis);
    }
    if (conn->doom == 0) conn->dead = true;
    if (conn->doom > 0) conn->doom--;
    if (conn->dead && !conn->doom_after) return broken(conn, "the process is dead", err);
    if (sim_rng_chance(&redis->rng, faults_of(conn)->restart)) sim_redis_restart(redis);
    if (conn->up && !conn->reliable && conn->incarnation != redis->incarnation)
        return broken(conn, "connection reset by peer", err);
    if (!conn->up) {
        conn->up = true;
        conn->incarnation = redis->incarnation;
        conn->base.generation++;
    }
    if (sim_rng_chance(&redis->rng, faults_of(conn)->lost_request)) return broken(conn, "connection refused", err);
    return 0;
}

static bool loses_reply(struct conn *conn) {
    bool lost = sim_rng_chance(&conn->redis->rng, faults_of(conn)->lost_reply) || conn->dead;
    if (lost) conn->doom_after = false;
    return lost;
}

static int conn_call(struct store__transport *tr, const struct store__args *args, redisReply **ret, struct err *err) {
    struct conn *conn = (struct conn *)tr;
    if (before_call(conn, err) != 0) return -1;
    if (sim_rng_chance(&conn->redis->rng, faults_of(conn)->delayed)) {
        delay(conn->redis, args);
        return broken(conn, "timed out", err);
    }
    redisReply *reply = execute_seen(conn->redis, conn, args);
    if (loses_reply(conn)) {
        freeReplyObject(reply);
        return broken(conn, "connection lost before the reply", err);
    }
    *ret = reply;
    return 0;
}

/* A transaction: MULTI, what is between, EXEC. Nothing comes in between, here and in Redis. */
static int conn_transact(struct conn *conn, const struct store__args *commands, size_t count, redisReply **ret,
                         struct err *err) {
    if (before_call(conn, err) != 0) return -1;
    ret[0] = sim_redis__reply_text(REDIS_REPLY_STATUS, "OK", 2);
    ret[count - 1] = sim_redis__reply_array();
    for (size_t i = 1; i + 1 < count; i++) ret[i] = execute_seen(conn->redis, conn, &commands[i]);
    return loses_reply(conn) ? broken(conn, "connection lost before the reply", err) : 0;
}

static int conn_calls(struct store__transport *tr, const struct store__args *commands, size_t count, redisReply **ret,
                      struct err *err) {
    if (sim_redis__word_is(&commands[0], 0, "MULTI"))
        return conn_transact((struct conn *)tr, commands, count, ret, err);
    for (size_t i = 0; i < count; i++)
        if (conn_call(tr, &commands[i], &ret[i], err) != 0) return -1;
    return 0;
}

static int conn_fd(struct store__transport *tr) { return -1; }
static int conn_next(struct store__transport *tr, redisReply **ret, struct err *err) {
    *ret = NULL;
    return 0;
}
static void conn_free(struct store__transport *tr) { free(tr); }

struct store__transport *sim_redis_connect(struct sim_redis *redis) {
    struct conn *conn = mem_calloc(1, sizeof *conn);
    conn->base = (struct store__transport){
        .call = conn_call, .calls = conn_calls, .fd = conn_fd, .next = conn_next, .free = conn_free};
    conn->redis = redis;
    conn->doom = -1;
    return &conn->base;
}

struct store__transport *sim_redis_connect_reliable(struct sim_redis *redis) {
    struct store__transport *tr = sim_redis_connect(redis);
    ((struct conn *)tr)->reliable = true;
    return tr;
}

void sim_redis_doom(struct store__transport *tr, int calls, bool after_effect) {
    struct conn *conn = (struct conn *)tr;
    conn->doom = calls;
    conn->doom_after = after_effect;
}

bool sim_redis_is_dead(const struct store__transport *tr) { return ((const struct conn *)tr)->dead; }

redisReply *sim_redis_query(struct sim_redis *redis, const char *fmt, ...) {
    struct store__args args;
    char text[512], *save = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len < 0 || (size_t)len >= sizeof text) sim_redis__die("too long a query", NULL);
    store__args_init(&args);
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) store__args_str(&args, word);
    redisReply *reply = execute(redis, &args);
    store__args_done(&args);
    return reply;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void forget_scripts(struct sim_redis *redis) {
    for (size_t i = 0; i < redis->script_count; i++) luaL_unref(redis->lua, LUA_REGISTRYINDEX, redis->scripts[i].ref);
    for (size_t i = 0; i < redis->delayed_count; i++) store__args_done(&redis->delayed[i].args);
    redis->script_count = redis->delayed_count = 0;
}

void sim_redis_restart(struct sim_redis *redis) {
    forget_scripts(redis);
    redis->incarnation++;
}

/* Redis refuses scripts that make or read globals by mistake; so must we. */
static int lua_no_global(lua_State *lua) { return luaL_error(lua, "global variable '%s'", lua_tostring(lua, 2)); }

/* Its user may do everything. */
static int lua_may(lua_State *lua) {
    lua_pushboolean(lua, 1);
    return 1;
}

struct sim_redis *sim_redis_new(uint64_t seed, const int64_t *clock_us) {
    struct sim_redis *redis = mem_calloc(1, sizeof *redis);
    redis->now_us = clock_us;
    redis->rng = seed;
    redis->incarnation = 1;
    lua_State *lua = redis->lua = luaL_newstate();
    luaL_openlibs(lua);
    lua_newtable(lua);
    lua_pushlightuserdata(lua, redis);
    lua_pushcclosure(lua, lua_redis_call, 1);
    lua_setfield(lua, -2, "call");
    lua_pushcfunction(lua, lua_error_reply);
    lua_setfield(lua, -2, "error_reply");
    lua_pushcfunction(lua, lua_may);
    lua_setfield(lua, -2, "acl_check_cmd");
    lua_setglobal(lua, "redis");
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    lua_newtable(lua);
    lua_pushcfunction(lua, lua_no_global);
    lua_setfield(lua, -2, "__newindex");
    lua_pushcfunction(lua, lua_no_global);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
    lua_pop(lua, 1);
    return redis;
}

void sim_redis_free(struct sim_redis *redis) {
    if (!redis) return;
    forget_scripts(redis);
    sim_redis__data_free(redis);
    lua_close(redis->lua);
    free(redis->scripts);
    free(redis->delayed);
    free(redis);
}

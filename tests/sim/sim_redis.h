/* sim_redis: a Redis in memory, for running the real Lua scripts under virtual time and seeded faults.
 *
 * It knows the commands that src/store/ uses and nothing more: an unknown command, option or type ends the program, so
 * that no test passes on an answer that Redis would not give. tests/sim/test_sim_differential.c compares it with a real
 * redis-server.
 *
 *     struct sim_redis *redis = sim_redis_new(seed, &now_us);
 *     struct store *st = store__new(&cfg, sim_redis_connect(redis));
 *     redis->faults.lost_reply = 10; // in a thousand
 */
#ifndef PENSTOCK_SIM_REDIS_H
#define PENSTOCK_SIM_REDIS_H

#include "store_internal.h"

/* Each per mille of the calls, of every connection that is not `reliable`. */
struct sim_redis_faults {
    unsigned lost_request; /* the connection breaks before the command took effect */
    unsigned lost_reply;   /* ... after it took effect */
    unsigned delayed;      /* the caller gives up; the command takes effect at some later time */
    unsigned restart;      /* the process restarts: data kept, scripts forgotten, another run id */
};

struct sim_redis_hooks {
    void *self;
    /* Before each call of a connection that is not reliable: the moment when others may get ahead of it. */
    void (*before)(void *self);
    /* After each command that took effect. `script` is the name of the script called, or NULL. `conn` as below. */
    void (*after)(void *self, const struct store__transport *conn, const char *script, const struct store__args *args,
                  const redisReply *reply);
    /* Returns the text to load in place of a script's own (malloc), or NULL to leave it. */
    char *(*rewrite)(void *self, const char *text);
};

struct sim_redis_value;
struct sim_redis_script;
struct sim_redis_delayed;
struct lua_State;
struct sim_redis {
    const int64_t *now_us; /* the world's clock, since the epoch */
    int64_t skew_us;       /* by which Redis TIME differs from it; may jump */
    uint64_t rng;
    struct sim_redis_faults faults;
    struct sim_redis_hooks hooks;
    uint64_t incarnation;           /* counts restarts */
    struct sim_redis_value *values; /* sorted by key */
    size_t value_count, value_cap;
    struct sim_redis_script *scripts;
    size_t script_count;
    struct sim_redis_delayed *delayed;
    size_t delayed_count;
    struct lua_State *lua;
};

struct sim_redis *sim_redis_new(uint64_t seed, const int64_t *now_us);
void sim_redis_free(struct sim_redis *redis); /* after the stores that are connected to it */
void sim_redis_restart(struct sim_redis *redis);

/* Owns: the store that it is given to. */
struct store__transport *sim_redis_connect(struct sim_redis *redis);
struct store__transport *sim_redis_connect_reliable(struct sim_redis *redis); /* no faults, no hooks: for looking */
/* The process behind the connection dies at its call number `calls` from now (0 = the next), before or after the
 * command took effect; from then on every call fails. */
void sim_redis_doom(struct store__transport *conn, int calls, bool after_effect);
bool sim_redis_is_dead(const struct store__transport *conn);

/* One command in words, for looking and for breaking things on purpose. Owns: caller, freeReplyObject. */
redisReply *sim_redis_query(struct sim_redis *redis, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif

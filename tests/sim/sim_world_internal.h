/* Inside the world: who lives in it (sim_world.c), what is sent to it (sim_client.c), what must hold (sim_check.c). */
#ifndef PENSTOCK_SIM_WORLD_INTERNAL_H
#define PENSTOCK_SIM_WORLD_INTERNAL_H

#include "penstock/ingest.h"
#include "penstock/relay.h"
#include "penstock/store_view.h"
#include "penstock/sweeper.h"
#include "sim_bus.h"
#include "sim_redis.h"
#include "sim_rng.h"
#include "sim_world.h"

#define SIM_COMMANDS "penstock.commands"
#define SIM_CONTROL  "penstock.control"
#define SIM_EVENTS   "penstock.events"
#define SIM_DLQ      "penstock.commands.dlq"
#define SIM_PREFIX   "penstock:"

#define SIM_JOBS         24
#define SIM_COMMANDS_MAX 160
#define SIM_SEQ_MAX      64
#define SIM_MODELS       3

enum sim_actor_kind { ACTOR_INGEST, ACTOR_RELAY, ACTOR_SWEEPER, ACTOR_SUPERVISOR, ACTOR_WORKER };

struct sim_clock {
    struct clock base; /* first: the vtable's self */
    const int64_t *now_us;
    int64_t first_us; /* not 0: what the next reading says, once */
};

struct sim_runner {
    struct worker_runner base; /* first: the vtable's self */
    struct sim_world *world;
    struct sim_clock clock;
    struct worker_batch *batch; /* NULL: none running */
    int64_t start_us, end_us;
    bool hangs, kills; /* kills: the process died of the run */
};

struct sim_actor {
    enum sim_actor_kind kind;
    int number, life;
    char name[24];
    bool busy; /* on the stack */
    int64_t ready_at_us;
    struct store *st;
    struct store__transport *conn; /* st's */
    struct ingest *ingest;
    struct bus_consumer *consumer;
    struct relay *relay;
    struct sweeper sweeper;
    struct worker *worker;
    struct sim_runner runner;
};
#define SIM_ACTORS 8

enum sim_command_kind { COMMAND_CREATE, COMMAND_CANCEL, COMMAND_MALFORMED };
struct sim_command {
    enum sim_command_kind kind;
    int job;         /* -1: none */
    bool other_body; /* a create that conflicts with the job's first */
    struct bus_position at;
    bool seen, taken; /* by ingest.lua; with a verdict other than "duplicate" */
    int rejected_events, dead_letters;
    const char *reason; /* of the rejected event */
};

struct sim_job {
    char id[16];
    char body[512];                 /* "" until submitted */
    bool poison;                    /* kills every worker that runs it */
    int first_create, first_cancel; /* index of a command on the commands topic, or -1 */
    char token[40];                 /* the newest one given out */
    enum job_state seen_state;
    int64_t seen_seq;
    struct job_record rec; /* folded */
    const struct bus_msg *events[SIM_SEQ_MAX];
    struct job_event last;
};

struct sim_world {
    uint64_t seed, rng;
    enum sim_mutant mutant;
    bool print, calm;                    /* calm: no faults any more */
    unsigned crashes, overtakes, stalls; /* per mille of the steps, of the calls, of those that are overtaken */
    unsigned retires, skews;             /* per mille of the steps: an orderly stop; Redis' clock is set */
    int64_t lease_ms, run_us;            /* of the workers; run_us 0: as chance wants */
    int depth;                           /* of steps inside steps */
    int64_t now_us;
    struct sim_clock clock;
    struct sim_redis *redis;
    struct sim_bus *bus;
    struct worker_models *models;
    struct sim_actor actors[SIM_ACTORS];
    char lost[16][24]; /* workers that died and are to be reported */
    size_t lost_count;
    struct sim_job jobs[SIM_JOBS];
    size_t job_count; /* that were named in a command */
    struct sim_command commands[SIM_COMMANDS_MAX];
    size_t command_count;
    uint64_t last_epoch, last_n; /* of the newest token */
    struct store *eye;           /* a reliable connection, for looking */
    struct arena arena;
    struct sim_result *result;
};

extern const char *const sim_world__models[SIM_MODELS]; /* the last is served by nobody */

void sim_world__fail(struct sim_world *world, const char *fmt, ...) PRINTF_LIKE(2, 3); /* the first one counts */
bool sim_world__failed(const struct sim_world *world);
struct sim_job *sim_world__job(struct sim_world *world, const char *id, size_t len); /* NULL: not one of ours */

/* Sends one command, or does nothing when enough were sent. */
void sim_client__submit(struct sim_world *world);
/* Sends a job that may run for an hour. */
void sim_client__submit_long(struct sim_world *world);

/* Hooks of sim_redis. */
void sim_check__after(void *self, const struct store__transport *conn, const char *script,
                      const struct store__args *args, const redisReply *reply);
char *sim_mutant__rewrite(void *self, const char *text);

void sim_check__step(struct sim_world *world);    /* cheap: after every step */
bool sim_check__at_rest(struct sim_world *world); /* is everything dealt with? */
void sim_check__all(struct sim_world *world);     /* at rest */

#endif

/* sim_world: Penstock's own code, whole, in a world where time, chance, Redis and Kafka belong to the test.
 *
 * Two ingests, two relays, a sweeper, a supervisor and two workers, all production code, are driven step by step by a
 * seeded scheduler over sim_redis and sim_bus. They are killed at any call, paused, cut off and interleaved; commands,
 * good and bad ones, arrive all the while. Then the faults end, everything comes to rest, and the promises are checked.
 *
 *     struct sim_result result;
 *     sim_run(seed, SIM_MUTANT_NONE, models, false, &result);
 *     assert_string_equal(result.failure, "");
 */
#ifndef PENSTOCK_SIM_WORLD_H
#define PENSTOCK_SIM_WORLD_H

#include "penstock/job.h"
#include "penstock/worker.h"

/* Seeds 1 to SIM_SEEDS are run by default; fewer where a sanitizer makes each five times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIM_SEEDS 80
#else
#define SIM_SEEDS 200
#endif

/* Mistakes that the world can be told to make, to prove that the checks can fail. */
enum sim_mutant {
    SIM_MUTANT_NONE,
    SIM_MUTANT_FINISH_ANY_TOKEN,
    SIM_MUTANT_RENEW_ANY_TOKEN,
    SIM_MUTANT_SEQ_STANDS_STILL,
    SIM_MUTANT_ATTEMPT_NOT_WRITTEN,
    SIM_MUTANT_OFFSETS_IGNORED,
    SIM_MUTANT_CONFLICT_IGNORED,
    SIM_MUTANT_READY_NOT_LEFT,
    SIM_MUTANT_TOMBSTONE_IGNORED,
    SIM_MUTANT_CANCEL_FORGOTTEN,
    SIM_MUTANT_OUTBOX_LOST,
    SIM_MUTANT_TRIM_EARLY,
    SIM_MUTANT_PRODUCER_GAPS,
    SIM_MUTANT_READER_SKIPS,
    SIM_MUTANT_RETRY_UNDOES_CANCEL,
    SIM_MUTANT_TOO_LATE_SILENT,
    SIM_MUTANT_COUNT
};
const char *sim_mutant_name(enum sim_mutant mutant);

/* What happened, so that a test can see that the world was as rough as it claims. */
enum sim_count {
    SIM_COUNT_JOBS,
    SIM_COUNT_RUNS,
    SIM_COUNT_COMPLETED,
    SIM_COUNT_FAILED,
    SIM_COUNT_CANCELLED,
    SIM_COUNT_REJECTED,
    SIM_COUNT_RETRY,
    SIM_COUNT_RELEASE,
    SIM_COUNT_WORKER_LOST,
    SIM_COUNT_WORKER_LOST_FOR_GOOD,
    SIM_COUNT_TIMEOUT,
    SIM_COUNT_QUEUE_TIMEOUT,
    SIM_COUNT_CONFLICT,
    SIM_COUNT_TOO_LATE,
    SIM_COUNT_TOMBSTONE,
    SIM_COUNT_REPEATED_EVENT,
    SIM_COUNT_LATE_RESULT,
    SIM_COUNT_CRASH,
    SIM_COUNT_RESTART,
    SIM_COUNT_STEPS,
    SIM_COUNT_COUNT
};
extern const char *const sim_count_names[SIM_COUNT_COUNT];

struct sim_result {
    uint64_t hash;     /* of the whole trace */
    char failure[600]; /* "" or the first broken promise */
    int mutated;       /* how often a mutant's text was replaced */
    uint64_t counts[SIM_COUNT_COUNT];
};

/* `models` is borrowed: the repository in tests/sim/models, loaded. `print`: the trace, on standard output. */
void sim_run(uint64_t seed, enum sim_mutant mutant, struct worker_models *models, bool print, struct sim_result *ret);
/* One job that runs `run_ms` on a lease of `lease_ms`, while the group rebalances, all control processes are restarted
 * ten times and connections to Redis break; no worker dies or stands still. */
void sim_run_long(uint64_t seed, int64_t lease_ms, int64_t run_ms, struct worker_models *models,
                  struct sim_result *ret);
struct worker_models *sim_models_load(void); /* Owns: caller, worker_models_free */

#endif

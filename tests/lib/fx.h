/* fx: a store on a private Redis for one test, short hands for what the tests do with it, and the invariants that must
 * hold after every one of them.
 *
 *     static void test_...(void **state) {
 *         struct fx *fx = *state;
 *         fx_create(fx, "a");
 *         struct store_claimed job = fx_claim_one(fx, "w1");
 *         assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
 *         assert_int_equal(fx_state(fx, "a"), JOB_STATE_COMPLETED);
 *     }
 *     ... cmocka_unit_test_setup_teardown(test_..., fx_setup, fx_teardown)
 *     ... cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown)
 *
 * Short hands fail the running test when the call behind them fails. What they return lives until the teardown, which
 * calls fx_check(). Thread: the main one.
 */
#ifndef PENSTOCK_TEST_FX_H
#define PENSTOCK_TEST_FX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "penstock/store_outbox.h"
#include "penstock/store_view.h"
#include "testlib.h"

#define FX_MODEL       "m"
#define FX_TOPIC       "penstock.commands"
#define FX_LEASE_MS    60000
#define FX_DEADLINE_MS 10000 /* of everything that is waited for */
#define FX_TRACEPARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#define FX_TEST(test) cmocka_unit_test_setup_teardown(test, fx_setup, fx_teardown)

struct fx {
    struct test_redis *redis;
    struct store_config cfg; /* of `st`; retention_ms is what fx_check() expects of ended jobs */
    struct store *st;
    struct arena arena; /* of one test */
    struct err err;     /* of the last call that was to fail */
    int64_t next_offset;
    struct job_event *events; /* every event of the test so far; see fx_drain() */
    size_t event_count, event_cap, entry_count;
    const char *cursor; /* the last outbox entry drained */
};

int fx_group_setup(void **state);
int fx_group_teardown(void **state);
int fx_setup(void **state);    /* an empty Redis, an open store */
int fx_teardown(void **state); /* checks the invariants first */

/* Opens another store; NULL changes leave cfg as the fixture's. Owns: caller. */
struct store *fx_open(struct fx *fx, const struct store_config *cfg);
void fx_reopen(struct fx *fx); /* after a change of fx->cfg */

/* A raw command, for looking and for breaking things on purpose: the reply as RESP. */
const char *fx_redis(struct fx *fx, const char *fmt, ...) PRINTF_LIKE(2, 3);
int64_t fx_redis_int(struct fx *fx, const char *fmt, ...) PRINTF_LIKE(2, 3);
int64_t fx_now_ms(struct fx *fx); /* by Redis TIME */
/* Everything that the record's hash says, sorted and joined: for "it is unchanged". */
const char *fx_hash(struct fx *fx, const char *job_id);

struct store_item fx_item_create(struct fx *fx, const char *job_id); /* at the next offset of partition 0 */
struct store_item fx_item_cancel(struct fx *fx, const char *job_id);
void fx_ingest(struct fx *fx, struct store_item *items, size_t count);
enum store_verdict fx_ingest_one(struct fx *fx, struct store_item item);
void fx_create(struct fx *fx, const char *job_id);
enum store_verdict fx_cancel(struct fx *fx, const char *job_id);

struct store_claims fx_claim(struct fx *fx, const char *worker, int max_jobs, int64_t lease_ms);
struct store_claimed fx_claim_one(struct fx *fx, const char *worker);
bool fx_finish(struct fx *fx, const char *worker, const struct store_claimed *job, enum store_outcome outcome);
bool fx_finish_one(struct fx *fx, const char *worker, struct store_finish finish);
enum store_lease fx_renew(struct fx *fx, const char *worker, const struct store_claimed *job);
size_t fx_sweep(struct fx *fx, size_t limit, int64_t *ret_next_ms);
void fx_sweep_until(struct fx *fx, const char *job_id, enum job_state state); /* fails at the deadline */

struct job_record fx_record(struct fx *fx, const char *job_id);
enum job_state fx_state(struct fx *fx, const char *job_id);
const char *fx_doc(struct fx *fx, const char *what, const char *job_id, size_t *ret_len); /* NULL: absent */

void fx_drain(struct fx *fx); /* reads new outbox entries into fx->events; call it before trimming */
size_t fx_event_count(struct fx *fx, const char *job_id); /* drains first; rejected ones included */
const struct job_event *fx_last_event(struct fx *fx, const char *job_id);

/* The invariants: events fold to the records, seq and gseq have no gap, indexes, queues, timers and held sets agree
 * with the records, documents are where they belong and nothing is left over. */
void fx_check(struct fx *fx);

#endif

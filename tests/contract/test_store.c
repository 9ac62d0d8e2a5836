/* The store against a real Redis: the life of a job. */
#include <string.h>

#include "fx.h"

static void test_store_job_runs_from_create_to_completed(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_QUEUED);
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_string_equal(job.job_id, "a");
    assert_string_equal(job.model, FX_MODEL);
    assert_string_equal(job.model_version, "1");
    assert_string_equal(job.traceparent, FX_TRACEPARENT);
    assert_int_equal(job.attempt, 1);
    assert_int_equal(job.crashes, 0);
    assert_int_equal(job.timeout_ms, 300000);
    assert_memory_equal(job.spec, "{\"model\":\"m\",\"for\":\"a\"}", job.spec_len);
    assert_int_equal(fx_renew(fx, "w1", &job), STORE_LEASE_HELD);
    assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
    struct job_record rec = fx_record(fx, "a");
    assert_int_equal(rec.state, JOB_STATE_COMPLETED);
    assert_int_equal(rec.seq, 3);
    assert_string_equal(rec.worker, "w1");
    assert_string_equal(fx_doc(fx, "result", "a", NULL), "{\"outputs\":[]}");
    assert_int_equal(fx_event_count(fx, "a"), 3);
    assert_int_equal(fx->entry_count, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_job_runs_from_create_to_completed),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

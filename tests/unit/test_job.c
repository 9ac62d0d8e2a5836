/* The state machine and the folding of events, without a store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/job.h"

/* --- the table ---------------------------------------------------------------------------------------------------- */

static void test_job_may_follow_the_table_and_nothing_else(void **state) {
    static const bool may[JOB_STATE_COUNT][JOB_STATE_COUNT] = {
        [JOB_STATE_NONE] = {[JOB_STATE_QUEUED] = true, [JOB_STATE_CANCELLED] = true},
        [JOB_STATE_QUEUED] = {[JOB_STATE_RUNNING] = true, [JOB_STATE_CANCELLED] = true, [JOB_STATE_FAILED] = true},
        [JOB_STATE_RUNNING] = {[JOB_STATE_COMPLETED] = true,
                               [JOB_STATE_FAILED] = true,
                               [JOB_STATE_CANCELLED] = true,
                               [JOB_STATE_QUEUED] = true},
    };
    for (enum job_state from = JOB_STATE_NONE; from < JOB_STATE_COUNT; from++)
        for (enum job_state to = JOB_STATE_NONE; to < JOB_STATE_COUNT; to++)
            if (job_may(from, to) != may[from][to]) fail_msg("%s to %s", job_state_name(from), job_state_name(to));
    assert_int_equal(job_transition_count, 9);
}

static void test_job_state_is_terminal_if_nothing_follows(void **state) {
    for (enum job_state from = JOB_STATE_QUEUED; from < JOB_STATE_COUNT; from++) {
        bool leads_on = false;
        for (enum job_state to = JOB_STATE_NONE; to < JOB_STATE_COUNT; to++) leads_on |= job_may(from, to);
        assert_int_equal(job_state_is_terminal(from), !leads_on);
    }
    assert_false(job_state_is_terminal(JOB_STATE_NONE));
    assert_false(job_state_is_terminal(JOB_STATE_REJECTED));
}

static void test_job_state_names_are_read_back(void **state) {
    for (int code = JOB_STATE_NONE; code <= JOB_STATE_REJECTED; code++) {
        const char *name = job_state_name((enum job_state)code);
        assert_int_equal(job_state_from_name(name, strlen(name)), code);
        assert_int_equal(job_state_from_name(name, strlen(name) - 1), -1);
    }
    assert_int_equal(job_state_from_name("Queued", 6), -1);
    assert_int_equal(job_state_from_name("", 0), -1);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void test_job_id_has_1_to_128_of_its_characters(void **state) {
    char id[JOB_ID_MAX + 2];
    memset(id, 'a', sizeof id);
    assert_false(job_id_is_valid(id, 0));
    assert_true(job_id_is_valid(id, 1));
    assert_true(job_id_is_valid(id, JOB_ID_MAX));
    assert_false(job_id_is_valid(id, JOB_ID_MAX + 1));
    for (int c = 0; c < 256; c++) {
        id[3] = (char)c;
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                       c == '_' || c == ':' || c == '-';
        if (job_id_is_valid(id, 8) != allowed) fail_msg("character 0x%02x", (unsigned)c);
    }
}

static void test_job_model_name_cannot_leave_its_directory(void **state) {
    assert_true(job_model_is_valid("resnet-50_v1.5", 14));
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "a:b", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (job_model_is_valid(bad[i], strlen(bad[i]))) fail_msg("taken: %s", bad[i]);
    assert_false(job_model_is_valid("a\0b", 3));
    char name[JOB_MODEL_MAX + 1];
    memset(name, 'm', sizeof name);
    assert_true(job_model_is_valid(name, JOB_MODEL_MAX));
    assert_false(job_model_is_valid(name, JOB_MODEL_MAX + 1));
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

static struct job_event event(int64_t seq, enum job_state from, enum job_state to, int64_t at) {
    return (struct job_event){.job_id = "a",
                              .seq = seq,
                              .from = from,
                              .to = to,
                              .at = at,
                              .attempt = 1,
                              .max_attempts = 3,
                              .priority = 7,
                              .model = from == JOB_STATE_NONE ? "m" : NULL,
                              .model_version = from == JOB_STATE_NONE ? "2" : NULL,
                              .worker = from == JOB_STATE_RUNNING || to == JOB_STATE_RUNNING ? "w1" : NULL,
                              .token = from == JOB_STATE_RUNNING || to == JOB_STATE_RUNNING ? "1-5" : NULL,
                              .traceparent = "00-trace",
                              .timeout_ms = from == JOB_STATE_NONE ? 1000 : 0,
                              .queue_timeout_ms = from == JOB_STATE_NONE ? 2000 : 0,
                              .reason = to == JOB_STATE_FAILED ? "timeout" : "because"};
}

static void fold(struct job_record *rec, struct job_event ev) {
    struct err err;
    if (job_fold(rec, &ev, &err) != 0) fail_msg("%s", err.msg);
}

static void test_job_fold_gives_the_record_of_a_life_with_a_retry(void **state) {
    struct job_record rec = {0};
    struct job_event created = event(1, JOB_STATE_NONE, JOB_STATE_QUEUED, 100);
    created.not_before = 150;
    fold(&rec, created);
    assert_int_equal(rec.not_before, 150);
    fold(&rec, event(2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 200));
    assert_int_equal(rec.not_before, 0);
    assert_string_equal(rec.worker, "w1");
    struct job_event retry = event(3, JOB_STATE_RUNNING, JOB_STATE_QUEUED, 300);
    retry.attempt = 2;
    retry.crashes = 1;
    retry.not_before = 350;
    fold(&rec, retry);
    assert_null(rec.worker);
    assert_null(rec.token);
    assert_int_equal(rec.started_at, 0);
    assert_int_equal(rec.queued_at, 300);
    struct job_event claimed = event(4, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 400),
                     failed = event(5, JOB_STATE_RUNNING, JOB_STATE_FAILED, 450);
    claimed.attempt = failed.attempt = 2;
    claimed.crashes = failed.crashes = 1;
    fold(&rec, claimed);
    fold(&rec, failed);
    struct job_record want = {.job_id = "a",
                              .state = JOB_STATE_FAILED,
                              .seq = 5,
                              .model = "m",
                              .model_version = "2",
                              .priority = 7,
                              .attempt = 2,
                              .max_attempts = 3,
                              .crashes = 1,
                              .token = "1-5",
                              .worker = "w1",
                              .created_at = 100,
                              .queued_at = 300,
                              .started_at = 400,
                              .finished_at = 450,
                              .duration_ms = 50,
                              .timeout_ms = 1000,
                              .queue_timeout_ms = 2000,
                              .error_code = "timeout",
                              .traceparent = "00-trace"};
    assert_null(job_record_diff(&rec, &want));
}

static void test_job_fold_refuses_gaps_repeats_and_impossible_steps(void **state) {
    struct job_record queued = {0};
    fold(&queued, event(1, JOB_STATE_NONE, JOB_STATE_QUEUED, 100));
    struct job_event bad[] = {
        event(1, JOB_STATE_NONE, JOB_STATE_QUEUED, 100),    /* the same again */
        event(3, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 100), /* one is missing */
        event(0, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 100),
        event(2, JOB_STATE_RUNNING, JOB_STATE_FAILED, 100),   /* it was not running */
        event(2, JOB_STATE_QUEUED, JOB_STATE_COMPLETED, 100), /* not in the table */
        event(2, JOB_STATE_NONE, JOB_STATE_QUEUED, 100),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct job_record rec = queued;
        struct err err;
        assert_int_equal(job_fold(&rec, &bad[i], &err), -1);
        assert_int_equal(err.code, ERR_STORE_CORRUPT);
        assert_memory_equal(&rec, &queued, sizeof rec);
    }
}

static void test_job_fold_passes_over_rejected_commands(void **state) {
    struct job_record rec = {0}, none = {0};
    struct err err;
    struct job_event rejected = {.job_id = "a", .to = JOB_STATE_REJECTED, .reason = "job_conflict"};
    assert_int_equal(job_fold(&rec, &rejected, &err), 0);
    assert_memory_equal(&rec, &none, sizeof rec);
}

static void test_job_record_diff_names_the_member(void **state) {
    struct job_record rec = {0};
    fold(&rec, event(1, JOB_STATE_NONE, JOB_STATE_QUEUED, 100));
    struct job_record other = rec;
    other.crashes = 1;
    assert_string_equal(job_record_diff(&rec, &other), "crashes");
    other = rec;
    other.error_code = "timeout";
    assert_string_equal(job_record_diff(&rec, &other), "error_code");
    other = rec;
    other.model_version = NULL;
    assert_string_equal(job_record_diff(&rec, &other), "model_version");
    other = rec;
    other.progress = 0.5; /* these change between transitions */
    other.updated_at = 999;
    other.lease_until = 999;
    other.cancel_requested = true;
    assert_null(job_record_diff(&rec, &other));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_may_follow_the_table_and_nothing_else),
        cmocka_unit_test(test_job_state_is_terminal_if_nothing_follows),
        cmocka_unit_test(test_job_state_names_are_read_back),
        cmocka_unit_test(test_job_id_has_1_to_128_of_its_characters),
        cmocka_unit_test(test_job_model_name_cannot_leave_its_directory),
        cmocka_unit_test(test_job_fold_gives_the_record_of_a_life_with_a_retry),
        cmocka_unit_test(test_job_fold_refuses_gaps_repeats_and_impossible_steps),
        cmocka_unit_test(test_job_fold_passes_over_rejected_commands),
        cmocka_unit_test(test_job_record_diff_names_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

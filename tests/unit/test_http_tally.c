/* http: what is counted from events: once each, whatever repeats, and under the right model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/http/http_internal.h"

static struct http_tally *tally;

static int setup(void **state) {
    tally = http__tally_new();
    return 0;
}

static int teardown(void **state) {
    http__tally_free(tally);
    return 0;
}

static void count(struct job_event ev) { http__tally_count(tally, &ev, NULL, NULL); }

/* The line that begins with `name` says `value`; "" for no such line. */
static void assert_told(const char *name, const char *value) {
    struct buf out = {0};
    char line[300];
    http__tally_put(tally, &out);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(out.data, line);
    if (!at && *value) fail_msg("no %s in\n%s", name, out.data);
    if (at && (strncmp(at + strlen(line), value, strlen(value)) != 0 || at[strlen(line) + strlen(value)] != '\n'))
        fail_msg("not %s: %.100s", value, at + 1);
    buf_done(&out);
}

static struct job_event created(const char *id, int64_t at) {
    return (struct job_event){
        .job_id = id, .seq = 1, .to = JOB_STATE_QUEUED, .at = at, .model = "m", .reason = "create"};
}

static struct job_event step(const char *id, int64_t seq, enum job_state from, enum job_state to, int64_t at,
                             const char *reason) {
    return (struct job_event){
        .job_id = id, .seq = seq, .from = from, .to = to, .at = at, .reason = reason, .worker = "w1"};
}

static void test_a_job_is_counted_with_its_waiting_and_its_run(void **state) {
    count(created("a", 1000));
    count(step("a", 2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 1040, "claim"));
    count(step("a", 3, JOB_STATE_RUNNING, JOB_STATE_COMPLETED, 3040, "finish"));
    assert_told("penstock_jobs_finished_total{model=\"m\",version=\"latest\",state=\"completed\"}", "1");
    assert_told("penstock_jobs_finished_total{model=\"m\",version=\"latest\",state=\"failed\"}", "0");
    assert_told("penstock_job_queue_seconds_bucket{model=\"m\",version=\"latest\",le=\"0.025\"}", "0");
    assert_told("penstock_job_queue_seconds_bucket{model=\"m\",version=\"latest\",le=\"0.05\"}", "1");
    assert_told("penstock_job_queue_seconds_sum{model=\"m\",version=\"latest\"}", "0.040");
    assert_told("penstock_job_run_seconds_count{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_inference_request_total{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_inference_count_total{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_inference_compute_seconds_total{model=\"m\",version=\"latest\"}", "2.000");
}

static void test_what_is_heard_again_is_counted_once(void **state) {
    struct job_event life[] = {created("a", 1000), step("a", 2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 1001, "claim"),
                               step("a", 3, JOB_STATE_RUNNING, JOB_STATE_COMPLETED, 1002, "finish")};
    struct job_event refused = {
        .to = JOB_STATE_REJECTED, .reason = "malformed_json", .at = 1, .source = {.topic = "c", .offset = 7}};
    for (int i = 0; i < 6; i++) count(life[i % 3]);
    for (int i = 0; i < 3; i++) count(refused);
    refused.source.offset = 8;
    count(refused);
    assert_told("penstock_jobs_finished_total{model=\"m\",version=\"latest\",state=\"completed\"}", "1");
    assert_told("penstock_inference_request_total{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_inference_exec_total{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_jobs_rejected_total{code=\"malformed_json\"}", "2");
    assert_told("penstock_relay_published_total", "10");
}

static void test_an_id_that_is_used_anew_is_a_new_job(void **state) {
    count(created("a", 1000));
    count(step("a", 2, JOB_STATE_QUEUED, JOB_STATE_CANCELLED, 1001, "cancel"));
    count(created("a", 9000));
    assert_told("penstock_inference_request_total{model=\"m\",version=\"latest\"}", "2");
}

static void test_a_batch_is_one_execution_and_its_lost_worker_one_crash(void **state) {
    for (int i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "j%d", i);
        count(created(id, 1000));
        count(step(id, 2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 1500, "claim"));
        count(step(id, 3, JOB_STATE_RUNNING, JOB_STATE_QUEUED, 2000, "worker_lost"));
    }
    count(step("j0", 4, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 2500, "claim"));
    count(step("j0", 5, JOB_STATE_RUNNING, JOB_STATE_QUEUED, 2600, "retry"));
    assert_told("penstock_inference_exec_total{model=\"m\",version=\"latest\"}", "2");
    assert_told("penstock_inference_count_total{model=\"m\",version=\"latest\"}", "0");
    assert_told("penstock_lease_losses_total", "3");
    assert_told("penstock_worker_crashes_total", "1");
    assert_told("penstock_job_retries_total{model=\"m\",version=\"latest\"}", "1");
    assert_told("penstock_job_run_seconds_count{model=\"m\",version=\"latest\"}", "4");
}

static void test_waiting_begins_when_a_delayed_job_is_ready(void **state) {
    struct job_event later = created("a", 1000);
    later.not_before = 61000;
    count(later);
    count(step("a", 2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 61500, "claim"));
    assert_told("penstock_job_queue_seconds_sum{model=\"m\",version=\"latest\"}", "0.500");
}

static bool model_of(void *self, const char *job_id, char ret_model[JOB_MODEL_MAX + 1],
                     char ret_version[JOB_MODEL_MAX + 1]) {
    ++*(int *)self;
    strcpy(ret_model, "old");
    strcpy(ret_version, "2");
    return strcmp(job_id, "known") == 0;
}

static void test_of_a_job_that_began_before_the_store_tells_the_model(void **state) {
    int asked = 0;
    struct job_event running = step("known", 2, JOB_STATE_QUEUED, JOB_STATE_RUNNING, 1000, "claim"),
                     done = step("known", 3, JOB_STATE_RUNNING, JOB_STATE_COMPLETED, 3000, "finish"),
                     other = step("gone", 3, JOB_STATE_RUNNING, JOB_STATE_COMPLETED, 3000, "finish");
    http__tally_count(tally, &running, model_of, &asked);
    http__tally_count(tally, &done, model_of, &asked);
    http__tally_count(tally, &other, model_of, &asked);
    assert_int_equal(asked, 2);
    assert_told("penstock_jobs_finished_total{model=\"old\",version=\"2\",state=\"completed\"}", "1");
    assert_told("penstock_job_queue_seconds_count{model=\"old\",version=\"2\"}", "0"); /* not known */
    assert_told("penstock_job_run_seconds_sum{model=\"old\",version=\"2\"}", "2.000");
    assert_told("penstock_jobs_finished_total{model=\"_other\",version=\"_other\",state=\"completed\"}", "1");
}

/* More names and more jobs than there is room for: nothing grows, and the newest are still told from their repeats. */
static void test_what_is_kept_has_a_bound(void **state) {
    for (int i = 0; i < 300000; i++) {
        char id[16], model[16];
        snprintf(id, sizeof id, "j%d", i);
        snprintf(model, sizeof model, "m%d", i % 300);
        struct job_event ev = created(id, 1000);
        ev.model = model;
        count(ev);
        count(ev);
    }
    assert_told("penstock_inference_request_total{model=\"m0\",version=\"latest\"}", "1000");
    assert_told("penstock_inference_request_total{model=\"m299\",version=\"latest\"}", "");
    assert_told("penstock_inference_request_total{model=\"_other\",version=\"_other\"}", "44000");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_job_is_counted_with_its_waiting_and_its_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_heard_again_is_counted_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_id_that_is_used_anew_is_a_new_job, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_is_one_execution_and_its_lost_worker_one_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_begins_when_a_delayed_job_is_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_a_job_that_began_before_the_store_tells_the_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_kept_has_a_bound, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

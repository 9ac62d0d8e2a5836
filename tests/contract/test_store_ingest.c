/* Commands into the store: duplicates, conflicts, offsets, cancels before, during and after their job, any bytes. */
#include <stdlib.h>
#include <string.h>

#include "fx.h"

/* --- duplicates and offsets --------------------------------------------------------------------------------------- */

static int64_t stored_offset(struct fx *fx, const char *topic, int32_t partition) {
    int64_t next = -2;
    assert_int_equal(store_ingest_offset(fx->st, topic, partition, &next, &fx->err), 0);
    return next;
}

static void test_store_offset_that_was_read_before_changes_nothing(void **state) {
    struct fx *fx = *state;
    struct store_item items[] = {fx_item_create(fx, "a"), fx_item_create(fx, "b"), fx_item_cancel(fx, "b")};
    fx_ingest(fx, items, 3);
    fx_drain(fx);
    size_t events = fx->event_count;
    items[0].job_id = "c"; /* not even another job: the offset alone decides */
    fx_ingest(fx, items, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(items[i].verdict, STORE_DUPLICATE);
    assert_int_equal(fx_state(fx, "c"), JOB_STATE_NONE);
    fx_drain(fx);
    assert_int_equal(fx->event_count, events);
}

static void test_store_same_job_at_another_offset_is_a_duplicate(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, "a")), STORE_DUPLICATE);
    struct store_item both[] = {fx_item_create(fx, "b"), fx_item_create(fx, "b")}; /* in one batch, too */
    fx_ingest(fx, both, 2);
    assert_int_equal(both[0].verdict, STORE_ACCEPTED);
    assert_int_equal(both[1].verdict, STORE_DUPLICATE);
    assert_int_equal(fx_event_count(fx, "a"), 1);
    assert_int_equal(fx_event_count(fx, "b"), 1);
    assert_int_equal(stored_offset(fx, FX_TOPIC, 0), 4);
}

static void test_store_same_id_with_another_body_is_a_conflict_with_its_bytes_and_source(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    const char *before = fx_hash(fx, "a");
    struct store_item item = fx_item_create(fx, "a");
    item.spec = "{\"model\":\"other\"}";
    item.spec_len = strlen(item.spec);
    item.source.partition = 3;
    item.source.offset = 77;
    item.raw = "some\0bytes";
    item.raw_len = 10;
    item.raw_size = 1234567;
    assert_int_equal(fx_ingest_one(fx, item), STORE_REJECTED);
    assert_string_equal(fx_hash(fx, "a"), before);
    const struct job_event *ev = fx_last_event(fx, "a");
    assert_int_equal(ev->to, JOB_STATE_REJECTED);
    assert_int_equal(ev->from, JOB_STATE_NONE);
    assert_int_equal(ev->seq, 0);
    assert_string_equal(ev->reason, "job_conflict");
    assert_string_equal(ev->traceparent, FX_TRACEPARENT);
    assert_string_equal(ev->source.topic, FX_TOPIC);
    assert_int_equal(ev->source.partition, 3);
    assert_int_equal(ev->source.offset, 77);
    assert_int_equal(ev->key_len, 1);
    assert_memory_equal(ev->key, "a", 1);
    assert_int_equal(ev->raw_len, 10);
    assert_memory_equal(ev->raw, "some\0bytes", 10);
    assert_int_equal(ev->raw_size, 1234567);
    assert_non_null(strstr(ev->doc, "\"job_conflict\""));
    assert_int_equal(stored_offset(fx, FX_TOPIC, 3), 78);
}

static void test_store_offsets_are_kept_per_topic_and_partition(void **state) {
    struct fx *fx = *state;
    struct store_item items[] = {fx_item_create(fx, "a"), fx_item_create(fx, "b"), fx_item_create(fx, "c")};
    items[0].source = (struct job_source){FX_TOPIC, 0, 10};
    items[1].source = (struct job_source){FX_TOPIC, 1, 5};
    items[2].source = (struct job_source){"penstock.control", 0, INT64_C(9007199254740990)};
    assert_int_equal(stored_offset(fx, FX_TOPIC, 0), -1);
    fx_ingest(fx, items, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(items[i].verdict, STORE_ACCEPTED);
    assert_int_equal(stored_offset(fx, FX_TOPIC, 0), 11);
    assert_int_equal(stored_offset(fx, FX_TOPIC, 1), 6);
    assert_int_equal(stored_offset(fx, "penstock.control", 0), INT64_C(9007199254740991));
    assert_int_equal(stored_offset(fx, FX_TOPIC, 2), -1);
    assert_int_equal(fx_last_event(fx, "c")->source.offset, INT64_C(9007199254740990));
}

static void test_store_batch_of_all_kinds_is_one_outbox_entry(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "queued");
    fx_create(fx, "running");
    struct store_claims claims = fx_claim(fx, "w1", 1, FX_LEASE_MS);
    const char *running = claims.jobs[0].job_id;
    fx_drain(fx);
    size_t entries = fx->entry_count, events = fx->event_count;
    struct store_item items[] = {
        fx_item_create(fx, "new"),
        fx_item_cancel(fx, strcmp(running, "queued") == 0 ? "running" : "queued"),
        fx_item_cancel(fx, running),
        fx_item_cancel(fx, "unknown"),
        fx_item_create(fx, "new"),
        {.kind = STORE_ITEM_REJECT,
         .source = {FX_TOPIC, 0, fx->next_offset++},
         .raw = "{",
         .raw_len = 1,
         .raw_size = 1,
         .code = ERR_MALFORMED_JSON,
         .error = "{\"code\":\"malformed_json\"}",
         .error_len = 25},
        fx_item_create(fx, "unknown"),
    };
    static const enum store_verdict verdicts[] = {STORE_ACCEPTED,  STORE_ACCEPTED, STORE_NOTED,   STORE_NOTED,
                                                  STORE_DUPLICATE, STORE_REJECTED, STORE_ACCEPTED};
    fx_ingest(fx, items, 7);
    for (size_t i = 0; i < 7; i++) assert_int_equal(items[i].verdict, verdicts[i]);
    fx_drain(fx);
    assert_int_equal(fx->entry_count, entries + 1);
    assert_int_equal(fx->event_count, events + 4);
    assert_null(fx->events[events + 2].job_id); /* of the rejected one */
    assert_null(fx->events[events + 2].key);
    assert_string_equal(fx->events[events + 2].reason, "malformed_json");
    assert_int_equal(fx_state(fx, "unknown"), JOB_STATE_CANCELLED);
}

static void test_store_batch_without_an_event_adds_no_outbox_entry(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    fx_drain(fx);
    size_t entries = fx->entry_count;
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, "a")), STORE_DUPLICATE);
    fx_ingest(fx, NULL, 0);
    assert_int_equal(fx_claim(fx, "w1", 1, FX_LEASE_MS).count, 1);
    assert_int_equal(fx_claim(fx, "w1", 1, FX_LEASE_MS).count, 0);
    fx_sweep(fx, 10, NULL);
    fx_drain(fx);
    assert_int_equal(fx->entry_count, entries + 1);
}

/* --- cancel ------------------------------------------------------------------------------------------------------- */

static void test_store_cancel_before_its_create_cancels_the_create_once(void **state) {
    struct fx *fx = *state;
    struct store_item cancel = fx_item_cancel(fx, "a");
    cancel.reason = "changed my mind";
    assert_int_equal(fx_ingest_one(fx, cancel), STORE_NOTED);
    assert_int_equal(fx_event_count(fx, "a"), 0);
    fx_create(fx, "a");
    struct job_record rec = fx_record(fx, "a");
    assert_int_equal(rec.state, JOB_STATE_CANCELLED);
    assert_int_equal(rec.seq, 1);
    assert_string_equal(rec.model, FX_MODEL);
    const struct job_event *ev = fx_last_event(fx, "a");
    assert_int_equal(ev->from, JOB_STATE_NONE);
    assert_string_equal(ev->reason, "changed my mind");
    assert_non_null(ev->doc); /* the spec: nowhere else would the log have it */
    assert_int_equal(fx_claim(fx, "w1", 1, FX_LEASE_MS).count, 0);
    assert_int_equal(fx_redis_int(fx, "EXISTS penstock:tombstones penstock:tombstone_reasons"), 0);
    assert_int_equal(fx_ingest_one(fx, fx_item_create(fx, "a")), STORE_DUPLICATE);
}

static bool tombstones_are_gone(void *arg) {
    struct fx *fx = arg;
    fx_sweep(fx, 10, NULL);
    return fx_redis_int(fx, "EXISTS penstock:tombstones penstock:tombstone_reasons") == 0;
}

static void test_store_cancel_whose_create_never_comes_is_forgotten(void **state) {
    struct fx *fx = *state;
    fx->cfg.tombstone_ms = 20;
    fx_reopen(fx);
    int64_t next_ms;
    assert_int_equal(fx_cancel(fx, "a"), STORE_NOTED);
    fx_sweep(fx, 10, &next_ms);
    assert_in_range(next_ms, 0, 20); /* the sweeper must know when to come for it */
    assert_true(test_wait_for(tombstones_are_gone, fx, FX_DEADLINE_MS));
    fx_sweep(fx, 10, &next_ms);
    assert_int_equal(next_ms, -1);
    fx_create(fx, "a");
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_QUEUED);
}

static void test_store_cancel_twice_is_a_duplicate_in_every_state(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "running");
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_int_equal(fx_cancel(fx, "running"), STORE_NOTED);
    assert_int_equal(fx_cancel(fx, "running"), STORE_DUPLICATE);
    fx_create(fx, "queued");
    assert_int_equal(fx_cancel(fx, "queued"), STORE_ACCEPTED);
    assert_int_equal(fx_cancel(fx, "queued"), STORE_DUPLICATE);
    assert_int_equal(fx_event_count(fx, "queued"), 2);
    assert_int_equal(fx_cancel(fx, "unknown"), STORE_NOTED);
    assert_int_equal(fx_cancel(fx, "unknown"), STORE_NOTED);
    assert_true(fx_finish(fx, "w1", &job, STORE_CANCELLED));
    assert_int_equal(fx_cancel(fx, "running"), STORE_DUPLICATE);
    assert_int_equal(fx_event_count(fx, "running"), 3);
}

static void test_store_cancel_of_an_ended_job_is_refused_as_too_late(void **state) {
    struct fx *fx = *state;
    static const enum store_outcome outcomes[] = {STORE_COMPLETED, STORE_FAILED};
    static const char *const ids[] = {"completed", "failed"};
    for (size_t i = 0; i < 2; i++) {
        fx_create(fx, ids[i]);
        struct store_claimed job = fx_claim_one(fx, "w1");
        assert_true(fx_finish(fx, "w1", &job, outcomes[i]));
        const char *before = fx_hash(fx, ids[i]);
        assert_int_equal(fx_cancel(fx, ids[i]), STORE_REJECTED);
        assert_string_equal(fx_hash(fx, ids[i]), before);
        const struct job_event *ev = fx_last_event(fx, ids[i]);
        assert_int_equal(ev->to, JOB_STATE_REJECTED);
        assert_string_equal(ev->reason, "too_late");
        assert_non_null(strstr(ev->doc, "too_late"));
        assert_non_null(ev->raw);
    }
}

static struct store_claimed running_with_cancel_requested(struct fx *fx, const char *id) {
    fx_create(fx, id);
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_string_equal(job.job_id, id);
    assert_int_equal(fx_cancel(fx, id), STORE_NOTED);
    return job;
}

static void test_store_cancel_of_a_running_job_is_told_to_its_worker_by_renew(void **state) {
    struct fx *fx = *state;
    struct store_claimed job = running_with_cancel_requested(fx, "a");
    assert_true(fx_record(fx, "a").cancel_requested);
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_RUNNING);
    assert_int_equal(fx_renew(fx, "w1", &job), STORE_LEASE_CANCEL_REQUESTED);
    assert_true(fx_finish(fx, "w1", &job, STORE_CANCELLED));
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_CANCELLED);
    assert_string_equal(fx_last_event(fx, "a")->reason, "user asked");
    assert_string_equal(fx_last_event(fx, "a")->worker, "w1");
}

static void test_store_no_way_back_to_the_queue_undoes_a_cancel(void **state) {
    struct fx *fx = *state;
    struct store_claimed job = running_with_cancel_requested(fx, "retry");
    struct store_finish retry = {.job_id = job.job_id,
                                 .token = job.token,
                                 .outcome = STORE_FAILED,
                                 .doc = "{}",
                                 .doc_len = 2,
                                 .code = ERR_EXECUTION_FAILED,
                                 .retryable = true};
    assert_true(fx_finish_one(fx, "w1", retry));
    assert_int_equal(fx_state(fx, "retry"), JOB_STATE_CANCELLED);

    job = running_with_cancel_requested(fx, "release");
    assert_true(fx_finish(fx, "w1", &job, STORE_RELEASED));
    assert_int_equal(fx_state(fx, "release"), JOB_STATE_CANCELLED);

    size_t lost;
    running_with_cancel_requested(fx, "lost");
    assert_int_equal(store_worker_lost(fx->st, "w1", &lost, &fx->err), 0);
    assert_int_equal(fx_state(fx, "lost"), JOB_STATE_CANCELLED);

    fx_create(fx, "lease");
    assert_int_equal(fx_claim(fx, "w1", 1, 1).count, 1);
    fx_cancel(fx, "lease");
    fx_sweep_until(fx, "lease", JOB_STATE_CANCELLED);
}

static void test_store_work_that_was_done_before_its_cancel_arrived_is_completed(void **state) {
    struct fx *fx = *state;
    struct store_claimed job = running_with_cancel_requested(fx, "a");
    assert_true(fx_finish(fx, "w1", &job, STORE_COMPLETED));
    assert_int_equal(fx_state(fx, "a"), JOB_STATE_COMPLETED);
    assert_false(fx_record(fx, "a").cancel_requested);
}

/* --- any bytes, any numbers --------------------------------------------------------------------------------------- */

static void test_store_rejected_bytes_come_back_as_they_were(void **state) {
    struct fx *fx = *state;
    size_t size = 1 << 20;
    char *raw = arena_alloc(&fx->arena, size);
    for (size_t i = 0; i < size; i++) raw[i] = (char)(i * 31 + i / 256);
    static const char key[] = "\0\x1f\xff\r\n\"", error[] = "{\"message\":\"\x1f\"}";
    struct store_item item = {.kind = STORE_ITEM_REJECT,
                              .source = {FX_TOPIC, INT32_MAX, 5},
                              .key = key,
                              .key_len = sizeof key,
                              .raw = raw,
                              .raw_len = size,
                              .raw_size = size * 4,
                              .code = ERR_TOO_LARGE,
                              .error = error,
                              .error_len = sizeof error};
    assert_int_equal(fx_ingest_one(fx, item), STORE_REJECTED);
    fx_drain(fx);
    const struct job_event *ev = &fx->events[0];
    assert_null(ev->job_id);
    assert_int_equal(ev->source.partition, INT32_MAX);
    assert_int_equal(ev->key_len, sizeof key);
    assert_memory_equal(ev->key, key, sizeof key);
    assert_int_equal(ev->doc_len, sizeof error);
    assert_memory_equal(ev->doc, error, sizeof error);
    assert_int_equal(ev->raw_len, size);
    assert_memory_equal(ev->raw, raw, size);
    assert_int_equal(ev->raw_size, size * 4);
}

static void test_store_empty_key_and_no_key_are_told_apart(void **state) {
    struct fx *fx = *state;
    struct store_item items[2];
    for (int i = 0; i < 2; i++)
        items[i] = (struct store_item){.kind = STORE_ITEM_REJECT,
                                       .source = {FX_TOPIC, 0, i},
                                       .key = i == 0 ? "" : NULL,
                                       .raw = "",
                                       .code = ERR_MALFORMED_JSON,
                                       .error = "{}",
                                       .error_len = 2};
    fx_ingest(fx, items, 2);
    fx_drain(fx);
    assert_non_null(fx->events[0].key);
    assert_int_equal(fx->events[0].key_len, 0);
    assert_null(fx->events[1].key);
}

static void test_store_spec_and_result_of_any_bytes_come_back_as_they_were(void **state) {
    struct fx *fx = *state;
    size_t size = 300000;
    char *bytes = arena_alloc(&fx->arena, size);
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(i * 7);
    struct store_item item = fx_item_create(fx, "a");
    item.spec = bytes;
    item.spec_len = size;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    struct store_claimed job = fx_claim_one(fx, "w1");
    assert_int_equal(job.spec_len, size);
    assert_memory_equal(job.spec, bytes, size);
    struct store_finish finish = {
        .job_id = "a", .token = job.token, .outcome = STORE_COMPLETED, .doc = bytes, .doc_len = size};
    assert_true(fx_finish_one(fx, "w1", finish));
    size_t len;
    assert_memory_equal(fx_doc(fx, "result", "a", &len), bytes, size);
    assert_int_equal(len, size);
    assert_memory_equal(fx_last_event(fx, "a")->doc, bytes, size);
    assert_memory_equal(fx->events[0].doc, bytes, size);
}

static void test_store_reason_with_control_characters_stays_readable(void **state) {
    struct fx *fx = *state;
    fx_create(fx, "a");
    struct store_item cancel = fx_item_cancel(fx, "a");
    cancel.reason = "line one\nline\x1ftwo \xc3\xa4";
    assert_int_equal(fx_ingest_one(fx, cancel), STORE_ACCEPTED);
    assert_string_equal(fx_last_event(fx, "a")->reason, "line one line two \xc3\xa4");
    fx_create(fx, "b");
    cancel = fx_item_cancel(fx, "b");
    cancel.reason = NULL;
    assert_int_equal(fx_ingest_one(fx, cancel), STORE_ACCEPTED);
    assert_string_equal(fx_last_event(fx, "b")->reason, "cancel");
}

static void test_store_numbers_at_their_limits_are_the_same_in_record_and_event(void **state) {
    struct fx *fx = *state;
    struct store_item item = fx_item_create(fx, "a");
    item.not_before = INT64_C(253402300799999); /* the last ms of the year 9999: RFC 3339 ends there */
    item.timeout_ms = item.queue_timeout_ms = INT64_C(1) << 50;
    item.max_attempts = 100;
    item.priority = 9;
    item.source.offset = INT64_C(123456789012345);
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    struct job_record rec = fx_record(fx, "a");
    assert_int_equal(rec.not_before, item.not_before);
    assert_int_equal(rec.timeout_ms, item.timeout_ms);
    assert_int_equal(rec.queue_timeout_ms, item.queue_timeout_ms);
    const struct job_event *ev = fx_last_event(fx, "a");
    assert_int_equal(ev->not_before, item.not_before);
    assert_int_equal(ev->timeout_ms, item.timeout_ms);
    assert_int_equal(ev->queue_timeout_ms, item.queue_timeout_ms);
    assert_int_equal(ev->source.offset, item.source.offset);
    item = fx_item_create(fx, "b");
    item.source.offset = (INT64_C(1) << 53) - 2; /* where doubles, Lua's numbers, end */
    item.priority = 0;
    item.timeout_ms = INT64_C(1) << 50;
    item.model_version = item.traceparent = NULL;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    assert_int_equal(fx_claim_one(fx, "w1").timeout_ms, INT64_C(1) << 50);
}

static void test_store_batch_of_thousands_is_whole(void **state) {
    struct fx *fx = *state;
    enum { COUNT = 6000 }; /* more events than a Lua call takes arguments */
    struct store_item *items = arena_alloc(&fx->arena, COUNT * sizeof *items);
    for (int i = 0; i < COUNT; i++) {
        items[i] = fx_item_create(fx, "same");
        items[i].spec = arena_printf(&fx->arena, "{\"n\":%d}", i);
        items[i].spec_len = strlen(items[i].spec);
    }
    fx_ingest(fx, items, COUNT);
    assert_int_equal(items[0].verdict, STORE_ACCEPTED);
    assert_int_equal(items[COUNT - 1].verdict, STORE_REJECTED);
    fx_drain(fx);
    assert_int_equal(fx->event_count, COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_store_offset_that_was_read_before_changes_nothing),
        FX_TEST(test_store_same_job_at_another_offset_is_a_duplicate),
        FX_TEST(test_store_same_id_with_another_body_is_a_conflict_with_its_bytes_and_source),
        FX_TEST(test_store_offsets_are_kept_per_topic_and_partition),
        FX_TEST(test_store_batch_of_all_kinds_is_one_outbox_entry),
        FX_TEST(test_store_batch_without_an_event_adds_no_outbox_entry),
        FX_TEST(test_store_cancel_before_its_create_cancels_the_create_once),
        FX_TEST(test_store_cancel_whose_create_never_comes_is_forgotten),
        FX_TEST(test_store_cancel_twice_is_a_duplicate_in_every_state),
        FX_TEST(test_store_cancel_of_an_ended_job_is_refused_as_too_late),
        FX_TEST(test_store_cancel_of_a_running_job_is_told_to_its_worker_by_renew),
        FX_TEST(test_store_no_way_back_to_the_queue_undoes_a_cancel),
        FX_TEST(test_store_work_that_was_done_before_its_cancel_arrived_is_completed),
        FX_TEST(test_store_rejected_bytes_come_back_as_they_were),
        FX_TEST(test_store_empty_key_and_no_key_are_told_apart),
        FX_TEST(test_store_spec_and_result_of_any_bytes_come_back_as_they_were),
        FX_TEST(test_store_reason_with_control_characters_stays_readable),
        FX_TEST(test_store_numbers_at_their_limits_are_the_same_in_record_and_event),
        FX_TEST(test_store_batch_of_thousands_is_whole),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

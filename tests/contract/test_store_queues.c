/* Filters of lists, the queue view, and what workers hold. */
#include <stdlib.h>
#include <string.h>

#include "fx.h"
#include "penstock/store_policy.h"

static struct store_queue queue_of(struct fx *fx, const char *model) {
    struct store_queue *queues;
    enum store_mode all;
    size_t count;
    if (store_queue_list(fx->st, &fx->arena, &queues, &count, &all, &fx->err) != 0)
        fail_msg("store_queue_list: %s", fx->err.msg);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) assert_true(strcmp(queues[i - 1].model, queues[i].model) < 0);
        if (strcmp(queues[i].model, model) == 0) return queues[i];
    }
    return (struct store_queue){0};
}

static void create(struct fx *fx, const char *id, int priority, const char *tenant) {
    struct store_item item = fx_item_create(fx, id);
    struct job_label *label = arena_alloc(&fx->arena, sizeof *label);
    *label = (struct job_label){"tenant", tenant};
    item.priority = priority;
    if (tenant) {
        item.labels = label;
        item.label_count = 1;
    }
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
}

static size_t list(struct fx *fx, struct store_list query) {
    struct job_record *jobs;
    const char *cursor = NULL;
    size_t count, total = 0;
    do {
        query.cursor = cursor;
        if (store_job_list(fx->st, &query, &fx->arena, &jobs, &count, &cursor, &fx->err) != 0)
            fail_msg("store_job_list: %s", fx->err.msg);
        total += count;
    } while (cursor);
    return total;
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void test_list_by_label_needs_every_label_to_match(void **state) {
    struct fx *fx = *state;
    struct job_label acme = {"tenant", "acme"}, other = {"tenant", "other"}, absent = {"colour", ""};
    for (int i = 0; i < 30; i++) create(fx, arena_printf(&fx->arena, "j%d", i), 4, i % 3 ? "acme" : "other");
    assert_int_equal(list(fx, (struct store_list){.labels = &acme, .label_count = 1, .limit = 4}), 20);
    assert_int_equal(list(fx, (struct store_list){.labels = &other, .label_count = 1, .limit = 4}), 10);
    assert_int_equal(list(fx, (struct store_list){.labels = &absent, .label_count = 1, .limit = 4}), 0);
    assert_int_equal(
        list(fx, (struct store_list){.labels = (struct job_label[]){acme, other}, .label_count = 2, .limit = 4}), 0);
}

static void test_list_by_time_takes_since_and_leaves_until(void **state) {
    struct fx *fx = *state;
    create(fx, "old", 4, NULL);
    int64_t first = fx_record(fx, "old").updated_at;
    while (fx_now_ms(fx) <= first) continue;
    create(fx, "new", 4, NULL);
    int64_t second = fx_record(fx, "new").updated_at;
    assert_int_equal(list(fx, (struct store_list){.since = first, .limit = 10}), 2);
    assert_int_equal(list(fx, (struct store_list){.since = second, .limit = 10}), 1);
    assert_int_equal(list(fx, (struct store_list){.until = second, .limit = 10}), 1);
    assert_int_equal(list(fx, (struct store_list){.until = first, .limit = 10}), 0);
    assert_int_equal(list(fx, (struct store_list){.since = first, .until = second + 1, .limit = 1}), 2);
}

/* --- queues ------------------------------------------------------------------------------------------------------- */

static void test_queue_view_counts_what_waits_runs_and_is_held_back(void **state) {
    struct fx *fx = *state;
    struct store_limit model = {FX_MODEL, 5};
    struct store_policy policy = {
        .tenant_label = "tenant", .tenant_max_running = 1, .models = &model, .model_count = 1};
    assert_int_equal(store_policy_set(fx->st, &policy, false, &fx->err), 0);
    for (int i = 0; i < 4; i++) create(fx, arena_printf(&fx->arena, "t%d", i), 4, "acme");
    create(fx, "free", 4, NULL);
    struct store_item later = fx_item_create(fx, "later");
    later.not_before = fx_now_ms(fx) + 3600000;
    assert_int_equal(fx_ingest_one(fx, later), STORE_ACCEPTED);
    assert_int_equal(queue_of(fx, FX_MODEL).ready, 5);
    assert_int_equal(fx_claim(fx, "w", 1, 60000).count, 1); /* of acme, who is at the limit now */
    assert_int_equal(fx_claim(fx, "w", 1, 60000).count, 1);
    struct store_queue queue = queue_of(fx, FX_MODEL);
    assert_int_equal(queue.queued, 4);
    assert_int_equal(queue.ready, 0);
    assert_int_equal(queue.running, 2);
    assert_int_equal(queue.max_running, 5);
    assert_int_equal(queue.oldest_ready_at, 0);
}

static void test_queue_view_tells_the_oldest_of_all_priorities(void **state) {
    struct fx *fx = *state;
    create(fx, "humble", 0, NULL);
    int64_t first = fx_record(fx, "humble").queued_at;
    while (fx_now_ms(fx) <= first + 5) continue;
    create(fx, "urgent", 9, NULL);
    assert_in_range(queue_of(fx, FX_MODEL).oldest_ready_at, first, first + 1);
}

static void test_queue_view_tells_the_first_one_with_ageing(void **state) {
    struct fx *fx = *state;
    struct store_policy policy = {.tenant_label = "", .ageing_ms = 1000};
    assert_int_equal(store_policy_set(fx->st, &policy, false, &fx->err), 0);
    create(fx, "first", 4, NULL);
    int64_t first = fx_record(fx, "first").queued_at;
    while (fx_now_ms(fx) <= first) continue;
    create(fx, "second", 4, NULL);
    assert_int_equal(queue_of(fx, FX_MODEL).oldest_ready_at, first);
}

static void test_queue_view_tells_modes_and_their_reasons(void **state) {
    struct fx *fx = *state;
    struct store_item pause = fx_item_create(fx, "unused");
    pause.kind = STORE_ITEM_MODE;
    pause.job_id = NULL;
    pause.mode = STORE_MODE_PAUSED;
    pause.reason = "new weights";
    assert_int_equal(fx_ingest_one(fx, pause), STORE_ACCEPTED);
    struct store_queue queue = queue_of(fx, FX_MODEL);
    assert_int_equal(queue.mode, STORE_MODE_PAUSED);
    assert_string_equal(queue.mode_reason, "new weights");
    assert_int_equal(queue.queued, 0);
}

/* --- workers ------------------------------------------------------------------------------------------------------ */

static void test_worker_list_tells_what_each_holds(void **state) {
    struct fx *fx = *state;
    struct store_worker worker = {.id = "w", .host = "h", .executor = "fake", .device = "", .models = "[]", .pid = 7};
    struct store_worker *workers;
    size_t count;
    for (int i = 0; i < 130; i++) create(fx, arena_printf(&fx->arena, "j%d", i), 4, NULL);
    assert_int_equal(store_worker_register(fx->st, &worker, 60000, &fx->err), 0);
    assert_int_equal(fx_claim(fx, "w", 3, 60000).count, 3);
    assert_int_equal(fx_claim(fx, "w", 120, 60000).count, 120);
    assert_int_equal(store_worker_list(fx->st, &fx->arena, &workers, &count, &fx->err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(workers[0].held, 123);
    assert_int_equal(workers[0].job_count, 100);
    for (int i = 0; i < 3; i++) assert_string_equal(workers[0].job_ids[i], arena_printf(&fx->arena, "j%d", i));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_list_by_label_needs_every_label_to_match),
        FX_TEST(test_list_by_time_takes_since_and_leaves_until),
        FX_TEST(test_queue_view_counts_what_waits_runs_and_is_held_back),
        FX_TEST(test_queue_view_tells_the_oldest_of_all_priorities),
        FX_TEST(test_queue_view_tells_the_first_one_with_ageing),
        FX_TEST(test_queue_view_tells_modes_and_their_reasons),
        FX_TEST(test_worker_list_tells_what_each_holds),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

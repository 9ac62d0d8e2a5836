/* The relay's side of the store, and the messages that wake workers. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fx.h"
#include "penstock/store_watch.h"

/* --- reading and trimming ----------------------------------------------------------------------------------------- */

static size_t read_after(struct fx *fx, const char *after, size_t max, int wait_ms, struct store_outbox_entry **ret) {
    size_t count = 0;
    if (store_outbox_read(fx->st, after, max, wait_ms, &fx->arena, ret, &count, &fx->err) != 0)
        fail_msg("store_outbox_read: %s", fx->err.msg);
    return count;
}

static void create_some(struct fx *fx, int first, int count) {
    for (int i = first; i < first + count; i++) fx_create(fx, arena_printf(&fx->arena, "%d", i));
}

static void test_outbox_is_read_in_order_from_where_one_left_off(void **state) {
    struct fx *fx = *state;
    struct store_outbox_entry *entries;
    assert_int_equal(read_after(fx, "", 10, 0, &entries), 0);
    create_some(fx, 0, 5);
    assert_int_equal(read_after(fx, "", 2, 0, &entries), 2);
    assert_string_equal(entries[0].id, "1-0");
    assert_string_equal(entries[0].events[0].job_id, "0");
    assert_int_equal(read_after(fx, entries[1].id, 10, 0, &entries), 3);
    assert_string_equal(entries[0].events[0].job_id, "2");
    assert_string_equal(entries[2].id, "5-0");
    assert_int_equal(read_after(fx, "5-0", 10, 0, &entries), 0);
    assert_null(entries);
    assert_int_equal(read_after(fx, "999-0", 10, 0, &entries), 0);
}

static void test_outbox_trim_forgets_what_was_acknowledged_and_nothing_later(void **state) {
    struct fx *fx = *state;
    struct store_outbox_entry *entries;
    create_some(fx, 0, 5);
    fx_drain(fx);
    assert_int_equal(store_outbox_trim(fx->st, "3-0", &fx->err), 0);
    assert_int_equal(read_after(fx, "", 10, 0, &entries), 2);
    assert_string_equal(entries[0].id, "4-0");
    assert_string_equal(fx_redis(fx, "HGET penstock:meta relay_position"), "$1\r\n3\r\n");
    assert_int_equal(store_outbox_trim(fx->st, "3-0", &fx->err), 0); /* again, because the answer was lost */
    assert_int_equal(store_outbox_trim(fx->st, "5-0", &fx->err), 0);
    assert_int_equal(read_after(fx, "", 10, 0, &entries), 0);
    create_some(fx, 5, 1);
    assert_int_equal(read_after(fx, "5-0", 10, 0, &entries), 1);
    assert_string_equal(entries[0].id, "6-0"); /* an emptied outbox goes on counting */
}

static void test_outbox_entries_of_batches_are_trimmed_as_a_whole(void **state) {
    struct fx *fx = *state;
    struct store_item items[300];
    struct store_outbox_entry *entries;
    for (int i = 0; i < 300; i++) items[i] = fx_item_create(fx, arena_printf(&fx->arena, "%d", i));
    fx_ingest(fx, items, 150);
    fx_ingest(fx, items + 150, 150);
    assert_int_equal(read_after(fx, "", 10, 0, &entries), 2);
    assert_int_equal(entries[0].count, 150);
    assert_string_equal(entries[0].id, "150-0");
    fx_drain(fx);
    assert_int_equal(store_outbox_trim(fx->st, "150-0", &fx->err), 0);
    assert_int_equal(read_after(fx, "", 10, 0, &entries), 1);
    assert_string_equal(entries[0].events[0].job_id, "150");
}

static void test_outbox_event_that_is_not_understood_is_corrupt_and_no_crash(void **state) {
    struct fx *fx = *state;
    struct store_outbox_entry *entries;
    size_t count;
    static const char *const bad[] = {"", "nonsense", "1\\x1fqueued\\x1fnowhere\\x1f", "1\\x1f\\x1fqueued\\x1f1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *reply = fx_redis(fx, "XADD penstock:outbox 7-%zu a \"%s\"", i, bad[i]);
        assert_int_equal(reply[0], '$');
        assert_int_equal(store_outbox_read(fx->st, "", 10, 0, &fx->arena, &entries, &count, &fx->err), -1);
        assert_int_equal(fx->err.code, ERR_STORE_CORRUPT);
        fx_redis(fx, "DEL penstock:outbox");
    }
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct helper {
    struct fx *fx;
    const char *id;
    struct err err;
    int rc;
};

static bool somebody_waits(void *arg) {
    struct helper *helper = arg;
    char reply[4096];
    test_redis_command(helper->fx->redis, "INFO clients", reply, sizeof reply);
    return strstr(reply, "blocked_clients:1") != NULL;
}

/* Another process, as far as the store can tell: creates a job as soon as somebody waits. */
static void *create_when_somebody_waits(void *arg) {
    struct helper *helper = arg;
    struct store *st = NULL;
    struct store_item item = {.kind = STORE_ITEM_CREATE,
                              .source = {FX_TOPIC, 9, 0},
                              .job_id = helper->id,
                              .model = FX_MODEL,
                              .priority = 4,
                              .max_attempts = 1,
                              .spec = "{}",
                              .spec_len = 2};
    helper->rc = -1;
    if (!test_wait_for(somebody_waits, helper, FX_DEADLINE_MS)) return NULL;
    if (store_open(&helper->fx->cfg, &st, &helper->err) == 0) helper->rc = store_ingest(st, &item, 1, &helper->err);
    store_free(st);
    return NULL;
}

static void test_outbox_read_that_waits_wakes_up_on_a_new_entry(void **state) {
    struct fx *fx = *state;
    struct helper helper = {.fx = fx, .id = "a"};
    struct store_outbox_entry *entries;
    pthread_t thread;
    fx->cfg.timeout_ms = 2 * FX_DEADLINE_MS;
    fx_reopen(fx);
    assert_int_equal(pthread_create(&thread, NULL, create_when_somebody_waits, &helper), 0);
    int64_t before = test_mono_ms();
    size_t count = read_after(fx, "", 10, FX_DEADLINE_MS, &entries);
    int64_t waited_ms = test_mono_ms() - before;
    pthread_join(thread, NULL);
    if (helper.rc != 0) fail_msg("the other process: %s", helper.err.msg);
    assert_int_equal(count, 1);
    assert_true(waited_ms < FX_DEADLINE_MS / 2);
}

static void test_outbox_read_may_wait_longer_than_the_connection_may_be_silent(void **state) {
    struct fx *fx = *state;
    struct store_outbox_entry *entries;
    fx->cfg.timeout_ms = 800; /* Redis ends a wait when its clock ticks, every 100 ms */
    fx_reopen(fx);
    assert_int_equal(read_after(fx, "", 10, 2000, &entries), 0);
    create_some(fx, 0, 1);
    assert_int_equal(read_after(fx, "", 10, 2000, &entries), 1);
}

/* --- the lease ---------------------------------------------------------------------------------------------------- */

static bool lease(struct fx *fx, const char *relay, int64_t lease_ms) {
    bool held = false;
    if (store_relay_lease(fx->st, relay, lease_ms, &held, &fx->err) != 0)
        fail_msg("store_relay_lease: %s", fx->err.msg);
    return held;
}

static bool other_gets_the_lease(void *arg) { return lease(arg, "relay-2", FX_LEASE_MS); }

static void test_relay_lease_has_one_holder_until_it_expires(void **state) {
    struct fx *fx = *state;
    assert_true(lease(fx, "relay-1", FX_LEASE_MS));
    assert_false(lease(fx, "relay-2", FX_LEASE_MS));
    assert_true(lease(fx, "relay-1", 20)); /* renewed, for the last time */
    assert_true(test_wait_for(other_gets_the_lease, fx, FX_DEADLINE_MS));
    assert_false(lease(fx, "relay-1", FX_LEASE_MS));
}

/* --- being told --------------------------------------------------------------------------------------------------- */

struct watcher {
    struct fx *fx;
    int fd;
    bool ready, cancel;
};

static bool heard_something(void *arg) {
    struct watcher *watcher = arg;
    bool ready, cancel;
    if (store_watch_read(watcher->fx->st, &ready, &cancel, &watcher->fx->err) != 0)
        fail_msg("store_watch_read: %s", watcher->fx->err.msg);
    watcher->ready |= ready;
    watcher->cancel |= cancel;
    return watcher->ready || watcher->cancel;
}

static void expect(struct watcher *watcher, bool ready, bool cancel) {
    watcher->ready = watcher->cancel = false;
    assert_true(test_wait_for(heard_something, watcher, FX_DEADLINE_MS));
    assert_int_equal(watcher->ready, ready);
    assert_int_equal(watcher->cancel, cancel);
    struct pollfd pfd = {.fd = watcher->fd, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 0), 0); /* all was read */
}

static struct watcher watch(struct fx *fx, const char *worker) {
    struct watcher watcher = {.fx = fx};
    if (store_watch(fx->st, worker, &watcher.fd, &fx->err) != 0) fail_msg("store_watch: %s", fx->err.msg);
    return watcher;
}

static bool both_channels_have_a_subscriber(void *arg) {
    const char *reply = fx_redis(arg, "PUBSUB NUMSUB penstock:wake penstock:wake:w1");
    return strstr(reply, "penstock:wake\r\n:1\r\n") && strstr(reply, "penstock:wake:w1\r\n:1\r\n");
}

static void test_watch_tells_of_ready_jobs_and_of_cancels_of_this_worker_only(void **state) {
    struct fx *fx = *state;
    struct watcher watcher = watch(fx, "w1");
    assert_true(test_wait_for(both_channels_have_a_subscriber, fx, FX_DEADLINE_MS));
    fx_create(fx, "a");
    expect(&watcher, true, false);
    fx_claim_one(fx, "w1");
    fx_cancel(fx, "a");
    expect(&watcher, false, true);
    fx_create(fx, "b");
    expect(&watcher, true, false);
    fx_claim_one(fx, "w2");
    fx_cancel(fx, "b"); /* the other's: nothing is heard of it before the next of mine */
    fx_create(fx, "c");
    expect(&watcher, true, false);
    struct watcher again = watch(fx, "w1");
    assert_int_equal(again.fd, watcher.fd);
}

static void test_watch_tells_when_a_delayed_job_and_a_released_one_become_ready(void **state) {
    struct fx *fx = *state;
    struct watcher watcher = watch(fx, "w1");
    assert_true(test_wait_for(both_channels_have_a_subscriber, fx, FX_DEADLINE_MS));
    struct store_item item = fx_item_create(fx, "a");
    item.not_before = fx_now_ms(fx) + 20;
    assert_int_equal(fx_ingest_one(fx, item), STORE_ACCEPTED);
    assert_false(heard_something(&watcher));
    while (fx_now_ms(fx) <= item.not_before) continue;
    fx_sweep(fx, 10, NULL);
    expect(&watcher, true, false);
    struct store_claimed job = fx_claim_one(fx, "w2");
    assert_true(fx_finish(fx, "w2", &job, STORE_RELEASED));
    expect(&watcher, true, false);
}

static bool watch_breaks(void *arg) {
    struct fx *fx = arg;
    bool ready, cancel;
    return store_watch_read(fx->st, &ready, &cancel, &fx->err) != 0;
}

static void test_watch_that_was_cut_is_an_error_once_and_made_anew(void **state) {
    struct fx *fx = *state;
    watch(fx, "w1");
    assert_true(test_wait_for(both_channels_have_a_subscriber, fx, FX_DEADLINE_MS));
    fx_redis(fx, "CLIENT KILL TYPE pubsub");
    assert_true(test_wait_for(watch_breaks, fx, FX_DEADLINE_MS));
    assert_int_equal(fx->err.code, ERR_STORE_UNAVAILABLE);
    struct watcher watcher = watch(fx, "w1");
    assert_true(test_wait_for(both_channels_have_a_subscriber, fx, FX_DEADLINE_MS));
    fx_create(fx, "a");
    expect(&watcher, true, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_outbox_is_read_in_order_from_where_one_left_off),
        FX_TEST(test_outbox_trim_forgets_what_was_acknowledged_and_nothing_later),
        FX_TEST(test_outbox_entries_of_batches_are_trimmed_as_a_whole),
        FX_TEST(test_outbox_event_that_is_not_understood_is_corrupt_and_no_crash),
        FX_TEST(test_outbox_read_that_waits_wakes_up_on_a_new_entry),
        FX_TEST(test_outbox_read_may_wait_longer_than_the_connection_may_be_silent),
        FX_TEST(test_relay_lease_has_one_holder_until_it_expires),
        FX_TEST(test_watch_tells_of_ready_jobs_and_of_cancels_of_this_worker_only),
        FX_TEST(test_watch_tells_when_a_delayed_job_and_a_released_one_become_ready),
        FX_TEST(test_watch_that_was_cut_is_an_error_once_and_made_anew),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

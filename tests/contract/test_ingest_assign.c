/* Where ingest starts to read when it is given partitions: the offset in the store decides, and what Kafka has deleted
 * in the meantime is never passed over in silence. */
#include <string.h>

#include "fx.h"
#include "penstock/ingest.h"

static struct ingest *new_ingest(struct fx *fx, bool accept_lost) {
    struct ingest_config cfg = {.batch = 10, .max_attempts = 3, .accept_lost = accept_lost};
    return ingest_new(&cfg, fx->st);
}

/* What assigned() makes of partition 0 whose log reaches from `low` to `high`. */
static int assign(struct fx *fx, struct ingest *ing, int64_t low, int64_t high, int64_t *ret_offset) {
    struct bus_position pos = {FX_TOPIC, 0, BUS_OFFSET_BEGINNING};
    const struct bus_assign_ops *ops = ingest_assign_ops(ing);
    int rc = ops->assigned(ops->self, &pos, &low, &high, 1, &fx->err);
    *ret_offset = pos.offset;
    return rc;
}

static void take_commands_up_to(struct fx *fx, int64_t offset) {
    struct store_item item = fx_item_create(fx, "a");
    item.source = (struct job_source){FX_TOPIC, 0, offset};
    fx_ingest(fx, &item, 1);
}

static void test_ingest_starts_at_the_first_command_when_it_never_read_any(void **state) {
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, false);
    int64_t offset;
    assert_int_equal(assign(fx, ing, 7, 100, &offset), 0);
    assert_int_equal(offset, 7);
    ingest_free(ing);
}

static void test_ingest_goes_on_at_the_offset_in_the_store(void **state) {
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, false);
    int64_t offset;
    take_commands_up_to(fx, 41);
    assert_int_equal(assign(fx, ing, 0, 100, &offset), 0);
    assert_int_equal(offset, 42);
    assert_int_equal(assign(fx, ing, 42, 42, &offset), 0); /* all read, all deleted: nothing is lost */
    assert_int_equal(offset, 42);
    ingest_free(ing);
}

static void test_ingest_refuses_to_pass_over_lost_commands_and_names_their_offsets(void **state) {
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, false);
    int64_t offset;
    take_commands_up_to(fx, 41);
    assert_int_equal(assign(fx, ing, 50, 100, &offset), -1);
    assert_int_equal(fx->err.code, ERR_COMMANDS_LOST);
    assert_int_equal(fx->err.class, ERR_CLASS_FATAL);
    assert_non_null(strstr(fx->err.msg, FX_TOPIC "[0]: the commands at offsets 42 to 49"));
    assert_int_equal(assign(fx, ing, 0, 100, &offset), 0);
    assert_int_equal(offset, 42);
    ingest_free(ing);
}

static void test_ingest_told_to_goes_on_after_lost_commands_and_leaves_an_event_of_it(void **state) {
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, true);
    int64_t offset;
    take_commands_up_to(fx, 41);
    fx_drain(fx);
    size_t before = fx->event_count;
    assert_int_equal(assign(fx, ing, 50, 100, &offset), 0);
    assert_int_equal(offset, 50);
    fx_drain(fx);
    assert_int_equal(fx->event_count, before + 1);
    const struct job_event *ev = &fx->events[before];
    assert_int_equal(ev->to, JOB_STATE_REJECTED);
    assert_string_equal(ev->reason, "commands_lost");
    assert_string_equal(ev->source.topic, FX_TOPIC);
    assert_int_equal(ev->source.offset, 49);
    assert_non_null(strstr(ev->doc, "offsets 42 to 49"));
    assert_int_equal(assign(fx, ing, 50, 100, &offset), 0); /* once */
    assert_int_equal(offset, 50);
    fx_drain(fx);
    assert_int_equal(fx->event_count, before + 1);
    ingest_free(ing);
}

static void test_ingest_refuses_a_log_that_ends_before_what_was_read(void **state) {
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, true);
    int64_t offset;
    take_commands_up_to(fx, 41);
    assert_int_equal(assign(fx, ing, 0, 10, &offset), -1);
    assert_int_equal(fx->err.code, ERR_COMMANDS_LOST);
    assert_non_null(strstr(fx->err.msg, "the store is at offset 42 but the log ends at 10"));
    ingest_free(ing);
}

/* A consumer of one partition with three creates, a message at a time. */
struct one_by_one {
    struct bus_consumer base; /* first: the vtable's self */
    const struct bus_assign_ops *assign;
    struct bus_position pos;
    bool knows; /* where to read */
    struct bus_msg msg;
};

static const char *const creates[] = {"{\"type\":\"create\",\"job_id\":\"a\",\"model\":\"m\"}",
                                      "{\"type\":\"create\",\"job_id\":\"b\",\"model\":\"m\"}",
                                      "{\"type\":\"create\",\"job_id\":\"c\",\"model\":\"m\"}"};

static void keep_message(struct bus_batch *batch) {}

static int one_poll(struct bus_consumer *base, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) {
    struct one_by_one *con = (struct one_by_one *)base;
    int64_t low = 0, high = 3;
    if (!con->knows && con->assign->assigned(con->assign->self, &con->pos, &low, &high, 1, err) != 0) return -1;
    con->knows = true;
    *ret = (struct bus_batch){.release = keep_message};
    if (con->pos.offset == high) return 0;
    const char *value = creates[con->pos.offset];
    con->msg =
        (struct bus_msg){.topic = FX_TOPIC, .offset = con->pos.offset++, .value = value, .value_len = strlen(value)};
    ret->msgs = &con->msg;
    ret->count = 1;
    return 0;
}

static int one_commit(struct bus_consumer *base, const struct bus_position *positions, size_t count, struct err *err) {
    return 0;
}

static void one_ask_again(struct bus_consumer *base) { ((struct one_by_one *)base)->knows = false; }

static void test_regression_2_ingest_reads_again_what_a_redis_that_was_emptied_has_forgotten(void **state) {
    static const struct bus_consumer_ops ops = {.poll = one_poll, .commit = one_commit, .ask_again = one_ask_again};
    struct fx *fx = *state;
    struct ingest *ing = new_ingest(fx, false);
    struct one_by_one con = {.base = {&ops}, .assign = ingest_assign_ops(ing), .pos = {FX_TOPIC, 0, 0}};
    ingest_use_consumer(ing, &con.base);
    for (int i = 0; i < 2; i++) assert_int_equal(ingest_step(ing, &fx->err), 1);
    assert_int_equal(fx_state(fx, "b"), JOB_STATE_QUEUED);
    fx_redis(fx, "FLUSHALL");
    assert_int_equal(ingest_step(ing, &fx->err), -1);
    assert_int_equal(fx->err.code, ERR_STORE_FENCED);
    for (int i = 0; i < 3; i++) assert_int_equal(ingest_step(ing, &fx->err), 1);
    for (const char *id = "a\0b\0c\0"; *id; id += 2) assert_int_equal(fx_state(fx, id), JOB_STATE_QUEUED);
    /* Nor does a command have to come that a script could refuse, and another process may have opened the store. */
    assert_int_equal(ingest_step(ing, &fx->err), 0);
    fx_redis(fx, "FLUSHALL");
    struct store *other = fx_open(fx, &fx->cfg);
    assert_int_equal(store_attach(other, &fx->err), 0);
    store_free(other);
    assert_int_equal(ingest_step(ing, &fx->err), -1);
    assert_int_equal(fx->err.code, ERR_STORE_FENCED);
    for (int i = 0; i < 3; i++) assert_int_equal(ingest_step(ing, &fx->err), 1);
    ingest_free(ing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_ingest_starts_at_the_first_command_when_it_never_read_any),
        FX_TEST(test_ingest_goes_on_at_the_offset_in_the_store),
        FX_TEST(test_ingest_refuses_to_pass_over_lost_commands_and_names_their_offsets),
        FX_TEST(test_ingest_told_to_goes_on_after_lost_commands_and_leaves_an_event_of_it),
        FX_TEST(test_ingest_refuses_a_log_that_ends_before_what_was_read),
        FX_TEST(test_regression_2_ingest_reads_again_what_a_redis_that_was_emptied_has_forgotten),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

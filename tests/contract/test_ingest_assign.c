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

int main(void) {
    const struct CMUnitTest tests[] = {
        FX_TEST(test_ingest_starts_at_the_first_command_when_it_never_read_any),
        FX_TEST(test_ingest_goes_on_at_the_offset_in_the_store),
        FX_TEST(test_ingest_refuses_to_pass_over_lost_commands_and_names_their_offsets),
        FX_TEST(test_ingest_told_to_goes_on_after_lost_commands_and_leaves_an_event_of_it),
        FX_TEST(test_ingest_refuses_a_log_that_ends_before_what_was_read),
    };
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}

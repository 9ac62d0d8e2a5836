/* base: the error table, arenas and buffers, RFC 3339, the nearest word, and the role loop's backing off. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "penstock/clock.h"
#include "penstock/log.h"
#include "penstock/loop.h"
#include "penstock/mem.h"
#include "penstock/nearest.h"

/* --- err ---------------------------------------------------------------------------------------------------------- */

static void test_error_names_are_unique_and_lead_back_to_their_codes(void **state) {
    for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++)
        assert_int_equal(err_code_from_name(err_code_name((enum err_code)code)), code);
    assert_int_equal(err_code_from_name("no such error"), ERR_NONE);
    assert_int_equal(err_code_from_name("none"), ERR_NONE);
}

static void test_every_error_has_a_hint_of_one_short_line(void **state) {
    for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++) {
        const char *hint = err_code_hint((enum err_code)code);
        assert_in_range(strlen(hint), 10, 90);
        assert_null(strchr(hint, '\n'));
    }
}

static void test_every_class_has_a_code_and_err_set_takes_it_from_the_table(void **state) {
    static const struct {
        enum err_code code;
        enum err_class class;
    } cases[] = {{ERR_STORE_UNAVAILABLE, ERR_CLASS_RETRY},
                 {ERR_MALFORMED_JSON, ERR_CLASS_REJECT},
                 {ERR_CONFIG, ERR_CLASS_FATAL}};
    for (size_t i = 0; i < 3; i++) {
        struct err err = {0};
        assert_int_equal(err_set(&err, cases[i].code, "x %d", 7), -1);
        assert_int_equal(err.class, cases[i].class);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.msg, "x 7");
    }
}

static void test_only_rejected_and_retried_errors_may_be_retryable(void **state) {
    for (int code = ERR_NONE + 1; code < ERR_CODE_COUNT; code++) {
        struct err err;
        err_set(&err, (enum err_code)code, "x");
        if (err.class == ERR_CLASS_FATAL) assert_false(err_code_retryable((enum err_code)code));
        if (err.class == ERR_CLASS_RETRY) assert_true(err_code_retryable((enum err_code)code));
    }
}

static void test_error_message_may_quote_itself(void **state) {
    struct err err;
    err_set(&err, ERR_CONFIG, "inner");
    err_set(&err, ERR_USAGE, "outer: %s", err.msg);
    assert_string_equal(err.msg, "outer: inner");
    assert_int_equal(err.code, ERR_USAGE);
}

static void test_wrapping_keeps_code_and_class_and_puts_the_context_first(void **state) {
    struct err err;
    err_set(&err, ERR_STORE_FENCED, "NOSCRIPT");
    assert_int_equal(err_wrap(&err, "claim %d", 3), -1);
    assert_string_equal(err.msg, "claim 3: NOSCRIPT");
    assert_int_equal(err.code, ERR_STORE_FENCED);
    assert_int_equal(err.class, ERR_CLASS_RETRY);
}

static void test_errno_is_appended_as_it_was_on_entry(void **state) {
    struct err err;
    errno = ENOENT;
    err_set_errno(&err, ERR_SYSTEM, "open %s", "f");
    assert_string_equal(err.msg, "open f: No such file or directory");
}

static void test_overlong_message_is_cut_and_terminated(void **state) {
    struct err err;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_CONFIG, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void test_error_may_be_null_where_nobody_cares(void **state) {
    assert_int_equal(err_set(NULL, ERR_CONFIG, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
}

/* --- mem ---------------------------------------------------------------------------------------------------------- */

static void test_arena_memory_is_zeroed_aligned_and_does_not_overlap(void **state) {
    struct arena arena;
    arena_init(&arena);
    unsigned char *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&arena, i * 7 + 1);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t j = 0; j < i * 7 + 1; j++) assert_int_equal(pieces[i][j], 0);
        memset(pieces[i], (int)i, i * 7 + 1);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * 7 + 1; j++) assert_int_equal(pieces[i][j], i);
    arena_done(&arena);
}

static void test_arena_after_reset_gives_zeroed_memory_again(void **state) {
    struct arena arena;
    arena_init(&arena);
    for (int round = 0; round < 3; round++) {
        unsigned char *p = arena_alloc(&arena, 5000);
        for (size_t i = 0; i < 5000; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, 5000);
        arena_reset(&arena);
    }
    arena_done(&arena);
}

static void test_arena_takes_a_piece_larger_than_its_blocks(void **state) {
    struct arena arena;
    arena_init(&arena);
    char *small = arena_strdup(&arena, "small"), *big = arena_alloc(&arena, 1 << 20);
    memset(big, 'b', 1 << 20);
    assert_string_equal(small, "small");
    arena_reset(&arena);
    assert_string_equal(arena_printf(&arena, "%d-%s", 5, "x"), "5-x");
    arena_done(&arena);
}

static void test_arena_strdup_of_null_stays_null(void **state) {
    struct arena arena;
    arena_init(&arena);
    assert_null(arena_strdup(&arena, NULL));
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    arena_done(&arena);
}

static void test_buf_grows_and_stays_terminated(void **state) {
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++) buf_printf(&buf, "%03d", i);
    assert_int_equal(buf.len, 3000);
    assert_int_equal(strlen(buf.data), 3000);
    assert_memory_equal(buf.data + 2997, "999", 4);
    buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
    buf_append(&buf, "a\0b", 3);
    buf_puts(&buf, "c");
    assert_memory_equal(buf.data, "a\0bc", 5);
    buf_done(&buf);
    assert_null(buf.data);
    buf_done(&buf);
}

/* --- clock -------------------------------------------------------------------------------------------------------- */

static void test_rfc3339_round_trips_to_the_millisecond(void **state) {
    static const int64_t times[] = {
        0, 1, 999, 1000, 1764000000123, -1, -1000, -62135596800000, 253402300799999, 951782400000};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[25];
        int64_t back;
        clock_format_rfc3339(times[i], text);
        assert_int_equal(strlen(text), 24);
        assert_int_equal(clock_parse_rfc3339(text, &back), 0);
        assert_true(back == times[i]);
    }
}

static void test_rfc3339_reads_offsets_and_fractions(void **state) {
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T19:00:00-05:00", 0},
        {"1970-01-01T00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.123456789Z", 123},
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"1990-12-31T23:59:60Z", 662688000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms;
        assert_int_equal(clock_parse_rfc3339(cases[i].text, &ms), 0);
        assert_true(ms == cases[i].ms);
    }
}

static void test_rfc3339_refuses_what_is_none(void **state) {
    static const char *const texts[] = {"",
                                        "2026",
                                        "2026-11-24",
                                        "2026-11-24T10:00:00",
                                        "2026-11-24 10:00:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-02-29T00:00:00Z",
                                        "2026-11-31T00:00:00Z",
                                        "2026-11-24T24:00:00Z",
                                        "2026-11-24T10:60:00Z",
                                        "2026-11-24T10:00:61Z",
                                        "2026-11-24T10:00:00.Z",
                                        "2026-11-24T10:00:00Zz",
                                        "2026-11-24T10:00:00+1:00",
                                        "2026-11-24T10:00:00+24:00",
                                        "2026-11-24T10:00:00+01:60",
                                        "+026-11-24T10:00:00Z",
                                        " 2026-11-24T10:00:00Z"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t ms = 42;
        if (clock_parse_rfc3339(texts[i], &ms) != -1) fail_msg("taken: '%s'", texts[i]);
        assert_true(ms == 42);
    }
}

static void test_time_that_rfc3339_cannot_say_is_written_as_zeros(void **state) {
    char text[25];
    clock_format_rfc3339(INT64_C(300000000000000), text); /* the year 11476 */
    assert_string_equal(text, "0000-00-00T00:00:00.000Z");
}

static void test_monotonic_clock_does_not_run_backwards(void **state) {
    int64_t last = clock_mono_us(&clock_system);
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us(&clock_system);
        assert_true(now >= last);
        last = now;
    }
}

/* --- nearest ------------------------------------------------------------------------------------------------------ */

static void test_nearest_word_finds_slips_and_gives_up_on_strangers(void **state) {
    static const char *const words[] = {"submit", "list", "cancel", "wait"};
    assert_string_equal(nearest_word("submti", words, 4), "submit"); /* swapped */
    assert_string_equal(nearest_word("sumbit", words, 4), "submit");
    assert_string_equal(nearest_word("cancle", words, 4), "cancel");
    assert_string_equal(nearest_word("lst", words, 4), "list");   /* left out */
    assert_string_equal(nearest_word("waitt", words, 4), "wait"); /* doubled */
    assert_string_equal(nearest_word("WAIT", words, 4), "wait");
    assert_null(nearest_word("reindex", words, 4));
    assert_null(nearest_word("", words, 4));
    assert_null(nearest_word("wait", words, 0));
}

static void test_nearest_word_of_a_very_long_word_is_none(void **state) {
    static const char *const words[] = {"list"};
    char text[500];
    memset(text, 'l', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_null(nearest_word(text, words, 1));
}

/* --- loop --------------------------------------------------------------------------------------------------------- */

/* A step that follows a script: 'r' retry (Redis; the message ends in a number), 'k' retry (Kafka), 'o' done, 'f'
 * fatal, 's' asks for a stop, 't' lets a minute pass, then as 'r'. Notes the back-off that it meets. */
struct script {
    struct loop loop;
    struct clock clock;
    int64_t now_us;
    const char *next;
    int64_t met[16];
    size_t count;
};

static int64_t scripted_us(const struct clock *clock) {
    return ((const struct script *)((const char *)clock - offsetof(struct script, clock)))->now_us;
}

static int scripted_step(void *self, struct err *err) {
    struct script *script = self;
    script->met[script->count++] = script->loop.backoff_ms;
    switch (*script->next++) {
    case 't':
        script->now_us += 60000000;
        return err_set(err, ERR_STORE_UNAVAILABLE, "away %zu", script->count);
    case 'r':
        return err_set(err, ERR_STORE_UNAVAILABLE, "away %zu", script->count);
    case 'k':
        return err_set(err, ERR_BUS_UNAVAILABLE, "no broker");
    case 'o':
        return 1;
    case 'f':
        return err_set(err, ERR_CONFIG, "broken");
    default:
        loop_request_stop();
        return 0;
    }
}

static int run_script(struct script *script, const char *text, struct err *err) {
    *script = (struct script){.loop = {.role = "test", .step = scripted_step},
                              .clock = {.mono_us = scripted_us},
                              .now_us = 1000,
                              .next = text};
    script->loop.self = script;
    script->loop.clock = &script->clock;
    return loop_run(&script->loop, err);
}

/* What the script makes the loop log: each line's first word after the role, in a row. */
static const char *logged(const char *text) {
    static char lines[4096];
    struct script script;
    struct err err;
    int saved = dup(STDERR_FILENO);
    FILE *file = tmpfile();
    assert_true(saved >= 0 && file && dup2(fileno(file), STDERR_FILENO) >= 0);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    (void)!run_script(&script, text, &err);
    log_setup(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    dup2(saved, STDERR_FILENO);
    close(saved);
    lines[0] = '\0';
    rewind(file);
    for (char line[512], word[64]; fgets(line, sizeof line, file);)
        if (sscanf(line, "%*s %*s %*s %63s", word) == 1) strcat(strcat(lines, word), " ");
    fclose(file);
    return lines;
}

static void test_loop_backs_off_twice_as_long_each_time_and_forgets_it_after_a_success(void **state) {
    struct script script;
    struct err err;
    assert_int_equal(run_script(&script, "rrrorf", &err), -1);
    static const int64_t expected[] = {0, 10, 20, 40, 0, 10};
    assert_int_equal(script.count, 6);
    for (size_t i = 0; i < 6; i++) assert_true(script.met[i] == expected[i]);
}

static void test_loop_ends_on_a_fatal_error_with_that_error(void **state) {
    struct script script;
    struct err err;
    assert_int_equal(run_script(&script, "oof", &err), -1);
    assert_int_equal(script.count, 3);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_string_equal(err.msg, "broken");
}

static void test_loop_tells_a_lasting_trouble_once_a_while_and_when_it_is_over(void **state) {
    assert_string_equal(logged("orrrf"), "away broken ");
    assert_string_equal(logged("rkrkrkorof"), "away no works away works broken ");
    assert_string_equal(logged("rrtrtrf"), "away away away broken ");
    assert_string_equal(logged("ff"), "broken ");
}

/* The stop flag is for good, so this one stands last. */
static void test_loop_ends_without_error_when_asked_to_stop(void **state) {
    struct script script;
    struct err err;
    assert_int_equal(run_script(&script, "os", &err), 0);
    assert_int_equal(script.count, 2);
    assert_true(loop_stop_requested());
    int64_t before = clock_mono_ms(&clock_system);
    loop_sleep(60000);
    assert_true(clock_mono_ms(&clock_system) - before < 10000);
}

int main(void) {
    log_setup(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_names_are_unique_and_lead_back_to_their_codes),
        cmocka_unit_test(test_every_error_has_a_hint_of_one_short_line),
        cmocka_unit_test(test_every_class_has_a_code_and_err_set_takes_it_from_the_table),
        cmocka_unit_test(test_only_rejected_and_retried_errors_may_be_retryable),
        cmocka_unit_test(test_error_message_may_quote_itself),
        cmocka_unit_test(test_wrapping_keeps_code_and_class_and_puts_the_context_first),
        cmocka_unit_test(test_errno_is_appended_as_it_was_on_entry),
        cmocka_unit_test(test_overlong_message_is_cut_and_terminated),
        cmocka_unit_test(test_error_may_be_null_where_nobody_cares),
        cmocka_unit_test(test_arena_memory_is_zeroed_aligned_and_does_not_overlap),
        cmocka_unit_test(test_arena_after_reset_gives_zeroed_memory_again),
        cmocka_unit_test(test_arena_takes_a_piece_larger_than_its_blocks),
        cmocka_unit_test(test_arena_strdup_of_null_stays_null),
        cmocka_unit_test(test_buf_grows_and_stays_terminated),
        cmocka_unit_test(test_rfc3339_round_trips_to_the_millisecond),
        cmocka_unit_test(test_rfc3339_reads_offsets_and_fractions),
        cmocka_unit_test(test_rfc3339_refuses_what_is_none),
        cmocka_unit_test(test_time_that_rfc3339_cannot_say_is_written_as_zeros),
        cmocka_unit_test(test_monotonic_clock_does_not_run_backwards),
        cmocka_unit_test(test_nearest_word_finds_slips_and_gives_up_on_strangers),
        cmocka_unit_test(test_nearest_word_of_a_very_long_word_is_none),
        cmocka_unit_test(test_loop_backs_off_twice_as_long_each_time_and_forgets_it_after_a_success),
        cmocka_unit_test(test_loop_ends_on_a_fatal_error_with_that_error),
        cmocka_unit_test(test_loop_tells_a_lasting_trouble_once_a_while_and_when_it_is_over),
        cmocka_unit_test(test_loop_ends_without_error_when_asked_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* cli: what needs no server: JSON slices, ids, commands from documents and flags, and which configuration file is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/cli/cli_jobs.h"
#include "penstock/cli.h"
#include "penstock/uuid.h"

static struct wire_slice slice(const char *text) { return (struct wire_slice){text, strlen(text)}; }

static void assert_slice(struct wire_slice got, const char *expected) {
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.at, expected, got.len);
}

/* --- JSON slices -------------------------------------------------------------------------------------------------- */

static void test_json_documents_are_taken_off_one_by_one(void **state) {
    struct wire_slice rest = slice(" {\"a\":\"}\"}\n{\"b\":[1,{}]} [] 12 \"x\\\"y\" "), value;
    static const char *const expected[] = {"{\"a\":\"}\"}", "{\"b\":[1,{}]}", "[]", "12", "\"x\\\"y\""};
    for (size_t i = 0; i < 5; i++) {
        assert_true(wire_json_value(&rest, &value));
        assert_slice(value, expected[i]);
    }
    assert_false(wire_json_value(&rest, &value));
}

static void test_json_member_is_found_at_the_top_level_only(void **state) {
    struct wire_slice value, object = slice("{\"x\":{\"id\":1},\"s\":\"id\",\"id\" : [2, 3] ,\"t\":null}");
    assert_true(wire_json_member(object, "id", &value));
    assert_slice(value, "[2, 3]");
    assert_true(wire_json_member(object, "t", &value));
    assert_slice(value, "null");
    assert_false(wire_json_member(object, "i", &value));
    assert_false(wire_json_member(slice("[1]"), "id", &value));
}

static void test_json_elements_may_be_arrays_themselves(void **state) {
    struct wire_slice array = slice("[[1,2], [3] ,4]"), value;
    static const char *const expected[] = {"[1,2]", "[3]", "4"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(wire_json_element(&array, &value));
        assert_slice(value, expected[i]);
    }
    assert_false(wire_json_element(&array, &value));
}

/* Copies each text to the heap, so that the address sanitizer sees a read beyond it. */
static void test_broken_json_ends_without_reading_beyond_it(void **state) {
    static const char *const texts[] = {"{",   "{\"",         "{\"a",     "{\"a\"",  "{\"a\":",    "{\"a\":[", "\"\\",
                                        "[[[", "}",           "]]",       ",,,",     ":",          "{a:1}",    "[1,",
                                        "tru", "{\"a\":\"\\", "{\"a\"1}", "[}{][}]", "\"\\u12\"x", "-"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t len = strlen(texts[i]);
        char *copy = malloc(len);
        assert_non_null(copy);
        memcpy(copy, texts[i], len);
        struct wire_slice rest = {copy, len}, value;
        wire_json_member(rest, "a", &value);
        struct wire_slice array = rest;
        for (size_t steps = 0; wire_json_element(&array, &value); steps++) assert_true(steps < len);
        for (size_t steps = 0; wire_json_value(&rest, &value); steps++) assert_true(value.len > 0 && steps < len);
        free(copy);
    }
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static void test_uuids_are_version_7_valid_job_ids_and_sorted_as_made(void **state) {
    char last[UUID_SIZE] = "", id[UUID_SIZE];
    struct err err;
    for (int i = 0; i < 20000; i++) { /* more than the counter holds within a millisecond */
        assert_int_equal(uuid_v7(id, &err), 0);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(id[14], '7');
        assert_non_null(strchr("89ab", id[19]));
        assert_true(job_id_is_valid(id, 36));
        assert_true(strcmp(last, id) < 0);
        memcpy(last, id, sizeof id);
    }
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static void assert_command(const char *doc, const struct cli_overlay *overlay, const char *job_id,
                           const char *expected) {
    struct buf out = {0};
    struct err err;
    if (cli__command_build(slice(doc), overlay, job_id, &out, &err) != 0) fail_msg("%s", err.msg);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void test_command_gets_type_and_id_where_they_are_missing(void **state) {
    assert_command("{\"model\":\"m\"}", NULL, "j", "{\"job_id\":\"j\",\"model\":\"m\",\"type\":\"create\"}");
    assert_command("{\"type\":\"create\",\"job_id\":\"own\"}", NULL, NULL, "{\"job_id\":\"own\",\"type\":\"create\"}");
}

static void test_flags_are_laid_over_the_document_and_keep_its_other_parameters(void **state) {
    struct arena arena;
    struct err err;
    arena_init(&arena);
    struct cli_overlay overlay = {.arena = &arena};
    cli__overlay_set(&overlay, "model", "first", true);
    cli__overlay_set(&overlay, "model", "second", true);
    cli__overlay_set(&overlay, "priority", "7", false);
    static const char *const pairs[] = {"n=-1.5", "b=true", "s=abc", "z=007", "e="};
    for (size_t i = 0; i < 5; i++) assert_int_equal(cli__pairs_add(&overlay.params, &arena, pairs[i], true, &err), 0);
    assert_int_equal(cli__pairs_add(&overlay.labels, &arena, "run=7", false, &err), 0);
    assert_command(
        "{\"model\":\"m\",\"parameters\":{\"keep\":1,\"s\":0}}", &overlay, "j",
        "{\"job_id\":\"j\",\"labels\":{\"run\":\"7\"},\"model\":\"second\",\"parameters\":{\"b\":true,\"e\":\"\","
        "\"keep\":1,\"n\":-1.5,\"s\":\"abc\",\"z\":\"007\"},\"priority\":7,\"type\":\"create\"}");
    assert_int_equal(cli__pairs_add(&overlay.params, &arena, "nothing", true, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    arena_done(&arena);
}

static void test_command_that_is_no_object_is_refused(void **state) {
    struct buf out = {0};
    struct err err;
    assert_int_equal(cli__command_build(slice("[1]"), NULL, "j", &out, &err), -1);
    assert_int_equal(cli__command_build(slice("{\"a\""), NULL, "j", &out, &err), -1);
    buf_done(&out);
}

/* --- configuration files ------------------------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A runtime directory with a penstock-dev in it; the caller removes it with forget_dev. */
static void make_dev(char *dir, const char *pid) {
    char path[128];
    strcpy(dir, "/tmp/penstock-test-cli.XXXXXX");
    assert_non_null(mkdtemp(dir));
    setenv("XDG_RUNTIME_DIR", dir, 1);
    snprintf(path, sizeof path, "%s/penstock-dev", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/penstock-dev/pid", dir);
    write_file(path, pid);
    snprintf(path, sizeof path, "%s/penstock-dev/penstock.ini", dir);
    write_file(path, "");
}

static void forget_dev(const char *dir) {
    static const char *const names[] = {"/penstock-dev/pid", "/penstock-dev/penstock.ini", "/penstock-dev", ""};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", dir, names[i]);
        remove(path);
    }
    unsetenv("XDG_RUNTIME_DIR");
}

static void test_config_flag_wins_over_environment_and_that_over_a_running_dev(void **state) {
    char dir[64], pid[32], expected[128];
    bool is_dev;
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    make_dev(dir, pid);
    setenv("PENSTOCK_CONFIG", "/env.ini", 1);
    char *path = cli__find_config("/flag.ini", &is_dev);
    assert_string_equal(path, "/flag.ini");
    free(path);
    path = cli__find_config(NULL, &is_dev);
    assert_string_equal(path, "/env.ini");
    assert_false(is_dev);
    free(path);
    unsetenv("PENSTOCK_CONFIG");
    path = cli__find_config(NULL, &is_dev);
    snprintf(expected, sizeof expected, "%s/penstock-dev/penstock.ini", dir);
    assert_string_equal(path, expected);
    assert_true(is_dev);
    free(path);
    forget_dev(dir);
}

static void test_dev_that_is_dead_or_has_no_pid_is_not_used(void **state) {
    static const char *const pids[] = {"2147483646\n", "", "x\n", "-1\n", "0\n"};
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
        char dir[64];
        struct buf path = {0};
        make_dev(dir, pids[i]);
        assert_false(cli__dev_config(&path));
        forget_dev(dir);
        buf_done(&path);
    }
}

static void test_dev_folder_that_others_may_enter_is_not_used(void **state) {
    char dir[64], pid[32], folder[128];
    struct buf path = {0};
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    make_dev(dir, pid);
    snprintf(folder, sizeof folder, "%s/penstock-dev", dir);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_false(cli__dev_config(&path));
    forget_dev(dir);
    buf_done(&path);
}

/* --- exit codes --------------------------------------------------------------------------------------------------- */

static void test_wrong_usage_ends_with_exit_code_2(void **state) {
    static const char *const lines[][4] = {{"penstock", "submti"},
                                           {"penstock", "submit"},
                                           {"penstock", "get", "--wat"},
                                           {"penstock", "list", "--limit", "0"},
                                           {"penstock", "wait", "--timeout"},
                                           {"penstock", "list", "-s", "x.y=1"}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char words[4][16], *argv[5] = {0};
        int argc = 0;
        for (; argc < 4 && lines[i][argc]; argc++) argv[argc] = strcpy(words[argc], lines[i][argc]);
        optind = 0; /* getopt starts afresh */
        assert_int_equal(cli_main(argc, argv), CLI_USAGE);
    }
}

static void test_exit_code_follows_the_error(void **state) {
    static const struct {
        enum err_code code;
        int exit_code;
    } cases[] = {{ERR_USAGE, CLI_USAGE},
                 {ERR_CONFIG, CLI_USAGE},
                 {ERR_STORE_UNAVAILABLE, CLI_UNREACHABLE},
                 {ERR_BUS_UNAVAILABLE, CLI_UNREACHABLE},
                 {ERR_NOT_FOUND, CLI_NOT_FOUND},
                 {ERR_TIMED_OUT_WAITING, CLI_TIMED_OUT},
                 {ERR_JOB_CONFLICT, CLI_FAILED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err;
        err_set(&err, cases[i].code, "x");
        assert_int_equal(cli__exit_code(&err), cases[i].exit_code);
    }
}

static void test_durations_are_written_in_the_unit_that_suits_them(void **state) {
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0 ms"},          {999, "999 ms"},
                 {1000, "1.0 s"},      {59999, "59.9 s"},
                 {60000, "1 m 0 s"},   {3599999, "59 m 59 s"},
                 {3600000, "1 h 0 m"}, {86399999, "23 h 59 m"},
                 {86400000, "1 d"},    {INT64_MAX, "106751991167 d"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[16];
        cli__format_ms(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_documents_are_taken_off_one_by_one),
        cmocka_unit_test(test_json_member_is_found_at_the_top_level_only),
        cmocka_unit_test(test_json_elements_may_be_arrays_themselves),
        cmocka_unit_test(test_broken_json_ends_without_reading_beyond_it),
        cmocka_unit_test(test_uuids_are_version_7_valid_job_ids_and_sorted_as_made),
        cmocka_unit_test(test_command_gets_type_and_id_where_they_are_missing),
        cmocka_unit_test(test_flags_are_laid_over_the_document_and_keep_its_other_parameters),
        cmocka_unit_test(test_command_that_is_no_object_is_refused),
        cmocka_unit_test(test_config_flag_wins_over_environment_and_that_over_a_running_dev),
        cmocka_unit_test(test_dev_that_is_dead_or_has_no_pid_is_not_used),
        cmocka_unit_test(test_dev_folder_that_others_may_enter_is_not_used),
        cmocka_unit_test(test_wrong_usage_ends_with_exit_code_2),
        cmocka_unit_test(test_exit_code_follows_the_error),
        cmocka_unit_test(test_durations_are_written_in_the_unit_that_suits_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

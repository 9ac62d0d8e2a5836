/* The registry: executors by name, and model repositories good and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "penstock/registry.h"
#include "testlib.h"

static char repo[1024]; /* a fresh one for each test */

static int fresh_repo(void **state) {
    static int count;
    snprintf(repo, sizeof repo, "%s/repo%d", test_temp_dir(), count++);
    return mkdir(repo, 0755);
}

static void put_folder(const char *name) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", repo, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void put_file(const char *name, const char *text) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", repo, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void put_version(const char *folder) {
    char file[1100];
    put_folder(folder);
    snprintf(file, sizeof file, "%s/model.onnx", folder);
    put_file(file, "");
}

static struct model_list scanned(void) {
    struct model_list list = {0};
    struct err err;
    if (registry_models_scan(repo, &list, &err) != 0) fail_msg("%s", err.msg);
    return list;
}

static void scan_refused(const char *words) {
    struct model_list list = {0};
    struct err err = {0};
    assert_int_equal(registry_models_scan(repo, &list, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_null(list.entries);
    if (!strstr(err.msg, words)) fail_msg("expected '%s' in: %s", words, err.msg);
}

/* --- executors --------------------------------------------------------------------------------------------------- */

static void test_the_linked_in_executors_are_found_by_name(void **state) {
    const char *names[] = {"fake", "onnx-cpu"};
    for (size_t i = 0; i < 2; i++) {
        const struct executor_ops *ops = NULL;
        struct err err;
        assert_int_equal(registry_executor_find(names[i], NULL, &ops, &err), 0);
        assert_string_equal(ops->name, names[i]);
        assert_int_equal(ops->abi_version, EXECUTOR_ABI_VERSION);
    }
}

static void test_an_unknown_executor_is_an_error_that_names_it_and_its_file(void **state) {
    const struct executor_ops *ops;
    struct err err;
    assert_int_equal(registry_executor_find("abacus", repo, &ops, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.msg, "executor 'abacus'"));
    assert_non_null(strstr(err.msg, "libpenstock_abacus.so"));
    assert_int_equal(registry_executor_find("abacus", NULL, &ops, &err), -1);
    assert_non_null(strstr(err.msg, "libpenstock_abacus.so"));
}

static void test_an_executor_name_cannot_leave_the_plugin_folder(void **state) {
    const char *names[] = {"", "../x", "a/b", "Name", "a123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct executor_ops *ops;
        struct err err;
        assert_int_equal(registry_executor_find(names[i], repo, &ops, &err), -1);
        assert_non_null(strstr(err.msg, "a name is 1 to 32 of"));
    }
}

/* A plug-in as an outsider builds one: from the public header alone. */
static void build_plugin(const char *name, const char *source) {
    char file[64], command[8192];
    snprintf(file, sizeof file, "%s.c", name);
    put_file(file, source);
    snprintf(command, sizeof command, "cc -shared -fPIC -I'%s/include' '%s/%s' -o '%s/libpenstock_%s.so'", SOURCE_DIR,
             repo, file, repo, name);
    assert_int_equal(system(command), 0);
}

static void test_a_plugin_is_opened_from_its_folder_and_checked_for_its_abi(void **state) {
    const struct executor_ops *ops = NULL;
    struct err err;
    if (!test_have_program("cc")) {
        print_message("skipped: no cc to build a plug-in with\n");
        skip();
    }
#define PLUGIN(abi)                                                                                                    \
    "#include \"penstock/executor.h\"\n"                                                                               \
    "static const struct executor_ops ops = {.abi_version = " abi ", .name = \"own\"};\n"                              \
    "const struct executor_ops *penstock_executor(void) { return &ops; }\n"
    build_plugin("own_1", PLUGIN("EXECUTOR_ABI_VERSION")); /* the file of "own-1" */
    if (registry_executor_find("own-1", repo, &ops, &err) != 0) fail_msg("%s", err.msg);
    assert_string_equal(ops->name, "own");
    build_plugin("other_abi", PLUGIN("EXECUTOR_ABI_VERSION + 1"));
    assert_int_equal(registry_executor_find("other_abi", repo, &ops, &err), -1);
    assert_non_null(strstr(err.msg, "executor 'other_abi': built for ABI 2, this penstock has ABI 1"));
    build_plugin("empty", "int nothing;\n");
    assert_int_equal(registry_executor_find("empty", repo, &ops, &err), -1);
    assert_non_null(strstr(err.msg, "executor 'empty': the plug-in exports no penstock_executor"));
}

/* --- repositories ------------------------------------------------------------------------------------------------ */

static void test_versions_sort_as_numbers_and_the_highest_is_the_latest(void **state) {
    put_folder("m");
    put_version("m/9");
    put_version("m/10");
    put_version("m/2");
    put_folder("m/samples"); /* no version: passed over */
    put_folder("m/01");
    struct model_list list = scanned();
    assert_int_equal(list.count, 3);
    assert_string_equal(list.entries[0].version, "2");
    assert_string_equal(list.entries[2].version, "10");
    assert_string_equal(registry_model_find(&list, "m", NULL)->version, "10");
    assert_string_equal(registry_model_find(&list, "m", "")->version, "10");
    assert_string_equal(registry_model_find(&list, "m", "9")->version, "9");
    assert_null(registry_model_find(&list, "m", "3"));
    assert_null(registry_model_find(&list, "n", NULL));
    assert_non_null(strstr(list.entries[2].path, "/m/10"));
    registry_models_done(&list);
}

static void test_config_json_gives_the_knobs_and_its_absence_the_defaults(void **state) {
    put_folder("tuned");
    put_version("tuned/1");
    put_file("tuned/config.json",
             "{\"name\":\"tuned\",\"max_batch_size\":8,\"dynamic_batching\":{\"max_queue_delay_microseconds\":500}}");
    put_folder("plain");
    put_version("plain/1");
    put_file("README.md", "no model");
    put_folder(".git");
    struct model_list list = scanned();
    assert_int_equal(list.count, 2);
    const struct model_entry *plain = registry_model_find(&list, "plain", NULL),
                             *tuned = registry_model_find(&list, "tuned", NULL);
    assert_int_equal(plain->max_batch_size, 0);
    assert_int_equal(plain->max_queue_delay_us, 0);
    assert_string_equal(plain->backend, "onnx");
    assert_int_equal(tuned->max_batch_size, 8);
    assert_int_equal(tuned->max_queue_delay_us, 500);
    registry_models_done(&list);
}

static void test_config_json_says_how_jobs_are_tried_and_every_version_obeys(void **state) {
    put_folder("m");
    put_version("m/1");
    put_version("m/2");
    put_file("m/config.json", "{\"penstock\":{\"max_attempts\":7,\"timeout_max_ms\":9000,\"max_running\":2}}");
    put_folder("silent");
    put_version("silent/1");
    struct model_list list = scanned();
    for (size_t i = 0; i < 2; i++) {
        const struct model_policy *policy = &list.entries[i].policy;
        assert_int_equal(policy->max_attempts, 7);
        assert_int_equal(policy->timeout_max_ms, 9000);
        assert_int_equal(policy->max_running, 2);
        assert_int_equal(policy->timeout_ms, 0);
    }
    static const struct model_policy nothing_said;
    assert_memory_equal(&registry_model_find(&list, "silent", NULL)->policy, &nothing_said, sizeof nothing_said);
    registry_models_done(&list);
}

static void test_an_unknown_member_of_a_policy_is_refused_with_its_path(void **state) {
    put_folder("m");
    put_version("m/1");
    put_file("m/config.json", "{\"penstock\":{\"max_runing\":2}}");
    scan_refused("m/config.json: penstock/max_runing: unknown member");
}

static void test_a_fake_model_needs_no_version_folder_and_is_version_1(void **state) {
    put_folder("echo");
    put_file("echo/config.json", "{\"backend\":\"fake\",\"max_batch_size\":64}");
    struct model_list list = scanned();
    assert_int_equal(list.count, 1);
    assert_string_equal(list.entries[0].version, "1");
    assert_string_equal(list.entries[0].backend, "fake");
    assert_true(list.entries[0].latest);
    assert_int_equal(list.entries[0].max_batch_size, 64);
    registry_models_done(&list);
}

static void test_an_onnx_model_without_a_version_refuses_the_repository(void **state) {
    put_folder("bare");
    scan_refused("model 'bare'");
}

static void test_a_version_without_its_file_refuses_the_repository(void **state) {
    put_folder("m");
    put_folder("m/1");
    scan_refused("m/1/model.onnx");
}

static void test_a_config_that_names_another_model_is_refused(void **state) {
    put_folder("m");
    put_version("m/1");
    put_file("m/config.json", "{\"name\":\"n\"}");
    scan_refused("name is 'n', but the folder is 'm'");
}

static void test_a_broken_config_is_refused_with_its_path(void **state) {
    put_folder("m");
    put_version("m/1");
    put_file("m/config.json", "{\"max_batch_size\":");
    scan_refused("m/config.json");
}

static void test_an_unknown_member_of_a_config_is_refused_by_name(void **state) {
    put_folder("m");
    put_version("m/1");
    put_file("m/config.json", "{\"max_bach_size\":3}");
    scan_refused("max_bach_size");
}

static void test_a_folder_whose_name_no_job_could_use_is_refused(void **state) {
    put_folder("my model");
    scan_refused("a model's name is");
}

static void test_a_missing_repository_is_an_error_and_an_empty_one_is_not(void **state) {
    struct model_list list = scanned();
    assert_int_equal(list.count, 0);
    registry_models_done(&list);
    strcat(repo, "/nothing");
    scan_refused("/nothing");
}

static void test_the_shipped_repository_holds_digits(void **state) {
    struct model_list list;
    struct err err;
    if (registry_models_scan(SOURCE_DIR "/models", &list, &err) != 0) fail_msg("%s", err.msg);
    const struct model_entry *digits = registry_model_find(&list, "digits", NULL);
    assert_non_null(digits);
    assert_int_equal(digits->max_batch_size, 32);
    registry_models_done(&list);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(name, fresh_repo)
    const struct CMUnitTest tests[] = {
        CASE(test_the_linked_in_executors_are_found_by_name),
        CASE(test_an_unknown_executor_is_an_error_that_names_it_and_its_file),
        CASE(test_an_executor_name_cannot_leave_the_plugin_folder),
        CASE(test_a_plugin_is_opened_from_its_folder_and_checked_for_its_abi),
        CASE(test_versions_sort_as_numbers_and_the_highest_is_the_latest),
        CASE(test_config_json_gives_the_knobs_and_its_absence_the_defaults),
        CASE(test_config_json_says_how_jobs_are_tried_and_every_version_obeys),
        CASE(test_an_unknown_member_of_a_policy_is_refused_with_its_path),
        CASE(test_a_fake_model_needs_no_version_folder_and_is_version_1),
        CASE(test_an_onnx_model_without_a_version_refuses_the_repository),
        CASE(test_a_version_without_its_file_refuses_the_repository),
        CASE(test_a_config_that_names_another_model_is_refused),
        CASE(test_a_broken_config_is_refused_with_its_path),
        CASE(test_an_unknown_member_of_a_config_is_refused_by_name),
        CASE(test_a_folder_whose_name_no_job_could_use_is_refused),
        CASE(test_a_missing_repository_is_an_error_and_an_empty_one_is_not),
        CASE(test_the_shipped_repository_holds_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

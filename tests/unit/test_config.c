/* config: each type, ranges, precedence, unknown names, masking, and that the reference page is not stale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "penstock/config.h"

/* Writes `text` to a file of this process and returns its path. */
static const char *file_with(const char *text, size_t len) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/penstock-test-config-%d.ini", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
    return path;
}

static struct config *load_ok(const char *text, const char *const *overrides, size_t count) {
    struct err err = {0};
    struct config *cfg = NULL;
    if (config_load(text ? file_with(text, strlen(text)) : NULL, overrides, count, &cfg, &err) != 0)
        fail_msg("config_load: %s", err.msg);
    return cfg;
}

static void load_fails(const char *text, size_t len, const char *override, const char *expected) {
    struct err err = {0};
    struct config *cfg = NULL;
    assert_int_equal(config_load(text ? file_with(text, len) : NULL, &override, override ? 1 : 0, &cfg, &err), -1);
    assert_null(cfg);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.msg, expected)) fail_msg("expected '%s' in: %s", expected, err.msg);
}

static void file_fails(const char *text, const char *expected) { load_fails(text, strlen(text), NULL, expected); }
static void flag_fails(const char *flag, const char *expected) { load_fails(NULL, 0, flag, expected); }

static void environment_fails(const char *name, const char *value, const char *expected) {
    assert_int_equal(setenv(name, value, 1), 0);
    load_fails(NULL, 0, NULL, expected);
    unsetenv(name);
}

static void printed(const struct config *cfg, void (*print)(const struct config *, FILE *), char *ret, size_t cap) {
    FILE *out = fmemopen(ret, cap, "w");
    assert_non_null(out);
    print(cfg, out);
    fclose(out);
}

/* --- types and ranges --------------------------------------------------------------------------------------------- */

static void test_defaults_are_loaded_without_a_file(void **state) {
    struct config *cfg = load_ok(NULL, NULL, 0);
    assert_int_equal(config_int(cfg, "worker.lease_ms"), 15000);
    assert_true(config_bool(cfg, "bus.create_topics"));
    assert_string_equal(config_string(cfg, "store.url"), "redis://127.0.0.1:6379");
    assert_string_equal(config_string(cfg, "log.level"), "info");
    assert_string_equal(config_string(cfg, "artifacts.root"), "");
    size_t count;
    const struct config_property *props = config_kafka_properties(cfg, &count);
    assert_int_equal(count, 1);
    assert_string_equal(props[0].name, "bootstrap.servers");
    assert_string_equal(props[0].value, "127.0.0.1:9092");
    config_free(cfg);
}

static void test_file_sets_each_type(void **state) {
    struct config *cfg = load_ok("# comment\n[worker]\nlease_ms = 1000\n[bus]\ncreate_topics=off\n[store]\n"
                                 "prefix = a: ; trailing comment\n[log]\nlevel: debug\n[kafka]\nlinger.ms = 7\n",
                                 NULL, 0);
    assert_int_equal(config_int(cfg, "worker.lease_ms"), 1000);
    assert_false(config_bool(cfg, "bus.create_topics"));
    assert_string_equal(config_string(cfg, "store.prefix"), "a:");
    assert_string_equal(config_string(cfg, "log.level"), "debug");
    size_t count;
    const struct config_property *props = config_kafka_properties(cfg, &count);
    assert_int_equal(count, 2);
    assert_string_equal(props[1].name, "linger.ms");
    assert_string_equal(props[1].value, "7");
    config_free(cfg);
}

static void test_number_outside_its_range_is_refused_with_the_range(void **state) {
    flag_fails("worker.lease_ms=999", "outside the range 1000 to 3600000");
    flag_fails("worker.lease_ms=3600001", "outside the range 1000 to 3600000");
    flag_fails("worker.lease_ms=99999999999999999999", "not a whole number");
}

static void test_number_with_a_tail_or_empty_is_refused(void **state) {
    flag_fails("worker.lease_ms=15s", "not a whole number");
    flag_fails("worker.lease_ms=", "not a whole number");
    flag_fails("worker.lease_ms=1.5", "not a whole number");
}

static void test_bool_takes_the_usual_words_and_no_other(void **state) {
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        char flag[64];
        const char *flags[] = {flag};
        snprintf(flag, sizeof flag, "bus.accept_lost_commands=%s", yes[i]);
        struct config *cfg = load_ok(NULL, flags, 1);
        assert_true(config_bool(cfg, "bus.accept_lost_commands"));
        config_free(cfg);
        snprintf(flag, sizeof flag, "bus.create_topics=%s", no[i]);
        cfg = load_ok(NULL, flags, 1);
        assert_false(config_bool(cfg, "bus.create_topics"));
        config_free(cfg);
    }
    flag_fails("bus.create_topics=maybe", "neither true nor false");
}

static void test_choice_outside_its_list_is_refused_with_the_list(void **state) {
    flag_fails("log.level=chatty", "none of debug|info|warn|error|off");
    flag_fails("log.level=debug|info", "none of");
    flag_fails("log.level=", "none of");
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void test_unknown_setting_is_refused_with_the_nearest_name(void **state) {
    flag_fails("worker.laese_ms=1000", "did you mean 'worker.lease_ms'?");
    file_fails("[stroe]\nurl = x\n", ":2: unknown setting 'stroe.url'; did you mean 'store.url'?");
    flag_fails("zzzzzzzzzzzz=1", "unknown setting 'zzzzzzzzzzzz'");
}

static void test_unknown_environment_name_is_refused_with_the_nearest_name(void **state) {
    environment_fails("PENSTOCK_STORE_ULR", "x", "did you mean PENSTOCK_STORE_URL?");
    environment_fails("PENSTOCK_XYZZY_PLUGH_AND_MORE", "x", "unknown name PENSTOCK_XYZZY_PLUGH_AND_MORE");
}

static void test_environment_names_of_the_tests_are_exempt(void **state) {
    static const char *const names[] = {"PENSTOCK_CONFIG", "PENSTOCK_KAFKA_HOME", "PENSTOCK_TEST_ANYTHING"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) setenv(names[i], "/x", 1);
    struct config *cfg = load_ok(NULL, NULL, 0);
    size_t count;
    config_kafka_properties(cfg, &count);
    assert_int_equal(count, 1); /* PENSTOCK_KAFKA_HOME is no property */
    config_free(cfg);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unsetenv(names[i]);
}

static void test_kafka_environment_name_becomes_a_dotted_property(void **state) {
    setenv("PENSTOCK_KAFKA_BOOTSTRAP_SERVERS", "k:1", 1);
    setenv("PENSTOCK_KAFKA_SSL_CA_LOCATION", "/ca", 1);
    struct config *cfg = load_ok(NULL, NULL, 0);
    unsetenv("PENSTOCK_KAFKA_BOOTSTRAP_SERVERS");
    unsetenv("PENSTOCK_KAFKA_SSL_CA_LOCATION");
    size_t count;
    const struct config_property *props = config_kafka_properties(cfg, &count);
    assert_int_equal(count, 2);
    assert_string_equal(props[0].value, "k:1");
    assert_string_equal(props[1].name, "ssl.ca.location");
    config_free(cfg);
}

/* --- precedence --------------------------------------------------------------------------------------------------- */

static void test_flag_wins_over_environment_and_environment_over_file(void **state) {
    const char *text = "[ingest]\nbatch = 11\n[relay]\nbatch = 11\n[sweeper]\nbatch = 11\n[kafka]\nlinger.ms=1\n";
    const char *flags[] = {"sweeper.batch=33", "kafka.linger.ms=3"};
    setenv("PENSTOCK_RELAY_BATCH", "22", 1);
    setenv("PENSTOCK_SWEEPER_BATCH", "22", 1);
    struct config *cfg = load_ok(text, flags, 2);
    unsetenv("PENSTOCK_RELAY_BATCH");
    unsetenv("PENSTOCK_SWEEPER_BATCH");
    assert_int_equal(config_int(cfg, "ingest.batch"), 11);
    assert_int_equal(config_int(cfg, "relay.batch"), 22);
    assert_int_equal(config_int(cfg, "sweeper.batch"), 33);
    size_t count;
    assert_string_equal(config_kafka_properties(cfg, &count)[1].value, "3");
    config_free(cfg);
}

static void test_of_two_flags_the_later_wins(void **state) {
    const char *flags[] = {"ingest.batch=1", "ingest.batch=2"};
    struct config *cfg = load_ok(NULL, flags, 2);
    assert_int_equal(config_int(cfg, "ingest.batch"), 2);
    config_free(cfg);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static void test_setting_twice_in_the_file_is_refused(void **state) {
    file_fails("[store]\nprefix = a\nprefix = b\n", ":3: 'store.prefix' is set a second time");
    file_fails("[kafka]\nlinger.ms = 1\nlinger.ms = 2\n", ":3: 'linger.ms' is set a second time");
}

static void test_line_that_is_no_setting_is_refused_with_its_number(void **state) {
    file_fails("[store]\nprefix = a\nwhat is this\n", ":3: neither [section] nor key = value");
}

static void test_setting_outside_any_section_is_refused(void **state) {
    file_fails("batch = 1\n", "unknown setting 'batch'");
}

static void test_missing_file_is_refused_with_the_reason(void **state) {
    struct err err = {0};
    struct config *cfg = NULL;
    assert_int_equal(config_load("/nonexistent/penstock.ini", NULL, 0, &cfg, &err), -1);
    assert_non_null(strstr(err.msg, "/nonexistent/penstock.ini: No such file"));
}

static void test_file_with_a_nul_byte_is_refused(void **state) { load_fails("[a]\0b", 5, NULL, "holds a NUL byte"); }

static void test_line_of_two_thousand_bytes_is_read_whole(void **state) {
    char text[2300] = "[kafka]\nbootstrap.servers = ";
    size_t head = strlen(text);
    memset(text + head, 'h', 2000);
    strcpy(text + head + 2000, "\n[store]\nprefix = p\n");
    struct config *cfg = load_ok(text, NULL, 0);
    size_t count;
    assert_int_equal(strlen(config_kafka_properties(cfg, &count)[0].value), 2000);
    assert_string_equal(config_string(cfg, "store.prefix"), "p");
    config_free(cfg);
}

static void test_line_beyond_the_limit_is_refused_with_its_number(void **state) {
    static char text[20000];
    memset(text, 'x', sizeof text);
    memcpy(text, "[kafka]\n", 8);
    load_fails(text, sizeof text, NULL, ":2: the line is longer than");
}

static void test_flag_without_equals_is_refused(void **state) {
    flag_fails("ingest.batch", "expected section.key=value");
    flag_fails("=1", "expected section.key=value");
    flag_fails("kafka.=1", "a property name is missing");
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static char text_out[64 * 1024];

static void test_secrets_are_masked_in_what_is_printed(void **state) {
    const char *flags[] = {"store.url=redis://user:hunter2@host:1/2", "kafka.sasl.password=hunter2",
                           "kafka.ssl.key.password=hunter2", "kafka.sasl.username=hunter2",
                           "kafka.sasl.mechanisms=PLAIN"};
    struct config *cfg = load_ok(NULL, flags, 5);
    void (*const printers[])(const struct config *, FILE *) = {config_print, config_print_json};
    for (size_t i = 0; i < 2; i++) {
        memset(text_out, 0, sizeof text_out);
        printed(cfg, printers[i], text_out, sizeof text_out);
        assert_null(strstr(text_out, "hunter2"));
        assert_non_null(strstr(text_out, "redis://user:***@host:1/2"));
        assert_non_null(strstr(text_out, "PLAIN"));
    }
    size_t count;
    assert_string_equal(config_kafka_properties(cfg, &count)[1].value, "hunter2"); /* masked in print only */
    config_free(cfg);
}

/* --- secrets in files --------------------------------------------------------------------------------------------- */

/* Writes `text` to the secret's file of this process, with `mode`, and returns its path. */
static const char *secret_with(const char *text, mode_t mode) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/penstock-test-secret-%d", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static const char *text_of(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *text_of(const char *fmt, ...) {
    static char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return text;
}

static void test_secret_is_read_from_its_file_without_the_end_of_the_line(void **state) {
    const char *path = secret_with("hunter2 \n", 0600);
    struct config *cfg =
        load_ok(text_of("[store]\npassword_file = %1$s\n[kafka]\nsasl.password_file = %1$s\n", path), NULL, 0);
    size_t count;
    assert_string_equal(config_string(cfg, "store.password"), "hunter2 ");
    assert_string_equal(config_kafka_properties(cfg, &count)[1].name, "sasl.password");
    assert_string_equal(config_kafka_properties(cfg, &count)[1].value, "hunter2 ");
    config_warnings(cfg, &count);
    assert_int_equal(count, 0);
    memset(text_out, 0, sizeof text_out);
    printed(cfg, config_print, text_out, sizeof text_out);
    assert_null(strstr(text_out, "hunter2"));
    assert_non_null(strstr(text_out, "\npassword = ***"));
    assert_non_null(strstr(text_out, text_of("; %s (/tmp/", path)));
    config_free(cfg);
}

static void test_secret_file_has_the_precedence_of_where_it_is_named(void **state) {
    const char *path = secret_with("from-file", 0600), *flags[] = {"store.password=flag"};
    setenv("PENSTOCK_STORE_PASSWORD_FILE", path, 1);
    setenv("PENSTOCK_KAFKA_SSL_KEY_PASSWORD_FILE", path, 1);
    struct config *cfg = load_ok("[store]\npassword = ini\n", NULL, 0), *flagged = load_ok(NULL, flags, 1);
    unsetenv("PENSTOCK_STORE_PASSWORD_FILE");
    unsetenv("PENSTOCK_KAFKA_SSL_KEY_PASSWORD_FILE");
    size_t count;
    assert_string_equal(config_string(cfg, "store.password"), "from-file");
    assert_string_equal(config_string(flagged, "store.password"), "flag");
    assert_string_equal(config_kafka_properties(cfg, &count)[1].name, "ssl.key.password");
    assert_string_equal(config_kafka_properties(cfg, &count)[1].value, "from-file");
    config_free(cfg);
    config_free(flagged);
}

static void test_secret_that_others_may_read_is_warned_of(void **state) {
    struct config *cfg = load_ok(text_of("[store]\npassword_file = %s\n", secret_with("s", 0644)), NULL, 0);
    size_t count;
    const char *const *warnings = config_warnings(cfg, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(warnings[0], ":2: store.password_file: others may read the secret in /tmp/"));
    assert_non_null(strstr(warnings[0], "(mode 0644): chmod o= /tmp/"));
    config_free(cfg);
}

static void test_configuration_file_with_a_secret_that_others_may_read_is_warned_of(void **state) {
    static const char *const with[] = {"[store]\nurl = redis://:pw@h\n", "[kafka]\nsasl.password = pw\n",
                                       "[store]\npassword = pw\n"};
    size_t count;
    for (size_t i = 0; i < 3; i++) {
        struct config *cfg = load_ok(with[i], NULL, 0); /* the file gets mode 0644 */
        assert_non_null(strstr(config_warnings(cfg, &count)[0], "others may read the secrets in it"));
        assert_int_equal(count, 1);
        config_free(cfg);
    }
    struct config *cfg = load_ok("[store]\nurl = redis://h\npassword =\n[kafka]\nlinger.ms = 1\n", NULL, 0);
    config_warnings(cfg, &count);
    assert_int_equal(count, 0);
    config_free(cfg);
}

static void test_secret_file_that_cannot_be_one_is_refused_without_its_content(void **state) {
    flag_fails(text_of("store.password_file=%s", secret_with("s", 0602)), "others may write to");
    flag_fails(text_of("store.password_file=%s", secret_with("\n", 0600)), "is empty");
    flag_fails(text_of("store.password_file=%s", "/nonexistent/secret"),
               "store.password_file: /nonexistent/secret: No such file");
    flag_fails(text_of("store.password_file=%s", "/tmp"), "/tmp is no regular file");
    file_fails(text_of("[store]\npassword = a\npassword_file = %s\n", secret_with("s", 0600)),
               ":3): 'store.password' is set a second time");
    flag_fails("store.prefix_file=/etc/hostname", "unknown setting 'store.prefix_file'");
    environment_fails("PENSTOCK_STORE_PREFIX_FILE", "/etc/hostname", "unknown name PENSTOCK_STORE_PREFIX_FILE");
}

static void test_printed_settings_load_again_to_the_same_values(void **state) {
    const char *flags[] = {"ingest.batch=77", "store.prefix=x:", "kafka.linger.ms=3"};
    struct config *cfg = load_ok(NULL, flags, 3);
    memset(text_out, 0, sizeof text_out);
    printed(cfg, config_print, text_out, sizeof text_out);
    config_free(cfg);
    cfg = load_ok(text_out, NULL, 0);
    assert_int_equal(config_int(cfg, "ingest.batch"), 77);
    assert_string_equal(config_string(cfg, "store.prefix"), "x:");
    size_t count;
    assert_string_equal(config_kafka_properties(cfg, &count)[1].value, "3");
    config_free(cfg);
}

static void test_each_printed_value_tells_its_source(void **state) {
    const char *flags[] = {"relay.batch=2"};
    setenv("PENSTOCK_SWEEPER_BATCH", "3", 1);
    struct config *cfg = load_ok("[ingest]\nbatch = 1\n", flags, 1);
    unsetenv("PENSTOCK_SWEEPER_BATCH");
    memset(text_out, 0, sizeof text_out);
    printed(cfg, config_print_json, text_out, sizeof text_out);
    config_free(cfg);
    assert_non_null(strstr(text_out, ".ini:2\"}")); /* ingest.batch */
    assert_non_null(strstr(text_out, "\"batch\":{\"value\":2,\"source\":\"flag\"}"));
    assert_non_null(strstr(text_out, "\"batch\":{\"value\":3,\"source\":\"environment\"}"));
    assert_non_null(strstr(text_out, "\"create_topics\":{\"value\":true,\"source\":\"default\"}"));
}

static void test_reference_page_is_what_the_table_prints(void **state) {
    static char page[64 * 1024], now[64 * 1024];
    FILE *file = fopen(SOURCE_DIR "/docs/configuration.md", "r");
    assert_non_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    FILE *out = fmemopen(now, sizeof now, "w");
    config_print_markdown(out);
    fclose(out);
    if (strcmp(page, now) != 0)
        fail_msg("docs/configuration.md is stale: penstock config --markdown > docs/configuration.md");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_loaded_without_a_file),
        cmocka_unit_test(test_file_sets_each_type),
        cmocka_unit_test(test_number_outside_its_range_is_refused_with_the_range),
        cmocka_unit_test(test_number_with_a_tail_or_empty_is_refused),
        cmocka_unit_test(test_bool_takes_the_usual_words_and_no_other),
        cmocka_unit_test(test_choice_outside_its_list_is_refused_with_the_list),
        cmocka_unit_test(test_unknown_setting_is_refused_with_the_nearest_name),
        cmocka_unit_test(test_unknown_environment_name_is_refused_with_the_nearest_name),
        cmocka_unit_test(test_environment_names_of_the_tests_are_exempt),
        cmocka_unit_test(test_kafka_environment_name_becomes_a_dotted_property),
        cmocka_unit_test(test_flag_wins_over_environment_and_environment_over_file),
        cmocka_unit_test(test_of_two_flags_the_later_wins),
        cmocka_unit_test(test_setting_twice_in_the_file_is_refused),
        cmocka_unit_test(test_line_that_is_no_setting_is_refused_with_its_number),
        cmocka_unit_test(test_setting_outside_any_section_is_refused),
        cmocka_unit_test(test_missing_file_is_refused_with_the_reason),
        cmocka_unit_test(test_file_with_a_nul_byte_is_refused),
        cmocka_unit_test(test_line_of_two_thousand_bytes_is_read_whole),
        cmocka_unit_test(test_line_beyond_the_limit_is_refused_with_its_number),
        cmocka_unit_test(test_flag_without_equals_is_refused),
        cmocka_unit_test(test_secrets_are_masked_in_what_is_printed),
        cmocka_unit_test(test_secret_is_read_from_its_file_without_the_end_of_the_line),
        cmocka_unit_test(test_secret_file_has_the_precedence_of_where_it_is_named),
        cmocka_unit_test(test_secret_that_others_may_read_is_warned_of),
        cmocka_unit_test(test_configuration_file_with_a_secret_that_others_may_read_is_warned_of),
        cmocka_unit_test(test_secret_file_that_cannot_be_one_is_refused_without_its_content),
        cmocka_unit_test(test_printed_settings_load_again_to_the_same_values),
        cmocka_unit_test(test_each_printed_value_tells_its_source),
        cmocka_unit_test(test_reference_page_is_what_the_table_prints),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file_with("", 0));
    unlink(secret_with("", 0600));
    return failed;
}

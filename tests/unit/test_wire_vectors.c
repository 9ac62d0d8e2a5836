/* Runs tests/vectors/command/ through wire_command_decode. tests/unit/test_schema_vectors.py runs the same files
 * through the schema, so the two cannot drift apart unseen. The format is described in tests/vectors/README.md. */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/wire.h"

#define VECTORS     SOURCE_DIR "/tests/vectors/command"
#define MAX_HEADERS 16

static void append_base64(struct buf *out, const char *text) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, count = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (unsigned)(strchr(alphabet, *text) - alphabet);
        if ((count += 6) < 8) continue;
        char byte = (char)(bits >> (count -= 8));
        buf_append(out, &byte, 1);
    }
}

static void build_value(const json_t *vector, struct buf *out) {
    const json_t *value = json_object_get(vector, "value"), *parts = json_object_get(vector, "value_parts");
    if (json_is_string(value)) {
        buf_append(out, json_string_value(value), json_string_length(value));
    } else if (value) {
        char *text = json_dumps(value, JSON_COMPACT);
        buf_puts(out, text);
        free(text);
    } else if (parts) {
        for (size_t i = 0; i < json_array_size(parts); i++) {
            const json_t *part = json_array_get(parts, i);
            for (long n = json_integer_value(json_object_get(part, "times")); n > 0; n--)
                buf_puts(out, json_string_value(json_object_get(part, "text")));
        }
    } else {
        append_base64(out, json_string_value(json_object_get(vector, "value_base64")));
    }
}

static size_t build_headers(json_t *vector, struct wire_header *headers) {
    json_t *json = json_object_get(vector, "headers");
    size_t count = 0;
    for (void *iter = json_object_iter(json); iter; iter = json_object_iter_next(json, iter)) {
        const char *value = json_string_value(json_object_iter_value(iter));
        assert_true(count < MAX_HEADERS);
        headers[count++] = (struct wire_header){json_object_iter_key(iter), value, strlen(value)};
    }
    return count;
}

/* Compares an optional expectation of the vector with what came; prints and returns 1 if they differ. */
static int differs(const json_t *vector, const char *name, const char *member, const char *got) {
    const json_t *want = json_object_get(vector, member);
    if (!want) return 0;
    const char *text = json_string_value(want);
    if (text && got ? strcmp(text, got) == 0 : !text && !got) return 0;
    print_error("%s: %s is %s, not %s\n", name, member, got ? got : "(none)", text ? text : "(none)");
    return 1;
}

static int check(json_t *vector, const char *name) {
    struct arena arena;
    struct buf value = {0};
    struct wire_header headers[MAX_HEADERS];
    struct job_command cmd = {0};
    struct err err = {0};
    const char *job_id = NULL;
    arena_init(&arena);
    build_value(vector, &value);
    struct wire_message in = {.value = value.data, .value_len = value.len, .headers = headers};
    in.header_count = build_headers(vector, headers);
    in.key = json_string_value(json_object_get(vector, "key"));
    in.key_len = in.key ? strlen(in.key) : 0;
    int rc = wire_command_decode(&in, &arena, &cmd, &job_id, &err);
    const char *outcome = rc == 0 ? "accept" : err_code_name(err.code);
    int failures = differs(vector, name, "expect", outcome);
    if (failures) print_error("%s: %s\n", name, err.msg);
    if (rc == 0) {
        failures += differs(vector, name, "spec", cmd.spec) + differs(vector, name, "traceparent", cmd.traceparent);
        struct wire_request request;
        if (cmd.spec && wire_spec_decode(cmd.spec, cmd.spec_len, &arena, &request, &err) != 0) {
            print_error("%s: accepted, but its spec is refused: %s\n", name, err.msg);
            failures++;
        }
    } else {
        const char *message = json_string_value(json_object_get(vector, "message"));
        if (message && !strstr(err.msg, message)) {
            print_error("%s: \"%s\" does not say \"%s\"\n", name, err.msg, message);
            failures++;
        }
        if (cmd.job_id) {
            print_error("%s: refused, but something was returned\n", name);
            failures++;
        }
    }
    failures += differs(vector, name, "job_id", job_id);
    buf_done(&value);
    arena_done(&arena);
    return failures;
}

static void test_every_command_vector_has_its_expected_outcome(void **state) {
    DIR *dir = opendir(VECTORS);
    assert_non_null(dir);
    int count = 0, failures = 0;
    bool seen[ERR_CODE_COUNT] = {false};
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512];
        if (!strstr(entry->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/%s", VECTORS, entry->d_name);
        json_error_t error;
        json_t *vector = json_load_file(path, JSON_ALLOW_NUL, &error);
        if (!vector) fail_msg("%s: %s", path, error.text);
        failures += check(vector, entry->d_name);
        seen[err_code_from_name(json_string_value(json_object_get(vector, "expect")))] = true;
        json_decref(vector);
        count++;
    }
    closedir(dir);
    assert_int_equal(failures, 0);
    assert_true(count >= 40);
    for (int code = ERR_MALFORMED_JSON; code <= ERR_UNSUPPORTED_DATATYPE; code++) /* what wire can raise */
        if (!seen[code]) fail_msg("no vector expects %s", err_code_name((enum err_code)code));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_command_vector_has_its_expected_outcome)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

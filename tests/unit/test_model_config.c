/* Runs tests/vectors/model-config/ through wire_model_config_decode. tests/unit/test_schema_vectors.py runs the same
 * files through schemas/model-config.schema.json. The format is described in tests/vectors/README.md. */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/wire_config.h"

#define VECTORS SOURCE_DIR "/tests/vectors/model-config"

static char *value_text(const json_t *vector) {
    const json_t *value = json_object_get(vector, "value");
    return json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_COMPACT);
}

/* Compares the vector's "policy", which names every member, with what was decoded. */
static int policy_differs(const json_t *vector, const char *name, const struct model_policy *policy) {
    const json_t *want = json_object_get(vector, "policy");
    const struct {
        const char *name;
        int64_t value;
    } members[] = {{"max_attempts", policy->max_attempts},
                   {"backoff_ms", policy->backoff_ms},
                   {"backoff_max_ms", policy->backoff_max_ms},
                   {"timeout_ms", policy->timeout_ms},
                   {"timeout_max_ms", policy->timeout_max_ms},
                   {"queue_timeout_ms", policy->queue_timeout_ms},
                   {"queue_timeout_max_ms", policy->queue_timeout_max_ms},
                   {"max_running", policy->max_running},
                   {"max_queued", policy->max_queued}};
    size_t count = sizeof members / sizeof members[0];
    if (json_object_size(want) != count) {
        print_error("%s: its policy does not name the %zu members\n", name, count);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t expected = json_integer_value(json_object_get(want, members[i].name));
        if (members[i].value == expected) continue;
        print_error("%s: %s is %lld, not %lld\n", name, members[i].name, (long long)members[i].value,
                    (long long)expected);
        return 1;
    }
    return 0;
}

static int check(const json_t *vector, const char *name) {
    struct wire_model_config cfg, before;
    struct err err = {0};
    char *text = value_text(vector);
    memset(&cfg, 0x5a, sizeof cfg);
    before = cfg;
    int rc = wire_model_config_decode(text, strlen(text), &cfg, &err);
    free(text);
    const char *outcome = rc == 0 ? "accept" : err_code_name(err.code);
    const char *expect = json_string_value(json_object_get(vector, "expect"));
    if (strcmp(outcome, expect) != 0) {
        print_error("%s: %s, not %s: %s\n", name, outcome, expect, err.msg);
        return 1;
    }
    if (rc == 0) return policy_differs(vector, name, &cfg.policy);
    const char *message = json_string_value(json_object_get(vector, "message"));
    if (!message || !strstr(err.msg, message)) {
        print_error("%s: \"%s\" does not say \"%s\"\n", name, err.msg,
                    message ? message : "(the vector has no message)");
        return 1;
    }
    if (memcmp(&cfg, &before, sizeof cfg) == 0) return 0;
    print_error("%s: refused, but something was returned\n", name);
    return 1;
}

static void test_every_model_config_vector_has_its_expected_outcome(void **state) {
    DIR *dir = opendir(VECTORS);
    assert_non_null(dir);
    int count = 0, failures = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512];
        if (!strstr(entry->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/%s", VECTORS, entry->d_name);
        json_error_t error;
        json_t *vector = json_load_file(path, 0, &error);
        if (!vector) fail_msg("%s: %s", path, error.text);
        failures += check(vector, entry->d_name);
        json_decref(vector);
        count++;
    }
    closedir(dir);
    assert_int_equal(failures, 0);
    assert_true(count >= 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_model_config_vector_has_its_expected_outcome)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

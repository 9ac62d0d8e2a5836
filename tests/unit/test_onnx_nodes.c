/* Each operator of the table against ONNX's own node tests (Debian: libonnx-testdata).
 *
 * A folder takes part when all its nodes are operators of ours. It must pass, or stand in the list below with the
 * reason why it is refused; then it must be refused with exactly that. Tolerance: rtol 1e-3, atol 1e-5, which is what
 * ONNX's own runner uses (1e-3, 1e-7) but for sums near zero, where the order of addition in BLAS shows. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx_cases.h"
#include "testlib.h"

#define NODE_TESTS "/usr/lib/python3/dist-packages/onnx/backend/test/data/node"
/* How many of libonnx-testdata 1.12's folders pass today: an operator that falls out of the table must not go
 * unnoticed. */
#define LEAST_PASSED 265

/* Folders whose operators are ours, but that need something that is not, and the words of the refusal. */
static const struct {
    const char *folder, *refusal;
} refused[] = {
    {"test_batchnorm_epsilon_training_mode", "only the first 1 are supported"},
    {"test_batchnorm_example_training_mode", "only the first 1 are supported"},
    {"test_clip_default_int8_inbounds", "INT8 is not supported"},
    {"test_clip_default_int8_max", "INT8 is not supported"},
    {"test_clip_default_int8_min", "INT8 is not supported"},
    {"test_identity_opt", "is no tensor of a supported datatype"},
    {"test_identity_sequence", "is no tensor of a supported datatype"},
    {"test_training_dropout", "training_mode is not supported"},
    {"test_training_dropout_default", "training_mode is not supported"},
    {"test_training_dropout_default_mask", "training_mode is not supported"},
    {"test_training_dropout_mask", "training_mode is not supported"},
    {"test_training_dropout_zero_ratio", "training_mode is not supported"},
    {"test_training_dropout_zero_ratio_mask", "training_mode is not supported"},
};

static const char *refusal_of(const char *folder) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (strcmp(refused[i].folder, folder) == 0) return refused[i].refusal;
    return NULL;
}

struct tally {
    int passed, refused, failed, other;
};

static void run_folder(const char *root, const char *name, struct tally *tally) {
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    struct err err = {0};
    int sets = 0, rc = onnx_case_run(folder, 1e-3, 1e-5, &sets, &err);
    const char *refusal = refusal_of(name);
    if (rc != 0 && (strstr(err.msg, "the operator is not supported") || strstr(err.msg, "operators of domain"))) {
        tally->other++;
    } else if (refusal && rc != 0 && strstr(err.msg, refusal)) {
        tally->refused++;
    } else if (refusal || rc != 0 || sets == 0) {
        tally->failed++;
        print_error("%s: %s\n", name, rc != 0 ? err.msg : "passed, but is listed as refused, or has no data");
    } else {
        tally->passed++;
    }
}

static void test_every_node_test_of_a_listed_operator_passes_or_is_refused_for_its_known_reason(void **state) {
    const char *root = getenv("PENSTOCK_ONNX_NODE_TESTS");
    struct tally tally = {0};
    DIR *dir = opendir(root ? root : NODE_TESTS);
    assert_non_null(dir);
    for (struct dirent *item; (item = readdir(dir));)
        if (strncmp(item->d_name, "test_", 5) == 0) run_folder(root ? root : NODE_TESTS, item->d_name, &tally);
    closedir(dir);
    print_message("%d passed, %d refused as known, %d failed, %d use other operators\n", tally.passed, tally.refused,
                  tally.failed, tally.other);
    assert_int_equal(tally.failed, 0);
    assert_true(tally.passed >= LEAST_PASSED);
    assert_int_equal(tally.refused, sizeof refused / sizeof refused[0]);
}

int main(void) {
    const char *root = getenv("PENSTOCK_ONNX_NODE_TESTS");
    DIR *dir = opendir(root ? root : NODE_TESTS);
    if (!dir) test_skip("ONNX's node tests are not at %s: apt-get install libonnx-testdata", root ? root : NODE_TESTS);
    closedir(dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_node_test_of_a_listed_operator_passes_or_is_refused_for_its_known_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Each operator of the table against ONNX's own tests (Debian: libonnx-testdata): those of single nodes, and the small
 * networks that PyTorch once exported, which are older opsets.
 *
 * A folder takes part when all its nodes are operators of ours. It must pass, or stand in the list below with the
 * reason why it is refused; then it must be refused with exactly that. PENSTOCK_ONNX_TEST_DATA names another copy.
 * Tolerance: rtol 1e-3, atol 1e-5, which is what ONNX's own runner uses (1e-3, 1e-7) but for sums near zero, where the
 * order of addition in BLAS shows. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cuda_cases.h"
#include "onnx_cases.h"
#include "testlib.h"

#define TEST_DATA "/usr/lib/python3/dist-packages/onnx/backend/test/data"
/* How many of libonnx-testdata 1.12's folders pass today: an operator that falls out of the table must not go
 * unnoticed. */
#define LEAST_PASSED 848

/* Folders whose operators are ours, but that need something that is not, and the words of the refusal. */
static const struct {
    const char *folder, *refusal;
} refused[] = {
    {"test_batchnorm_epsilon_training_mode", "only the first 1 are supported"},
    {"test_batchnorm_example_training_mode", "only the first 1 are supported"},
    {"test_cast_BFLOAT16_to_FLOAT", "is no tensor of a supported datatype"},
    {"test_cast_FLOAT_to_BFLOAT16", "is no tensor of a supported datatype"},
    {"test_cast_FLOAT_to_STRING", "is no tensor of a supported datatype"},
    {"test_cast_STRING_to_FLOAT", "is no tensor of a supported datatype"},
    {"test_castlike_BFLOAT16_to_FLOAT", "is no tensor of a supported datatype"},
    {"test_castlike_BFLOAT16_to_FLOAT_expanded", "is no tensor of a supported datatype"},
    {"test_castlike_FLOAT_to_BFLOAT16", "is no tensor of a supported datatype"},
    {"test_castlike_FLOAT_to_BFLOAT16_expanded", "is no tensor of a supported datatype"},
    {"test_castlike_FLOAT_to_STRING", "is no tensor of a supported datatype"},
    {"test_castlike_FLOAT_to_STRING_expanded", "is no tensor of a supported datatype"},
    {"test_castlike_STRING_to_FLOAT", "is no tensor of a supported datatype"},
    {"test_castlike_STRING_to_FLOAT_expanded", "is no tensor of a supported datatype"},
    {"test_identity_opt", "is no tensor of a supported datatype"},
    {"test_identity_sequence", "is no tensor of a supported datatype"},
    {"test_training_dropout", "training_mode is not supported"},
    {"test_training_dropout_default", "training_mode is not supported"},
    {"test_training_dropout_default_mask", "training_mode is not supported"},
    {"test_training_dropout_mask", "training_mode is not supported"},
    {"test_training_dropout_zero_ratio", "training_mode is not supported"},
    {"test_training_dropout_zero_ratio_mask", "training_mode is not supported"},
};

static const char *data_root(void) {
    const char *root = getenv("PENSTOCK_ONNX_TEST_DATA");
    return root ? root : TEST_DATA;
}

static const char *refusal_of(const char *folder) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (strcmp(refused[i].folder, folder) == 0) return refused[i].refusal;
    return NULL;
}

struct tally {
    const struct executor_ops *ops; /* NULL: a session on the CPU */
    struct executor *ex;
    int passed, refused, failed, other;
};

static void run_folder(const char *root, const char *name, struct tally *tally) {
    char folder[1536];
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    struct err err = {0};
    int sets = 0, rc = tally->ops ? onnx_case_run_on(tally->ops, tally->ex, folder, 2, 1e-3, 1e-5, &sets, &err)
                                  : onnx_case_run(folder, 1e-3, 1e-5, &sets, &err);
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

static void run_suite(const char *root, struct tally *tally) {
    DIR *dir = opendir(root);
    if (!dir) fail_msg("no %s", root);
    for (struct dirent *item; (item = readdir(dir));)
        if (strncmp(item->d_name, "test_", 5) == 0) run_folder(root, item->d_name, tally);
    closedir(dir);
}

static void run_suites(struct tally *tally) {
    static const char *const suites[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        char root[1024];
        snprintf(root, sizeof root, "%s/%s", data_root(), suites[i]);
        run_suite(root, tally);
    }
    print_message("%d passed, %d refused as known, %d failed, %d use other operators\n", tally->passed, tally->refused,
                  tally->failed, tally->other);
    assert_int_equal(tally->failed, 0);
    assert_true(tally->passed >= LEAST_PASSED);
    assert_int_equal(tally->refused, sizeof refused / sizeof refused[0]);
}

static void test_every_test_of_listed_operators_passes_or_is_refused_for_its_known_reason(void **state) {
    run_suites(&(struct tally){0});
}

/* Twice each: the first run of a shape goes step by step, the second as recorded. */
static void test_every_test_gives_the_same_on_the_cuda_executor(void **state) {
    struct tally tally = {.ops = cuda_case_ops()};
    struct executor_error why;
    if (!tally.ops) skip();
    if (tally.ops->open(&(struct executor_options){.threads = 1}, &tally.ex, &why) != 0) fail_msg("%s", why.message);
    run_suites(&tally);
    tally.ops->close(tally.ex);
}

int main(void) {
    if (access(data_root(), R_OK) != 0)
        test_skip("ONNX's tests are not at %s: apt-get install libonnx-testdata", data_root());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_test_of_listed_operators_passes_or_is_refused_for_its_known_reason),
        cmocka_unit_test(test_every_test_gives_the_same_on_the_cuda_executor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Files of tensors: what is written, what is read, and what is refused. */
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

#include "penstock/artifact.h"

struct fixture {
    char dir[64];
    struct artifact_root *root;
    struct arena arena;
    struct err err;
};

static int setup(void **state) {
    struct fixture *fx = mem_calloc(1, sizeof *fx);
    strcpy(fx->dir, "/tmp/penstock-artifact-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    arena_init(&fx->arena);
    assert_int_equal(artifact_root_open(fx->dir, &fx->root, &fx->err), 0);
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fx = *state;
    char command[128];
    artifact_root_free(fx->root);
    arena_done(&fx->arena);
    snprintf(command, sizeof command, "rm -rf %s", fx->dir);
    int rc = system(command);
    free(fx);
    return rc;
}

static const char *path_in(struct fixture *fx, const char *name) {
    return arena_printf(&fx->arena, "%s/%s", fx->dir, name);
}

static const char *put_file(struct fixture *fx, const char *name, const void *bytes, size_t len) {
    FILE *file = fopen(path_in(fx, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
    return arena_printf(&fx->arena, "file://%s/%s", fx->dir, name);
}

static struct tensor floats(int64_t count) {
    return (struct tensor){.name = "x", .datatype = DATATYPE_FP32, .rank = 1, .shape = {count}};
}

static void refuse(struct fixture *fx, const char *uri, struct tensor tensor, const char *why) {
    assert_int_equal(artifact_read(fx->root, uri, 1000, &tensor, &fx->arena, &fx->err), -1);
    assert_int_equal(fx->err.code, ERR_INVALID_INPUT);
    if (!strstr(fx->err.msg, why)) fail_msg("\"%s\" does not say \"%s\"", fx->err.msg, why);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void test_output_is_written_with_its_size_and_sum_and_reads_back(void **state) {
    struct fixture *fx = *state;
    struct artifact written;
    char bytes[] = "abc";
    struct tensor tensor = {
        .name = "out", .datatype = DATATYPE_UINT8, .rank = 1, .shape = {3}, .data = bytes, .size_bytes = 3};
    assert_int_equal(artifact_write(fx->root, "j1", "1-7", &tensor, &fx->arena, &written, &fx->err), 0);
    assert_string_equal(written.uri, arena_printf(&fx->arena, "file://%s/j1/1-7/out", fx->dir));
    assert_int_equal(written.size_bytes, 3);
    assert_string_equal(written.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct tensor again = {.name = "in", .datatype = DATATYPE_UINT8, .rank = 1, .shape = {3}};
    assert_int_equal(artifact_read(fx->root, written.uri, 1000, &again, &fx->arena, &fx->err), 0);
    assert_memory_equal(again.data, "abc", 3);
    assert_int_equal(access(path_in(fx, "j1/1-7/.new"), F_OK), -1);
}

static void test_names_lead_nowhere_and_different_names_are_different_files(void **state) {
    struct fixture *fx = *state;
    static const char *const ids[] = {".", "..", "a:b", ".a"}, *const names[] = {"../x", "a/b", "..", "", "%2E%2E"};
    struct artifact written;
    char one[1] = {1};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            struct tensor tensor = {
                .name = names[j], .datatype = DATATYPE_UINT8, .rank = 0, .data = one, .size_bytes = 1};
            assert_int_equal(artifact_write(fx->root, ids[i], "1-1", &tensor, &fx->arena, &written, &fx->err), 0);
            struct tensor again = {.datatype = DATATYPE_UINT8};
            if (artifact_read(fx->root, written.uri, 10, &again, &fx->arena, &fx->err) != 0)
                fail_msg("%s: %s", written.uri, fx->err.msg);
        }
    char command[256], count[16] = "";
    snprintf(command, sizeof command, "find %s -type f | wc -l", fx->dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(count, sizeof count, pipe));
    pclose(pipe);
    assert_int_equal(atoi(count), (int)(sizeof ids / sizeof ids[0] * sizeof names / sizeof names[0]));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void test_raw_file_must_have_the_size_of_its_tensor(void **state) {
    struct fixture *fx = *state;
    const float values[] = {1.5F, -2};
    const char *uri = put_file(fx, "raw", values, sizeof values);
    struct tensor tensor = floats(2);
    assert_int_equal(artifact_read(fx->root, uri, 1000, &tensor, &fx->arena, &fx->err), 0);
    assert_memory_equal(tensor.data, values, sizeof values);
    refuse(fx, uri, floats(3), "8 bytes");
    refuse(fx, uri, floats(1), "8 bytes");
}

static void test_nothing_outside_the_root_can_be_read(void **state) {
    struct fixture *fx = *state;
    put_file(fx, "raw", "1234", 4);
    assert_int_equal(symlink("/etc/hostname", path_in(fx, "link")), 0);
    assert_int_equal(symlink(fx->dir, path_in(fx, "round")), 0);
    assert_int_equal(mkfifo(path_in(fx, "pipe"), 0600), 0);
    refuse(fx, "file:///etc/hostname", floats(1), "within the input root");
    refuse(fx, "http://localhost/x", floats(1), "within the input root");
    refuse(fx, "file://etc/hostname", floats(1), "within the input root");
    refuse(fx, arena_printf(&fx->arena, "file://%s", fx->dir), floats(1), "within the input root");
    refuse(fx, arena_printf(&fx->arena, "file://%s-other/x", fx->dir), floats(1), "within the input root");
    refuse(fx, arena_printf(&fx->arena, "file://%s/../../etc/hostname", fx->dir), floats(1), "leads out");
    refuse(fx, arena_printf(&fx->arena, "file://%s/%%2e%%2e/%%2e%%2e/etc/hostname", fx->dir), floats(1), "leads out");
    refuse(fx, arena_printf(&fx->arena, "file://%s/link", fx->dir), floats(1), "symbolic link");
    refuse(fx, arena_printf(&fx->arena, "file://%s/round/raw", fx->dir), floats(1), "symbolic link");
    refuse(fx, arena_printf(&fx->arena, "file://%s/pipe", fx->dir), floats(1), "regular");
    refuse(fx, arena_printf(&fx->arena, "file://%s/absent", fx->dir), floats(1), "No such file");
    refuse(fx, arena_printf(&fx->arena, "file://%s/raw%%00", fx->dir), floats(1), "within the input root");
    refuse(fx, arena_printf(&fx->arena, "file://%s/raw%%zz", fx->dir), floats(1), "within the input root");
}

static void test_file_over_the_limit_is_refused(void **state) {
    struct fixture *fx = *state;
    char bytes[1004] = "";
    refuse(fx, put_file(fx, "big", bytes, sizeof bytes), floats(251), "max_input_bytes");
}

static void test_strings_of_a_file_must_fill_it(void **state) {
    struct fixture *fx = *state;
    struct tensor strings = {.datatype = DATATYPE_BYTES, .rank = 1, .shape = {2}};
    const char good[] = "\1\0\0\0a\2\0\0\0bc";
    struct tensor tensor = strings;
    assert_int_equal(artifact_read(fx->root, put_file(fx, "s", good, 11), 100, &tensor, &fx->arena, &fx->err), 0);
    refuse(fx, put_file(fx, "s", good, 10), strings, "elements");
    refuse(fx, put_file(fx, "s", good, 5), strings, "elements");
    refuse(fx, put_file(fx, "s", "\377\377\377\377", 4), strings, "elements");
}

static size_t npy(char *to, const char *head, const void *data, size_t len) {
    size_t head_len = strlen(head);
    memcpy(to, "\x93NUMPY\1\0", 8);
    to[8] = (char)head_len;
    to[9] = (char)(head_len >> 8);
    memcpy(to + 10, head, head_len);
    memcpy(to + 10 + head_len, data, len);
    return 10 + head_len + len;
}

static void test_npy_is_read_where_it_is_what_the_job_says(void **state) {
    struct fixture *fx = *state;
    const float values[] = {1, 2, 3, 4, 5, 6};
    char bytes[512];
    struct tensor tensor = {.datatype = DATATYPE_FP32, .rank = 2, .shape = {2, 3}};
    size_t len = npy(bytes, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", values, sizeof values);
    const char *uri = put_file(fx, "x.npy", bytes, len);
    assert_int_equal(artifact_read(fx->root, uri, 1000, &tensor, &fx->arena, &fx->err), 0);
    assert_memory_equal(tensor.data, values, sizeof values);
    assert_int_equal((uintptr_t)tensor.data % 16, 0);
    refuse(fx, uri, (struct tensor){.datatype = DATATYPE_FP32, .rank = 2, .shape = {3, 2}}, "not what the job says");
    refuse(fx, uri, (struct tensor){.datatype = DATATYPE_INT32, .rank = 2, .shape = {2, 3}}, "not what the job says");
    refuse(fx, put_file(fx, "x.npy", bytes, len - 1),
           (struct tensor){.datatype = DATATYPE_FP32, .rank = 2, .shape = {2, 3}}, "elements");
}

static void test_npy_of_another_kind_is_refused_with_the_reason(void **state) {
    struct fixture *fx = *state;
    static const char *const heads[][2] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "'>f4'"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "Fortran"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "structured"},
        {"{'descr': '<f4', 'fortran_order': False}", "incomplete"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2", "shape"},
        {"{'__import__': 'os'}", "unknown member"},
        {"[]", "dictionary"},
        {"", "dictionary"},
    };
    char bytes[512];
    struct artifact_npy head;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        size_t len = npy(bytes, heads[i][0], "12345678", 8) - 8; /* the head alone */
        assert_int_equal(artifact_npy_head(bytes, len, &head, &fx->err), -1);
        if (!strstr(fx->err.msg, heads[i][1])) fail_msg("%s: %s", heads[i][0], fx->err.msg);
    }
    assert_int_equal(artifact_npy_head("\x93NUMPY\4\0\0\0", 10, &head, &fx->err), -1);
    assert_int_equal(artifact_npy_head("\x93NUMPY\1\0\377\377", 10, &head, &fx->err), -1);
    assert_int_equal(artifact_npy_head("\x93NUMPY\2\0\377\377\377\377", 12, &head, &fx->err), -1);
}

/* --- collecting --------------------------------------------------------------------------------------------------- */

static int owner(void *self, const char *job_id, char ret_token[64], enum artifact_owner *ret, struct err *err) {
    *ret = strcmp(job_id, ".gone") == 0   ? ARTIFACT_OWNER_GONE
           : strcmp(job_id, "ended") == 0 ? ARTIFACT_OWNER_ENDED
                                          : ARTIFACT_OWNER_ALIVE;
    strcpy(ret_token, "1-2");
    return 0;
}

static void test_collecting_deletes_what_nobody_owns_and_nothing_else(void **state) {
    struct fixture *fx = *state;
    static const char *const ids[] = {".gone", "ended", "alive"}, *const tokens[] = {"1-1", "1-2"};
    struct artifact written;
    char one[1] = {1};
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_UINT8, .data = one, .size_bytes = 1};
    for (int i = 0; i < 6; i++)
        assert_int_equal(artifact_write(fx->root, ids[i / 2], tokens[i % 2], &tensor, &fx->arena, &written, &fx->err),
                         0);
    int looked = 0, step;
    while ((step = artifact_collect(fx->root, 2, 3600000, owner, fx, &fx->err)) == 2) looked += step;
    assert_int_equal(looked + step, 3);
    assert_int_equal(access(path_in(fx, "%2Egone/1-1/x"), F_OK), 0); /* too young */
    while (artifact_collect(fx->root, 2, 0, owner, fx, &fx->err) == 2) continue;
    assert_int_equal(access(path_in(fx, "%2Egone"), F_OK), -1);
    assert_int_equal(access(path_in(fx, "ended/1-1"), F_OK), -1);
    assert_int_equal(access(path_in(fx, "ended/1-2/x"), F_OK), 0);
    assert_int_equal(access(path_in(fx, "alive/1-1/x"), F_OK), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_output_is_written_with_its_size_and_sum_and_reads_back),
        T(test_names_lead_nowhere_and_different_names_are_different_files),
        T(test_raw_file_must_have_the_size_of_its_tensor),
        T(test_nothing_outside_the_root_can_be_read),
        T(test_file_over_the_limit_is_refused),
        T(test_strings_of_a_file_must_fill_it),
        T(test_npy_is_read_where_it_is_what_the_job_says),
        T(test_npy_of_another_kind_is_refused_with_the_reason),
        T(test_collecting_deletes_what_nobody_owns_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

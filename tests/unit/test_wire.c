/* What the vectors do not show: memory layout of decoded tensors, FP16 against an independent reference, numbers in
 * canonical text, bounds on memory, the small writers. */
#include <jansson.h>
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/wire.h"
#include "penstock/wire_config.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define HEAD          "{\"type\":\"create\",\"job_id\":\"j\",\"model\":\"m\""

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static int decode(const char *text, struct arena *arena, struct job_command *ret, struct err *err) {
    struct wire_message in = {.value = text, .value_len = strlen(text)};
    return wire_command_decode(&in, arena, ret, NULL, err);
}

/* The request of a command with these inputs and parameters (JSON texts). */
static struct wire_request request_of(const char *inputs, const char *params, struct arena *arena) {
    struct job_command cmd;
    struct wire_request request;
    struct err err;
    const char *text = arena_printf(arena, HEAD ",\"inputs\":%s,\"parameters\":%s}", inputs, params);
    if (decode(text, arena, &cmd, &err) != 0) fail_msg("%s: %s", text, err.msg);
    if (wire_spec_decode(cmd.spec, cmd.spec_len, arena, &request, &err) != 0) fail_msg("%s: %s", cmd.spec, err.msg);
    return request;
}

static struct tensor tensor_of(const char *datatype, const char *shape, const char *data, struct arena *arena) {
    const char *input =
        arena_printf(arena, "[{\"name\":\"x\",\"shape\":%s,\"datatype\":\"%s\",\"data\":%s}]", shape, datatype, data);
    struct wire_request request = request_of(input, "{}", arena);
    assert_int_equal(request.input_count, 1);
    return request.inputs[0];
}

#define ASSERT_DECODES(type, ctype, text, ...)                                                                         \
    do {                                                                                                               \
        ctype want[] = {__VA_ARGS__};                                                                                  \
        char shape[16];                                                                                                \
        snprintf(shape, sizeof shape, "[%zu]", LENGTH(want));                                                          \
        struct tensor got = tensor_of(type, shape, text, &arena);                                                      \
        assert_int_equal(got.size_bytes, sizeof want);                                                                 \
        assert_memory_equal(got.data, want, sizeof want);                                                              \
    } while (0)

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static void test_spec_tensors_of_every_datatype_are_laid_out_little_endian(void **state) {
    struct arena arena;
    arena_init(&arena);
    ASSERT_DECODES("BOOL", uint8_t, "[true,false]", 1, 0);
    ASSERT_DECODES("UINT8", uint8_t, "[0,255]", 0, 255);
    ASSERT_DECODES("UINT16", uint16_t, "[1,65535]", 1, 65535);
    ASSERT_DECODES("UINT32", uint32_t, "[1,4294967295]", 1, UINT32_MAX);
    ASSERT_DECODES("UINT64", uint64_t, "[1,\"18446744073709551615\",9223372036854775807]", 1, UINT64_MAX, INT64_MAX);
    ASSERT_DECODES("INT8", int8_t, "[-128,127]", -128, 127);
    ASSERT_DECODES("INT16", int16_t, "[-32768,-1]", INT16_MIN, -1);
    ASSERT_DECODES("INT32", int32_t, "[-2147483648,1e3]", INT32_MIN, 1000);
    ASSERT_DECODES("INT64", int64_t, "[\"-9223372036854775808\",-1,9007199254740993]", INT64_MIN, -1, 9007199254740993);
    ASSERT_DECODES("FP16", uint16_t, "[1,-2.5,65504,\"-Infinity\"]", 0x3c00, 0xc100, 0x7bff, 0xfc00);
    ASSERT_DECODES("FP32", float, "[0.1,-0.0,7,\"Infinity\"]", 0.1f, -0.0f, 7, INFINITY);
    ASSERT_DECODES("FP64", double, "[0.1,5e-324]", 0.1, 5e-324);
    struct tensor bytes = tensor_of("BYTES", "[3]", "[\"ab\",\"\",\"\\u0000\"]", &arena);
    assert_int_equal(bytes.size_bytes, 15);
    assert_memory_equal(bytes.data, "\2\0\0\0ab\0\0\0\0\1\0\0\0\0", 15);
    assert_true(isnan(*(float *)tensor_of("FP32", "[1]", "[\"NaN\"]", &arena).data));
    arena_done(&arena);
}

static void test_spec_nested_and_flat_data_give_the_same_tensor(void **state) {
    struct arena arena;
    arena_init(&arena);
    struct tensor flat = tensor_of("INT16", "[2,1,3]", "[1,2,3,4,5,6]", &arena);
    struct tensor nested = tensor_of("INT16", "[2,1,3]", "[[[1,2,3]],[[4,5,6]]]", &arena);
    assert_int_equal(nested.rank, 3);
    assert_int_equal(nested.shape[0] * 100 + nested.shape[1] * 10 + nested.shape[2], 213);
    assert_int_equal(flat.size_bytes, nested.size_bytes);
    assert_memory_equal(flat.data, nested.data, flat.size_bytes);
    arena_done(&arena);
}

static void test_spec_tensor_without_elements_has_data_and_one_with_uri_has_none(void **state) {
    struct arena arena;
    arena_init(&arena);
    struct tensor empty = tensor_of("FP32", "[0,4]", "[]", &arena);
    assert_int_equal(empty.size_bytes, 0);
    assert_non_null(empty.data);
    struct wire_request request = request_of(
        "[{\"name\":\"x\",\"shape\":[2,3],\"datatype\":\"FP64\",\"uri\":\"file:///a/b.npy\"}]", "{}", &arena);
    assert_null(request.inputs[0].data);
    assert_int_equal(request.inputs[0].size_bytes, 48);
    assert_string_equal(request.uris[0], "file:///a/b.npy");
    arena_done(&arena);
}

static void test_spec_parameters_keep_their_kinds(void **state) {
    struct arena arena;
    arena_init(&arena);
    struct wire_request request = request_of("[]", "{\"b\":true,\"d\":0.5,\"i\":-7,\"s\":\"text\"}", &arena);
    assert_int_equal(request.param_count, 4);
    for (size_t i = 0; i < request.param_count; i++) {
        const struct executor_param *param = &request.params[i];
        switch (param->name[0]) {
        case 'b':
            assert_true(param->kind == EXECUTOR_PARAM_BOOL && param->boolean);
            break;
        case 'd':
            assert_true(param->kind == EXECUTOR_PARAM_DOUBLE && param->number == 0.5);
            break;
        case 'i':
            assert_true(param->kind == EXECUTOR_PARAM_INT && param->integer == -7);
            break;
        case 's':
            assert_true(param->kind == EXECUTOR_PARAM_STRING && strcmp(param->string, "text") == 0);
            break;
        default:
            fail();
        }
    }
    arena_done(&arena);
}

/* --- FP16 --------------------------------------------------------------------------------------------------------- */

/* The value of a finite half, from the definition in IEEE 754, in double arithmetic. */
static double half_value(unsigned half) {
    int field = (int)(half >> 10 & 0x1f), mantissa = (int)(half & 0x3ff);
    double magnitude = field ? (1024 + mantissa) * pow(2, field - 25) : mantissa * pow(2, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* The half that FP16 data of these values give, by way of the public decoder. */
static void halves_of(const double *values, size_t count, struct arena *arena, uint16_t *ret) {
    struct buf text = {0};
    char shape[32];
    snprintf(shape, sizeof shape, "[%zu]", count);
    for (size_t i = 0; i < count; i++) buf_printf(&text, "%s%.17e", i ? "," : "[", values[i]);
    buf_puts(&text, "]");
    struct tensor got = tensor_of("FP16", shape, text.data, arena);
    memcpy(ret, got.data, got.size_bytes);
    buf_done(&text);
}

#define CHUNK 1024

static void test_fp16_every_half_is_its_own_nearest_and_ties_go_to_even(void **state) {
    for (unsigned start = 0; start < 0x7c00; start += CHUNK) {
        double exact[CHUNK], below[CHUNK], tie[CHUNK], above[CHUNK];
        uint16_t got[CHUNK];
        struct arena arena;
        arena_init(&arena);
        for (unsigned i = 0; i < CHUNK; i++) {
            double next = start + i == 0x7bff ? 65536 : half_value(start + i + 1);
            exact[i] = half_value(start + i);
            tie[i] = (exact[i] + next) / 2; /* exact in double */
            below[i] = nextafter(tie[i], 0);
            above[i] =
                start + i == 0x7bff ? below[i] : nextafter(tie[i], INFINITY); /* above the last tie is infinity */
            if (start + i == 0x7bff) tie[i] = below[i];
        }
        halves_of(exact, CHUNK, &arena, got);
        for (unsigned i = 0; i < CHUNK; i++) assert_int_equal(got[i], start + i);
        halves_of(below, CHUNK, &arena, got);
        for (unsigned i = 0; i < CHUNK; i++) assert_int_equal(got[i], start + i);
        halves_of(tie, CHUNK, &arena, got);
        for (unsigned i = 0; i < CHUNK; i++)
            assert_int_equal(got[i], start + i == 0x7bff ? 0x7bff : (start + i + 1) & ~1u);
        halves_of(above, CHUNK, &arena, got);
        for (unsigned i = 0; i < CHUNK; i++) assert_int_equal(got[i], start + i == 0x7bff ? 0x7bff : start + i + 1);
        for (unsigned i = 0; i < CHUNK; i++) exact[i] = -exact[i];
        halves_of(exact, CHUNK, &arena, got);
        for (unsigned i = 0; i < CHUNK; i++) assert_int_equal(got[i], (start + i) | 0x8000);
        arena_done(&arena);
    }
}

static void test_fp16_results_read_back_as_the_same_half(void **state) {
    for (unsigned start = 0; start < 0x10000; start += CHUNK) {
        uint16_t halves[CHUNK], got[CHUNK];
        struct arena arena;
        struct buf doc = {0};
        arena_init(&arena);
        for (unsigned i = 0; i < CHUNK; i++) halves[i] = (uint16_t)(start + i);
        struct tensor output = {.name = "y", .datatype = DATATYPE_FP16, .data = halves, .size_bytes = sizeof halves};
        wire_result_encode("m", NULL, &output, NULL, 1, &doc);
        char *data = strstr(doc.data, "\"data\":") + strlen("\"data\":");
        *(strchr(data, ']') + 1) = '\0';
        struct tensor back = tensor_of("FP16", "[1024]", data, &arena);
        memcpy(got, back.data, sizeof got);
        for (unsigned i = 0; i < CHUNK; i++) {
            bool is_nan = (halves[i] & 0x7fff) > 0x7c00;
            assert_true(is_nan ? (got[i] & 0x7fff) > 0x7c00 : got[i] == halves[i]);
        }
        buf_done(&doc);
        arena_done(&arena);
    }
}

/* --- canonical text ----------------------------------------------------------------------------------------------- */

static void assert_canonical(const char *json, const char *want) {
    struct buf out = {0};
    struct err err;
    char object[256];
    snprintf(object, sizeof object, "{ \"v\" : %s }", json);
    if (wire_object_merge(object, strlen(object), NULL, 0, &out, &err) != 0) fail_msg("%s: %s", object, err.msg);
    snprintf(object, sizeof object, "{\"v\":%s}", want);
    assert_string_equal(out.data, object);
    buf_done(&out);
}

static void test_canonical_numbers_depend_on_their_value_alone(void **state) {
    static const char *const cases[][2] = {
        {"1", "1"},
        {"1.0", "1"},
        {"1e0", "1"},
        {"10e-1", "1"},
        {"-1.50", "-1.5"},
        {"0.1", "0.1"},
        {"1e-1", "0.1"},
        {"0.10000000000000001", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"-0", "0"},
        {"-0.0", "-0.0"},
        {"1e15", "1000000000000000"},
        {"9007199254740993", "9007199254740993"},
        {"1e16", "1e+16"},
        {"123456.789", "123456.789"},
        {"1e-5", "0.00001"},
        {"1e-6", "1e-06"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"0.000123", "0.000123"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) assert_canonical(cases[i][0], cases[i][1]);
}

static void test_canonical_doubles_read_back_as_the_same_double(void **state) {
    uint64_t bits = 88172645463325252; /* xorshift64: bit patterns of every exponent, and short decimals */
    for (int i = 0; i < 20000; i++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        double value;
        memcpy(&value, &bits, sizeof value);
        if (i % 2) value = (double)(int64_t)(bits % 2000000000) / pow(10, (double)(bits >> 40 & 15));
        if (!isfinite(value)) continue;
        struct tensor output = {.name = "y", .datatype = DATATYPE_FP64, .data = &value, .size_bytes = sizeof value};
        struct buf doc = {0};
        wire_result_encode("m", NULL, &output, NULL, 1, &doc);
        const char *data = strstr(doc.data, "\"data\":[") + strlen("\"data\":[");
        double back = strtod(data, NULL);
        if (memcmp(&back, &value, sizeof back) != 0) fail_msg("%.17g was written as %s", value, data);
        buf_done(&doc);
    }
}

static void test_canonical_floats_read_back_as_the_same_float(void **state) {
    uint32_t bits = 2463534242;
    for (int i = 0; i < 50000; i++) {
        bits = bits * 1664525u + 1013904223u;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        struct tensor output = {.name = "y", .datatype = DATATYPE_FP32, .data = &value, .size_bytes = sizeof value};
        struct buf doc = {0};
        wire_result_encode("m", NULL, &output, NULL, 1, &doc);
        const char *data = strstr(doc.data, "\"data\":[") + strlen("\"data\":[");
        float back = strtof(data, NULL), by_double = (float)strtod(data, NULL); /* as a reader may do it */
        if (memcmp(&back, &value, sizeof back) != 0 || memcmp(&by_double, &value, sizeof back) != 0)
            fail_msg("%.9g was written as %s", (double)value, data);
        buf_done(&doc);
    }
}

static void test_canonical_objects_are_sorted_by_bytes_at_every_level(void **state) {
    assert_canonical("{\"b\":{\"z\":1,\"a\":[ ]},\"B\":null,\"\\u00e9\":\"\\u0041\\/\\u0001\"}",
                     "{\"B\":null,\"b\":{\"a\":[],\"z\":1},\"\xc3\xa9\":\"A/\\u0001\"}");
}

static void test_spec_of_many_members_in_any_order_is_the_same(void **state) {
    struct arena arena;
    struct job_command forward, backward;
    struct err err;
    struct buf a = {0}, b = {0};
    arena_init(&arena);
    buf_puts(&a, HEAD ",\"parameters\":{");
    buf_puts(&b, "{\"parameters\":{");
    for (int i = 0; i < WIRE_MAX_PARAMS; i++) {
        buf_printf(&a, "%s\"p%d\":%d", i ? "," : "", i, i);
        buf_printf(&b, "%s\"p%d\" : %d.0", i ? "," : "", WIRE_MAX_PARAMS - 1 - i, WIRE_MAX_PARAMS - 1 - i);
    }
    buf_puts(&a, "}}");
    buf_puts(&b, "},\"model\":\"m\",\"job_id\":\"j\",\"type\":\"create\"}");
    assert_int_equal(decode(a.data, &arena, &forward, &err), 0);
    assert_int_equal(decode(b.data, &arena, &backward, &err), 0);
    assert_string_equal(forward.spec, backward.spec);
    buf_done(&a);
    buf_done(&b);
    arena_done(&arena);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* A megabyte of the JSON that costs the most memory per byte, in a command. */
static char *costly_command(const char *element) {
    struct buf text = {0};
    buf_puts(&text, HEAD ",\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[");
    while (text.len < WIRE_MAX_VALUE_BYTES - 20) buf_printf(&text, "%s,", element);
    text.len--;
    buf_puts(&text, "]}]}");
    return text.data;
}

/* jansson's allocations, counted. 80 MiB for 1 MiB is what empty objects cost; ingest decodes one command at a time.
 */
#define PEAK_MAX_BYTES ((size_t)96 * 1024 * 1024)
static size_t used_bytes, peak_bytes;

static void *counting_malloc(size_t size) {
    void *p = malloc(size);
    used_bytes += malloc_usable_size(p) + 2 * sizeof(void *);
    if (used_bytes > peak_bytes) peak_bytes = used_bytes;
    return p;
}

static void counting_free(void *p) {
    if (p) used_bytes -= malloc_usable_size(p) + 2 * sizeof(void *);
    free(p);
}

static void test_command_of_a_megabyte_takes_bounded_memory_and_leaves_none(void **state) {
    json_set_alloc_funcs(counting_malloc, counting_free);
    static const char *const elements[] = {"1", "[]", "{}", "[[]]", "{\"\":{}}", "\"\"", "1e1"};
    for (size_t i = 0; i < LENGTH(elements); i++) {
        char *text = costly_command(elements[i]);
        struct job_command cmd;
        struct err err;
        struct arena arena;
        arena_init(&arena);
        assert_int_equal(decode(text, &arena, &cmd, &err), -1);
        assert_int_equal(err.code, ERR_INVALID_TENSOR);
        if (peak_bytes > PEAK_MAX_BYTES) fail_msg("%s: %zu bytes", elements[i], peak_bytes);
        assert_int_equal(used_bytes, 0);
        print_message("%-10s %5.1f MiB\n", elements[i], (double)peak_bytes / (1024 * 1024));
        peak_bytes = 0;
        arena_done(&arena);
        free(text);
    }
    json_set_alloc_funcs(malloc, free);
}

/* --- small writers ------------------------------------------------------------------------------------------------ */

static void test_cancel_that_was_encoded_decodes_to_itself(void **state) {
    struct buf out = {0};
    struct arena arena;
    struct job_command cmd;
    struct err err;
    arena_init(&arena);
    wire_command_encode_cancel("j-1", "user \"asked\"", &out);
    assert_string_equal(out.data, "{\"job_id\":\"j-1\",\"reason\":\"user \\\"asked\\\"\",\"type\":\"cancel\"}");
    assert_int_equal(decode(out.data, &arena, &cmd, &err), 0);
    assert_int_equal(cmd.type, WIRE_COMMAND_CANCEL);
    assert_string_equal(cmd.reason, "user \"asked\"");
    buf_reset(&out);
    wire_command_encode_cancel("j-1", NULL, &out);
    assert_int_equal(decode(out.data, &arena, &cmd, &err), 0);
    assert_null(cmd.reason);
    buf_done(&out);
    arena_done(&arena);
}

static void test_mode_that_was_encoded_decodes_to_itself(void **state) {
    static const enum wire_command_type types[] = {WIRE_COMMAND_PAUSE, WIRE_COMMAND_RESUME, WIRE_COMMAND_DRAIN};
    struct buf out = {0};
    struct arena arena;
    struct job_command cmd;
    struct err err;
    arena_init(&arena);
    for (size_t i = 0; i < LENGTH(types); i++) {
        buf_reset(&out);
        wire_command_encode_mode(types[i], "digits", "new \"weights\"", &out);
        assert_int_equal(decode(out.data, &arena, &cmd, &err), 0);
        assert_int_equal(cmd.type, types[i]);
        assert_string_equal(cmd.model, "digits");
        assert_string_equal(cmd.reason, "new \"weights\"");
        assert_null(cmd.job_id);
        assert_null(cmd.spec);
    }
    buf_reset(&out);
    wire_command_encode_mode(WIRE_COMMAND_DRAIN, NULL, NULL, &out);
    assert_string_equal(out.data, "{\"type\":\"drain\"}");
    assert_int_equal(decode(out.data, &arena, &cmd, &err), 0);
    assert_null(cmd.model);
    assert_null(cmd.reason);
    buf_done(&out);
    arena_done(&arena);
}

static struct job_command decoded(const char *text, struct arena *arena) {
    struct job_command cmd;
    struct err err;
    if (decode(text, arena, &cmd, &err) != 0) fail_msg("%s: %s", text, err.msg);
    return cmd;
}

static void test_signature_is_of_version_names_datatypes_and_shapes_and_not_of_values(void **state) {
#define JOB(more) "{\"type\":\"create\",\"job_id\":\"j\",\"model\":\"m\"" more "}"
#define INPUT(name, datatype, shape, data)                                                                             \
    "{\"name\":\"" name "\",\"datatype\":\"" datatype "\",\"shape\":" shape ",\"data\":" data "}"
    static const char *const differ[] = {
        JOB(""),
        JOB(",\"model_version\":\"1\""),
        JOB(",\"inputs\":[" INPUT("a", "INT8", "[2]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("b", "INT8", "[2]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("a", "INT16", "[2]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("a", "INT8", "[2,1]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("a", "INT8", "[1,2]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("a", "INT8", "[1]", "[1]") "]"),
        JOB(",\"inputs\":[" INPUT("a", "INT8", "[2]", "[1,2]") "," INPUT("b", "INT8", "[2]", "[1,2]") "]"),
        JOB(",\"inputs\":[" INPUT("b", "INT8", "[2]", "[1,2]") "," INPUT("a", "INT8", "[2]", "[1,2]") "]"),
        JOB(",\"model_version\":\"1\",\"inputs\":[" INPUT("2a", "INT8", "[2]", "[1,2]") "]"),
        JOB(",\"model_version\":\"12\",\"inputs\":[" INPUT("a", "INT8", "[2]", "[1,2]") "]"),
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < LENGTH(differ); i++) {
        const char *mine = decoded(differ[i], &arena).signature;
        assert_int_equal(strspn(mine, "0123456789abcdef"), 16);
        assert_int_equal(strlen(mine), 16);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(mine, decoded(differ[k], &arena).signature);
    }
    const char *same = JOB(",\"priority\":9,\"labels\":{\"x\":\"y\"},\"parameters\":{\"p\":1},\"inputs\":[" INPUT(
        "a", "INT8", "[2]", "[3,4]") "]");
    assert_string_equal(decoded(same, &arena).signature, decoded(differ[2], &arena).signature);
#undef JOB
#undef INPUT
    arena_done(&arena);
}

static void test_command_defaults_are_as_the_header_says(void **state) {
    struct arena arena;
    struct job_command cmd;
    struct err err;
    arena_init(&arena);
    assert_int_equal(decode(HEAD "}", &arena, &cmd, &err), 0);
    assert_int_equal(cmd.priority, JOB_PRIORITY_DEFAULT);
    assert_true(cmd.max_attempts == 0 && cmd.timeout_ms == 0 && cmd.queue_timeout_ms == 0 && cmd.not_before == 0);
    assert_true(!cmd.model_version && !cmd.traceparent && cmd.label_count == 0);
    assert_int_equal(decode(HEAD
                            ",\"not_before\":\"2026-11-24T10:00:00+01:00\",\"labels\":{\"k\":\"v\"},\"priority\":0}",
                            &arena, &cmd, &err),
                     0);
    assert_int_equal(cmd.not_before, INT64_C(1795510800000));
    assert_int_equal(cmd.priority, 0);
    assert_int_equal(cmd.label_count, 1);
    assert_string_equal(cmd.labels[0].name, "k");
    assert_string_equal(cmd.labels[0].value, "v");
    arena_done(&arena);
}

static void test_object_merge_sets_and_replaces_members(void **state) {
    const struct wire_member members[] = {
        {"model", "\"m2\""}, {"priority", "9"}, {"labels", "{\"b\":\"1\",\"a\":\"2\"}"}};
    static const char text[] = "{\"model\": \"m1\", \"inputs\": []}";
    struct buf out = {0};
    struct err err;
    assert_int_equal(wire_object_merge(text, sizeof text - 1, members, LENGTH(members), &out, &err), 0);
    assert_string_equal(out.data,
                        "{\"inputs\":[],\"labels\":{\"a\":\"2\",\"b\":\"1\"},\"model\":\"m2\",\"priority\":9}");
    const struct wire_member broken = {"labels", "{a:1}"};
    assert_int_equal(wire_object_merge(text, sizeof text - 1, &broken, 1, &out, &err), -1);
    assert_int_equal(err.code, ERR_MALFORMED_JSON);
    assert_int_equal(wire_object_merge("[1]", 3, NULL, 0, &out, &err), -1);
    assert_int_equal(err.code, ERR_MALFORMED_JSON);
    buf_done(&out);
}

/* --- config.json -------------------------------------------------------------------------------------------------- */

static void test_model_config_reads_tritons_knobs(void **state) {
    static const char text[] = "{\"name\":\"digits\",\"backend\":\"fake\",\"max_batch_size\":8,"
                               "\"dynamic_batching\":{\"max_queue_delay_microseconds\":1500}}";
    struct wire_model_config cfg;
    struct err err;
    assert_int_equal(wire_model_config_decode(text, sizeof text - 1, &cfg, &err), 0);
    assert_string_equal(cfg.name, "digits");
    assert_string_equal(cfg.backend, "fake");
    assert_int_equal(cfg.max_batch_size, 8);
    assert_int_equal(cfg.max_queue_delay_us, 1500);
    assert_int_equal(wire_model_config_decode("{}", 2, &cfg, &err), 0);
    assert_string_equal(cfg.name, "");
    assert_string_equal(cfg.backend, "onnx");
    assert_int_equal(cfg.max_batch_size, 0);
}

static void test_model_config_errors_name_the_member(void **state) {
    static const char *const cases[][2] = {
        {"{\"max_batch\":8}", "max_batch: unknown member"},
        {"{\"dynamic_batching\":{\"delay\":1}}", "dynamic_batching/delay: unknown member"},
        {"{\"dynamic_batching\":{\"max_queue_delay_microseconds\":-1}}", "max_queue_delay_microseconds: -1"},
        {"{\"dynamic_batching\":5}", "dynamic_batching: a number"},
        {"{\"max_batch_size\":65537}", "max_batch_size: 65537"},
        {"{\"name\":\"../x\"}", "name: "},
        {"{\"backend\":7}", "backend: a number"},
        {"{\"backend\":\"123456789012345678901234567890123\"}", "backend: "},
        {"{", "line 1 column"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct wire_model_config cfg;
        struct err err;
        assert_int_equal(wire_model_config_decode(cases[i][0], strlen(cases[i][0]), &cfg, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.msg, cases[i][1])) fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_tensors_of_every_datatype_are_laid_out_little_endian),
        cmocka_unit_test(test_spec_nested_and_flat_data_give_the_same_tensor),
        cmocka_unit_test(test_spec_tensor_without_elements_has_data_and_one_with_uri_has_none),
        cmocka_unit_test(test_spec_parameters_keep_their_kinds),
        cmocka_unit_test(test_fp16_every_half_is_its_own_nearest_and_ties_go_to_even),
        cmocka_unit_test(test_fp16_results_read_back_as_the_same_half),
        cmocka_unit_test(test_canonical_numbers_depend_on_their_value_alone),
        cmocka_unit_test(test_canonical_doubles_read_back_as_the_same_double),
        cmocka_unit_test(test_canonical_floats_read_back_as_the_same_float),
        cmocka_unit_test(test_canonical_objects_are_sorted_by_bytes_at_every_level),
        cmocka_unit_test(test_spec_of_many_members_in_any_order_is_the_same),
        cmocka_unit_test(test_command_of_a_megabyte_takes_bounded_memory_and_leaves_none),
        cmocka_unit_test(test_cancel_that_was_encoded_decodes_to_itself),
        cmocka_unit_test(test_mode_that_was_encoded_decodes_to_itself),
        cmocka_unit_test(test_signature_is_of_version_names_datatypes_and_shapes_and_not_of_values),
        cmocka_unit_test(test_command_defaults_are_as_the_header_says),
        cmocka_unit_test(test_object_merge_sets_and_replaces_members),
        cmocka_unit_test(test_model_config_reads_tritons_knobs),
        cmocka_unit_test(test_model_config_errors_name_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

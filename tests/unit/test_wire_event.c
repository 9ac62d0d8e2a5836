/* Events, records and results: what is written is what the checked-in documents say (and so what the schemas say, see
 * test_schema_vectors.py), and what is read back is what was written. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/wire.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* --- one job's life, and what else may happen --------------------------------------------------------------------- */

static const char spec[] = "{\"inputs\":[{\"data\":[0,0.25],\"datatype\":\"FP32\",\"name\":\"image\",\"shape\":[1,2]}],"
                           "\"job_id\":\"j-1\",\"model\":\"digits\",\"type\":\"create\"}";
static const char result[] =
    "{\"model_name\":\"digits\",\"model_version\":\"1\",\"outputs\":[{\"data\":[0.1,\"NaN\",-2],"
    "\"datatype\":\"FP32\",\"name\":\"logits\",\"shape\":[1,3]}]}";
static const char envelope[] =
    "{\"code\":\"timeout\",\"hint\":\"raise timeout_ms, or give the model more workers\",\"message\":"
    "\"the run took longer than 5000 ms\",\"retryable\":false}";
static const char refusal[] = "{\"code\":\"key_mismatch\",\"hint\":\"the Kafka key must be the job_id (of a mode: the "
                              "model), or absent\",\"message\":"
                              "\"key: \\\"k\\\" is not the job_id \\\"j-1\\\"\",\"retryable\":false}";

#define AT        INT64_C(1790000000123)
#define TRACE     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define OF_JOB    .job_id = "j-1", .attempt = 1, .max_attempts = 3, .priority = 4
#define OF_RUN    .worker = "host-1:gpu0", .token = "3-17", .traceparent = TRACE
#define DOC(text) .doc = (text), .doc_len = sizeof(text) - 1

static const struct {
    const char *name;
    struct job_event ev;
} cases[] = {
    {"1-queued",
     {OF_JOB, .seq = 1, .to = JOB_STATE_QUEUED, .at = AT, .model = "digits", .model_version = "1", .reason = "create",
      .traceparent = TRACE, .not_before = AT + 500, .timeout_ms = 5000, .queue_timeout_ms = 600000,
      .source = {"penstock.commands", 3, 123456}, DOC(spec)}},
    {"2-running",
     {OF_JOB, OF_RUN, .seq = 2, .from = JOB_STATE_QUEUED, .to = JOB_STATE_RUNNING, .at = AT + 600, .reason = "claim"}},
    {"3-requeued",
     {OF_JOB, OF_RUN, .seq = 3, .from = JOB_STATE_RUNNING, .to = JOB_STATE_QUEUED, .at = AT + 700, .crashes = 1,
      .reason = "worker_lost", .progress = 0.375}},
    {"4-running",
     {OF_JOB, .worker = "host-2:gpu1", .token = "3-18", .seq = 4, .from = JOB_STATE_QUEUED, .to = JOB_STATE_RUNNING,
      .at = AT + 800, .crashes = 1, .reason = "claim"}},
    {"5-completed",
     {OF_JOB, .worker = "host-2:gpu1", .token = "3-18", .seq = 5, .from = JOB_STATE_RUNNING, .to = JOB_STATE_COMPLETED,
      .at = AT + 900, .crashes = 1, .reason = "finish", .progress = 1, DOC(result)}},
    {"failed",
     {OF_JOB, OF_RUN, .seq = 3, .from = JOB_STATE_RUNNING, .to = JOB_STATE_FAILED, .at = AT + 9000, .reason = "timeout",
      .progress = 0.1, DOC(envelope)}},
    {"cancelled",
     {OF_JOB, .seq = 2, .from = JOB_STATE_QUEUED, .to = JOB_STATE_CANCELLED, .at = AT + 1, .reason = "cancel",
      .source = {"penstock.control", 0, 0}}},
    {"cancelled-by-tombstone",
     {OF_JOB, .seq = 1, .to = JOB_STATE_CANCELLED, .at = AT, .model = "digits", .reason = "cancel",
      .source = {"penstock.commands", 0, 7}, DOC(spec)}},
    {"rejected",
     {.job_id = "j-1",
      .to = JOB_STATE_REJECTED,
      .at = AT,
      .reason = "key_mismatch",
      .source = {"penstock.commands", 11, 9007199254740993},
      DOC(refusal),
      .key = "k",
      .key_len = 1,
      .raw = "{}",
      .raw_len = 2}},
    {"rejected-unreadable",
     {.to = JOB_STATE_REJECTED,
      .at = AT,
      .reason = "key_mismatch",
      .source = {"penstock.commands", 0, 1},
      DOC(refusal)}},
};
#define LIFE 5 /* the first cases are one job, from create to completed */

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static void assert_golden(const char *folder, const char *name, const char *text, size_t len) {
    char path[512], want[4096];
    snprintf(path, sizeof path, "%s/tests/vectors/%s/%s.json", SOURCE_DIR, folder, name);
    if (getenv("PENSTOCK_UPDATE_VECTORS")) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "%.*s\n", (int)len, text);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is missing", path);
    size_t size = fread(want, 1, sizeof want - 1, file);
    fclose(file);
    want[size] = '\0';
    if (size != len + 1 || memcmp(want, text, len) != 0)
        fail_msg("%s: written is\n%.*s\nnot\n%s", path, (int)len, text, want);
}

static void assert_same_string(const char *a, const char *b) {
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void assert_same_event(const struct job_event *a, const struct job_event *b) {
    assert_same_string(a->job_id, b->job_id);
    assert_same_string(a->model, b->model);
    assert_same_string(a->model_version, b->model_version);
    assert_same_string(a->worker, b->worker);
    assert_same_string(a->token, b->token);
    assert_same_string(a->reason, b->reason);
    assert_same_string(a->traceparent, b->traceparent);
    assert_same_string(a->source.topic, b->source.topic);
    assert_true(a->seq == b->seq && a->from == b->from && a->to == b->to && a->at == b->at);
    assert_true(a->attempt == b->attempt && a->max_attempts == b->max_attempts && a->crashes == b->crashes);
    assert_true(a->priority == b->priority && a->not_before == b->not_before && a->timeout_ms == b->timeout_ms);
    assert_true(a->queue_timeout_ms == b->queue_timeout_ms && a->progress == b->progress);
    assert_true(a->source.partition == b->source.partition && a->source.offset == b->source.offset);
    assert_int_equal(a->doc_len, b->doc_len);
    if (a->doc_len) assert_memory_equal(a->doc, b->doc, a->doc_len);
}

static void encode_and_decode(const struct job_event *ev, struct arena *arena, struct job_event *ret) {
    struct wire_event_out out;
    struct err err;
    wire_event_encode(ev, "/penstock", arena, &out);
    if (wire_event_decode(out.value, out.value_len, arena, ret, &err) != 0) fail_msg("%s: %s", err.msg, out.value);
}

static const struct wire_header *find_header(const struct wire_event_out *out, const char *name) {
    for (size_t i = 0; i < out->header_count; i++)
        if (strcmp(out->headers[i].name, name) == 0) return &out->headers[i];
    return NULL;
}

static void assert_header(const struct wire_event_out *out, const char *name, const char *want) {
    const struct wire_header *header = find_header(out, name);
    if (!header) fail_msg("no header %s", name);
    assert_int_equal(header->value_len, strlen(want));
    assert_memory_equal(header->value, want, header->value_len);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void test_event_values_are_the_checked_in_documents(void **state) {
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct arena arena;
        struct wire_event_out out;
        arena_init(&arena);
        wire_event_encode(&cases[i].ev, "/penstock", &arena, &out);
        assert_golden("event", cases[i].name, out.value, out.value_len);
        arena_done(&arena);
    }
}

static void test_event_decoding_restores_everything_that_encoding_wrote(void **state) {
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct arena arena;
        struct job_event back;
        arena_init(&arena);
        encode_and_decode(&cases[i].ev, &arena, &back);
        assert_same_event(&cases[i].ev, &back);
        arena_done(&arena);
    }
}

static void test_event_log_folds_to_the_same_record_as_the_transitions(void **state) {
    struct arena arena;
    struct job_record direct = {0}, replayed = {0};
    struct err err;
    arena_init(&arena);
    for (size_t i = 0; i < LIFE; i++) {
        struct job_event *back = arena_alloc(&arena, sizeof *back);
        encode_and_decode(&cases[i].ev, &arena, back);
        assert_int_equal(job_fold(&direct, &cases[i].ev, &err), 0);
        assert_int_equal(job_fold(&replayed, back, &err), 0);
        assert_null(job_record_diff(&direct, &replayed));
    }
    assert_int_equal(replayed.state, JOB_STATE_COMPLETED);
    assert_int_equal(replayed.seq, LIFE);
    assert_string_equal(replayed.worker, "host-2:gpu1");
    arena_done(&arena);
}

static void test_event_headers_follow_the_kafka_binding_of_cloudevents(void **state) {
    struct arena arena;
    struct wire_event_out out;
    arena_init(&arena);
    wire_event_encode(&cases[0].ev, "/penstock/eu", &arena, &out);
    assert_header(&out, "ce_specversion", "1.0");
    assert_header(&out, "ce_id", "j-1:1");
    assert_header(&out, "ce_type", "penstock.job.queued");
    assert_header(&out, "ce_source", "/penstock/eu");
    assert_header(&out, "ce_subject", "j-1");
    assert_header(&out, "ce_time", "2026-09-21T14:13:20.123Z");
    assert_header(&out, "ce_sequence", "1");
    assert_header(&out, "content-type", "application/json");
    assert_header(&out, "traceparent", TRACE);
    assert_int_equal(out.header_count, 9);
    arena_done(&arena);
}

static void test_event_of_an_unreadable_command_is_identified_by_where_it_stood(void **state) {
    struct arena arena;
    struct wire_event_out out;
    arena_init(&arena);
    wire_event_encode(&cases[LENGTH(cases) - 1].ev, "/penstock", &arena, &out);
    assert_header(&out, "ce_id", "penstock.commands/0/1:rejected");
    assert_header(&out, "ce_type", "penstock.job.rejected");
    assert_null(find_header(&out, "ce_subject"));
    assert_null(find_header(&out, "ce_sequence"));
    assert_null(find_header(&out, "traceparent"));
    arena_done(&arena);
}

static void test_event_strings_that_are_not_utf8_still_give_json(void **state) {
    struct arena arena;
    struct job_event ev = cases[1].ev, back;
    arena_init(&arena);
    ev.reason = "cut \xc3 \xed\xa0\x80 \"quote\" \\ \x01\x1f\n \xf0\x9f\x98\x80";
    encode_and_decode(&ev, &arena, &back);
    assert_string_equal(
        back.reason, "cut \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \"quote\" \\ \x01\x1f\n \xf0\x9f\x98\x80");
    arena_done(&arena);
}

static void test_event_with_members_of_a_newer_release_is_read(void **state) {
    static const char text[] =
        "{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2,\"novelty\":[1,{}]}";
    struct arena arena;
    struct job_event ev;
    struct err err;
    arena_init(&arena);
    assert_int_equal(wire_event_decode(text, sizeof text - 1, &arena, &ev, &err), 0);
    assert_int_equal(ev.seq, 2);
    arena_done(&arena);
}

static void test_event_that_cannot_be_folded_is_refused(void **state) {
    static const struct {
        const char *text;
        enum err_code code;
    } bad[] = {
        {"{\"at\":5,\"to\":\"none\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2}", ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"rejected\",\"job_id\":\"j\",\"seq\":2}", ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"asleep\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2}", ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"job_id\":\"j\",\"seq\":2}", ERR_MISSING_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"seq\":2}", ERR_MISSING_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"j\"}", ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"a b\",\"seq\":2}", ERR_INVALID_JOB_ID},
        {"{\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2}", ERR_MISSING_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2,\"attempt\":2147483648}",
         ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"running\",\"from\":\"queued\",\"job_id\":\"j\",\"seq\":2,\"progress\":\"x\"}",
         ERR_INVALID_MEMBER},
        {"{\"at\":5,\"to\":\"queued\",\"from\":null,\"job_id\":\"j\",\"seq\":1,\"source\":{\"topic\":\"t\"}}",
         ERR_MISSING_MEMBER},
        {"{\"at\":5,\"to\":\"queued\",\"from\":null,\"job_id\":\"j\",\"seq\":1,\"spec\":[]}", ERR_INVALID_MEMBER},
        {"[]", ERR_MALFORMED_JSON},
    };
    for (size_t i = 0; i < LENGTH(bad); i++) {
        struct arena arena;
        struct job_event ev;
        struct err err;
        arena_init(&arena);
        assert_int_equal(wire_event_decode(bad[i].text, strlen(bad[i].text), &arena, &ev, &err), -1);
        if (err.code != bad[i].code) fail_msg("%s: %s", bad[i].text, err.msg);
        arena_done(&arena);
    }
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static const struct job_record queued = {.job_id = "j-1",
                                         .state = JOB_STATE_QUEUED,
                                         .seq = 1,
                                         .model = "digits",
                                         .priority = 4,
                                         .max_attempts = 3,
                                         .created_at = AT,
                                         .queued_at = AT,
                                         .updated_at = AT,
                                         .timeout_ms = 5000};

static void check_record(const char *name, const struct job_record *rec, const char *res, const char *error) {
    struct buf out = {0};
    wire_record_encode(rec, spec, res, error, &out);
    assert_golden("record", name, out.data, out.len);
    assert_null(strchr(out.data, '\n'));
    buf_done(&out);
}

static void test_record_documents_are_the_checked_in_ones(void **state) {
    struct job_record rec = queued;
    check_record("queued", &rec, NULL, NULL);
    rec.not_before = AT + 1000;
    check_record("delayed", &rec, NULL, NULL);
    rec.labels = (struct job_label[]){{"note", ""}, {"tenant", "acme"}, {"unit.test", "a-b_c.d"}};
    rec.label_count = 3;
    rec.tenant = "acme";
    rec.backoff_ms = 200;
    rec.backoff_max_ms = 60000;
    check_record("labelled", &rec, NULL, NULL);
    rec = queued;
    rec.state = JOB_STATE_RUNNING;
    rec.seq = 2;
    rec.attempt = 1;
    rec.model_version = "1";
    rec.token = "3-17";
    rec.worker = "host-1:gpu0";
    rec.progress = 0.125;
    rec.progress_message = "layer 3 of \"24\"";
    rec.started_at = AT + 10;
    rec.lease_until = AT + 5010;
    rec.cancel_requested = true;
    rec.traceparent = TRACE;
    check_record("running", &rec, NULL, NULL);
    rec.lease_until = 0;
    rec.cancel_requested = false;
    rec.finished_at = AT + 30;
    rec.duration_ms = 20;
    rec.state = JOB_STATE_COMPLETED;
    check_record("completed", &rec, result, NULL);
    rec.state = JOB_STATE_FAILED;
    rec.error_code = "timeout";
    check_record("failed", &rec, NULL, envelope);
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static void assert_result(const struct tensor *output, const char *data) {
    struct buf out = {0}, want = {0};
    wire_result_encode("m", NULL, output, NULL, 1, &out);
    buf_printf(&want,
               "{\"model_name\":\"m\",\"outputs\":[{\"data\":[%s],\"datatype\":\"%s\",\"name\":\"y\",\"shape\":[]}]}",
               data, datatype_name(output->datatype));
    assert_string_equal(out.data, want.data);
    buf_done(&out);
    buf_done(&want);
}

#define ASSERT_ELEMENTS(type, ctype, want, ...)                                                                        \
    do {                                                                                                               \
        ctype elements[] = {__VA_ARGS__};                                                                              \
        struct tensor output = {.name = "y", .datatype = (type), .data = elements, .size_bytes = sizeof elements};     \
        assert_result(&output, want);                                                                                  \
    } while (0)

static void test_result_elements_of_every_datatype_are_exact(void **state) {
    ASSERT_ELEMENTS(DATATYPE_BOOL, uint8_t, "false,true,true", 0, 1, 255);
    ASSERT_ELEMENTS(DATATYPE_UINT8, uint8_t, "0,255", 0, UINT8_MAX);
    ASSERT_ELEMENTS(DATATYPE_UINT16, uint16_t, "0,65535", 0, UINT16_MAX);
    ASSERT_ELEMENTS(DATATYPE_UINT32, uint32_t, "0,4294967295", 0, UINT32_MAX);
    ASSERT_ELEMENTS(DATATYPE_UINT64, uint64_t, "9223372036854775807,\"9223372036854775808\",\"18446744073709551615\"",
                    INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX);
    ASSERT_ELEMENTS(DATATYPE_INT8, int8_t, "-128,-1,127", INT8_MIN, -1, INT8_MAX);
    ASSERT_ELEMENTS(DATATYPE_INT16, int16_t, "-32768,32767", INT16_MIN, INT16_MAX);
    ASSERT_ELEMENTS(DATATYPE_INT32, int32_t, "-2147483648,2147483647", INT32_MIN, INT32_MAX);
    ASSERT_ELEMENTS(DATATYPE_INT64, int64_t, "-9223372036854775808,9223372036854775807", INT64_MIN, INT64_MAX);
    ASSERT_ELEMENTS(DATATYPE_FP16, uint16_t, "1,-2,65504,\"Infinity\",\"NaN\"", 0x3c00, 0xc000, 0x7bff, 0x7c00, 0x7e00);
    ASSERT_ELEMENTS(DATATYPE_FP32, float, "0.1,-0.0,1e-07,16777216,\"NaN\",\"-Infinity\"", 0.1f, -0.0f, 1e-7f,
                    16777216.0f, NAN, -INFINITY);
    ASSERT_ELEMENTS(DATATYPE_FP64, double,
                    "0.30000000000000004,4.94065645841247e-324,1.7976931348623157e+308,\"Infinity\"", 0.1 + 0.2, 5e-324,
                    DBL_MAX, INFINITY);
    ASSERT_ELEMENTS(DATATYPE_BYTES, char, "\"a\\u0000\",\"\",\"\xef\xbf\xbd\"", 2, 0, 0, 0, 'a', 0, 0, 0, 0, 0, 1, 0, 0,
                    0, (char)0xff);
}

static void test_result_that_went_through_an_event_is_the_same_bytes(void **state) {
    float values[512];
    uint32_t bits = 12345;
    for (size_t i = 0; i < LENGTH(values); i++) { /* every exponent comes by: bit patterns, not numbers, are drawn */
        bits = bits * 1664525u + 1013904223u;
        memcpy(&values[i], &bits, sizeof bits);
    }
    struct tensor output = {.name = "y",
                            .datatype = DATATYPE_FP32,
                            .rank = 1,
                            .shape = {LENGTH(values)},
                            .data = values,
                            .size_bytes = sizeof values};
    struct buf doc = {0};
    struct arena arena;
    struct job_event ev = cases[4].ev, back;
    arena_init(&arena);
    wire_result_encode("digits", "1", &output, NULL, 1, &doc);
    ev.doc = doc.data;
    ev.doc_len = doc.len;
    encode_and_decode(&ev, &arena, &back);
    assert_string_equal(back.doc, doc.data);
    arena_done(&arena);
    buf_done(&doc);
}

static void test_error_envelope_is_canonical_and_carries_the_hint_of_its_code(void **state) {
    struct buf out = {0};
    wire_error_encode(ERR_TIMEOUT, "the run took longer than 5000 ms", false, &out);
    assert_string_equal(out.data, envelope);
    buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_values_are_the_checked_in_documents),
        cmocka_unit_test(test_event_decoding_restores_everything_that_encoding_wrote),
        cmocka_unit_test(test_event_log_folds_to_the_same_record_as_the_transitions),
        cmocka_unit_test(test_event_headers_follow_the_kafka_binding_of_cloudevents),
        cmocka_unit_test(test_event_of_an_unreadable_command_is_identified_by_where_it_stood),
        cmocka_unit_test(test_event_strings_that_are_not_utf8_still_give_json),
        cmocka_unit_test(test_event_with_members_of_a_newer_release_is_read),
        cmocka_unit_test(test_event_that_cannot_be_folded_is_refused),
        cmocka_unit_test(test_record_documents_are_the_checked_in_ones),
        cmocka_unit_test(test_result_elements_of_every_datatype_are_exact),
        cmocka_unit_test(test_result_that_went_through_an_event_is_the_same_bytes),
        cmocka_unit_test(test_error_envelope_is_canonical_and_carries_the_hint_of_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

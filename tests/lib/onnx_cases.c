/* Running model folders against their test data, and a writer of small ModelProtos. See onnx_cases.h.
 * The writer shares nothing with the reader under test: it is written from the protobuf encoding. */
#include "onnx_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock/executor.h"

#define MAX_IOS 16

bool onnx_case_read_file(const char *path, struct buf *ret) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;) buf_append(ret, chunk, n);
    fclose(file);
    return true;
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static double half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31) value = fraction ? NAN : INFINITY;
    return bits >> 15 ? -value : value;
}

#define ELEMENT(type) (double)((const type *)tensor->data)[i]

static double element(const struct tensor *tensor, int64_t i) {
    switch (tensor->datatype) {
    case DATATYPE_FP16:
        return half(((const uint16_t *)tensor->data)[i]);
    case DATATYPE_FP32:
        return ELEMENT(float);
    case DATATYPE_FP64:
        return ELEMENT(double);
    case DATATYPE_INT8:
        return ELEMENT(int8_t);
    case DATATYPE_INT16:
        return ELEMENT(int16_t);
    case DATATYPE_INT32:
        return ELEMENT(int32_t);
    case DATATYPE_INT64:
        return ELEMENT(int64_t);
    case DATATYPE_BOOL:
    case DATATYPE_UINT8:
        return ELEMENT(uint8_t);
    case DATATYPE_UINT16:
        return ELEMENT(uint16_t);
    case DATATYPE_UINT32:
        return ELEMENT(uint32_t);
    case DATATYPE_UINT64:
        return ELEMENT(uint64_t);
    default:
        return NAN; /* never passes */
    }
}

static bool is_real(enum datatype datatype) {
    return datatype == DATATYPE_FP16 || datatype == DATATYPE_FP32 || datatype == DATATYPE_FP64;
}

int onnx_case_compare(const struct tensor *have, const struct tensor *want, double rtol, double atol, struct err *err) {
    if (have->datatype != want->datatype)
        return err_set(err, ERR_EXECUTION_FAILED, "datatype %s, expected %s", datatype_name(have->datatype),
                       datatype_name(want->datatype));
    bool same = have->rank == want->rank;
    for (int i = 0; same && i < have->rank; i++) same = have->shape[i] == want->shape[i];
    if (!same) return err_set(err, ERR_EXECUTION_FAILED, "output '%s' has another shape than expected", have->name);
    int64_t count = tensor_element_count(want->shape, want->rank);
    if (!is_real(want->datatype)) rtol = atol = 0;
    for (int64_t i = 0; i < count; i++) {
        double a = element(have, i), b = element(want, i);
        if (a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= rtol * fabs(b) + atol) continue; /* equal: infinities */
        return err_set(err, ERR_EXECUTION_FAILED, "output '%s', element %lld: %.9g, expected %.9g", have->name,
                       (long long)i, a, b);
    }
    return 0;
}

/* --- running a folder -------------------------------------------------------------------------------------------- */

struct data_set {
    struct arena arena;
    struct buf files[MAX_IOS]; /* the tensors may point into them */
    struct tensor tensors[MAX_IOS];
    size_t count;
};

static int read_set(const char *folder, int set, const char *kind, struct data_set *ret, struct err *err) {
    arena_init(&ret->arena);
    for (ret->count = 0; ret->count < MAX_IOS; ret->count++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%zu.pb", folder, set, kind, ret->count);
        struct buf *file = &ret->files[ret->count];
        if (!onnx_case_read_file(path, file)) return 0;
        if (onnx_tensor_read(file->data, file->len, &ret->arena, &ret->tensors[ret->count], err) != 0) return -1;
    }
    return 0;
}

static void set_done(struct data_set *set) {
    for (size_t i = 0; i < MAX_IOS; i++) buf_done(&set->files[i]);
    arena_done(&set->arena);
}

static int run_form(const struct onnx_model *model, bool plain, const struct data_set *in, const struct data_set *out,
                    double rtol, double atol, struct err *err) {
    struct onnx_session *ses = NULL;
    size_t inputs, outputs;
    onnx_model_inputs(model, &inputs);
    onnx_model_outputs(model, &outputs);
    if (inputs != in->count || outputs != out->count)
        return err_set(err, ERR_EXECUTION_FAILED, "%zu inputs and %zu outputs, but data for %zu and %zu", inputs,
                       outputs, in->count, out->count);
    int rc = -1;
    const struct onnx_session_options options = {.threads = plain ? 1 : 2, .plain = plain};
    if (onnx_backend_session(onnx_backend_cpu(), model, &options, &ses, err) != 0 ||
        onnx_session_prepare(ses, in->tensors, err) != 0)
        goto out;
    for (size_t i = 0; i < inputs; i++)
        memcpy(onnx_session_input(ses, i)->data, in->tensors[i].data, in->tensors[i].size_bytes);
    if (onnx_session_run(ses, NULL, err) != 0) goto out;
    for (size_t i = 0; i < outputs; i++)
        if (onnx_case_compare(onnx_session_output(ses, i), &out->tensors[i], rtol, atol, err) != 0) goto out;
    rc = 0;
out:
    onnx_session_free(ses);
    return rc;
}

/* The reference, and what users run: fused, on the fast kernels, by two threads. */
static int run_set(const struct onnx_model *model, const struct data_set *in, const struct data_set *out, double rtol,
                   double atol, struct err *err) {
    if (run_form(model, true, in, out, rtol, atol, err) != 0) return err_wrap(err, "plain");
    return run_form(model, false, in, out, rtol, atol, err);
}

/* What runs a set: a session of `model`, or a model that an executor has loaded. */
struct runner {
    const struct onnx_model *model;
    const struct executor_ops *ops;
    struct executor_model *loaded;
    int times;
};

static bool never_stop(void *ctx, size_t index) { return false; }
static void ignore_progress(void *ctx, size_t index, double fraction, const char *message) {}

static int run_loaded(const struct runner *runner, struct data_set *in, const struct data_set *out, double rtol,
                      double atol, struct err *err) {
    static const struct executor_control control = {NULL, never_stop, ignore_progress};
    const struct executor_model_info *info = runner->ops->describe(runner->loaded);
    struct executor_error why;
    for (size_t i = 0; i < in->count && i < info->input_count; i++) in->tensors[i].name = info->inputs[i].name;
    for (int n = 0; n < runner->times; n++) {
        struct executor_job job = {.job_id = "case", .attempt = 1, .inputs = in->tensors, .input_count = in->count};
        if (runner->ops->run(runner->loaded, &job, 1, &control, &why) != 0)
            return err_set(err, ERR_EXECUTION_FAILED, "%s", why.message);
        if (job.outcome != EXECUTOR_COMPLETED) return err_set(err, ERR_EXECUTION_FAILED, "%s", job.error.message);
        for (size_t i = 0; i < out->count; i++)
            if (onnx_case_compare(&job.outputs[i], &out->tensors[i], rtol, atol, err) != 0)
                return err_wrap(err, "run %d", n + 1);
    }
    return 0;
}

static int run_sets(const struct runner *runner, const char *folder, double rtol, double atol, int *ret_sets,
                    struct err *err) {
    int rc = 0, set = 0;
    for (; rc == 0; set++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/test_data_set_%d", folder, set);
        if (access(path, R_OK) != 0) break;
        struct data_set in = {0}, out = {0};
        rc = read_set(folder, set, "input", &in, err);
        if (rc == 0) rc = read_set(folder, set, "output", &out, err);
        if (rc == 0)
            rc = runner->ops ? run_loaded(runner, &in, &out, rtol, atol, err)
                             : run_set(runner->model, &in, &out, rtol, atol, err);
        set_done(&in);
        set_done(&out);
    }
    *ret_sets = set;
    return rc;
}

int onnx_case_run(const char *folder, double rtol, double atol, int *ret_sets, struct err *err) {
    char path[1024];
    struct onnx_model *model;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (onnx_model_open(path, &model, err) != 0) return -1;
    int rc = run_sets(&(struct runner){.model = model}, folder, rtol, atol, ret_sets, err);
    onnx_model_free(model);
    return rc;
}

int onnx_case_run_on(const struct executor_ops *ops, struct executor *ex, const char *folder, int times, double rtol,
                     double atol, int *ret_sets, struct err *err) {
    const struct executor_model_source source = {.name = "case", .version = "1", .path = folder};
    struct runner runner = {.ops = ops, .times = times};
    struct executor_error why;
    *ret_sets = 0;
    if (ops->load(ex, &source, &runner.loaded, &why) != 0)
        return err_set(err, err_code_from_name(why.code), "%s", why.message);
    int rc = run_sets(&runner, folder, rtol, atol, ret_sets, err);
    ops->unload(runner.loaded);
    return rc;
}

/* --- writing models ---------------------------------------------------------------------------------------------- */

void onnx_build_varint(struct buf *buf, uint64_t value) {
    for (; value >= 0x80; value >>= 7) buf_append(buf, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    buf_append(buf, &(uint8_t){(uint8_t)value}, 1);
}

void onnx_build_field_int(struct buf *buf, int number, uint64_t value) {
    onnx_build_varint(buf, (uint64_t)number << 3);
    onnx_build_varint(buf, value);
}

void onnx_build_field_bytes(struct buf *buf, int number, const void *bytes, size_t len) {
    onnx_build_varint(buf, (uint64_t)number << 3 | 2);
    onnx_build_varint(buf, len);
    buf_append(buf, bytes, len);
}

static void add_message(struct buf *to, int number, struct buf *message) {
    onnx_build_field_bytes(to, number, message->data, message->len);
    buf_done(message);
}

static void add_names(struct buf *to, int number, const char *names) {
    if (!names[0]) return;
    for (;;) {
        size_t len = strcspn(names, ",");
        onnx_build_field_bytes(to, number, names, len);
        if (!names[len]) return;
        names += len + 1;
    }
}

enum { ATTR_TYPE_FLOAT = 1, ATTR_TYPE_INT = 2, ATTR_TYPE_STRING = 3, ATTR_TYPE_INTS = 7, ATTR_TYPE_STRINGS = 8 };

/* `value` is the message so far, with the value's own field. */
static void add_attr(struct onnx_builder *b, const char *name, uint64_t type, struct buf *value) {
    onnx_build_field_bytes(value, 1, name, strlen(name));
    onnx_build_field_int(value, 20, type);
    add_message(&b->attrs, 5, value);
}

void onnx_build_int(struct onnx_builder *b, const char *name, int64_t value) {
    struct buf attr = {0};
    onnx_build_field_int(&attr, 3, (uint64_t)value);
    add_attr(b, name, ATTR_TYPE_INT, &attr);
}

void onnx_build_ints(struct onnx_builder *b, const char *name, size_t count, const int64_t *values) {
    struct buf attr = {0};
    for (size_t i = 0; i < count; i++) onnx_build_field_int(&attr, 8, (uint64_t)values[i]);
    add_attr(b, name, ATTR_TYPE_INTS, &attr);
}

void onnx_build_float(struct onnx_builder *b, const char *name, float value) {
    struct buf attr = {0};
    onnx_build_varint(&attr, 2 << 3 | 5);
    buf_append(&attr, &value, sizeof value);
    add_attr(b, name, ATTR_TYPE_FLOAT, &attr);
}

void onnx_build_string(struct onnx_builder *b, const char *name, const char *value) {
    struct buf attr = {0};
    onnx_build_field_bytes(&attr, 4, value, strlen(value));
    add_attr(b, name, ATTR_TYPE_STRING, &attr);
}

void onnx_build_strings(struct onnx_builder *b, const char *name, size_t count, const char *const *values) {
    struct buf attr = {0};
    for (size_t i = 0; i < count; i++) onnx_build_field_bytes(&attr, 9, values[i], strlen(values[i]));
    add_attr(b, name, ATTR_TYPE_STRINGS, &attr);
}

void onnx_build_node(struct onnx_builder *b, const char *op_type, const char *name, const char *inputs,
                     const char *outputs) {
    struct buf node = {0};
    add_names(&node, 1, inputs);
    add_names(&node, 2, outputs);
    onnx_build_field_bytes(&node, 3, name, strlen(name));
    onnx_build_field_bytes(&node, 4, op_type, strlen(op_type));
    if (b->attrs.len) buf_append(&node, b->attrs.data, b->attrs.len);
    buf_done(&b->attrs);
    add_message(&b->graph, 1, &node);
}

void onnx_build_io(struct onnx_builder *b, int field, const char *name, int type, int rank, const int64_t *dims) {
    struct buf shape = {0}, tensor = {0}, type_proto = {0}, io = {0};
    for (int i = 0; i < rank; i++) {
        struct buf dim = {0};
        if (dims[i] >= 0)
            onnx_build_field_int(&dim, 1, (uint64_t)dims[i]);
        else
            onnx_build_field_bytes(&dim, 2, "N", 1);
        add_message(&shape, 1, &dim);
    }
    onnx_build_field_int(&tensor, 1, (uint64_t)type);
    add_message(&tensor, 2, &shape);
    add_message(&type_proto, 1, &tensor);
    onnx_build_field_bytes(&io, 1, name, strlen(name));
    add_message(&io, 2, &type_proto);
    add_message(&b->graph, field, &io);
}

void onnx_build_weight(struct onnx_builder *b, const char *name, int type, int rank, const int64_t *dims,
                       const void *raw, size_t len) {
    struct buf tensor = {0};
    for (int i = 0; i < rank; i++) onnx_build_field_int(&tensor, 1, (uint64_t)dims[i]);
    onnx_build_field_int(&tensor, 2, (uint64_t)type);
    onnx_build_field_bytes(&tensor, 8, name, strlen(name));
    onnx_build_field_bytes(&tensor, 9, raw, len);
    add_message(&b->graph, 5, &tensor);
}

void onnx_build_model(struct onnx_builder *b, int opset, struct buf *out) {
    struct buf import = {0};
    onnx_build_field_int(&import, 2, (uint64_t)opset);
    onnx_build_field_int(out, 1, 8); /* ir_version */
    add_message(out, 8, &import);
    add_message(out, 7, &b->graph);
}

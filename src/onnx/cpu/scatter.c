/* Operators that write elements by number into a copy of their input: ScatterElements, its older name Scatter, and
 * ScatterND. They find places as the gathering ones do; updates of one place are applied in order. */
#include "cpu_internal.h"

int onnx__scatter_reduction(const struct onnx__step *step, enum onnx__reduction *ret, struct err *err) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *name = onnx__step_string(step, "reduction", "none");
    size_t i = 0;
    while (i < sizeof names / sizeof names[0] && strcmp(name, names[i]) != 0) i++;
    if (i == sizeof names / sizeof names[0])
        return onnx__step_refuse(step, err, "reduction '%.40s' is not known", name);
    *ret = (enum onnx__reduction)i;
    if (*ret == REDUCE_NONE || (TYPES_NUMBER >> step->in[0]->datatype & 1)) return 0;
    return onnx__step_refuse(step, err, "reduction '%s' of %s is not supported", name,
                             datatype_name(step->in[0]->datatype));
}

/* Integers wrap around, as their unsigned kin do by definition; `wide` is what a product is computed in. */
#define COMBINE(type, wide)                                                                                            \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type *a = (type *)to + i, b = ((const type *)from)[i];                                                         \
        switch (reduction) {                                                                                           \
        case REDUCE_ADD:                                                                                               \
            *a = (type)((wide)*a + (wide)b);                                                                           \
            break;                                                                                                     \
        case REDUCE_MUL:                                                                                               \
            *a = (type)((wide)*a * (wide)b);                                                                           \
            break;                                                                                                     \
        case REDUCE_MAX:                                                                                               \
            if (b > *a) *a = b;                                                                                        \
            break;                                                                                                     \
        default:                                                                                                       \
            if (b < *a) *a = b;                                                                                        \
            break;                                                                                                     \
        }                                                                                                              \
    }                                                                                                                  \
    return

/* Elements from `at` on, of the output. */
static void combine(enum onnx__reduction reduction, struct tensor *out, int64_t at, const char *from, int64_t count) {
    size_t size = datatype_size(out->datatype);
    void *to = (char *)out->data + (size_t)at * size;
    if (reduction == REDUCE_NONE) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    switch (out->datatype) {
    case DATATYPE_FP32:
        COMBINE(float, float);
    case DATATYPE_FP64:
        COMBINE(double, double);
    case DATATYPE_INT32:
        COMBINE(int32_t, uint32_t);
    case DATATYPE_INT64:
        COMBINE(int64_t, uint64_t);
    default:
        COMBINE(uint8_t, uint32_t);
    }
}

static void copy_data(const struct onnx__step *step) {
    if (step->out[0]->size_bytes) memcpy(step->out[0]->data, step->in[0]->data, step->out[0]->size_bytes);
}

static bool has_shape(const struct tensor *updates, const struct tensor *want) {
    return updates->datatype == want->datatype && updates->rank == want->rank &&
           memcmp(updates->shape, want->shape, (size_t)want->rank * sizeof *want->shape) == 0;
}

/* --- ScatterElements --------------------------------------------------------------------------------------------- */

OP_INFER(scatter_elements) {
    struct tensor want = *step->in[1];
    enum onnx__reduction reduction;
    int axis;
    want.datatype = step->in[0]->datatype;
    if (onnx__elements_axis(step, &axis, err) != 0 || onnx__scatter_reduction(step, &reduction, err) != 0) return -1;
    if (!has_shape(step->in[2], &want)) return onnx__step_refuse(step, err, "the updates do not fit the indices");
    return onnx__same_infer(step, err);
}

OP_RUN(scatter_elements) {
    const struct tensor *updates = step->in[2];
    size_t size = datatype_size(updates->datatype);
    enum onnx__reduction reduction;
    int axis;
    if (onnx__elements_axis(step, &axis, err) != 0 || onnx__scatter_reduction(step, &reduction, err) != 0) return -1;
    copy_data(step);
    for (int64_t i = 0, count = onnx__count(updates); i < count; i++) {
        int64_t at;
        if (onnx__elements_find(step, axis, i, &at, err) != 0) return -1;
        combine(reduction, step->out[0], at, (const char *)updates->data + (size_t)i * size, 1);
    }
    return 0;
}

/* --- ScatterND --------------------------------------------------------------------------------------------------- */

OP_INFER(scatter_nd) {
    struct onnx__tuples tuples;
    enum onnx__reduction reduction;
    if (onnx__tuples_read(step, 0, &tuples, err) != 0 || onnx__scatter_reduction(step, &reduction, err) != 0) return -1;
    if (!has_shape(step->in[2], &tuples.shape))
        return onnx__step_refuse(step, err, "the updates do not fit the indices");
    return onnx__same_infer(step, err);
}

OP_RUN(scatter_nd) {
    struct onnx__tuples tuples;
    enum onnx__reduction reduction;
    if (onnx__tuples_read(step, 0, &tuples, err) != 0 || onnx__scatter_reduction(step, &reduction, err) != 0) return -1;
    const char *from = step->in[2]->data;
    size_t chunk = (size_t)tuples.chunk * datatype_size(step->in[0]->datatype);
    copy_data(step);
    for (int64_t i = 0; i < tuples.per_batch; i++, from += chunk) {
        int64_t at;
        if (onnx__tuples_find(step, &tuples, i, &at, err) != 0) return -1;
        if (chunk) combine(reduction, step->out[0], at, from, tuples.chunk);
    }
    return 0;
}

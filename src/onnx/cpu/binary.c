/* Add, Sub, Mul and Div with NumPy's broadcasting.
 *
 * The output is walked row by row; along a row each operand steps by one element or stands still. Neighbouring
 * dimensions in which both operands behave alike are merged first, so that equal shapes are one single row and a bias
 * over channels is one row per channel.
 *
 * Integers wrap, as in NumPy, by computing in uint64_t, whose low bits are the same; dividing by zero is an error of
 * the run, since C leaves it undefined.
 */
#include "cpu_internal.h"

OP_INFER(same) {
    onnx__shape_like(step->out[0], step->in[0]);
    return 0;
}

OP_INFER(binary) {
    const struct tensor *a = step->in[0], *b = step->in[1];
    if (a->datatype != b->datatype)
        return onnx__step_refuse(step, err, "inputs of different datatypes, %s and %s", datatype_name(a->datatype),
                                 datatype_name(b->datatype));
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (!onnx__shape_broadcast(a, b, &rank, shape)) {
        char left[128], right[128];
        return onnx__step_refuse(step, err, "shapes %s and %s cannot be broadcast together",
                                 onnx__shape_text(a->shape, a->rank, left, sizeof left),
                                 onnx__shape_text(b->shape, b->rank, right, sizeof right));
    }
    onnx__shape_set(step->out[0], a->datatype, rank, shape);
    return 0;
}

/* --- one row ----------------------------------------------------------------------------------------------------- */

/* n elements; sa and sb are 0 or 1. Returns false on a division by zero. */
typedef bool row_fn(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out);

#define ROW(name, type, expr)                                                                                          \
    static bool name##_##type(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out) {            \
        const type *pa = a, *pb = b;                                                                                   \
        type *po = out;                                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type x = pa[i * sa], y = pb[i * sb];                                                                       \
            po[i] = (type)(expr);                                                                                      \
        }                                                                                                              \
        return true;                                                                                                   \
    }
#define ROWS_FLOAT(type) ROW(add, type, x + y) ROW(sub, type, x - y) ROW(mul, type, x *y) ROW(div, type, x / y)
#define ROWS_INT(type)                                                                                                 \
    ROW(add, type, (uint64_t)x + (uint64_t)y)                                                                          \
    ROW(sub, type, (uint64_t)x - (uint64_t)y)                                                                          \
    ROW(mul, type, (uint64_t)x *(uint64_t)y)                                                                           \
    static bool div_##type(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out) {               \
        const type *pa = a, *pb = b;                                                                                   \
        type *po = out;                                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type x = pa[i * sa], y = pb[i * sb];                                                                       \
            if (y == 0) return false;                                                                                  \
            po[i] = y == (type)-1 ? (type)(0 - (uint64_t)x) : (type)(x / y); /* the least number / -1 overflows */     \
        }                                                                                                              \
        return true;                                                                                                   \
    }

ROWS_FLOAT(float)
ROWS_FLOAT(double)
ROWS_INT(int32_t)
ROWS_INT(int64_t)
ROW(add, uint8_t, x + y)
ROW(sub, uint8_t, x - y)
ROW(mul, uint8_t, x *y)
static bool div_uint8_t(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out) {
    const uint8_t *pa = a, *pb = b;
    for (int64_t i = 0; i < n; i++) {
        if (pb[i * sb] == 0) return false;
        ((uint8_t *)out)[i] = (uint8_t)(pa[i * sa] / pb[i * sb]);
    }
    return true;
}

#define ROWS_OF(name)                                                                                                  \
    {                                                                                                                  \
        [DATATYPE_FP32] = name##_float, [DATATYPE_FP64] = name##_double, [DATATYPE_INT32] = name##_int32_t,            \
        [DATATYPE_INT64] = name##_int64_t, [DATATYPE_UINT8] = name##_uint8_t,                                          \
    }

/* --- all rows ---------------------------------------------------------------------------------------------------- */

struct walk {
    int rank;
    int64_t dims[TENSOR_MAX_RANK], step_a[TENSOR_MAX_RANK], step_b[TENSOR_MAX_RANK]; /* steps in elements */
};

/* Elements from one index of `dim` (of the output) to the next; 0 where the operand is stretched. */
static int64_t step_of(const struct tensor *operand, int dim, int out_rank) {
    int at = dim - (out_rank - operand->rank);
    if (at < 0 || operand->shape[at] == 1) return 0;
    return onnx__shape_product(operand, at + 1, operand->rank);
}

static void walk_init(struct walk *walk, const struct tensor *a, const struct tensor *b, const struct tensor *out) {
    *walk = (struct walk){0};
    for (int dim = 0; dim < out->rank; dim++) {
        int64_t size = out->shape[dim], sa = step_of(a, dim, out->rank), sb = step_of(b, dim, out->rank);
        if (size == 1) continue;
        int last = walk->rank - 1;
        if (last >= 0 && walk->step_a[last] == sa * size && walk->step_b[last] == sb * size) {
            walk->dims[last] *= size;
            walk->step_a[last] = sa;
            walk->step_b[last] = sb;
            continue;
        }
        walk->dims[walk->rank] = size;
        walk->step_a[walk->rank] = sa;
        walk->step_b[walk->rank++] = sb;
    }
    if (walk->rank == 0) *walk = (struct walk){.rank = 1, .dims = {1}};
}

static int run_rows(const struct onnx__step *step, row_fn *const *rows, struct err *err) {
    const struct tensor *a = step->in[0], *b = step->in[1];
    struct tensor *out = step->out[0];
    int64_t total = onnx__count(out), index[TENSOR_MAX_RANK] = {0};
    if (total == 0) return 0;
    size_t size = datatype_size(out->datatype);
    struct walk walk;
    walk_init(&walk, a, b, out);
    int inner = walk.rank - 1;
    int64_t n = walk.dims[inner], at_a = 0, at_b = 0;
    for (int64_t done = 0; done < total; done += n) {
        if (!rows[a->datatype](n, (const char *)a->data + (size_t)at_a * size, walk.step_a[inner],
                               (const char *)b->data + (size_t)at_b * size, walk.step_b[inner],
                               (char *)out->data + (size_t)done * size))
            return onnx__step_fail(step, err, "an integer is divided by zero");
        for (int dim = inner - 1; dim >= 0; dim--) {
            at_a += walk.step_a[dim];
            at_b += walk.step_b[dim];
            if (++index[dim] < walk.dims[dim]) break;
            at_a -= walk.step_a[dim] * walk.dims[dim];
            at_b -= walk.step_b[dim] * walk.dims[dim];
            index[dim] = 0;
        }
    }
    return 0;
}

OP_RUN(add) {
    static row_fn *const rows[DATATYPE_COUNT] = ROWS_OF(add);
    return run_rows(step, rows, err);
}

OP_RUN(sub) {
    static row_fn *const rows[DATATYPE_COUNT] = ROWS_OF(sub);
    return run_rows(step, rows, err);
}

OP_RUN(mul) {
    static row_fn *const rows[DATATYPE_COUNT] = ROWS_OF(mul);
    return run_rows(step, rows, err);
}

OP_RUN(div) {
    static row_fn *const rows[DATATYPE_COUNT] = ROWS_OF(div);
    return run_rows(step, rows, err);
}

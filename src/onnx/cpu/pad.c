/* Operators that make a tensor larger: Expand, Tile, Pad; and CenterCropPad, which is a Pad that also cuts. */
#include "cpu_internal.h"

#include <inttypes.h>

/* --- Expand and Tile --------------------------------------------------------------------------------------------- */

OP_INFER(expand) {
    const struct tensor *x = step->in[0], *want = step->in[1];
    if (want->datatype != DATATYPE_INT64 || want->rank != 1 || want->shape[0] > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "the new shape is not a list of at most %d INT64", TENSOR_MAX_RANK);
    struct tensor shape = {.rank = (int)want->shape[0]}, *out = step->out[0];
    memcpy(shape.shape, want->data, (size_t)shape.rank * sizeof *shape.shape);
    out->datatype = x->datatype;
    if (onnx__shape_broadcast(x, &shape, &out->rank, out->shape)) return 0;
    char have[128], text[128];
    return onnx__step_refuse(step, err, "%s cannot be expanded to %s",
                             onnx__shape_text(x->shape, x->rank, have, sizeof have),
                             onnx__shape_text(shape.shape, shape.rank, text, sizeof text));
}

int onnx__expand_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err) {
    *ret = onnx__strided_spread(step->in[0], step->out[0]);
    return 0;
}

OP_RUN(expand) { return onnx__strided_run(step, onnx__expand_view, err); }

OP_INFER(tile) {
    const struct tensor *x = step->in[0];
    struct onnx__ints repeats;
    if (onnx__step_ints(step, NULL, 1, &repeats, err) != 0) return -1;
    if (repeats.count != (size_t)x->rank)
        return onnx__step_refuse(step, err, "%zu repeats for %d dimensions", repeats.count, x->rank);
    onnx__shape_like(step->out[0], x);
    for (int i = 0; i < x->rank; i++) {
        int64_t repeat = onnx__ints_at(&repeats, (size_t)i);
        if (repeat < 0 || __builtin_mul_overflow(x->shape[i], repeat, &step->out[0]->shape[i]))
            return onnx__step_refuse(step, err, "dimension %d cannot be repeated %" PRId64 " times", i, repeat);
    }
    return 0;
}

/* Each dimension becomes two: how often, which goes nowhere, and the dimension itself. */
int onnx__tile_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err) {
    const struct tensor *x = step->in[0], *out = step->out[0];
    struct onnx__strided from = onnx__strided_of(x);
    *ret = (struct onnx__strided){.rank = 2 * x->rank};
    for (int i = 0; i < x->rank; i++) {
        ret->shape[2 * i] = x->shape[i] ? out->shape[i] / x->shape[i] : 0;
        ret->shape[2 * i + 1] = x->shape[i];
        ret->strides[2 * i + 1] = from.strides[i];
    }
    return 0;
}

OP_RUN(tile) { return onnx__strided_run(step, onnx__tile_view, err); }

/* --- Pad --------------------------------------------------------------------------------------------------------- */

#define MAX_PAD ((int64_t)1 << 40)

static int pad_mode(const struct onnx__step *step, enum onnx__pad_mode *ret, struct err *err) {
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *mode = onnx__step_string(step, "mode", "constant");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(mode, names[i]) == 0) {
            *ret = (enum onnx__pad_mode)i;
            return 0;
        }
    return onnx__step_refuse(step, err, "mode '%.40s' is not known", mode);
}

/* The amounts: `paddings` in opset 1, then `pads`, from opset 11 an input, from 18 for the axes of a second one. */
static int pad_amounts(const struct onnx__step *step, struct onnx__pad *ret, struct err *err) {
    struct onnx__ints pads, axes = {0};
    const char *name = step->opset < 2 ? "paddings" : "pads";
    bool attr = step->opset < 11;
    int rank = step->in[0]->rank;
    if (onnx__step_ints(step, attr ? name : NULL, attr ? -1 : 1, &pads, err) != 0) return -1;
    if (step->opset >= 18 && onnx__step_ints(step, NULL, 3, &axes, err) != 0) return -1;
    size_t count = axes.given ? axes.count : (size_t)rank;
    if (!pads.given || pads.count != 2 * count)
        return onnx__step_refuse(step, err, "%zu pads for %zu axes", pads.count, count);
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        int axis = (int)i;
        if (axes.given && onnx__step_axis(step, onnx__ints_at(&axes, i), rank, &axis, err) != 0) return -1;
        if (seen >> axis & 1) return onnx__step_refuse(step, err, "axis %d is named twice", axis);
        seen |= 1u << axis;
        ret->begin[axis] = onnx__ints_at(&pads, i);
        ret->end[axis] = onnx__ints_at(&pads, i + count);
    }
    return 0;
}

int onnx__pad_read(const struct onnx__step *step, struct onnx__pad *ret, struct err *err) {
    *ret = (struct onnx__pad){0};
    if (pad_mode(step, &ret->mode, err) != 0 || pad_amounts(step, ret, err) != 0) return -1;
    for (int i = 0; i < step->in[0]->rank; i++) {
        int64_t begin = ret->begin[i], end = ret->end[i], dim = step->in[0]->shape[i];
        if (begin < -MAX_PAD || begin > MAX_PAD || end < -MAX_PAD || end > MAX_PAD)
            return onnx__step_refuse(step, err, "a pad of dimension %d is out of range", i);
        if (ret->mode == PAD_CONSTANT) continue;
        if (begin < 0 || end < 0) return onnx__step_refuse(step, err, "a negative pad in another mode than constant");
        if (dim == 0 && begin + end > 0) return onnx__step_refuse(step, err, "dimension %d is empty", i);
    }
    return 0;
}

OP_INFER(pad) {
    const struct tensor *x = step->in[0], *value = onnx__step_in(step, 2);
    struct onnx__pad pad;
    if (onnx__pad_read(step, &pad, err) != 0) return -1;
    if (value && (value->datatype != x->datatype || onnx__count(value) != 1))
        return onnx__step_refuse(step, err, "the constant is not one %s", datatype_name(x->datatype));
    if (step->opset < 11 && x->datatype != DATATYPE_FP32 && onnx__step_float(step, "value", 0) != 0)
        return onnx__step_refuse(step, err, "a value other than 0 for %s", datatype_name(x->datatype));
    onnx__shape_like(step->out[0], x);
    for (int i = 0; i < x->rank; i++) step->out[0]->shape[i] += pad.begin[i] + pad.end[i];
    return 0;
}

/* Which index of a dimension an index of the padded one shows; -1: the constant. */
static int64_t pad_source(enum onnx__pad_mode mode, int64_t index, int64_t dim) {
    if (index >= 0 && index < dim) return index;
    int64_t period = 2 * (dim - 1);
    switch (mode) {
    case PAD_REFLECT: /* the edge itself is not repeated */
        if (period == 0) return 0;
        index = (index % period + period) % period;
        return index < dim ? index : period - index;
    case PAD_EDGE:
        return index < 0 ? 0 : dim - 1;
    case PAD_WRAP:
        return (index % dim + dim) % dim;
    default:
        return -1;
    }
}

static void pad_row(const struct onnx__pad *pad, const struct tensor *x, const char *row, const char *value,
                    size_t size, int64_t count, char *to) {
    int inner = x->rank - 1;
    for (int64_t i = 0; i < count; i++, to += size) {
        int64_t from = row ? pad_source(pad->mode, i - pad->begin[inner], x->shape[inner]) : -1;
        memcpy(to, from < 0 ? value : row + (size_t)from * size, size);
    }
}

/* The input's row that the output's row `number` shows, or NULL for the constant. */
static const char *pad_find_row(const struct onnx__pad *pad, const struct onnx__step *step, int64_t number) {
    const struct tensor *x = step->in[0], *out = step->out[0];
    size_t stride = (size_t)x->shape[x->rank - 1] * datatype_size(x->datatype);
    const char *row = x->data;
    for (int i = x->rank - 2; i >= 0; i--) {
        int64_t from = pad_source(pad->mode, number % out->shape[i] - pad->begin[i], x->shape[i]);
        if (from < 0) return NULL;
        number /= out->shape[i];
        row += (size_t)from * stride;
        stride *= (size_t)x->shape[i];
    }
    return row;
}

static void run_pad(const struct onnx__step *step, const struct onnx__pad *pad, const char *constant) {
    const struct tensor *x = step->in[0], *out = step->out[0];
    size_t size = datatype_size(x->datatype);
    if (onnx__count(out) == 0) return;
    if (x->rank == 0) {
        memcpy(out->data, x->data, size);
        return;
    }
    int64_t count = out->shape[out->rank - 1], rows = onnx__shape_product(out, 0, out->rank - 1);
    char *to = out->data;
    for (int64_t i = 0; i < rows; i++, to += (size_t)count * size)
        pad_row(pad, x, pad_find_row(pad, step, i), constant, size, count, to);
}

void onnx__pad_constant(const struct onnx__step *step, char ret[8]) {
    float number = onnx__step_float(step, "value", 0);
    memset(ret, 0, 8);
    if (step->opset < 11 && step->in[0]->datatype == DATATYPE_FP32) memcpy(ret, &number, sizeof number);
}

OP_RUN(pad) {
    const struct tensor *value = onnx__step_in(step, 2);
    char constant[8];
    struct onnx__pad pad;
    if (onnx__pad_read(step, &pad, err) != 0) return -1;
    onnx__pad_constant(step, constant);
    if (value) memcpy(constant, value->data, datatype_size(value->datatype));
    run_pad(step, &pad, constant);
    return 0;
}

/* --- CenterCropPad ----------------------------------------------------------------------------------------------- */

/* Half of what is too much or too little on each side, an odd one at the end. */
int onnx__center_crop_pad_read(const struct onnx__step *step, struct onnx__pad *ret, struct err *err) {
    struct onnx__ints shape, axes;
    int rank = step->in[0]->rank;
    if (onnx__step_ints(step, NULL, 1, &shape, err) != 0 || onnx__step_ints(step, "axes", -1, &axes, err) != 0)
        return -1;
    *ret = (struct onnx__pad){0};
    if (shape.count != (axes.given ? axes.count : (size_t)rank))
        return onnx__step_refuse(step, err, "the shape is not one number for each axis");
    unsigned seen = 0;
    for (size_t i = 0; i < shape.count; i++) {
        int axis = (int)i;
        int64_t want = onnx__ints_at(&shape, i);
        if (axes.given && onnx__step_axis(step, onnx__ints_at(&axes, i), rank, &axis, err) != 0) return -1;
        if (seen >> axis & 1) return onnx__step_refuse(step, err, "axis %d is named twice", axis);
        if (want < 0 || want > MAX_PAD)
            return onnx__step_refuse(step, err, "a dimension of %" PRId64 " is out of range", want);
        seen |= 1u << axis;
        int64_t more = want - step->in[0]->shape[axis];
        ret->begin[axis] = more / 2; /* towards 0, for cuts too */
        ret->end[axis] = more - more / 2;
    }
    return 0;
}

OP_INFER(center_crop_pad) {
    struct onnx__pad pad;
    if (onnx__center_crop_pad_read(step, &pad, err) != 0) return -1;
    onnx__shape_like(step->out[0], step->in[0]);
    for (int i = 0; i < step->in[0]->rank; i++) step->out[0]->shape[i] += pad.begin[i] + pad.end[i];
    return 0;
}

OP_RUN(center_crop_pad) {
    static const char zeros[8];
    struct onnx__pad pad;
    if (onnx__center_crop_pad_read(step, &pad, err) != 0) return -1;
    run_pad(step, &pad, zeros);
    return 0;
}

/* Operators that take parts of a tensor: Slice and Split. Their numbers were attributes until opset 9 and 12, then
 * inputs; both kinds end in the same description. */
#include "cpu_internal.h"

#include <inttypes.h>

/* --- Slice ------------------------------------------------------------------------------------------------------- */

struct slice {
    int64_t start[TENSOR_MAX_RANK], step[TENSOR_MAX_RANK], count[TENSOR_MAX_RANK];
};

static int64_t clamped(int64_t value, int64_t low, int64_t high) {
    if (value < low) return low;
    return value > high ? high : value;
}

/* One axis as NumPy cuts it: negative bounds count from the end, those outside are clamped. A step beyond the dimension
 * takes the first element alone, whatever its size; so it is clamped too and nothing overflows. */
static void slice_axis(struct slice *slice, int axis, int64_t dim, int64_t start, int64_t end, int64_t step) {
    int64_t most = dim > 0 ? dim : 1;
    step = clamped(step, -most, most);
    if (start < 0) start += dim;
    if (end < 0) end += dim;
    if (step > 0) {
        start = clamped(start, 0, dim);
        end = clamped(end, 0, dim);
    } else {
        start = dim ? clamped(start, 0, dim - 1) : -1;
        end = clamped(end, -1, dim - 1);
    }
    int64_t length = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
    slice->start[axis] = start;
    slice->step[axis] = step;
    slice->count[axis] = length > 0 ? (length + stride - 1) / stride : 0;
}

static int slice_read(const struct onnx__step *step, struct slice *ret, struct err *err) {
    static const char *const names[] = {"starts", "ends", "axes"};
    const struct tensor *x = step->in[0];
    bool attrs = step->opset < 10;
    struct onnx__ints lists[4] = {0};
    for (int i = 0; i < (attrs ? 3 : 4); i++)
        if (onnx__step_ints(step, attrs ? names[i] : NULL, attrs ? -1 : i + 1, &lists[i], err) != 0) return -1;
    size_t count = lists[0].count;
    if (!lists[0].given || !lists[1].given || lists[1].count != count || (lists[2].given && lists[2].count != count) ||
        (lists[3].given && lists[3].count != count))
        return onnx__step_refuse(step, err, "starts, ends, axes and steps do not have one length");
    for (int i = 0; i < x->rank; i++) slice_axis(ret, i, x->shape[i], 0, x->shape[i], 1);
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++) {
        int axis;
        int64_t by = lists[3].given ? onnx__ints_at(&lists[3], i) : 1;
        if (onnx__step_axis(step, lists[2].given ? onnx__ints_at(&lists[2], i) : (int64_t)i, x->rank, &axis, err) != 0)
            return -1;
        if (seen >> axis & 1) return onnx__step_refuse(step, err, "axis %d is named twice", axis);
        if (by == 0) return onnx__step_refuse(step, err, "a step of 0");
        seen |= 1u << axis;
        slice_axis(ret, axis, x->shape[axis], onnx__ints_at(&lists[0], i), onnx__ints_at(&lists[1], i), by);
    }
    return 0;
}

OP_INFER(slice) {
    struct slice slice;
    if (slice_read(step, &slice, err) != 0) return -1;
    onnx__shape_set(step->out[0], step->in[0]->datatype, step->in[0]->rank, slice.count);
    return 0;
}

int onnx__slice_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err) {
    struct slice slice;
    if (slice_read(step, &slice, err) != 0) return -1;
    *ret = onnx__strided_of(step->in[0]);
    for (int i = 0; i < ret->rank; i++) {
        ret->at += slice.start[i] * ret->strides[i];
        ret->shape[i] = slice.count[i];
        ret->strides[i] *= slice.step[i];
    }
    return 0;
}

OP_RUN(slice) { return onnx__strided_run(step, onnx__slice_view, err); }

/* --- Split ------------------------------------------------------------------------------------------------------- */

struct split {
    int axis;
    struct onnx__ints sizes;
    int64_t even; /* where no sizes are given: of each part but the last, which has the rest */
};

static int split_read(const struct onnx__step *step, struct split *ret, struct err *err) {
    const struct tensor *x = step->in[0];
    if (onnx__step_axis(step, onnx__step_int(step, "axis", 0), x->rank, &ret->axis, err) != 0 ||
        onnx__step_ints(step, step->opset < 13 ? "split" : NULL, 1, &ret->sizes, err) != 0)
        return -1;
    int64_t dim = x->shape[ret->axis], parts = (int64_t)step->out_count, left = dim;
    if (onnx__step_int(step, "num_outputs", parts) != parts)
        return onnx__step_refuse(step, err, "num_outputs is not the number of outputs, %" PRId64, parts);
    if (!ret->sizes.given) {
        ret->even = dim / parts + (dim % parts != 0);
        if (dim % parts == 0 || (step->opset >= 18 && ret->even * (parts - 1) <= dim)) return 0;
        return onnx__step_refuse(step, err, "%" PRId64 " cannot be split into %" PRId64 " parts", dim, parts);
    }
    if (ret->sizes.count != (size_t)parts)
        return onnx__step_refuse(step, err, "%zu sizes for %" PRId64 " outputs", ret->sizes.count, parts);
    for (size_t i = 0; i < ret->sizes.count; i++) {
        int64_t size = onnx__ints_at(&ret->sizes, i);
        if (size < 0 || size > left) left = -1;
        if (left < 0) break;
        left -= size;
    }
    if (left != 0) return onnx__step_refuse(step, err, "the sizes do not add up to %" PRId64, dim);
    return 0;
}

/* Where part `i` begins, and its size. */
static int64_t split_part(const struct split *split, int64_t dim, size_t i, int64_t *ret_size) {
    int64_t at = 0;
    if (!split->sizes.given) {
        at = split->even * (int64_t)i;
        *ret_size = split->even < dim - at ? split->even : dim - at;
        return at;
    }
    for (size_t before = 0; before < i; before++) at += onnx__ints_at(&split->sizes, before);
    *ret_size = onnx__ints_at(&split->sizes, i);
    return at;
}

OP_INFER(split) {
    struct split split;
    if (split_read(step, &split, err) != 0) return -1;
    for (size_t i = 0; i < step->out_count; i++) {
        if (!step->out[i]) continue;
        onnx__shape_like(step->out[i], step->in[0]);
        (void)split_part(&split, step->in[0]->shape[split.axis], i, &step->out[i]->shape[split.axis]);
    }
    return 0;
}

int onnx__split_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err) {
    const struct tensor *x = step->in[0];
    struct split split;
    if (split_read(step, &split, err) != 0) return -1;
    *ret = onnx__strided_of(x);
    int64_t at = split_part(&split, x->shape[split.axis], output, &ret->shape[split.axis]);
    ret->at = at * ret->strides[split.axis];
    return 0;
}

OP_RUN(split) { return onnx__strided_run(step, onnx__split_view, err); }

/* MaxUnpool: puts each number where MaxPool found it. The indices count in the tensor that the pool's attributes give;
 * an output_shape that is larger leaves zeros behind it. */
#include "cpu_internal.h"

#include <inttypes.h>

static int unpool_read(const struct onnx__step *step, struct onnx__window *win, struct err *err) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    if (indices->datatype != DATATYPE_INT64 || indices->rank != x->rank ||
        memcmp(indices->shape, x->shape, (size_t)x->rank * sizeof *x->shape) != 0)
        return onnx__step_refuse(step, err, "the indices are not one INT64 for each element");
    return onnx__window_read_transposed(step, x, NULL, win, err);
}

OP_INFER(max_unpool) {
    const struct tensor *x = step->in[0];
    struct tensor *out = step->out[0];
    struct onnx__window win;
    struct onnx__ints shape;
    if (unpool_read(step, &win, err) != 0 || onnx__step_ints(step, NULL, 2, &shape, err) != 0) return -1;
    onnx__shape_like(out, x);
    for (int i = 2; i < x->rank; i++) out->shape[i] = win.in[i + 3 - x->rank];
    if (!shape.given) return 0;
    bool fits = shape.count == (size_t)x->rank;
    for (int i = 0; fits && i < x->rank; i++) {
        int64_t want = onnx__ints_at(&shape, (size_t)i);
        fits = i < 2 ? want == x->shape[i] : want >= out->shape[i];
        out->shape[i] = want;
    }
    return fits ? 0 : onnx__step_refuse(step, err, "output_shape is smaller than what the pool covers");
}

OP_RUN(max_unpool) {
    const struct tensor *x = step->in[0], *out = step->out[0];
    const int64_t *indices = step->in[1]->data;
    struct onnx__window win;
    if (unpool_read(step, &win, err) != 0) return -1;
    int64_t room[3] = {1, 1, 1}, volume = onnx__volume(win.in), limit = x->shape[0] * x->shape[1] * volume;
    for (int i = 2; i < out->rank; i++) room[i + 3 - out->rank] = out->shape[i];
    memset(out->data, 0, out->size_bytes);
    for (int64_t i = 0, count = onnx__count(x); i < count; i++) {
        int64_t index = indices[i];
        if (index < 0 || index >= limit)
            return onnx__step_fail(step, err, "index %" PRId64 " of %" PRId64 " elements", index, limit);
        int64_t image = index / volume, within = index % volume, line = within / win.in[2];
        int64_t row = (image * room[0] + line / win.in[1]) * room[1] + line % win.in[1];
        onnx__out_floats(step)[row * room[2] + within % win.in[2]] = onnx__floats(step, 0)[i];
    }
    return 0;
}

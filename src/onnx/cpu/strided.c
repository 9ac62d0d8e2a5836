/* Copying by strides: the one loop behind Transpose, Slice, Split, Expand, Tile and their kin. Each of them describes
 * where its output's elements lie in its input, as a shape with a distance in bytes per dimension (0 repeats, negative
 * walks backwards), and this copies them in order. Dimensions that follow each other without a gap are joined first, so
 * that a split of the outer axis is one memcpy and a slice is a few. */
#include "cpu_internal.h"

struct onnx__strided onnx__strided_of(const struct tensor *tensor) {
    struct onnx__strided view = {.rank = tensor->rank};
    int64_t stride = (int64_t)datatype_size(tensor->datatype);
    for (int i = tensor->rank - 1; i >= 0; i--) {
        view.shape[i] = tensor->shape[i];
        view.strides[i] = stride;
        stride *= tensor->shape[i];
    }
    return view;
}

struct onnx__strided onnx__strided_spread(const struct tensor *tensor, const struct tensor *out) {
    struct onnx__strided from = onnx__strided_of(tensor), view = {.rank = out->rank};
    for (int i = 0; i < out->rank; i++) {
        int own = i - (out->rank - tensor->rank);
        view.shape[i] = out->shape[i];
        view.strides[i] = own < 0 || tensor->shape[own] == 1 ? 0 : from.strides[own];
    }
    return view;
}

struct onnx__strided onnx__strided_joined(const struct onnx__strided *view, size_t size) {
    struct onnx__strided ret = {.at = view->at};
    for (int i = 0; i < view->rank; i++) {
        if (view->shape[i] == 1) continue;
        int last = ret.rank - 1;
        if (last >= 0 && ret.strides[last] == view->strides[i] * view->shape[i]) {
            ret.shape[last] *= view->shape[i];
            ret.strides[last] = view->strides[i];
        } else {
            ret.shape[ret.rank] = view->shape[i];
            ret.strides[ret.rank++] = view->strides[i];
        }
    }
    if (ret.rank == 0) {
        ret.rank = 1;
        ret.shape[0] = 1;
        ret.strides[0] = (int64_t)size;
    }
    return ret;
}

/* `count` elements, `stride` bytes apart, to one row. The sizes are spelled out so that the compiler sees constants. */
static void gather_row(char *to, const char *from, int64_t count, int64_t stride, size_t size) {
#define GATHER(n)                                                                                                      \
    case n:                                                                                                            \
        for (int64_t i = 0; i < count; i++) memcpy(to + i * n, from + i * stride, n);                                  \
        return;
    if (stride == (int64_t)size) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    switch (size) {
        GATHER(1)
        GATHER(2)
        GATHER(4)
        GATHER(8)
    default:
        BUG_ON(size);
    }
#undef GATHER
}

void onnx__strided_copy(const struct onnx__strided *view, size_t size, const void *from, void *to) {
    for (int i = 0; i < view->rank; i++)
        if (view->shape[i] == 0) return;
    struct onnx__strided walk = onnx__strided_joined(view, size);
    int inner = walk.rank - 1;
    int64_t index[STRIDED_MAX_RANK] = {0}, at = walk.at, row = walk.shape[inner];
    for (char *next = to;; next += (size_t)row * size) {
        gather_row(next, (const char *)from + at, row, walk.strides[inner], size);
        int dim = inner - 1;
        for (; dim >= 0; dim--) {
            at += walk.strides[dim];
            if (++index[dim] < walk.shape[dim]) break;
            at -= walk.strides[dim] * walk.shape[dim];
            index[dim] = 0;
        }
        if (dim < 0) return;
    }
}

int onnx__strided_run(const struct onnx__step *step, onnx__view_fn *view_of, struct err *err) {
    for (size_t i = 0; i < step->out_count; i++) {
        struct onnx__strided view;
        if (!step->out[i]) continue;
        if (view_of(step, i, &view, err) != 0) return -1;
        onnx__strided_copy(&view, datatype_size(step->in[0]->datatype), step->in[0]->data, step->out[i]->data);
    }
    return 0;
}

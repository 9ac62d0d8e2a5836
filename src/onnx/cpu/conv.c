/* Conv: for each image and group, the windows are laid out as columns (im2col) and multiplied by the weights in one
 * BLAS call. A 1 x 1 kernel without stride or padding needs no columns: the image is its own matrix. The bias is
 * written into the output first and the product added to it. */
#include "cpu_internal.h"

static bool is_pointwise(const struct onnx__window *win) {
    for (int dim = 0; dim < 3; dim++)
        if (win->kernel[dim] != 1 || win->stride[dim] != 1 || win->pad[dim] || win->pad_end[dim]) return false;
    return true;
}

int onnx__conv_read(const struct onnx__step *step, struct onnx__conv *conv, struct err *err) {
    const struct tensor *x = step->in[0], *w = step->in[1], *bias = onnx__step_in(step, 2);
    *conv = (struct onnx__conv){.groups = onnx__step_int(step, "group", 1), .gemm = {.alpha = 1, .beta = bias ? 1 : 0}};
    if (w->rank != x->rank || w->datatype != x->datatype || x->rank < 3)
        return onnx__step_refuse(step, err, "weights of %d dimensions for an input of %d", w->rank, x->rank);
    conv->group_channels = w->shape[1];
    int64_t channels;
    if (conv->groups < 1 || __builtin_mul_overflow(conv->group_channels, conv->groups, &channels) ||
        channels != x->shape[1] || w->shape[0] % conv->groups != 0) {
        char have[128], weights[128];
        return onnx__step_refuse(step, err, "weights %s in %lld groups do not fit input %s",
                                 onnx__shape_text(w->shape, w->rank, weights, sizeof weights), (long long)conv->groups,
                                 onnx__shape_text(x->shape, x->rank, have, sizeof have));
    }
    if (bias && (bias->datatype != x->datatype || bias->rank != 1 || bias->shape[0] != w->shape[0]))
        return onnx__step_refuse(step, err, "the bias is not one number per output channel");
    if (onnx__window_read(step, x, w->shape + 2, false, &conv->win, err) != 0) return -1;
    conv->pointwise = is_pointwise(&conv->win);
    conv->gemm.m = w->shape[0] / conv->groups;
    conv->gemm.k = onnx__shape_product(w, 1, w->rank);
    int64_t plane;
    if (__builtin_mul_overflow(conv->win.out[1], conv->win.out[2], &plane) ||
        __builtin_mul_overflow(plane, conv->win.out[0], &conv->gemm.n))
        return onnx__step_refuse(step, err, "the output is too large");
    return onnx__gemm_check(step, &conv->gemm, err);
}

OP_INFER(conv) {
    struct onnx__conv conv;
    if (onnx__conv_read(step, &conv, err) != 0) return -1;
    onnx__window_shape(&conv.win, step->in[0], step->in[1]->shape[0], step->out[0]);
    size_t columns;
    if (conv.pointwise) return 0;
    if (__builtin_mul_overflow((size_t)conv.gemm.k * sizeof(float), (size_t)conv.gemm.n, &columns) ||
        columns > SIZE_MAX / 4)
        return onnx__step_refuse(step, err, "its work space is too large");
    step->scratch_bytes = columns;
    return 0;
}

/* One row of the columns: what kernel position (kd, kh, kw) sees of one channel, at every output position. */
static void unfold_row(const struct onnx__window *win, const float *image, const int64_t at[3], float *row) {
    for (int64_t od = 0; od < win->out[0]; od++) {
        int64_t d = od * win->stride[0] - win->pad[0] + at[0] * win->dilation[0];
        for (int64_t oh = 0; oh < win->out[1]; oh++, row += win->out[2]) {
            int64_t h = oh * win->stride[1] - win->pad[1] + at[1] * win->dilation[1];
            if (d < 0 || d >= win->in[0] || h < 0 || h >= win->in[1]) {
                memset(row, 0, (size_t)win->out[2] * sizeof *row);
                continue;
            }
            const float *line = image + (d * win->in[1] + h) * win->in[2];
            int64_t w = at[2] * win->dilation[2] - win->pad[2];
            for (int64_t ow = 0; ow < win->out[2]; ow++, w += win->stride[2])
                row[ow] = w < 0 || w >= win->in[2] ? 0 : line[w];
        }
    }
}

static void unfold(const struct onnx__conv *conv, const float *image, float *columns) {
    const struct onnx__window *win = &conv->win;
    int64_t plane = onnx__volume(win->in), at[3];
    for (int64_t channel = 0; channel < conv->group_channels; channel++, image += plane)
        for (at[0] = 0; at[0] < win->kernel[0]; at[0]++)
            for (at[1] = 0; at[1] < win->kernel[1]; at[1]++)
                for (at[2] = 0; at[2] < win->kernel[2]; at[2]++, columns += conv->gemm.n)
                    unfold_row(win, image, at, columns);
}

static void spread_bias(const struct onnx__gemm *gemm, const float *bias, float *out) {
    for (int64_t i = 0; i < gemm->m; i++)
        for (int64_t j = 0; j < gemm->n; j++) out[i * gemm->n + j] = bias[i];
}

OP_RUN(conv) {
    struct onnx__conv conv;
    if (onnx__conv_read(step, &conv, err) != 0) return -1;
    const struct tensor *bias = onnx__step_in(step, 2);
    int64_t in_size = conv.group_channels * onnx__volume(conv.win.in), out_size = conv.gemm.m * conv.gemm.n;
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    for (int64_t i = 0; i < step->in[0]->shape[0]; i++)
        for (int64_t group = 0; group < conv.groups; group++, x += in_size, y += out_size) {
            if (!conv.pointwise) unfold(&conv, x, step->scratch);
            if (bias) spread_bias(&conv.gemm, (const float *)bias->data + group * conv.gemm.m, y);
            onnx__gemm_call(&conv.gemm, onnx__floats(step, 1) + group * conv.gemm.m * conv.gemm.k,
                            conv.pointwise ? x : step->scratch, y);
        }
    return 0;
}

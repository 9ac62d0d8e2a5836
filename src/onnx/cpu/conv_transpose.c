/* ConvTranspose: Conv's walk in the other direction. For each image and group one BLAS call multiplies the weights,
 * transposed, with the input; that gives the columns that Conv's im2col would have made of the output, and they are
 * added where their windows lie in it, on top of the bias. */
#include "cpu_internal.h"

struct conv_transpose {
    struct onnx__window win; /* in: the output; out: the input's positions */
    struct onnx__gemm gemm;  /* m: output channels of a group x kernel, k: input channels of a group, n: positions */
    int64_t groups, group_channels; /* of the output */
};

static int read_sizes(const struct onnx__step *step, struct conv_transpose *ct, struct err *err) {
    const struct tensor *x = step->in[0], *w = step->in[1], *bias = onnx__step_in(step, 2);
    int64_t channels;
    if (w->rank != x->rank || w->datatype != x->datatype || x->rank < 3)
        return onnx__step_refuse(step, err, "weights of %d dimensions for an input of %d", w->rank, x->rank);
    if (ct->groups < 1 || x->shape[1] != w->shape[0] || x->shape[1] % ct->groups != 0 ||
        __builtin_mul_overflow(w->shape[1], ct->groups, &channels)) {
        char have[128], weights[128];
        return onnx__step_refuse(step, err, "weights %s in %lld groups do not fit input %s",
                                 onnx__shape_text(w->shape, w->rank, weights, sizeof weights), (long long)ct->groups,
                                 onnx__shape_text(x->shape, x->rank, have, sizeof have));
    }
    if (bias && (bias->datatype != x->datatype || bias->rank != 1 || bias->shape[0] != channels))
        return onnx__step_refuse(step, err, "the bias is not one number per output channel");
    ct->group_channels = w->shape[1];
    return 0;
}

static int conv_transpose_read(const struct onnx__step *step, struct conv_transpose *ct, struct err *err) {
    const struct tensor *x = step->in[0], *w = step->in[1];
    *ct = (struct conv_transpose){.groups = onnx__step_int(step, "group", 1), .gemm = {.trans_a = true, .alpha = 1}};
    if (read_sizes(step, ct, err) != 0 || onnx__window_read_transposed(step, x, w->shape + 2, &ct->win, err) != 0)
        return -1;
    ct->gemm.m = onnx__shape_product(w, 1, w->rank);
    ct->gemm.k = x->shape[1] / ct->groups;
    ct->gemm.n = onnx__shape_product(x, 2, x->rank);
    return onnx__gemm_check(step, &ct->gemm, err);
}

OP_INFER(conv_transpose) {
    struct conv_transpose ct;
    if (conv_transpose_read(step, &ct, err) != 0) return -1;
    struct tensor *out = step->out[0];
    onnx__shape_like(out, step->in[0]);
    out->shape[1] = ct.group_channels * ct.groups;
    for (int i = 2; i < out->rank; i++) out->shape[i] = ct.win.in[i + 3 - out->rank];
    size_t columns;
    if (__builtin_mul_overflow((size_t)ct.gemm.m * sizeof(float), (size_t)ct.gemm.n, &columns) ||
        columns > SIZE_MAX / 4)
        return onnx__step_refuse(step, err, "its work space is too large");
    step->scratch_bytes = columns;
    return 0;
}

/* Adds one row of the columns: what kernel position `at` gives to one channel from every input position. */
static void fold_row(const struct onnx__window *win, const float *row, const int64_t at[3], float *image) {
    for (int64_t id = 0; id < win->out[0]; id++) {
        int64_t d = id * win->stride[0] - win->pad[0] + at[0] * win->dilation[0];
        for (int64_t ih = 0; ih < win->out[1]; ih++, row += win->out[2]) {
            int64_t h = ih * win->stride[1] - win->pad[1] + at[1] * win->dilation[1];
            if (d < 0 || d >= win->in[0] || h < 0 || h >= win->in[1]) continue;
            float *line = image + (d * win->in[1] + h) * win->in[2];
            int64_t w = at[2] * win->dilation[2] - win->pad[2];
            for (int64_t iw = 0; iw < win->out[2]; iw++, w += win->stride[2])
                if (w >= 0 && w < win->in[2]) line[w] += row[iw];
        }
    }
}

static void fold(const struct conv_transpose *ct, const float *columns, float *image) {
    const struct onnx__window *win = &ct->win;
    int64_t plane = onnx__volume(win->in), at[3];
    for (int64_t channel = 0; channel < ct->group_channels; channel++, image += plane)
        for (at[0] = 0; at[0] < win->kernel[0]; at[0]++)
            for (at[1] = 0; at[1] < win->kernel[1]; at[1]++)
                for (at[2] = 0; at[2] < win->kernel[2]; at[2]++, columns += ct->gemm.n)
                    fold_row(win, columns, at, image);
}

static void fill_bias(const struct tensor *bias, int64_t channel, int64_t channels, int64_t plane, float *image) {
    for (int64_t i = 0; i < channels; i++)
        for (int64_t j = 0; j < plane; j++) image[i * plane + j] = bias ? ((const float *)bias->data)[channel + i] : 0;
}

OP_RUN(conv_transpose) {
    struct conv_transpose ct;
    if (conv_transpose_read(step, &ct, err) != 0) return -1;
    int64_t plane = onnx__volume(ct.win.in), in_size = ct.gemm.k * ct.gemm.n;
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    for (int64_t i = 0; i < step->in[0]->shape[0]; i++)
        for (int64_t group = 0; group < ct.groups; group++, x += in_size, y += ct.group_channels * plane) {
            onnx__gemm_call(&ct.gemm, onnx__floats(step, 1) + group * ct.gemm.k * ct.gemm.m, x, step->scratch);
            fill_bias(onnx__step_in(step, 2), group * ct.group_channels, ct.group_channels, plane, y);
            fold(&ct, step->scratch, y);
        }
    return 0;
}

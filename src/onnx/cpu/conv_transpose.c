/* ConvTranspose and Col2Im.
 *
 * ConvTranspose is Conv's walk in the other direction. For each image and group one BLAS call multiplies the weights,
 * transposed, with the input; that gives the columns that Conv's im2col would have made of the output, and they are
 * added where their windows lie in it, on top of the bias. Col2Im is that last part alone. */
#include "cpu_internal.h"

/* --- ConvTranspose ----------------------------------------------------------------------------------------------- */

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

static void fold(const struct onnx__window *win, int64_t channels, const float *columns, float *image) {
    int64_t plane = onnx__volume(win->in), positions = onnx__volume(win->out), at[3];
    for (int64_t channel = 0; channel < channels; channel++, image += plane)
        for (at[0] = 0; at[0] < win->kernel[0]; at[0]++)
            for (at[1] = 0; at[1] < win->kernel[1]; at[1]++)
                for (at[2] = 0; at[2] < win->kernel[2]; at[2]++, columns += positions)
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
            fold(&ct.win, ct.group_channels, step->scratch, y);
        }
    return 0;
}

/* --- Col2Im ------------------------------------------------------------------------------------------------------ */

/* The window of a convolution over the image, whose positions are the input's columns. */
static int col2im_read(const struct onnx__step *step, struct onnx__window *win, struct tensor *image, int64_t *channels,
                       struct err *err) {
    const struct tensor *x = step->in[0];
    struct onnx__ints shape, block;
    int64_t kernel[3], volume = 1;
    if (onnx__step_ints(step, NULL, 1, &shape, err) != 0 || onnx__step_ints(step, NULL, 2, &block, err) != 0) return -1;
    if (x->rank != 3 || shape.count < 1 || shape.count > 3 || block.count != shape.count)
        return onnx__step_refuse(step, err, "the input, the image or the block has a wrong number of dimensions");
    *image = (struct tensor){.datatype = x->datatype, .rank = 2 + (int)shape.count, .shape = {x->shape[0], 0}};
    for (size_t i = 0; i < shape.count; i++) {
        image->shape[2 + i] = onnx__ints_at(&shape, i);
        kernel[i] = onnx__ints_at(&block, i);
        if (image->shape[2 + i] < 0 || kernel[i] < 1 || __builtin_mul_overflow(volume, kernel[i], &volume))
            return onnx__step_refuse(step, err, "a dimension of the image or the block is out of range");
    }
    if (onnx__window_read(step, image, kernel, false, win, err) != 0) return -1;
    struct tensor positions = {.datatype = DATATYPE_UINT8, .rank = 3, .shape = {win->out[0], win->out[1], win->out[2]}};
    size_t count;
    if (!onnx__shape_fits(&positions, &count) || (int64_t)count != x->shape[2] || x->shape[1] % volume != 0)
        return onnx__step_refuse(step, err, "the columns do not fit the image and the block");
    *channels = image->shape[1] = x->shape[1] / volume;
    return 0;
}

OP_INFER(col2im) {
    struct onnx__window win;
    struct tensor image;
    int64_t channels;
    if (col2im_read(step, &win, &image, &channels, err) != 0) return -1;
    onnx__shape_like(step->out[0], &image);
    return 0;
}

OP_RUN(col2im) {
    struct onnx__window win;
    struct tensor image;
    int64_t channels;
    if (col2im_read(step, &win, &image, &channels, err) != 0) return -1;
    memset(step->out[0]->data, 0, step->out[0]->size_bytes);
    int64_t columns = step->in[0]->shape[1] * step->in[0]->shape[2];
    for (int64_t i = 0; i < image.shape[0]; i++)
        fold(&win, channels, onnx__floats(step, 0) + i * columns,
             onnx__out_floats(step) + i * channels * onnx__volume(win.in));
    return 0;
}

/* MaxPool, AveragePool and GlobalAveragePool. For each output position the part of its window that lies in the input is
 * walked. An average counts the input's elements only, or with count_include_pad the padding too, but never what
 * ceil_mode adds beyond the padding. */
#include "cpu_internal.h"

#include <math.h>

static int pool_read(const struct onnx__step *step, struct onnx__window *ret, struct err *err) {
    if (onnx__step_int(step, "storage_order", 0) != 0)
        return onnx__step_refuse(step, err, "storage_order 1 is not supported");
    return onnx__window_read(step, step->in[0], NULL, onnx__step_int(step, "ceil_mode", 0) != 0, ret, err);
}

OP_INFER(pool) {
    struct onnx__window win;
    if (pool_read(step, &win, err) != 0) return -1;
    onnx__window_shape(&win, step->in[0], step->in[0]->shape[1], step->out[0]);
    return 0;
}

struct pooled {
    float max;
    double sum;
    int64_t count;  /* elements of the input in the window */
    int64_t padded; /* and of its padding */
};

/* Kernel positions along `dim` that fall on [low, high) from output position `out`. */
static int64_t span(const struct onnx__window *win, int dim, int64_t out, int64_t low, int64_t high,
                    int64_t *ret_first) {
    int64_t start = out * win->stride[dim] - win->pad[dim], step = win->dilation[dim];
    int64_t first = start >= low ? 0 : (low - start + step - 1) / step;
    int64_t last = high <= start ? 0 : (high - start + step - 1) / step;
    if (last > win->kernel[dim]) last = win->kernel[dim];
    *ret_first = start + first * step;
    return last > first ? last - first : 0;
}

static struct pooled pool_window(const struct onnx__window *win, const float *image, const int64_t out[3]) {
    struct pooled pooled = {.max = -INFINITY, .padded = 1};
    int64_t first[3], count[3], ignored;
    for (int dim = 0; dim < 3; dim++) {
        count[dim] = span(win, dim, out[dim], 0, win->in[dim], &first[dim]);
        pooled.padded *= span(win, dim, out[dim], -win->pad[dim], win->in[dim] + win->pad_end[dim], &ignored);
    }
    for (int64_t d = 0; d < count[0]; d++)
        for (int64_t h = 0; h < count[1]; h++) {
            const float *line =
                image + ((first[0] + d * win->dilation[0]) * win->in[1] + first[1] + h * win->dilation[1]) * win->in[2];
            for (int64_t w = 0; w < count[2]; w++) {
                float value = line[first[2] + w * win->dilation[2]];
                if (value > pooled.max || isnan(value)) pooled.max = value;
                pooled.sum += value;
            }
        }
    pooled.count = onnx__volume(count);
    return pooled;
}

/* How one output element comes from its window. */
typedef float reduce_fn(const struct pooled *pooled);
static float reduce_max(const struct pooled *pooled) { return pooled->max; }
static float reduce_mean(const struct pooled *pooled) { return (float)(pooled->sum / (double)pooled->count); }
static float reduce_mean_padded(const struct pooled *pooled) { return (float)(pooled->sum / (double)pooled->padded); }

static int run_pool(const struct onnx__step *step, reduce_fn *reduce, struct err *err) {
    struct onnx__window win;
    if (pool_read(step, &win, err) != 0) return -1;
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    int64_t images = step->in[0]->shape[0] * step->in[0]->shape[1], plane = onnx__volume(win.in), out[3];
    for (int64_t i = 0; i < images; i++, x += plane)
        for (out[0] = 0; out[0] < win.out[0]; out[0]++)
            for (out[1] = 0; out[1] < win.out[1]; out[1]++)
                for (out[2] = 0; out[2] < win.out[2]; out[2]++) {
                    struct pooled pooled = pool_window(&win, x, out);
                    *y++ = reduce(&pooled);
                }
    return 0;
}

OP_RUN(max_pool) { return run_pool(step, reduce_max, err); }

OP_RUN(average_pool) {
    return run_pool(step, onnx__step_int(step, "count_include_pad", 0) ? reduce_mean_padded : reduce_mean, err);
}

OP_INFER(global_average_pool) {
    if (step->in[0]->rank < 3) return onnx__step_refuse(step, err, "the input has no spatial dimensions");
    onnx__shape_like(step->out[0], step->in[0]);
    for (int i = 2; i < step->out[0]->rank; i++) step->out[0]->shape[i] = 1;
    return 0;
}

OP_RUN(global_average_pool) {
    const struct tensor *x = step->in[0];
    int64_t plane = onnx__shape_product(x, 2, x->rank), images = onnx__shape_product(x, 0, 2);
    const float *in = x->data;
    for (int64_t i = 0; i < images; i++, in += plane) {
        double sum = 0;
        for (int64_t j = 0; j < plane; j++) sum += in[j];
        onnx__out_floats(step)[i] = (float)(sum / (double)plane);
    }
    return 0;
}

/* What is done to an element by its channel: BatchNormalization, as used for inference, and LRN. */
#include "kernel.cuh"

/* scale and bias of channels are one multiplication and addition: the root is taken once for each element, which costs
 * less than reading it. Where a convolution stands before, there is nothing left to do here (fuse.c). */
static __global__ void batch_norm_kernel(int64_t n, int64_t plane, int64_t channels, const float *x, const float *scale,
                                         const float *bias, const float *mean, const float *variance, float epsilon,
                                         float *y) {
    CUDA__EACH(i, n) {
        int64_t channel = i / plane % channels;
        y[i] = (x[i] - mean[channel]) * (scale[channel] / sqrtf(variance[channel] + epsilon)) + bias[channel];
    }
}

extern "C" int cuda__batch_norm_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *x = call->step->in[0];
    const float *const *in = (const float *const *)call->in;
    int64_t n = onnx__count(x);
    return cuda__launch(call, err, batch_norm_kernel, cuda__blocks(call, n), CUDA__BLOCK, n,
                        onnx__shape_product(x, 2, x->rank), x->shape[1], in[0], in[1], in[2], in[3], in[4],
                        onnx__step_float(call->step, "epsilon", 1e-5f), (float *)call->out[0]);
}

/* By the squares of `size` channels around it, of which an even number has one more behind. */
static __global__ void lrn_kernel(int64_t n, int64_t plane, int64_t channels, int64_t before, int64_t behind,
                                  float factor, float beta, float bias, const float *x, float *y) {
    CUDA__EACH(i, n) {
        int64_t channel = i / plane % channels, first = channel - before, last = channel + behind;
        float sum = 0;
        if (first < 0) first = 0;
        if (last >= channels) last = channels - 1;
        for (int64_t k = first; k <= last; k++) {
            float v = x[i + (k - channel) * plane];
            sum += v * v;
        }
        y[i] = x[i] / powf(bias + factor * sum, beta);
    }
}

extern "C" int cuda__lrn_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct tensor *x = step->in[0];
    int64_t n = onnx__count(x), size = onnx__step_int(step, "size", 1), channels = x->shape[1];
    int64_t before = (size - 1) / 2 < channels ? (size - 1) / 2 : channels;
    int64_t behind = size / 2 < channels ? size / 2 : channels;
    return cuda__launch(call, err, lrn_kernel, cuda__blocks(call, n), CUDA__BLOCK, n,
                        onnx__shape_product(x, 2, x->rank), channels, before, behind,
                        onnx__step_float(step, "alpha", 1e-4f) / (float)size, onnx__step_float(step, "beta", 0.75f),
                        onnx__step_float(step, "bias", 1), (const float *)call->in[0], (float *)call->out[0]);
}

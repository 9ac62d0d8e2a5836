/* What follows a product or a convolution in the same step (struct onnx__tail): a bias by channel or column, another
 * tensor, a function. Kernels apply it to an element as they write it. */
#ifndef PENSTOCK_ONNX_CUDA_TAIL_CUH
#define PENSTOCK_ONNX_CUDA_TAIL_CUH

#include "broadcast.cuh"

struct cuda__ending {
    const float *bias, *rest; /* NULL: none */
    cuda__spread<1> spread;   /* of the rest over the output */
    enum onnx__function function;
    float alpha, beta;
};

/* Input 2 is the bias, of a node with or without a tail. */
inline cuda__ending cuda__ending_of(const struct cuda__call *call) {
    const struct onnx__step *step = call->step;
    const struct onnx__tail *tail = step->node->tail;
    const struct tensor *rest = tail ? onnx__step_in(step, TAIL_REST) : NULL;
    cuda__ending ending = {};
    if (onnx__step_in(step, TAIL_BIAS)) ending.bias = (const float *)call->in[TAIL_BIAS];
    if (rest) {
        const struct tensor *operands[1] = {rest};
        ending.rest = (const float *)call->in[TAIL_REST];
        ending.spread = cuda__spread_of(step->out[0], operands);
    }
    if (tail) ending.function = tail->function, ending.alpha = tail->alpha, ending.beta = tail->beta;
    return ending;
}
inline bool cuda__ending_is_none(const cuda__ending &ending) {
    return !ending.bias && !ending.rest && ending.function == FUNCTION_NONE;
}

__device__ inline float cuda__within_unit(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

__device__ inline float cuda__function(const cuda__ending &ending, float v) {
    float alpha = ending.alpha, beta = ending.beta;
    switch (ending.function) {
    case FUNCTION_NONE:
        break;
    case FUNCTION_RELU:
        return v < 0 ? 0 : v;
    case FUNCTION_CLIP:
        return v < alpha ? alpha : (v > beta ? beta : v);
    case FUNCTION_LEAKY_RELU:
        return v < 0 ? alpha * v : v;
    case FUNCTION_HARD_SIGMOID:
        return cuda__within_unit(alpha * v + beta);
    case FUNCTION_HARD_SWISH:
        return v * cuda__within_unit(v / 6 + 0.5f);
    case FUNCTION_EXP:
        return expf(v);
    case FUNCTION_SIGMOID:
        return 1 / (1 + expf(-v));
    case FUNCTION_TANH:
        return tanhf(v);
    case FUNCTION_ERF:
        return erff(v);
    case FUNCTION_GELU:
        return 0.5f * v * (1 + erff(v * 0.70710678f));
    case FUNCTION_GELU_TANH:
        return 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
    }
    return v;
}

/* Element `at` of the output, of channel or column `channel`. */
__device__ inline float cuda__end(const cuda__ending &ending, float v, int64_t at, int channel) {
    if (ending.bias) v += ending.bias[channel];
    if (ending.rest) {
        int64_t where[1];
        cuda__spread_find(ending.spread, at, where);
        v += ending.rest[where[0]];
    }
    return cuda__function(ending, v);
}

/* y = the sum of `parts` layers of `from` (of n elements each) with its ending. An element's channel is
 * at / inner % channels. `from` may be y. */
static __global__ void cuda__end_kernel(int64_t n, int parts, const float *from, float *y, cuda__ending ending,
                                        int64_t inner, int64_t channels) {
    CUDA__EACH(i, n) {
        float v = from[i];
        for (int part = 1; part < parts; part++) v += from[part * n + i];
        y[i] = cuda__end(ending, v, i, (int)(i / inner % channels));
    }
}

inline int cuda__launch_end(const struct cuda__call *call, struct err *err, int parts, const void *from,
                            const cuda__ending &ending, int64_t inner, int64_t channels) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, cuda__end_kernel, cuda__blocks(call, n), CUDA__BLOCK, n, parts, (const float *)from,
                        (float *)call->out[0], ending, inner, channels);
}

#endif

/* Softmax and LogSoftmax: one block a lane. The largest element is subtracted first, so that no exponential overflows;
 * three passes over the lane, the later ones out of the cache. */
#include "kernel.cuh"

template <bool LOGARITHM> __global__ void softmax_kernel(int64_t length, int64_t inner, const float *x, float *y) {
    int64_t first = blockIdx.x / inner * length * inner + blockIdx.x % inner;
    float largest = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < length; i += blockDim.x) {
        float v = x[first + i * inner];
        largest = v > largest ? v : largest;
    }
    largest = cuda__block_join(largest, -INFINITY, cuda__larger());
    for (int64_t i = threadIdx.x; i < length; i += blockDim.x) sum += expf(x[first + i * inner] - largest);
    sum = cuda__block_join(sum, 0.0f, cuda__plus());
    float whole = LOGARITHM ? logf(sum) : 1 / sum;
    for (int64_t i = threadIdx.x; i < length; i += blockDim.x) {
        float shifted = x[first + i * inner] - largest;
        y[first + i * inner] = LOGARITHM ? shifted - whole : expf(shifted) * whole;
    }
}

/* The input seen as [outer, length, inner]. Until opset 12 everything from `axis` on is one dimension. */
template <bool LOGARITHM> static int launch_softmax(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct tensor *x = step->in[0];
    bool flat = step->opset < 13;
    int64_t given = onnx__step_int(step, "axis", flat ? 1 : -1);
    int axis = (int)(given < 0 ? given + x->rank : given);
    int64_t length = flat ? onnx__shape_product(x, axis, x->rank) : x->shape[axis];
    int64_t inner = flat ? 1 : onnx__shape_product(x, axis + 1, x->rank);
    int64_t lanes = onnx__shape_product(x, 0, axis) * inner;
    if (length == 0) return 0;
    return cuda__launch(call, err, softmax_kernel<LOGARITHM>, (unsigned)lanes, cuda__block_for(length), length, inner,
                        (const float *)call->in[0], (float *)call->out[0]);
}

extern "C" int cuda__softmax_launch(const struct cuda__call *call, struct err *err) {
    return launch_softmax<false>(call, err);
}
extern "C" int cuda__log_softmax_launch(const struct cuda__call *call, struct err *err) {
    return launch_softmax<true>(call, err);
}

/* Lanes are counted in 31 bits, as blocks are. */
extern "C" bool cuda__softmax_takes(const struct onnx__step *step) { return onnx__count(step->in[0]) <= INT32_MAX; }

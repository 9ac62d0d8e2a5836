/* Softmax and LogSoftmax: a warp or a block a lane. The largest element is subtracted first, so that no exponential
 * overflows; three passes over the lane, the later ones out of the cache. */
#include "kernel.cuh"

template <bool LOGARITHM>
CUDA__ROW_KERNEL softmax_kernel(int64_t lanes, int64_t length, int64_t inner, const float *x, float *y) {
    CUDA__EACH_ROW(lane, lanes) {
        int64_t first = lane / inner * length * inner + lane % inner;
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
}

template <bool LOGARITHM> static int launch_softmax(const struct cuda__call *call, struct err *err) {
    struct onnx__lanes lanes;
    if (onnx__lanes_read(call->step, &lanes, err) != 0) return -1;
    if (lanes.length == 0) return 0;
    int64_t count = lanes.outer * lanes.inner;
    cuda__rows rows = cuda__rows_of(call, count, lanes.length);
    return cuda__launch(call, err, softmax_kernel<LOGARITHM>, rows.grid, rows.block, count, lanes.length, lanes.inner,
                        (const float *)call->in[0], (float *)call->out[0]);
}

extern "C" int cuda__softmax_launch(const struct cuda__call *call, struct err *err) {
    return launch_softmax<false>(call, err);
}
extern "C" int cuda__log_softmax_launch(const struct cuda__call *call, struct err *err) {
    return launch_softmax<true>(call, err);
}

/* Normalising by what is measured on the input itself: LayerNormalization, InstanceNormalization, GroupNormalization. A
 * warp or a block has a stretch of elements that follow each other, and goes over it three times: for the mean, for the
 * variance, which the difference of two large sums would lose, and to write; the later times out of the cache. Four
 * elements are read and written at a time where the stretch is made of such. */
#include "kernel.cuh"

template <int N> struct alignas(N * sizeof(float)) pack { float v[N]; };

/* LayerNormalization: one number for each element of the stretch (step 1), or one for all (0). */
struct by_element {
    const float *scale, *bias;
    int scale_step, bias_step;
    __device__ float apply(float v, int64_t, int64_t i) const {
        v *= scale[i * scale_step];
        return bias ? v + bias[i * bias_step] : v;
    }
};

/* The others: one for each channel, or some. */
struct by_channel {
    const float *scale, *bias;
    int64_t channels, per_stretch, per_factor;
    cuda__divider<uint32_t> plane;
    __device__ float apply(float v, int64_t stretch, int64_t i) const {
        int64_t which = (stretch * per_stretch + plane.quotient((uint32_t)i)) % channels / per_factor;
        return v * scale[which] + bias[which];
    }
};

template <int N, typename F>
CUDA__ROW_KERNEL normalise_kernel(int64_t stretches, int64_t length, float epsilon, const float *x, float *y,
                                  float *means, float *inverses, F factors) {
    int64_t packs = length / N;
    CUDA__EACH_ROW(stretch, stretches) {
        const pack<N> *from = (const pack<N> *)(x + stretch * length);
        pack<N> *to = (pack<N> *)(y + stretch * length);
        float sum = 0, squares = 0;
        for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
            pack<N> part = from[i];
            for (int k = 0; k < N; k++) sum += part.v[k];
        }
        float mean = cuda__block_join(sum, 0.0f, cuda__plus()) / (float)length;
        for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
            pack<N> part = from[i];
            for (int k = 0; k < N; k++) squares += (part.v[k] - mean) * (part.v[k] - mean);
        }
        float variance = cuda__block_join(squares, 0.0f, cuda__plus()) / (float)length;
        float inverse = 1 / sqrtf(variance + epsilon);
        for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
            pack<N> part = from[i];
            for (int k = 0; k < N; k++) part.v[k] = factors.apply((part.v[k] - mean) * inverse, stretch, i * N + k);
            to[i] = part;
        }
        if (threadIdx.x == 0 && means) means[stretch] = mean;
        if (threadIdx.x == 0 && inverses) inverses[stretch] = inverse;
    }
}

template <typename F>
static int launch_normalise(const struct cuda__call *call, struct err *err, int64_t stretches, int64_t length,
                            F factors) {
    const struct onnx__step *step = call->step;
    cuda__rows rows = cuda__rows_of(call, stretches, length);
    float epsilon = onnx__step_float(step, "epsilon", 1e-5f);
    void *means = step->out_count > 1 ? call->out[1] : NULL, *inverses = step->out_count > 2 ? call->out[2] : NULL;
    return cuda__launch(call, err, length % 4 == 0 ? normalise_kernel<4, F> : normalise_kernel<1, F>, rows.grid,
                        rows.block, stretches, length, epsilon, (const float *)call->in[0], (float *)call->out[0],
                        (float *)means, (float *)inverses, factors);
}

extern "C" int cuda__layer_norm_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct tensor *x = step->in[0], *bias = onnx__step_in(step, 2);
    int axis;
    if (onnx__step_axis(step, onnx__step_int(step, "axis", -1), x->rank, &axis, err) != 0) return -1;
    by_element factors = {(const float *)call->in[1], bias ? (const float *)call->in[2] : NULL,
                          onnx__count(step->in[1]) > 1, bias && onnx__count(bias) > 1};
    return launch_normalise(call, err, onnx__shape_product(x, 0, axis), onnx__shape_product(x, axis, x->rank), factors);
}

/* `per_group` channels are measured together; `per_factor` of them share a scale and a bias. */
static int launch_groups(const struct cuda__call *call, struct err *err, int64_t per_group, int64_t per_factor) {
    const struct tensor *x = call->step->in[0];
    int64_t channels = x->shape[1], plane = onnx__shape_product(x, 2, x->rank);
    if (onnx__count(x) == 0) return 0;
    by_channel factors = {
        (const float *)call->in[1],        (const float *)call->in[2], channels, per_group, per_factor,
        cuda__divider<uint32_t>::of(plane)};
    return launch_normalise(call, err, x->shape[0] * (channels / per_group), per_group * plane, factors);
}

extern "C" int cuda__instance_norm_launch(const struct cuda__call *call, struct err *err) {
    return launch_groups(call, err, 1, 1);
}
/* Until opset 20 a group has one scale and one bias, then each channel. */
extern "C" int cuda__group_norm_launch(const struct cuda__call *call, struct err *err) {
    int64_t per_group = call->step->in[0]->shape[1] / onnx__step_int(call->step, "num_groups", 1);
    return launch_groups(call, err, per_group, call->step->opset < 21 ? per_group : 1);
}
/* Places within a stretch are taken apart in 31 bits. */
extern "C" bool cuda__group_norm_takes(const struct onnx__step *step) { return onnx__count(step->in[0]) <= INT32_MAX; }

/* MaxPool, AveragePool, LpPool and their global kin. A thread walks the part of one window that lies in the input, as
 * the CPU does; a global pool is a block's reduction over one image of one channel. */
#include "window.cuh"

struct pool {
    cuda__window win;
    int64_t total; /* elements of the output */
    int pad_end[3];
    float power;       /* of LpPool */
    bool include_pad;  /* of AveragePool */
    bool column_major; /* MaxPool's indices */
};

/* --- windows ----------------------------------------------------------------------------------------------------- */

/* Kernel positions along `dim` that fall on [low, high) from output position `out`; *ret_first: the first one's place. */
__device__ static int span(const pool &pool, int dim, int out, int low, int high, int *ret_first) {
    int start = out * pool.win.stride[dim] - pool.win.pad[dim], step = pool.win.dilation[dim];
    int first = start >= low ? 0 : (low - start + step - 1) / step;
    int last = high <= start ? 0 : (high - start + step - 1) / step;
    if (last > pool.win.kernel[dim]) last = pool.win.kernel[dim];
    *ret_first = start + first * step;
    return last > first ? last - first : 0;
}

/* Calls f(element, place) for each element of the input in the window; returns how many. */
template <typename T, typename F>
__device__ static int each_in_window(const pool &pool, const T *image, const int out[3], F f) {
    int first[3], count[3];
    for (int dim = 0; dim < 3; dim++) count[dim] = span(pool, dim, out[dim], 0, pool.win.in[dim], &first[dim]);
    for (int d = 0; d < count[0]; d++)
        for (int h = 0; h < count[1]; h++)
            for (int w = 0; w < count[2]; w++) {
                const int at[3] = {first[0] + d * pool.win.dilation[0], first[1] + h * pool.win.dilation[1],
                                   first[2] + w * pool.win.dilation[2]};
                f(image[(at[0] * pool.win.in[1] + at[1]) * pool.win.in[2] + at[2]], at);
            }
    return count[0] * count[1] * count[2];
}

/* The image (of one channel) that output element i belongs to, and its position there. */
__device__ static int locate(const pool &pool, int64_t i, int out[3]) {
    int image = cuda__over(pool.win.by_out, (int)i);
    cuda__window_position(pool.win, (int)i - image * pool.win.by_out.by, out);
    return image;
}
__device__ static int plane_of(const pool &pool) { return pool.win.in[0] * pool.win.in[1] * pool.win.in[2]; }

/* A window that lies in the padding alone has no maximum: the least byte stands for minus infinity. */
template <typename T> __device__ static T stored(float v) { return (T)v; }
template <> __device__ uint8_t stored(float v) { return v < 0 ? 0 : (uint8_t)v; }
template <> __device__ int8_t stored(float v) { return v < -128 ? -128 : (int8_t)v; }

template <typename T> __global__ void max_kernel(pool pool, const T *x, T *y, int64_t *indices) {
    CUDA__EACH(i, pool.total) {
        int out[3], best[3] = {0, 0, 0}, image = locate(pool, i, out);
        const int *in = pool.win.in;
        float max = -INFINITY;
        each_in_window(pool, x + (int64_t)image * plane_of(pool), out, [&](T v, const int at[3]) {
            if (!((float)v > max || v != v)) return;
            max = (float)v;
            for (int dim = 0; dim < 3; dim++) best[dim] = at[dim];
        });
        y[i] = stored<T>(max);
        if (!indices) continue;
        int64_t within = pool.column_major ? best[0] + (int64_t)in[0] * (best[1] + (int64_t)in[1] * best[2])
                                           : ((int64_t)best[0] * in[1] + best[1]) * in[2] + best[2];
        indices[i] = (int64_t)image * plane_of(pool) + within;
    }
}

static __global__ void average_kernel(pool pool, const float *x, float *y) {
    CUDA__EACH(i, pool.total) {
        int out[3], padded = 1, image = locate(pool, i, out), ignored;
        float sum = 0;
        int count =
            each_in_window(pool, x + (int64_t)image * plane_of(pool), out, [&](float v, const int[3]) { sum += v; });
        for (int dim = 0; dim < 3; dim++)
            padded *= span(pool, dim, out[dim], -pool.win.pad[dim], pool.win.in[dim] + pool.pad_end[dim], &ignored);
        y[i] = sum / (float)(pool.include_pad ? padded : count);
    }
}

static __global__ void lp_kernel(pool pool, const float *x, float *y) {
    CUDA__EACH(i, pool.total) {
        int out[3], image = locate(pool, i, out);
        float sum = 0;
        each_in_window(pool, x + (int64_t)image * plane_of(pool), out,
                       [&](float v, const int[3]) { sum += powf(fabsf(v), pool.power); });
        y[i] = powf(sum, 1 / pool.power);
    }
}

static pool read_pool(const struct onnx__step *step) {
    struct onnx__window win;
    struct err err;
    pool pool = {};
    BUG_ON(onnx__window_read(step, step->in[0], NULL, onnx__step_int(step, "ceil_mode", 0) != 0, &win, &err) != 0);
    pool.win = cuda__window_of(&win);
    for (int dim = 0; dim < 3; dim++) pool.pad_end[dim] = (int)win.pad_end[dim];
    pool.total = onnx__count(step->out[0]);
    pool.power = (float)onnx__step_int(step, "p", 2);
    pool.include_pad = onnx__step_int(step, "count_include_pad", 0) != 0;
    pool.column_major = onnx__step_int(step, "storage_order", 0) == 1;
    return pool;
}

extern "C" bool cuda__pool_takes(const struct onnx__step *step) {
    struct onnx__window win;
    struct err err;
    if (!step->out[0] || onnx__count(step->in[0]) > INT32_MAX || onnx__count(step->out[0]) > INT32_MAX) return false;
    BUG_ON(onnx__window_read(step, step->in[0], NULL, onnx__step_int(step, "ceil_mode", 0) != 0, &win, &err) != 0);
    return cuda__window_fits(&win);
}

template <typename T> static int launch_max(const struct cuda__call *call, struct err *err) {
    pool pool = read_pool(call->step);
    int64_t *indices = call->step->out_count > 1 ? (int64_t *)call->out[1] : NULL;
    return cuda__launch(call, err, max_kernel<T>, cuda__blocks(call, pool.total), CUDA__BLOCK, pool,
                        (const T *)call->in[0], (T *)call->out[0], indices);
}

extern "C" int cuda__max_pool_launch(const struct cuda__call *call, struct err *err) {
    enum datatype datatype = call->step->in[0]->datatype;
    if (datatype == DATATYPE_FP32) return launch_max<float>(call, err);
    return datatype == DATATYPE_UINT8 ? launch_max<uint8_t>(call, err) : launch_max<int8_t>(call, err);
}

extern "C" int cuda__average_pool_launch(const struct cuda__call *call, struct err *err) {
    pool pool = read_pool(call->step);
    return cuda__launch(call, err, average_kernel, cuda__blocks(call, pool.total), CUDA__BLOCK, pool,
                        (const float *)call->in[0], (float *)call->out[0]);
}

extern "C" int cuda__lp_pool_launch(const struct cuda__call *call, struct err *err) {
    pool pool = read_pool(call->step);
    return cuda__launch(call, err, lp_kernel, cuda__blocks(call, pool.total), CUDA__BLOCK, pool,
                        (const float *)call->in[0], (float *)call->out[0]);
}

/* --- global ones ------------------------------------------------------------------------------------------------- */

/* begin: of an element; join: of two of them; end: of the result. */
struct average {
    float size;
    __device__ float begin(float v) const { return v; }
    __device__ float end(float v) const { return v / size; }
};
struct power_mean {
    float power;
    __device__ float begin(float v) const { return powf(fabsf(v), power); }
    __device__ float end(float v) const { return powf(v, 1 / power); }
};
struct largest {
    __device__ float begin(float v) const { return v; }
    __device__ float end(float v) const { return v; }
};

template <typename F, typename J>
__global__ void plane_kernel(int64_t plane, const float *x, float *y, F f, J join, float neutral) {
    const float *image = x + blockIdx.x * plane;
    float value = neutral;
    for (int64_t i = threadIdx.x; i < plane; i += blockDim.x) value = join(value, f.begin(image[i]));
    value = cuda__block_join(value, neutral, join);
    if (threadIdx.x == 0) y[blockIdx.x] = f.end(value);
}

template <typename F, typename J>
static int launch_planes(const struct cuda__call *call, struct err *err, F f, J join, float neutral) {
    const struct tensor *x = call->step->in[0];
    int64_t plane = onnx__shape_product(x, 2, x->rank), planes = onnx__shape_product(x, 0, 2);
    return cuda__launch(call, err, plane_kernel<F, J>, (unsigned)planes, cuda__block_for(plane), plane,
                        (const float *)call->in[0], (float *)call->out[0], f, join, neutral);
}

extern "C" int cuda__global_average_pool_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *x = call->step->in[0];
    return launch_planes(call, err, average{(float)onnx__shape_product(x, 2, x->rank)}, cuda__plus(), 0);
}
extern "C" int cuda__global_max_pool_launch(const struct cuda__call *call, struct err *err) {
    return launch_planes(call, err, largest(), cuda__larger(), -INFINITY);
}
extern "C" int cuda__global_lp_pool_launch(const struct cuda__call *call, struct err *err) {
    return launch_planes(call, err, power_mean{(float)onnx__step_int(call->step, "p", 2)}, cuda__plus(), 0);
}

/* Blocks are counted in 31 bits. */
extern "C" bool cuda__planes_takes(const struct onnx__step *step) {
    return onnx__shape_product(step->in[0], 0, 2) <= INT32_MAX;
}

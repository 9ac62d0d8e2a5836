/* Resize and Upsample. The tables that say which elements of the input make each of the output (cpu/resize.c) are made
 * by the CPU when the step is prepared, one for each axis that changes, and lie in device memory. A thread computes an
 * element of the output: it walks all combinations of its axes' entries, which are 4 for an image that is resized
 * linearly and 16 for a cubic one; with antialiasing they are more, and passes from axis to axis would read less. */
#include "window.cuh"

struct resized_axis {
    int dim, taps; /* taps: that make one element of the output */
    int64_t first; /* of its table, among all entries */
};

/* What prepare makes, and kernels get. */
struct resizing {
    int rank, axis_count;
    int64_t shape[TENSOR_MAX_RANK];     /* of the output */
    int64_t in_steps[TENSOR_MAX_RANK];  /* elements of the input from one index to the next */
    resized_axis axes[TENSOR_MAX_RANK]; /* those that change */
    float outside;
    struct onnx__tap *tables; /* in device memory */
};

/* The entries of output element i on each axis that changes; returns where the others begin in the input. */
__device__ static int64_t find_entries(const resizing &how, int64_t i, const struct onnx__tap *entries[]) {
    int64_t base = 0;
    int axis = how.axis_count - 1;
    for (int dim = how.rank - 1; dim >= 0; dim--) {
        int64_t rest = i / how.shape[dim], index = i - rest * how.shape[dim];
        if (axis >= 0 && how.axes[axis].dim == dim) {
            entries[axis] = how.tables + how.axes[axis].first + index * how.axes[axis].taps;
            axis--;
        } else {
            base += index * how.in_steps[dim];
        }
        i = rest;
    }
    return base;
}

static __global__ void blend_kernel(resizing how, int64_t n, const float *x, float *y) {
    CUDA__EACH(i, n) {
        const struct onnx__tap *entries[TENSOR_MAX_RANK];
        int64_t base = find_entries(how, i, entries), combinations = 1;
        bool outside = false;
        float sum = 0;
        for (int axis = 0; axis < how.axis_count; axis++) {
            outside = outside || entries[axis]->at < 0;
            combinations *= how.axes[axis].taps;
        }
        for (int64_t number = 0; number < combinations && !outside; number++) {
            int64_t at = base, rest = number;
            float weight = 1;
            for (int axis = how.axis_count - 1; axis >= 0; axis--) {
                const struct onnx__tap *tap = &entries[axis][rest % how.axes[axis].taps];
                rest /= how.axes[axis].taps;
                at += tap->at * how.in_steps[how.axes[axis].dim];
                weight *= tap->weight;
            }
            sum += weight * x[at];
        }
        y[i] = outside ? how.outside : sum;
    }
}

/* Nearest moves elements: by their size. */
template <typename T> __global__ void pick_kernel(resizing how, int64_t n, const T *x, T *y) {
    CUDA__EACH(i, n) {
        const struct onnx__tap *entries[TENSOR_MAX_RANK];
        int64_t at = find_entries(how, i, entries);
        for (int axis = 0; axis < how.axis_count; axis++) at += entries[axis]->at * how.in_steps[how.axes[axis].dim];
        y[i] = x[at];
    }
}

static bool crops(const struct onnx__step *step) {
    return strcmp(onnx__step_string(step, "coordinate_transformation_mode", ""), "tf_crop_and_resize") == 0;
}
/* A crop may pick from outside the image, which is a number and no element. */
static bool picks(const struct onnx__step *step) {
    return strcmp(onnx__step_string(step, "mode", "nearest"), "nearest") == 0 && !crops(step);
}

extern "C" bool cuda__resize_takes(const struct onnx__step *step) {
    int64_t combinations = 1;
    for (int dim = 0; dim < step->in[0]->rank; dim++) {
        int64_t taps = onnx__resize_taps(step, dim);
        if (taps && __builtin_mul_overflow(combinations, taps, &combinations)) return false;
    }
    return combinations <= UINT16_MAX;
}

/* Returns the entries of all tables. */
static int64_t read_axes(const struct onnx__step *step, resizing *how) {
    const struct tensor *x = step->in[0], *y = step->out[0];
    int64_t entries = 0;
    how->rank = x->rank;
    how->outside = onnx__step_float(step, "extrapolation_value", 0);
    for (int dim = 0; dim < x->rank; dim++) {
        int64_t taps = onnx__resize_taps(step, dim);
        how->shape[dim] = y->shape[dim];
        how->in_steps[dim] = onnx__shape_product(x, dim + 1, x->rank);
        if (!taps) continue;
        how->axes[how->axis_count++] = {dim, (int)taps, entries};
        entries += taps * y->shape[dim];
    }
    return entries;
}

extern "C" int cuda__resize_prepare(struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    resizing *how = (resizing *)mem_calloc(1, sizeof *how);
    size_t bytes = (size_t)read_axes(step, how) * sizeof(struct onnx__tap);
    call->made = how;
    if (onnx__count(step->out[0]) == 0 || bytes == 0) return 0;
    if (cuda__device_alloc((void **)&how->tables, bytes, "tables of Resize", err) != 0) return -1;
    struct onnx__tap *filled = (struct onnx__tap *)mem_alloc(bytes);
    for (int axis = 0; axis < how->axis_count; axis++)
        onnx__resize_fill(step, how->axes[axis].dim, filled + how->axes[axis].first);
    cudaError_t code = cudaMemcpyAsync(how->tables, filled, bytes, cudaMemcpyHostToDevice, call->device->stream);
    if (code == cudaSuccess) code = cudaStreamSynchronize(call->device->stream);
    free(filled);
    return code == cudaSuccess ? 0 : cuda__fail(code, "copying tables of Resize", err);
}

extern "C" void cuda__resize_forget(struct cuda__call *call) {
    resizing *how = (resizing *)call->made;
    if (how) (void)cudaFree(how->tables);
    free(how);
}

template <typename T> static int launch_pick(const struct cuda__call *call, struct err *err, const resizing &how) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, pick_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, how, n, (const T *)call->in[0],
                        (T *)call->out[0]);
}

extern "C" int cuda__resize_launch(const struct cuda__call *call, struct err *err) {
    const resizing &how = *(const resizing *)call->made;
    int64_t n = onnx__count(call->step->out[0]);
    if (!picks(call->step))
        return cuda__launch(call, err, blend_kernel, cuda__blocks(call, n), CUDA__BLOCK, how, n,
                            (const float *)call->in[0], (float *)call->out[0]);
    switch (datatype_size(call->step->out[0]->datatype)) {
    case 1:
        return launch_pick<uint8_t>(call, err, how);
    case 2:
        return launch_pick<uint16_t>(call, err, how);
    case 4:
        return launch_pick<uint32_t>(call, err, how);
    default:
        return launch_pick<uint64_t>(call, err, how);
    }
}

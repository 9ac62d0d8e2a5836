/* Cast and CastLike: every datatype to every other, with the CPU's meaning for every value (cpu/cast.c): a number beyond
 * the range of an integer becomes the nearest one, no number becomes 0, integers lose their high bits.
 *
 * One kernel for each datatype that is read; what is written is a switch that all threads take alike. */
#include "kernel.cuh"

/* Device code may not use the host's constants of <limits.h> beyond macros, which these are. */
template <typename T> __device__ static T whole_of(double v, double least, double beyond, T lowest, T highest) {
    if (!(v == v)) return 0;
    if (v >= beyond) return highest;
    return v <= least ? lowest : (T)v;
}

struct from_real {
    double v;
    __device__ bool truth() const { return v != 0; }
    __device__ uint8_t u8() const { return whole_of<uint8_t>(v, 0, 256, 0, UINT8_MAX); }
    __device__ uint16_t u16() const { return whole_of<uint16_t>(v, 0, 65536, 0, UINT16_MAX); }
    __device__ uint32_t u32() const { return whole_of<uint32_t>(v, 0, 4294967296.0, 0, UINT32_MAX); }
    __device__ uint64_t u64() const { return whole_of<uint64_t>(v, 0, 18446744073709551616.0, 0, UINT64_MAX); }
    __device__ int8_t i8() const { return whole_of<int8_t>(v, -128, 128, INT8_MIN, INT8_MAX); }
    __device__ int16_t i16() const { return whole_of<int16_t>(v, -32768, 32768, INT16_MIN, INT16_MAX); }
    __device__ int32_t i32() const { return whole_of<int32_t>(v, -2147483648.0, 2147483648.0, INT32_MIN, INT32_MAX); }
    __device__ int64_t i64() const {
        return whole_of<int64_t>(v, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);
    }
    __device__ float f32() const { return (float)v; }
    __device__ double f64() const { return v; }
};

template <typename W> struct from_whole {
    W v;
    __device__ bool truth() const { return v != 0; }
    __device__ uint8_t u8() const { return (uint8_t)v; }
    __device__ uint16_t u16() const { return (uint16_t)v; }
    __device__ uint32_t u32() const { return (uint32_t)v; }
    __device__ uint64_t u64() const { return (uint64_t)v; }
    __device__ int8_t i8() const { return (int8_t)v; }
    __device__ int16_t i16() const { return (int16_t)v; }
    __device__ int32_t i32() const { return (int32_t)v; }
    __device__ int64_t i64() const { return (int64_t)v; }
    __device__ float f32() const { return (float)v; }
    __device__ double f64() const { return (double)v; }
};

__device__ static from_real given(float v) { return {(double)v}; }
__device__ static from_real given(double v) { return {v}; }
template <typename W> __device__ static from_whole<W> given(W v) { return {v}; }

template <typename V> __device__ static void write_as(enum datatype datatype, void *to, int64_t i, const V &value) {
    switch (datatype) {
    case DATATYPE_BOOL:
        ((uint8_t *)to)[i] = value.truth();
        return;
    case DATATYPE_UINT8:
        ((uint8_t *)to)[i] = value.u8();
        return;
    case DATATYPE_UINT16:
        ((uint16_t *)to)[i] = value.u16();
        return;
    case DATATYPE_UINT32:
        ((uint32_t *)to)[i] = value.u32();
        return;
    case DATATYPE_UINT64:
        ((uint64_t *)to)[i] = value.u64();
        return;
    case DATATYPE_INT8:
        ((int8_t *)to)[i] = value.i8();
        return;
    case DATATYPE_INT16:
        ((int16_t *)to)[i] = value.i16();
        return;
    case DATATYPE_INT32:
        ((int32_t *)to)[i] = value.i32();
        return;
    case DATATYPE_INT64:
        ((int64_t *)to)[i] = value.i64();
        return;
    case DATATYPE_FP16:
        ((__half *)to)[i] = __double2half(value.f64()); /* rounded once */
        return;
    case DATATYPE_FP32:
        ((float *)to)[i] = value.f32();
        return;
    default:
        ((double *)to)[i] = value.f64();
    }
}

template <typename T> __global__ void cast_kernel(int64_t n, const T *x, enum datatype datatype, void *to) {
    CUDA__EACH(i, n) write_as(datatype, to, i, given(cuda__read(x + i)));
}
static __global__ void cast_truth_kernel(int64_t n, const uint8_t *x, enum datatype datatype, void *to) {
    CUDA__EACH(i, n) write_as(datatype, to, i, given((int32_t)(x[i] != 0)));
}

template <typename T> static int launch_from(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, cast_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, (const T *)call->in[0],
                        call->step->out[0]->datatype, call->out[0]);
}

static int copy(const struct cuda__call *call, struct err *err) {
    const struct tensor *out = call->step->out[0];
    if (out->size_bytes == 0) return 0;
    CUDA__TRY(cudaMemcpyAsync(call->out[0], call->in[0], out->size_bytes, cudaMemcpyDeviceToDevice,
                              call->device->stream),
              err);
    return 0;
}

extern "C" int cuda__cast_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *out = call->step->out[0];
    int64_t n = onnx__count(out);
    if (call->step->in[0]->datatype == out->datatype) return copy(call, err);
    switch (call->step->in[0]->datatype) {
    case DATATYPE_BOOL:
        return cuda__launch(call, err, cast_truth_kernel, cuda__blocks(call, n), CUDA__BLOCK, n,
                            (const uint8_t *)call->in[0], out->datatype, call->out[0]);
    case DATATYPE_UINT8:
        return launch_from<uint8_t>(call, err);
    case DATATYPE_UINT16:
        return launch_from<uint16_t>(call, err);
    case DATATYPE_UINT32:
        return launch_from<uint32_t>(call, err);
    case DATATYPE_UINT64:
        return launch_from<uint64_t>(call, err);
    case DATATYPE_INT8:
        return launch_from<int8_t>(call, err);
    case DATATYPE_INT16:
        return launch_from<int16_t>(call, err);
    case DATATYPE_INT32:
        return launch_from<int32_t>(call, err);
    case DATATYPE_INT64:
        return launch_from<int64_t>(call, err);
    case DATATYPE_FP16:
        return launch_from<__half>(call, err);
    case DATATYPE_FP32:
        return launch_from<float>(call, err);
    default:
        return launch_from<double>(call, err);
    }
}

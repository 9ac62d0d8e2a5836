/* Operands seen along an output's elements: NumPy's broadcasting as dimensions and steps, with neighbours joined in
 * which all operands behave alike, so that equal shapes and single numbers cost no division at all. */
#ifndef PENSTOCK_ONNX_CUDA_BROADCAST_CUH
#define PENSTOCK_ONNX_CUDA_BROADCAST_CUH

#include "kernel.cuh"

template <int N> struct cuda__spread {
    int rank;
    bool narrow; /* indices have 31 bits, and `fast` divides them */
    cuda__divider<uint32_t> fast[TENSOR_MAX_RANK];
    int64_t dims[TENSOR_MAX_RANK], steps[N][TENSOR_MAX_RANK];
};

/* Where element i of the output is in each operand. */
template <int N> __device__ inline void cuda__spread_find(const cuda__spread<N> &spread, int64_t i, int64_t *at) {
    for (int k = 0; k < N; k++) at[k] = 0;
    for (int dim = spread.rank - 1; dim > 0; dim--) {
        int64_t rest = spread.narrow ? spread.fast[dim].quotient((uint32_t)i) : i / spread.dims[dim],
                index = i - rest * spread.dims[dim];
        for (int k = 0; k < N; k++) at[k] += index * spread.steps[k][dim];
        i = rest;
    }
    for (int k = 0; k < N; k++) at[k] += i * spread.steps[k][0];
}

template <int N> cuda__spread<N> cuda__spread_of(const struct tensor *out, const struct tensor *const (&operands)[N]) {
    cuda__spread<N> spread = {};
    for (int dim = 0; dim < out->rank; dim++) {
        int64_t steps[N], size = out->shape[dim];
        if (size == 1) continue;
        bool joins = spread.rank > 0;
        for (int k = 0; k < N; k++) {
            int at = dim - (out->rank - operands[k]->rank);
            bool stands = at < 0 || operands[k]->shape[at] == 1;
            steps[k] = stands ? 0 : onnx__shape_product(operands[k], at + 1, operands[k]->rank);
            joins = joins && spread.steps[k][spread.rank - 1] == steps[k] * size;
        }
        int last = joins ? spread.rank - 1 : spread.rank++;
        spread.dims[last] = joins ? spread.dims[last] * size : size;
        for (int k = 0; k < N; k++) spread.steps[k][last] = steps[k];
    }
    if (spread.rank == 0) spread.dims[spread.rank++] = 1;
    spread.narrow = onnx__count(out) <= INT32_MAX;
    for (int dim = 0; spread.narrow && dim < spread.rank; dim++)
        spread.fast[dim] = cuda__divider<uint32_t>::of(spread.dims[dim]);
    return spread;
}

#endif

/* Shared by the files of src/onnx/cuda, in C and in CUDA's C++. From low to high: device (errors, streams), blas
 * (cuBLASLt), the kernel families (*.cu, on kernel.cuh), ops (the table of them), place (where values are), run (steps
 * in segments), backend (the vtable). */
#ifndef PENSTOCK_ONNX_CUDA_INTERNAL_H
#define PENSTOCK_ONNX_CUDA_INTERNAL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
#define class class_ /* struct err has a member of that name, which C++ reserves */
extern "C" {
#endif
#include "../cpu/forms.h"
#ifdef __cplusplus
#undef class
#endif

/* --- device.c ---------------------------------------------------------------------------------------------------- */

/* The first thing that a kernel found wrong in a run; in device memory. */
enum cuda__fault_code { CUDA__DIVIDED_BY_ZERO = 1, CUDA__INDEX_OUT_OF_RANGE, CUDA__LENGTH_OUT_OF_RANGE };
struct cuda__fault {
    unsigned step; /* its number + 1; 0: none */
    unsigned code;
};

/* What the calls of a session share. */
struct cuda__device {
    int ordinal, multiprocessors;
    enum onnx_precision precision;
    cudaStream_t stream, copies;            /* kernels; and what overlaps with them */
    struct cuda__fault *fault, *fault_seen; /* on the device; where it is copied to after a run */
    struct cuda__blas *blas;                /* NULL: there is no cuBLASLt, and our own kernel multiplies */
    char *workspace;                        /* one for all steps, since they run one after the other */
    size_t workspace_bytes;
};

/* Writes *err for what the runtime returned; returns -1. A device that fails again when it is asked to do nothing is
 * lost. */
int cuda__fail(cudaError_t code, const char *what, struct err *err);
#define CUDA__TRY(call, err)                                                                                           \
    do {                                                                                                               \
        cudaError_t cuda__code = (call);                                                                               \
        if (cuda__code != cudaSuccess) return cuda__fail(cuda__code, #call, err);                                      \
    } while (0)

int cuda__device_probe(int ordinal, char *ret_name, size_t ret_size, struct err *err);
int cuda__device_open(struct cuda__device *device, const struct onnx_session_options *options, struct err *err);
void cuda__device_close(struct cuda__device *device);
/* Memory on the device; ERR_OUT_OF_MEMORY says how much there is. Nothing for 0 bytes. */
int cuda__device_alloc(void **ret, size_t size_bytes, const char *what, struct err *err);

/* --- blas.c ------------------------------------------------------------------------------------------------------ */

/* Row-major c[m,n] = alpha * a[m,k] * b[k,n] + beta * added (+ bias[n]), negative ones cut off with relu, for `batch` of
 * them at strides in elements. */
struct cuda__product {
    enum datatype datatype; /* FP32 or FP64 */
    bool trans_a, trans_b;
    int64_t m, n, k, batch, stride_a, stride_b, stride_c;
    float alpha, beta;
    const void *bias;  /* on the device; NULL: none */
    const void *added; /* laid out as c; NULL: c itself */
    bool relu;
};
struct cuda__blas;
struct cuda__matmul; /* a product with the algorithm chosen for it */

struct cuda__blas *cuda__blas_open(void); /* NULL: the library is not there */
void cuda__blas_close(struct cuda__blas *blas);
#define CUDA__BLAS_WORKSPACE ((size_t)32 << 20) /* what NVIDIA recommends for Hopper */
/* NULL: the library has no algorithm for it. *ret_workspace: the bytes that it needs. */
struct cuda__matmul *cuda__blas_plan(struct cuda__blas *blas, const struct cuda__product *product,
                                     enum onnx_precision precision, size_t *ret_workspace);
int cuda__blas_run(const struct cuda__matmul *mm, const void *a, const void *b, void *c,
                   const struct cuda__device *device, struct err *err);
void cuda__blas_forget(struct cuda__matmul *mm);

/* --- operators --------------------------------------------------------------------------------------------------- */

/* A step as a kernel family sees it. Addresses are the device's; missing optional inputs and outputs are NULL. */
struct cuda__call {
    const struct onnx__step *step; /* shapes and attributes; of its tensors' data only what is known below */
    const void **in;
    void **out;
    const void **known; /* host bytes of each input that was known when the plan was made, else NULL */
    unsigned number;    /* for faults: the step's + 1 */
    const struct cuda__device *device;
    size_t workspace_bytes; /* prepare asks for it; launch finds it in device->workspace */
    void *made;             /* by prepare */
};

/* Called each time that addresses change, never in a run: may allocate. */
typedef int cuda__prepare_fn(struct cuda__call *call, struct err *err);
typedef void cuda__forget_fn(struct cuda__call *call);
/* Enqueues the step on device->stream, and nothing else: it may be recorded into a graph. */
typedef int cuda__launch_fn(const struct cuda__call *call, struct err *err);

struct cuda__op {
    const char *op_type;
    uint32_t types;                               /* of input 0; others run on the CPU */
    bool (*takes)(const struct onnx__step *step); /* [optional] false: this form of it runs on the CPU */
    cuda__launch_fn *launch;
    cuda__prepare_fn *prepare; /* [optional] */
    cuda__forget_fn *forget;   /* [optional] */
};

/* matmul.cu: c = alpha * a * b for families that multiply on their way, FP32, c's matrices without gaps; by the library
 * where `mm` is what it has planned, else by our own kernel. */
bool cuda__product_takes(const struct cuda__product *product);
int cuda__product_launch(const struct cuda__call *call, const struct cuda__product *product,
                         const struct cuda__matmul *mm, const void *a, const void *b, void *c, struct err *err);

const struct cuda__op *cuda__op_find(const struct onnx__step *step); /* ops.c; NULL: it runs on the CPU */
/* How it would run there; NULL: it is a view that has nothing to do. */
static inline onnx__run_fn *cuda__host_run(const struct onnx__step *step) {
    return step->node->fast ? step->node->fast->run : step->node->op->run;
}

/* --- place.c: where the values of a plan are --------------------------------------------------------------------- */

enum cuda__where { CUDA__NOWHERE, CUDA__ON_DEVICE, CUDA__ON_HOST }; /* nowhere: a view */

/* Steps that run without a look at the flags between them. */
struct cuda__segment {
    size_t from, to;       /* steps [from, to) */
    bool on_host;          /* it is one step */
    bool longer;           /* it takes more than the time of a segment by itself */
    cudaGraphExec_t graph; /* NULL: launched one by one */
    cudaEvent_t done;
};

/* plan->backend. */
struct cuda__plan {
    uint64_t generation;         /* of the addresses that it is bound to; 0: none yet */
    enum cuda__where *where;     /* by step */
    const struct cuda__op **ops; /* by step */
    struct cuda__call *calls;    /* by step */
    void **device;               /* by value number */
    size_t *mirror_at;           /* by value number; PLAN_NO_OFFSET: the host does not see it */
    size_t mirror_bytes, scratch_at;
    char *constants; /* on the device: what was folded for this plan */
    float *step_ms;  /* by step; as measured in the first run */
    bool measured, cut;
    struct cuda__segment *segments;
    size_t segment_count;
};

struct cuda__state {
    const struct onnx_model *model;
    struct cuda__device device;
    char
        *weights[2]; /* on the device, uploaded once: what the plain graph reads, and the fused one, beyond the other */
    bool uploaded[2];
    void **weight_of; /* by value number; NULL: none */
    size_t weight_bytes;
    char *memory; /* on the device: activations */
    size_t memory_bytes;
    char *mirror; /* pinned: what the host sees of them */
    size_t mirror_bytes;
    uint64_t generation;       /* counts moves of memory, mirror and workspace */
    cudaEvent_t *inputs_there; /* by input of the graph */
    cudaEvent_t before, after; /* of a step that is measured; of a segment */
};

/* Uploads what the plain or the fused graph reads, if that is not there yet. */
int cuda__place_weights(struct cuda__state *state, bool fused, struct err *err);
/* Lays the plan over the memory, which it makes larger where it must. */
int cuda__place_plan(struct cuda__state *state, struct onnx__plan *plan, struct err *err);
void cuda__place_forget(struct onnx__plan *plan);
static inline struct cuda__plan *cuda__plan_of(const struct onnx__plan *plan) {
    return (struct cuda__plan *)plan->backend;
}

/* --- run.c ------------------------------------------------------------------------------------------------------- */

int cuda__run(struct cuda__state *state, struct onnx__plan *plan, const struct onnx_control *control, struct err *err);
/* Cuts a plan that has been measured into segments, and records them. */
int cuda__run_cut(struct cuda__state *state, struct onnx__plan *plan, struct err *err);
void cuda__run_forget(struct cuda__plan *own); /* the segments */

#ifdef __cplusplus
}
#endif
#endif

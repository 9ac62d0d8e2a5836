/* MatMul and Gemm: FP32 and FP64 by cuBLASLt, and by a kernel of our own whole numbers and whatever the library is not
 * there for or has no algorithm for.
 *
 * A stack of matrices is one batched product where its strides are regular: equal stacks, or one matrix for all. One
 * matrix on the right is better still: the rows of the stack are the rows of one product. Other stacks go to our kernel,
 * which looks up where each matrix lies. Gemm's C is a bias in the library's epilogue if it is one row; otherwise it is
 * stretched over the output first, and the product is added to it.
 *
 * What follows the product in the same step goes into the library's epilogue as far as that has it: a bias, a tensor of
 * the output's own shape (the C that is added), Relu. What is left over, GELU for instance, is one more pass.
 */
#include "tail.cuh"

/* What both operators come down to. */
struct product {
    struct cuda__product one; /* batch: 1 */
    struct tensor stacks[3];  /* of a, b and the output, with the matrices' own dimensions cut off */
    int64_t matrices;
    const struct tensor *c; /* of Gemm */
    const void *c_at;
};

static struct product read_matmul(const struct cuda__call *call) {
    const struct onnx__step *step = call->step;
    struct tensor a = *step->in[0], b = *step->in[1];
    struct product p = {};
    const int64_t as_row[2] = {1, a.shape[0]}, as_col[2] = {b.shape[0], 1};
    if (a.rank == 1) onnx__shape_set(&a, a.datatype, 2, as_row);
    if (b.rank == 1) onnx__shape_set(&b, b.datatype, 2, as_col);
    p.one.datatype = a.datatype;
    p.one.m = a.shape[a.rank - 2];
    p.one.n = b.shape[b.rank - 1];
    p.one.k = a.shape[a.rank - 1];
    p.one.batch = 1;
    p.one.alpha = 1;
    p.stacks[0] = a, p.stacks[1] = b, p.stacks[2] = *step->out[0];
    p.stacks[0].rank -= 2, p.stacks[1].rank -= 2;
    p.stacks[2].rank -= (step->in[0]->rank > 1) + (step->in[1]->rank > 1);
    if (onnx__step_in(step, TAIL_BIAS)) p.c = step->in[TAIL_BIAS], p.c_at = call->in[TAIL_BIAS], p.one.beta = 1;
    if (onnx__count(&p.stacks[1]) == 1) { /* one matrix for all */
        p.one.m *= onnx__count(&p.stacks[0]);
        for (struct tensor &stack : p.stacks) stack.rank = 0;
    }
    p.matrices = onnx__count(&p.stacks[2]);
    return p;
}

static struct product read_gemm(const struct cuda__call *call) {
    const struct onnx__step *step = call->step;
    const struct tensor *a = step->in[0], *b = step->in[1], *c = onnx__step_in(step, 2);
    struct product p = {};
    p.one.datatype = a->datatype;
    p.one.trans_a = onnx__step_int(step, "transA", 0) != 0;
    p.one.trans_b = onnx__step_int(step, "transB", 0) != 0;
    p.one.alpha = onnx__step_float(step, "alpha", 1);
    p.one.beta = c ? onnx__step_float(step, "beta", 1) : 0;
    p.one.m = a->shape[p.one.trans_a];
    p.one.k = a->shape[!p.one.trans_a];
    p.one.n = b->shape[!p.one.trans_b];
    p.one.batch = p.matrices = 1;
    if (p.one.beta != 0) p.c = c, p.c_at = call->in[2];
    return p;
}

static struct product read_product(const struct cuda__call *call) {
    return strcmp(call->step->node->op_type, "Gemm") == 0 ? read_gemm(call) : read_matmul(call);
}

/* --- our own kernel ---------------------------------------------------------------------------------------------- */

#define TILE    64 /* rows and columns of the output that a block computes */
#define DEPTH   16 /* of k at a time */
#define THREADS 16 /* in each direction */
#define EACH    (TILE / THREADS)

/* Elements of a matrix from one row, and one column, to the next. */
struct walk {
    int64_t row, col;
};

template <typename T>
__global__ void product_kernel(int64_t m, int64_t n, int64_t k, T alpha, const T *a, walk wa, const T *b, walk wb,
                               cuda__spread<2> stacks, T beta, const T *c, walk wc, T *out) {
    __shared__ T tile_a[DEPTH][TILE + 1], tile_b[DEPTH][TILE + 1];
    int64_t where[2], row = (int64_t)blockIdx.y * TILE, col = (int64_t)blockIdx.x * TILE;
    T sums[EACH][EACH] = {};
    cuda__spread_find(stacks, blockIdx.z, where);
    a += where[0], b += where[1], out += (int64_t)blockIdx.z * m * n;
    for (int64_t at = 0; at < k; at += DEPTH) {
        for (int i = threadIdx.y * THREADS + threadIdx.x; i < DEPTH * TILE; i += THREADS * THREADS) {
            int depth = i / TILE, across = i % TILE;
            bool inside = at + depth < k;
            tile_a[depth][across] = inside && row + across < m ? a[(row + across) * wa.row + (at + depth) * wa.col] : 0;
            tile_b[depth][across] = inside && col + across < n ? b[(at + depth) * wb.row + (col + across) * wb.col] : 0;
        }
        __syncthreads();
        for (int depth = 0; depth < DEPTH; depth++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sums[i][j] += tile_a[depth][threadIdx.y + i * THREADS] * tile_b[depth][threadIdx.x + j * THREADS];
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            int64_t y = row + threadIdx.y + i * THREADS, x = col + threadIdx.x + j * THREADS;
            if (y >= m || x >= n) continue;
            T value = alpha * sums[i][j];
            out[y * n + x] = c ? value + beta * c[y * wc.row + x * wc.col] : value;
        }
}

static walk walk_of(bool transposed, int64_t rows, int64_t cols) { return transposed ? walk{1, rows} : walk{cols, 1}; }

/* How C lies over the output. */
static walk walk_stretched(const struct tensor *c) {
    if (!c) return {0, 0};
    int64_t rows = c->rank > 1 ? c->shape[c->rank - 2] : 1, cols = c->rank > 0 ? c->shape[c->rank - 1] : 1;
    return {rows > 1 ? cols : 0, cols > 1 ? 1 : 0};
}

/* alpha and beta are cast by way of S. Whole numbers are unsigned, whose low bits are those of signed numbers too; their
 * factors are whole, and may be negative. */
template <typename T, typename S>
static int launch_own(const struct cuda__call *call, struct err *err, const struct product &p) {
    const struct cuda__product &one = p.one;
    const struct tensor *operands[2] = {&p.stacks[0], &p.stacks[1]};
    cuda__spread<2> stacks = cuda__spread_of(&p.stacks[2], operands);
    for (int dim = 0; dim < stacks.rank; dim++) {
        stacks.steps[0][dim] *= one.m * one.k;
        stacks.steps[1][dim] *= one.k * one.n;
    }
    dim3 grid((unsigned)((one.n + TILE - 1) / TILE), (unsigned)((one.m + TILE - 1) / TILE), (unsigned)p.matrices);
    return cuda__launch(call, err, product_kernel<T>, grid, dim3(THREADS, THREADS), one.m, one.n, one.k,
                        (T)(S)one.alpha, (const T *)call->in[0], walk_of(one.trans_a, one.m, one.k),
                        (const T *)call->in[1], walk_of(one.trans_b, one.k, one.n), stacks, (T)(S)one.beta,
                        (const T *)p.c_at, walk_stretched(p.c), (T *)call->out[0]);
}

/* --- which of them ----------------------------------------------------------------------------------------------- */

/* Is a stack one matrix, or as many as the output has? Then it is regular; *ret_stride: elements to the next. */
static bool regular(const struct tensor *stack, int64_t matrices, int64_t size, int64_t *ret_stride) {
    int64_t own = onnx__count(stack);
    *ret_stride = own == 1 ? 0 : size;
    return own == 1 || own == matrices;
}

static bool is_row(const struct product &p) {
    return p.c && p.one.beta == 1 && onnx__count(p.c) == p.one.n && p.c->rank > 0 &&
           p.c->shape[p.c->rank - 1] == p.one.n;
}

/* What follows, without what the library can do in its epilogue, which is written into *one: pointers alone, so that it
 * is the same whenever it is asked for. `one` has its bias already, and its beta is what is still free. */
static cuda__ending split_ending(const struct cuda__call *call, struct cuda__product *one) {
    cuda__ending ending = cuda__ending_of(call);
    const struct tensor *rest = call->step->node->tail ? onnx__step_in(call->step, TAIL_REST) : NULL;
    ending.bias = NULL; /* is C */
    if (rest && one->beta == 0 && onnx__count(rest) == onnx__count(call->step->out[0])) {
        one->added = ending.rest, one->beta = 1;
        ending.rest = NULL;
    }
    if (!ending.rest && ending.function == FUNCTION_RELU) {
        one->relu = true;
        ending.function = FUNCTION_NONE;
    }
    return ending;
}

extern "C" int cuda__matmul_prepare(struct cuda__call *call, struct err *err) {
    struct product p = read_product(call);
    struct cuda__product one = p.one;
    bool real = one.datatype == DATATYPE_FP32 || one.datatype == DATATYPE_FP64;
    (void)err;
    if (!call->device->blas || !real || one.m == 0 || one.n == 0 || one.k == 0 || p.matrices == 0 ||
        !regular(&p.stacks[0], p.matrices, one.m * one.k, &one.stride_a) ||
        !regular(&p.stacks[1], p.matrices, one.k * one.n, &one.stride_b))
        return 0;
    one.batch = p.matrices;
    one.stride_c = one.m * one.n;
    if (is_row(p)) one.bias = p.c_at, one.beta = 0;
    (void)split_ending(call, &one);
    call->made = cuda__blas_plan(call->device->blas, &one, call->device->precision, &call->workspace_bytes);
    return 0;
}

extern "C" void cuda__matmul_forget(struct cuda__call *call) { cuda__blas_forget((struct cuda__matmul *)call->made); }

template <typename T> __global__ void stretch_kernel(int64_t n, int64_t cols, const T *c, walk wc, T *out) {
    CUDA__EACH(i, n) out[i] = c[i / cols * wc.row + i % cols * wc.col];
}

template <typename T>
static int launch_stretch(const struct cuda__call *call, struct err *err, const struct product &p) {
    int64_t n = p.one.m * p.one.n;
    return cuda__launch(call, err, stretch_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, p.one.n, (const T *)p.c_at,
                        walk_stretched(p.c), (T *)call->out[0]);
}

static int launch_blas(const struct cuda__call *call, struct err *err, const struct product &p) {
    if (p.c && !is_row(p)) {
        int rc = p.one.datatype == DATATYPE_FP64 ? launch_stretch<double>(call, err, p)
                                                 : launch_stretch<float>(call, err, p);
        if (rc != 0) return rc;
    }
    return cuda__blas_run((const struct cuda__matmul *)call->made, call->in[0], call->in[1], call->out[0], call->device,
                          err);
}

static int launch_product(const struct cuda__call *call, struct err *err, const struct product &p) {
    if (call->made) return launch_blas(call, err, p);
    if (p.one.datatype == DATATYPE_FP32) return launch_own<float, float>(call, err, p);
    if (p.one.datatype == DATATYPE_FP64) return launch_own<double, double>(call, err, p);
    return datatype_size(p.one.datatype) == sizeof(uint32_t) ? launch_own<uint32_t, int32_t>(call, err, p)
                                                             : launch_own<uint64_t, int64_t>(call, err, p);
}

extern "C" int cuda__matmul_launch(const struct cuda__call *call, struct err *err) {
    struct product p = read_product(call);
    struct cuda__product one = p.one;
    if (is_row(p)) one.beta = 0;
    cuda__ending ending = cuda__ending_of(call);
    ending.bias = NULL; /* is C */
    if (call->made) ending = split_ending(call, &one);
    if (launch_product(call, err, p) != 0) return -1;
    if (cuda__ending_is_none(ending)) return 0;
    return cuda__launch_end(call, err, 1, call->out[0], ending, 1, 1);
}

/* Blocks are counted in 16 bits in two of the grid's directions. */
extern "C" bool cuda__matmul_takes(const struct onnx__step *step) {
    const struct tensor *out = step->out[0];
    int rank = out->rank;
    return onnx__shape_product(out, 0, rank > 2 ? rank - 2 : 0) <= UINT16_MAX &&
           onnx__shape_product(out, 0, rank > 1 ? rank - 1 : 0) / TILE < UINT16_MAX;
}

/* --- for other families ------------------------------------------------------------------------------------------ */

extern "C" bool cuda__product_takes(const struct cuda__product *product) {
    return product->batch <= UINT16_MAX && product->m / TILE < UINT16_MAX;
}

extern "C" int cuda__product_launch(const struct cuda__call *call, const struct cuda__product *product,
                                    const struct cuda__matmul *mm, const void *a, const void *b, void *c,
                                    struct err *err) {
    if (mm) return cuda__blas_run(mm, a, b, c, call->device, err);
    const struct cuda__product &p = *product;
    cuda__spread<2> stacks = {};
    stacks.rank = 1;
    stacks.dims[0] = p.batch;
    stacks.steps[0][0] = p.stride_a;
    stacks.steps[1][0] = p.stride_b;
    dim3 grid((unsigned)((p.n + TILE - 1) / TILE), (unsigned)((p.m + TILE - 1) / TILE), (unsigned)p.batch);
    return cuda__launch(call, err, product_kernel<float>, grid, dim3(THREADS, THREADS), p.m, p.n, p.k, p.alpha,
                        (const float *)a, walk_of(p.trans_a, p.m, p.k), (const float *)b, walk_of(p.trans_b, p.k, p.n),
                        stacks, 0.0f, (const float *)NULL, walk_stretched(NULL), (float *)c);
}

/* LSTM, GRU and RNN.
 *
 * What the gates get from the input does not depend on time: one product over all steps, batched over the directions.
 * Then there is one launch a step, or two for a GRU that fades the state before it multiplies it, since its third gate
 * needs all of the second one. A launch has a warp for each hidden unit: it multiplies the unit's rows of R with the
 * state, for some items of the batch at a time so that R is read once for them, and finishes the cells. Both directions
 * go at once, the second from its end. The state is read in one place and written in another, by turns; within a CUDA
 * graph that is all that keeps the steps in order.
 *
 * sequence_lens is data and looked at on the device (cpu/recurrent.c says what it means). The work space: the product,
 * two states, the cells of an LSTM or the update gates of a GRU, and its faded state. */
#include "kernel.cuh"

#include <stdlib.h>

/* --- what kernels see -------------------------------------------------------------------------------------------- */

#define ITEMS 4 /* of the batch that a warp has at a time */

struct cells {
    struct onnx__rnn node;
    const float *r, *bias, *peephole; /* bias and peephole may be NULL */
    const int32_t *lens;              /* may be NULL */
    const float *from_input;
    float *states[2], *second, *faded, *y; /* second: cells or update gates; y may be NULL */
    struct cuda__fault *fault;
    unsigned step;
};

/* One number of one state. */
struct spot {
    int64_t direction, item, unit, t;
    int64_t at; /* in states, second and faded: [directions, batch, hidden] */
    bool live;  /* takes part in this step */
};

__device__ static spot spot_of(const cells &c, int64_t turn, int64_t direction, int64_t item, int64_t unit) {
    const struct onnx__rnn &node = c.node;
    bool backwards = direction == 1 || node.first_reverse;
    int64_t t = backwards ? node.seq - 1 - turn : turn, length = c.lens ? c.lens[item] : node.seq;
    if (length < 0 || length > node.seq) cuda__raise(c.fault, c.step, CUDA__LENGTH_OUT_OF_RANGE);
    return {direction, item, unit, t, (direction * node.batch + item) * node.hidden + unit, t < length};
}

__device__ static float activated(const struct onnx__activation &f, float x) {
    switch (f.function) {
    case CELL_SIGMOID:
        return 1 / (1 + expf(-x));
    case CELL_TANH:
        return tanhf(x);
    case CELL_RELU:
        return x < 0 ? 0 : x;
    case CELL_AFFINE:
        return f.alpha * x + f.beta;
    case CELL_LEAKY_RELU:
        return x < 0 ? f.alpha * x : x;
    case CELL_THRESHOLDED_RELU:
        return x > f.alpha ? x : 0;
    case CELL_SCALED_TANH:
        return f.alpha * tanhf(f.beta * x);
    case CELL_HARD_SIGMOID:
        return fminf(fmaxf(f.alpha * x + f.beta, 0), 1);
    case CELL_ELU:
        return x < 0 ? f.alpha * expm1f(x) : x;
    case CELL_SOFTSIGN:
        return x / (1 + fabsf(x));
    default: /* CELL_SOFTPLUS */
        return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
    }
}

/* Function number `which` of the direction, of what is clipped first. */
__device__ static float activate(const cells &c, const spot &s, int which, float x) {
    x = x > c.node.clip ? c.node.clip : x < -c.node.clip ? -c.node.clip : x;
    return activated(c.node.activations[s.direction * c.node.functions + which], x);
}

/* A gate's part from the input, with the bias that goes with it, and with `recurrent` the state's too. */
__device__ static float given(const cells &c, const spot &s, int gate, bool recurrent) {
    const struct onnx__rnn &node = c.node;
    int64_t row = node.batch_first ? s.item * node.seq + s.t : s.t * node.batch + s.item;
    int64_t place = gate * node.hidden + s.unit;
    float v = c.from_input[(s.direction * node.seq * node.batch + row) * node.width + place];
    if (!c.bias) return v;
    const float *bias = c.bias + s.direction * 2 * node.width + place;
    return v + bias[0] + (recurrent ? bias[node.width] : 0);
}

__device__ static void store(const cells &c, const spot &s, float *next, float h) {
    const struct onnx__rnn &node = c.node;
    int64_t row = node.batch_first ? (s.item * node.seq + s.t) * node.directions + s.direction
                                   : (s.t * node.directions + s.direction) * node.batch + s.item;
    next[s.at] = h;
    if (c.y) c.y[row * node.hidden + s.unit] = s.live ? h : 0;
}

/* --- cells ------------------------------------------------------------------------------------------------------- */

/* Each names the gates whose rows of R it multiplies, and with what; `sums` are the products. h: the state so far. */

/* Gates in the order i, o, f, c; peepholes i, o, f. */
struct lstm_cell {
    static constexpr int FIRST = 0, GATES = 4;
    static constexpr bool OF_FADED = false;
    __device__ static void finish(const cells &c, const spot &s, const float *sums, float h, float *next) {
        int64_t n = c.node.hidden;
        const float *p = c.peephole ? c.peephole + s.direction * 3 * n + s.unit : NULL;
        if (s.live) {
            float cell = c.second[s.at];
            float in = activate(c, s, 0, given(c, s, 0, true) + sums[0] + (p ? p[0] * cell : 0));
            float forget = c.node.input_forget
                               ? 1 - in
                               : activate(c, s, 0, given(c, s, 2, true) + sums[2] + (p ? p[2 * n] * cell : 0));
            cell = forget * cell + in * activate(c, s, 1, given(c, s, 3, true) + sums[3]);
            float out = activate(c, s, 0, given(c, s, 1, true) + sums[1] + (p ? p[n] * cell : 0));
            h = out * activate(c, s, 2, cell);
            c.second[s.at] = cell;
        }
        store(c, s, next, h);
    }
};

/* Gates in the order z, r, h. The state multiplied, then reset. */
struct gru_cell {
    static constexpr int FIRST = 0, GATES = 3;
    static constexpr bool OF_FADED = false;
    __device__ static void finish(const cells &c, const spot &s, const float *sums, float h, float *next) {
        if (s.live) {
            float z = activate(c, s, 0, given(c, s, 0, true) + sums[0]),
                  r = activate(c, s, 0, given(c, s, 1, true) + sums[1]);
            float inside = c.bias ? c.bias[(s.direction * 2 + 1) * c.node.width + 2 * c.node.hidden + s.unit] : 0;
            h = (1 - z) * activate(c, s, 1, given(c, s, 2, false) + r * (sums[2] + inside)) + z * h;
        }
        store(c, s, next, h);
    }
};

/* The state reset, then multiplied: first the two gates of all units, then the third. */
struct gru_gates {
    static constexpr int FIRST = 0, GATES = 2;
    static constexpr bool OF_FADED = false;
    __device__ static void finish(const cells &c, const spot &s, const float *sums, float h, float *) {
        c.second[s.at] = activate(c, s, 0, given(c, s, 0, true) + sums[0]);
        c.faded[s.at] = activate(c, s, 0, given(c, s, 1, true) + sums[1]) * h;
    }
};
struct gru_state {
    static constexpr int FIRST = 2, GATES = 1;
    static constexpr bool OF_FADED = true;
    __device__ static void finish(const cells &c, const spot &s, const float *sums, float h, float *next) {
        float z = c.second[s.at];
        if (s.live) h = (1 - z) * activate(c, s, 1, given(c, s, 2, true) + sums[0]) + z * h;
        store(c, s, next, h);
    }
};

struct rnn_cell {
    static constexpr int FIRST = 0, GATES = 1;
    static constexpr bool OF_FADED = false;
    __device__ static void finish(const cells &c, const spot &s, const float *sums, float h, float *next) {
        if (s.live) h = activate(c, s, 0, given(c, s, 0, true) + sums[0]);
        store(c, s, next, h);
    }
};

/* Step number `turn`. A warp for each unit, blocks in y for groups of N items, in z for directions. Lane i finishes
 * item i of the group. */
template <typename CELL, int N> __global__ void cell_kernel(cells c, int64_t turn) {
    const int64_t n = c.node.hidden, unit = (int64_t)blockIdx.x * blockDim.y + threadIdx.y, direction = blockIdx.z;
    const float *state = c.states[turn & 1] + direction * c.node.batch * n;
    const float *with = CELL::OF_FADED ? c.faded + direction * c.node.batch * n : state;
    const float *rows = c.r + (direction * c.node.width + CELL::FIRST * n + unit) * n;
    if (unit >= n) return; /* with the whole warp */
    for (int64_t first = (int64_t)blockIdx.y * N; first < c.node.batch; first += (int64_t)gridDim.y * N) {
        float sums[CELL::GATES][N] = {}, own[CELL::GATES] = {};
        for (int64_t i = threadIdx.x; i < n; i += CUDA__WARP) {
            CUDA__UNROLL
            for (int k = 0; k < N; k++) {
                float v = first + k < c.node.batch ? with[(first + k) * n + i] : 0;
                CUDA__UNROLL
                for (int gate = 0; gate < CELL::GATES; gate++) sums[gate][k] += rows[gate * n * n + i] * v;
            }
        }
        CUDA__UNROLL
        for (int gate = 0; gate < CELL::GATES; gate++) {
            CUDA__UNROLL
            for (int k = 0; k < N; k++) {
                float sum = sums[gate][k];
                for (int lane = CUDA__WARP / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lane);
                if (k == (int)threadIdx.x) own[gate] = sum;
            }
        }
        int64_t item = first + threadIdx.x;
        if (threadIdx.x >= N || item >= c.node.batch) continue;
        CELL::finish(c, spot_of(c, turn, direction, item, unit), own, state[item * n + unit], c.states[(turn + 1) & 1]);
    }
}

/* --- states in and out ------------------------------------------------------------------------------------------- */

/* Number i of [directions, batch, hidden] in a tensor of states. */
__device__ static int64_t state_at(const struct onnx__rnn &node, int64_t i) {
    if (!node.batch_first) return i;
    int64_t unit = i % node.hidden, item = i / node.hidden % node.batch, direction = i / node.hidden / node.batch;
    return (item * node.directions + direction) * node.hidden + unit;
}

static __global__ void enter_kernel(int64_t n, struct onnx__rnn node, const float *from, float *to) {
    CUDA__EACH(i, n) to[i] = from ? from[state_at(node, i)] : 0;
}
static __global__ void leave_kernel(int64_t n, struct onnx__rnn node, const float *from, float *to) {
    CUDA__EACH(i, n) to[state_at(node, i)] = from[i];
}

/* --- launches ---------------------------------------------------------------------------------------------------- */

struct recurrent {
    struct cuda__matmul *product; /* NULL: by our own kernel */
    size_t offset;                /* of our part of the work space, behind the product's */
};

#define ALIGN ((size_t)256)

static int64_t state_count(const struct onnx__rnn &node) { return node.directions * node.batch * node.hidden; }
static int64_t product_count(const struct onnx__rnn &node) {
    return node.directions * node.seq * node.batch * node.width;
}

/* from_input[directions][seq x batch, width] = X times the transposed W of the direction. */
static struct cuda__product product_of(const struct onnx__rnn &node) {
    struct cuda__product p = {};
    p.datatype = DATATYPE_FP32;
    p.trans_b = true;
    p.m = node.seq * node.batch;
    p.n = node.width;
    p.k = node.input;
    p.batch = node.directions;
    p.stride_b = p.n * p.k;
    p.stride_c = p.m * p.n;
    p.alpha = 1;
    return p;
}

extern "C" bool cuda__recurrent_takes(const struct onnx__step *step) {
    struct onnx__rnn node;
    struct err err;
    if (onnx__rnn_read(step, &node, &err) != 0) return false;
    struct cuda__product p = product_of(node);
    return cuda__product_takes(&p);
}

extern "C" int cuda__recurrent_prepare(struct cuda__call *call, struct err *err) {
    struct onnx__rnn node;
    size_t library = 0;
    if (onnx__rnn_read(call->step, &node, err) != 0) return -1;
    struct recurrent *made = (struct recurrent *)mem_calloc(1, sizeof *made);
    struct cuda__product p = product_of(node);
    if (call->device->blas && p.m > 0 && p.n > 0 && p.k > 0)
        made->product = cuda__blas_plan(call->device->blas, &p, call->device->precision, &library);
    made->offset = (library + ALIGN - 1) / ALIGN * ALIGN;
    call->made = made;
    call->workspace_bytes = made->offset + (size_t)(product_count(node) + 4 * state_count(node)) * sizeof(float);
    return 0;
}

extern "C" void cuda__recurrent_forget(struct cuda__call *call) {
    struct recurrent *made = (struct recurrent *)call->made;
    if (made) cuda__blas_forget(made->product);
    free(made);
}

static const void *input(const struct cuda__call *call, size_t index) {
    return index < call->step->in_count ? call->in[index] : NULL;
}
static void *output(const struct cuda__call *call, size_t index) {
    return index < call->step->out_count ? call->out[index] : NULL;
}

static cells cells_of(const struct cuda__call *call, const struct onnx__rnn &node) {
    float *space = (float *)(call->device->workspace + ((const struct recurrent *)call->made)->offset);
    float *states = space + product_count(node);
    int64_t n = state_count(node);
    cells c = {};
    c.node = node;
    c.r = (const float *)input(call, RNN_R);
    c.bias = (const float *)input(call, RNN_B);
    c.peephole = (const float *)input(call, RNN_P);
    c.lens = (const int32_t *)input(call, RNN_LENS);
    c.from_input = space;
    c.states[0] = states;
    c.states[1] = states + n;
    c.second = states + 2 * n;
    c.faded = states + 3 * n;
    c.y = (float *)output(call, 0);
    c.fault = call->device->fault;
    c.step = call->number;
    return c;
}

#define UNITS 8 /* warps of a block */

template <typename CELL>
static int launch_cells(const struct cuda__call *call, struct err *err, const cells &c, int64_t turn) {
    int64_t each = c.node.batch == 1 ? 1 : ITEMS, groups = (c.node.batch + each - 1) / each;
    dim3 grid((unsigned)((c.node.hidden + UNITS - 1) / UNITS), (unsigned)(groups < UINT16_MAX ? groups : UINT16_MAX),
              (unsigned)c.node.directions);
    return cuda__launch(call, err, each == 1 ? cell_kernel<CELL, 1> : cell_kernel<CELL, ITEMS>, grid,
                        dim3(CUDA__WARP, UNITS), c, turn);
}

static int launch_turn(const struct cuda__call *call, struct err *err, const cells &c, int64_t turn) {
    if (c.node.gates == 4) return launch_cells<lstm_cell>(call, err, c, turn);
    if (c.node.gates == 1) return launch_cells<rnn_cell>(call, err, c, turn);
    if (c.node.linear_before_reset) return launch_cells<gru_cell>(call, err, c, turn);
    return launch_cells<gru_gates>(call, err, c, turn) != 0 ? -1 : launch_cells<gru_state>(call, err, c, turn);
}

static int launch_enter(const struct cuda__call *call, struct err *err, const cells &c, int from, float *to) {
    int64_t n = state_count(c.node);
    return cuda__launch(call, err, enter_kernel, cuda__blocks(call, n), CUDA__BLOCK, n, c.node,
                        (const float *)input(call, (size_t)from), to);
}
static int launch_leave(const struct cuda__call *call, struct err *err, const cells &c, const float *from, size_t to) {
    int64_t n = state_count(c.node);
    if (!output(call, to)) return 0;
    return cuda__launch(call, err, leave_kernel, cuda__blocks(call, n), CUDA__BLOCK, n, c.node, from,
                        (float *)output(call, to));
}

extern "C" int cuda__recurrent_launch(const struct cuda__call *call, struct err *err) {
    struct onnx__rnn node;
    if (onnx__rnn_read(call->step, &node, err) != 0) return -1;
    if (state_count(node) == 0) return 0;
    cells c = cells_of(call, node);
    struct cuda__product p = product_of(node);
    if (cuda__product_launch(call, &p, ((const struct recurrent *)call->made)->product, call->in[RNN_X],
                             call->in[RNN_W], (void *)c.from_input, err) != 0 ||
        launch_enter(call, err, c, RNN_H, c.states[0]) != 0 || launch_enter(call, err, c, RNN_C, c.second) != 0)
        return -1;
    for (int64_t turn = 0; turn < node.seq; turn++)
        if (launch_turn(call, err, c, turn) != 0) return -1;
    return launch_leave(call, err, c, c.states[node.seq & 1], 1) != 0 ? -1 : launch_leave(call, err, c, c.second, 2);
}

/* LSTM, GRU and RNN.
 *
 * What the gates get from the input does not depend on time, so it is one BLAS call over all steps of a direction, with
 * the biases laid under it; what they get from the last state is one call per step. The cells are then a loop over
 * batch and hidden numbers. Directions run one after the other over the same work space.
 *
 * sequence_lens: an item takes part in the steps below its length only. Beyond it Y is 0 and its state stays, so that
 * the walk backwards begins at each item's own end.
 * Source: ONNX operators LSTM, GRU, RNN; the order of activation_alpha as in ONNX Runtime.
 */
#include "cpu_internal.h"
#include "vec.h"

#include <math.h>

/* --- what a node says -------------------------------------------------------------------------------------------- */

static bool has_shape(const struct tensor *tensor, enum datatype datatype, int rank, const int64_t *shape) {
    return !tensor || (tensor->datatype == datatype && tensor->rank == rank &&
                       memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) == 0);
}

static int check_shapes(const struct onnx__step *step, const struct onnx__rnn *rnn, struct err *err) {
    int64_t dirs = rnn->directions, width = rnn->width, hidden = rnn->hidden, batch = rnn->batch;
    int64_t state[3] = {rnn->batch_first ? batch : dirs, rnn->batch_first ? dirs : batch, hidden};
    static const char *const names[] = {"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"};
    bool fits[] = {
        true,
        has_shape(step->in[RNN_W], DATATYPE_FP32, 3, (int64_t[]){dirs, width, rnn->input}),
        has_shape(step->in[RNN_R], DATATYPE_FP32, 3, (int64_t[]){dirs, width, hidden}),
        has_shape(onnx__step_in(step, RNN_B), DATATYPE_FP32, 2, (int64_t[]){dirs, 2 * width}),
        has_shape(onnx__step_in(step, RNN_LENS), DATATYPE_INT32, 1, &batch),
        has_shape(onnx__step_in(step, RNN_H), DATATYPE_FP32, 3, state),
        has_shape(onnx__step_in(step, RNN_C), DATATYPE_FP32, 3, state),
        has_shape(onnx__step_in(step, RNN_P), DATATYPE_FP32, 2, (int64_t[]){dirs, 3 * hidden}),
    };
    for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++)
        if (!fits[i])
            return onnx__step_refuse(step, err, "input %s does not have the shape that X and R ask for", names[i]);
    return 0;
}

static int read_direction(const struct onnx__step *step, struct onnx__rnn *rnn, struct err *err) {
    const char *direction = onnx__step_string(step, "direction", "forward");
    rnn->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    rnn->first_reverse = strcmp(direction, "reverse") == 0;
    if (rnn->directions == 2 || rnn->first_reverse || strcmp(direction, "forward") == 0) return 0;
    return onnx__step_refuse(step, err, "direction '%.40s' is not known", direction);
}

/* The three kinds: how many gates they have, and which functions unless the node says so. */
static void read_kind(const struct onnx__step *step, struct onnx__rnn *rnn) {
    bool is_lstm = strcmp(step->node->op_type, "LSTM") == 0, is_gru = strcmp(step->node->op_type, "GRU") == 0;
    rnn->gates = is_lstm ? 4 : is_gru ? 3 : 1;
    rnn->functions = is_lstm ? 3 : is_gru ? 2 : 1;
}

int onnx__rnn_read(const struct onnx__step *step, struct onnx__rnn *rnn, struct err *err) {
    static const char *const usual[] = {"Sigmoid", "Tanh", "Tanh"}, *const plain[] = {"Tanh"};
    const struct tensor *x = step->in[RNN_X], *r = step->in[RNN_R];
    *rnn = (struct onnx__rnn){.clip = onnx__step_float(step, "clip", INFINITY)};
    read_kind(step, rnn);
    rnn->batch_first = onnx__step_int(step, "layout", 0) != 0;
    rnn->linear_before_reset = onnx__step_int(step, "linear_before_reset", 0) != 0;
    rnn->input_forget = onnx__step_int(step, "input_forget", 0) != 0;
    if (x->rank != 3 || r->rank != 3) return onnx__step_refuse(step, err, "X and R must have three dimensions");
    rnn->seq = x->shape[rnn->batch_first];
    rnn->batch = x->shape[!rnn->batch_first];
    rnn->input = x->shape[2];
    rnn->hidden = r->shape[2];
    rnn->width = r->shape[1];
    if (rnn->width != rnn->hidden * rnn->gates || onnx__step_int(step, "hidden_size", rnn->hidden) != rnn->hidden)
        return onnx__step_refuse(step, err, "R is not %d gates of the hidden size", rnn->gates);
    if (!(rnn->clip > 0)) return onnx__step_refuse(step, err, "attribute clip is not positive");
    if (read_direction(step, rnn, err) != 0 || check_shapes(step, rnn, err) != 0) return -1;
    return onnx__activation_read(step, rnn->gates == 1 ? plain : usual, rnn->functions,
                                 rnn->functions * rnn->directions, rnn->activations, err);
}

/* --- sizes ------------------------------------------------------------------------------------------------------- */

static int ask_scratch(struct onnx__step *step, const struct onnx__rnn *rnn, struct err *err) {
    int64_t rows, numbers, state;
    bool fits = !__builtin_add_overflow(rnn->seq, 1, &rows) && !__builtin_mul_overflow(rows, rnn->batch, &rows) &&
                !__builtin_mul_overflow(rows, rnn->width, &numbers) &&
                !__builtin_mul_overflow(rnn->batch, 3 * rnn->hidden, &state) &&
                !__builtin_add_overflow(numbers, state, &numbers) && numbers < (int64_t)1 << 40;
    if (!fits) return onnx__step_refuse(step, err, "its work space is too large");
    step->scratch_bytes = (size_t)numbers * sizeof(float);
    const struct onnx__gemm largest = {
        .m = rows, .n = rnn->width, .k = rnn->input > rnn->hidden ? rnn->input : rnn->hidden};
    return onnx__gemm_check(step, &largest, err);
}

static int infer(struct onnx__step *step, struct err *err) {
    struct onnx__rnn rnn;
    if (onnx__rnn_read(step, &rnn, err) != 0) return -1;
    int64_t dirs = rnn.directions;
    int64_t all[4] = {rnn.seq, dirs, rnn.batch, rnn.hidden}, last[3] = {dirs, rnn.batch, rnn.hidden};
    if (rnn.batch_first) {
        memcpy(all, (int64_t[]){rnn.batch, rnn.seq, dirs, rnn.hidden}, sizeof all);
        memcpy(last, (int64_t[]){rnn.batch, dirs, rnn.hidden}, sizeof last);
    }
    for (size_t i = 0; i < step->out_count; i++)
        if (step->out[i]) onnx__shape_set(step->out[i], DATATYPE_FP32, i == 0 ? 4 : 3, i == 0 ? all : last);
    return ask_scratch(step, &rnn, err);
}

/* --- the walk ---------------------------------------------------------------------------------------------------- */

struct rnn {
    const struct onnx__step *step;
    struct onnx__rnn node;
    float *from_input, *from_state, *h, *c, *reset; /* the work space */
    const struct onnx__vec *vec;                    /* of the fast form, or NULL */
    int direction;                                  /* at work */
    const float *w, *r, *bias, *peephole;           /* of that direction; bias and peephole may be NULL */
};
/* One step of one direction for the items that take part: from the gates to the new state. */
typedef void cell_fn(const struct rnn *rnn, int64_t t);

static int64_t item_length(const struct rnn *rnn, int64_t item) {
    const struct tensor *lens = onnx__step_in(rnn->step, RNN_LENS);
    return lens ? ((const int32_t *)lens->data)[item] : rnn->node.seq;
}

static int check_lengths(const struct rnn *rnn, struct err *err) {
    for (int64_t i = 0; i < rnn->node.batch; i++)
        if (item_length(rnn, i) < 0 || item_length(rnn, i) > rnn->node.seq)
            return onnx__step_fail(rnn->step, err, "a sequence length of %lld with %lld steps",
                                   (long long)item_length(rnn, i), (long long)rnn->node.seq);
    return 0;
}

/* Of initial and last states, for the direction at work. */
static int64_t state_at(const struct rnn *rnn, int64_t item) {
    return (rnn->node.batch_first ? item * rnn->node.directions + rnn->direction
                                  : rnn->direction * rnn->node.batch + item) *
           rnn->node.hidden;
}

static void load_state(const struct rnn *rnn, int input, float *state) {
    const struct tensor *initial = onnx__step_in(rnn->step, (size_t)input);
    for (int64_t i = 0; i < rnn->node.batch; i++) {
        float *to = state + i * rnn->node.hidden;
        if (initial)
            memcpy(to, (const float *)initial->data + state_at(rnn, i), (size_t)rnn->node.hidden * sizeof *to);
        else
            memset(to, 0, (size_t)rnn->node.hidden * sizeof *to);
    }
}

static void store_state(const struct rnn *rnn, size_t output, const float *state) {
    if (output >= rnn->step->out_count || !rnn->step->out[output]) return;
    float *to = rnn->step->out[output]->data;
    for (int64_t i = 0; i < rnn->node.batch; i++)
        memcpy(to + state_at(rnn, i), state + i * rnn->node.hidden, (size_t)rnn->node.hidden * sizeof *to);
}

static void store_step(const struct rnn *rnn, int64_t t) {
    if (!rnn->step->out[0]) return;
    float *y = rnn->step->out[0]->data;
    for (int64_t i = 0; i < rnn->node.batch; i++) {
        int64_t row = rnn->node.batch_first ? (i * rnn->node.seq + t) * rnn->node.directions + rnn->direction
                                            : (t * rnn->node.directions + rnn->direction) * rnn->node.batch + i;
        if (t < item_length(rnn, i))
            memcpy(y + row * rnn->node.hidden, rnn->h + i * rnn->node.hidden, (size_t)rnn->node.hidden * sizeof *y);
        else
            memset(y + row * rnn->node.hidden, 0, (size_t)rnn->node.hidden * sizeof *y);
    }
}

/* GRU adds the recurrent bias of its third gate inside the cell when it resets after the product. */
static float bias_of(const struct rnn *rnn, int64_t i) {
    if (!rnn->bias) return 0;
    bool inside = rnn->node.gates == 3 && rnn->node.linear_before_reset && i >= 2 * rnn->node.hidden;
    return rnn->bias[i] + (inside ? 0 : rnn->bias[rnn->node.width + i]);
}

/* One row times a matrix is not BLAS's strength. */
static void product(const struct rnn *rnn, const struct onnx__gemm *gemm, const float *a, const float *b, float *c) {
    if (rnn->vec && gemm->m == 1)
        rnn->vec->times_vector(gemm->n, gemm->k, b, a, gemm->beta != 0, c);
    else
        onnx__gemm_call(gemm, a, b, c);
}

static void from_input(const struct rnn *rnn) {
    const struct onnx__gemm gemm = {.trans_b = true,
                                    .m = rnn->node.seq * rnn->node.batch,
                                    .n = rnn->node.width,
                                    .k = rnn->node.input,
                                    .alpha = 1,
                                    .beta = 1};
    for (int64_t row = 0; row < gemm.m; row++)
        for (int64_t i = 0; i < rnn->node.width; i++) rnn->from_input[row * rnn->node.width + i] = bias_of(rnn, i);
    product(rnn, &gemm, onnx__floats(rnn->step, RNN_X), rnn->w, rnn->from_input);
}

/* to[batch, gates x hidden] = state[batch, hidden] x rows of R, from gate `first` on. */
static void from_state(const struct rnn *rnn, const float *state, int first, int gates, float *to) {
    const struct onnx__gemm gemm = {
        .trans_b = true, .m = rnn->node.batch, .n = gates * rnn->node.hidden, .k = rnn->node.hidden, .alpha = 1};
    product(rnn, &gemm, state, rnn->r + first * rnn->node.hidden * rnn->node.hidden, to);
}

static void choose_direction(struct rnn *rnn, int direction) {
    const struct tensor *bias = onnx__step_in(rnn->step, RNN_B), *peephole = onnx__step_in(rnn->step, RNN_P);
    rnn->direction = direction;
    rnn->w = onnx__floats(rnn->step, RNN_W) + direction * rnn->node.width * rnn->node.input;
    rnn->r = onnx__floats(rnn->step, RNN_R) + direction * rnn->node.width * rnn->node.hidden;
    rnn->bias = bias ? (const float *)bias->data + direction * 2 * rnn->node.width : NULL;
    rnn->peephole = peephole ? (const float *)peephole->data + direction * 3 * rnn->node.hidden : NULL;
}

static int run(const struct onnx__step *step, cell_fn *cell, const struct onnx__vec *vec, struct err *err) {
    struct rnn rnn = {.step = step, .vec = vec};
    if (onnx__rnn_read(step, &rnn.node, err) != 0 || check_lengths(&rnn, err) != 0) return -1;
    rnn.from_input = step->scratch;
    rnn.from_state = rnn.from_input + rnn.node.seq * rnn.node.batch * rnn.node.width;
    rnn.h = rnn.from_state + rnn.node.batch * rnn.node.width;
    rnn.c = rnn.h + rnn.node.batch * rnn.node.hidden;
    rnn.reset = rnn.c + rnn.node.batch * rnn.node.hidden;
    for (int direction = 0; direction < rnn.node.directions; direction++) {
        bool backwards = direction == 1 || rnn.node.first_reverse;
        choose_direction(&rnn, direction);
        load_state(&rnn, RNN_H, rnn.h);
        load_state(&rnn, RNN_C, rnn.c);
        from_input(&rnn);
        for (int64_t i = 0; i < rnn.node.seq; i++) {
            int64_t t = backwards ? rnn.node.seq - 1 - i : i;
            cell(&rnn, t);
            store_step(&rnn, t);
        }
        store_state(&rnn, 1, rnn.h);
        store_state(&rnn, 2, rnn.c);
    }
    return 0;
}

/* --- cells ------------------------------------------------------------------------------------------------------- */

/* The input's part of an item's gates at step t. */
static const float *gates_of(const struct rnn *rnn, int64_t t, int64_t item) {
    return rnn->from_input +
           (rnn->node.batch_first ? item * rnn->node.seq + t : t * rnn->node.batch + item) * rnn->node.width;
}

static float activate(const struct rnn *rnn, int function, float x) {
    x = x > rnn->node.clip ? rnn->node.clip : x < -rnn->node.clip ? -rnn->node.clip : x;
    return onnx__activate(&rnn->node.activations[rnn->direction * rnn->node.functions + function], x);
}

/* Gates in the order i, o, f, c; peepholes i, o, f. */
static void lstm_item(const struct rnn *rnn, const float *x, const float *s, float *h, float *c) {
    int64_t n = rnn->node.hidden;
    const float *p = rnn->peephole;
    for (int64_t j = 0; j < n; j++) {
        const float pi = p ? p[j] : 0, po = p ? p[n + j] : 0, pf = p ? p[2 * n + j] : 0;
        float in = activate(rnn, 0, x[j] + s[j] + pi * c[j]);
        float forget = rnn->node.input_forget ? 1 - in : activate(rnn, 0, x[2 * n + j] + s[2 * n + j] + pf * c[j]);
        c[j] = forget * c[j] + in * activate(rnn, 1, x[3 * n + j] + s[3 * n + j]);
        float out = activate(rnn, 0, x[n + j] + s[n + j] + po * c[j]);
        h[j] = out * activate(rnn, 2, c[j]);
    }
}

static void lstm_cell(const struct rnn *rnn, int64_t t) {
    from_state(rnn, rnn->h, 0, 4, rnn->from_state);
    for (int64_t i = 0; i < rnn->node.batch; i++)
        if (t < item_length(rnn, i))
            lstm_item(rnn, gates_of(rnn, t, i), rnn->from_state + i * rnn->node.width, rnn->h + i * rnn->node.hidden,
                      rnn->c + i * rnn->node.hidden);
}

/* The fast form, for the functions that everybody uses. */
static void fast_lstm_cell(const struct rnn *rnn, int64_t t) {
    from_state(rnn, rnn->h, 0, 4, rnn->from_state);
    for (int64_t i = 0; i < rnn->node.batch; i++)
        if (t < item_length(rnn, i))
            rnn->vec->lstm(rnn->node.hidden, gates_of(rnn, t, i), rnn->from_state + i * rnn->node.width,
                           rnn->h + i * rnn->node.hidden, rnn->c + i * rnn->node.hidden);
}

/* Gates in the order z, r, h. The third needs r first: so the state's parts of z and r are made for the whole batch,
 * then that of h, from the state or from the state that r has faded. */
static void gru_cell(const struct rnn *rnn, int64_t t) {
    int64_t n = rnn->node.hidden;
    float *zr = rnn->from_state, *third = rnn->from_state + rnn->node.batch * 2 * n;
    const float *inside =
        rnn->bias ? rnn->bias + rnn->node.width + 2 * n : NULL; /* the bias within the reset product */
    from_state(rnn, rnn->h, 0, 2, zr);
    for (int64_t i = 0; i < rnn->node.batch; i++)
        for (int64_t j = 0; j < n; j++) {
            const float *x = gates_of(rnn, t, i);
            float *s = zr + i * 2 * n;
            s[j] = activate(rnn, 0, x[j] + s[j]);
            s[n + j] = activate(rnn, 0, x[n + j] + s[n + j]);
            rnn->reset[i * n + j] = s[n + j] * rnn->h[i * n + j];
        }
    from_state(rnn, rnn->node.linear_before_reset ? rnn->h : rnn->reset, 2, 1, third);
    for (int64_t i = 0; i < rnn->node.batch; i++) {
        if (t >= item_length(rnn, i)) continue;
        const float *x = gates_of(rnn, t, i), *s = zr + i * 2 * n;
        float *h = rnn->h + i * n;
        for (int64_t j = 0; j < n; j++) {
            float state = third[i * n + j];
            if (rnn->node.linear_before_reset) state = s[n + j] * (state + (inside ? inside[j] : 0));
            h[j] = (1 - s[j]) * activate(rnn, 1, x[2 * n + j] + state) + s[j] * h[j];
        }
    }
}

static void rnn_cell(const struct rnn *rnn, int64_t t) {
    from_state(rnn, rnn->h, 0, 1, rnn->from_state);
    for (int64_t i = 0; i < rnn->node.batch; i++)
        for (int64_t j = 0; j < rnn->node.hidden && t < item_length(rnn, i); j++)
            rnn->h[i * rnn->node.hidden + j] =
                activate(rnn, 0, gates_of(rnn, t, i)[j] + rnn->from_state[i * rnn->node.hidden + j]);
}

OP_INFER(lstm) { return infer(step, err); }
OP_RUN(lstm) { return run(step, lstm_cell, NULL, err); }
OP_INFER(gru) { return infer(step, err); }
OP_RUN(gru) { return run(step, gru_cell, NULL, err); }
OP_INFER(rnn) { return infer(step, err); }
OP_RUN(rnn) { return run(step, rnn_cell, NULL, err); }

OP_RUN(fast_lstm) {
    bool is_usual = !onnx__step_attr(step, "activations", ATTR_STRINGS) && !onnx__step_attr(step, "clip", ATTR_FLOAT) &&
                    onnx__step_int(step, "input_forget", 0) == 0 && !onnx__step_in(step, RNN_P);
    return is_usual ? run(step, fast_lstm_cell, onnx__vec(), err) : onnx__lstm_run(step, err);
}

/* Operators that go along one axis element by element: ArgMax, ArgMin and TopK, which compare, Hardmax, and CumSum.
 *
 * To compare, every element becomes a key: an unsigned number of 64 bits in the same order, whatever the datatype. So
 * there is one search and one heap, and no comparison of floating numbers with its exceptions: the two zeros have one
 * key, and what is no number is the largest. To search for the smallest, keys are turned around.
 */
#include "cpu_internal.h"

#include <math.h>

/* --- lanes and keys ---------------------------------------------------------------------------------------------- */

int onnx__lanes_along(const struct onnx__step *step, int64_t axis, struct onnx__lanes *ret, struct err *err) {
    const struct tensor *x = step->in[0];
    if (onnx__step_axis(step, axis, x->rank, &ret->axis, err) != 0) return -1;
    ret->outer = onnx__shape_product(x, 0, ret->axis);
    ret->length = x->shape[ret->axis];
    ret->inner = onnx__shape_product(x, ret->axis + 1, x->rank);
    return 0;
}

/* Element number of the first of lane `lane`; the next is `inner` further. */
static int64_t lane_start(const struct onnx__lanes *lanes, int64_t lane) {
    return lane / lanes->inner * lanes->length * lanes->inner + lane % lanes->inner;
}

#define SIGN_BIT ((uint64_t)1 << 63)

static uint64_t key_of_real(double x) {
    uint64_t bits;
    if (isnan(x)) return UINT64_MAX;
    x += 0.0; /* -0 becomes 0 */
    memcpy(&bits, &x, sizeof bits);
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

static uint64_t key_of_half(const uint16_t *x) {
    double value;
    onnx__convert(DATATYPE_FP16, x, DATATYPE_FP64, &value, 1);
    return key_of_real(value);
}

#define KEYS(datatype, type, expr)                                                                                     \
    case datatype:                                                                                                     \
        for (int64_t i = 0; i < n; i++, from = (const type *)from + stride) {                                          \
            const type *x = from;                                                                                      \
            keys[i] = (expr) ^ turn;                                                                                   \
        }                                                                                                              \
        return;

/* Of n elements that lie `stride` elements apart; turn: 0, or all ones to turn the order around. */
static void read_keys(enum datatype datatype, const void *from, int64_t stride, int64_t n, uint64_t turn,
                      uint64_t *keys) {
    switch (datatype) {
        KEYS(DATATYPE_FP16, uint16_t, key_of_half(x))
        KEYS(DATATYPE_FP32, float, key_of_real((double)*x))
        KEYS(DATATYPE_FP64, double, key_of_real(*x))
        KEYS(DATATYPE_INT8, int8_t, (uint64_t)*x ^ SIGN_BIT)
        KEYS(DATATYPE_INT16, int16_t, (uint64_t)*x ^ SIGN_BIT)
        KEYS(DATATYPE_INT32, int32_t, (uint64_t)*x ^ SIGN_BIT)
        KEYS(DATATYPE_INT64, int64_t, (uint64_t)*x ^ SIGN_BIT)
        KEYS(DATATYPE_UINT8, uint8_t, (uint64_t)*x)
        KEYS(DATATYPE_UINT16, uint16_t, (uint64_t)*x)
        KEYS(DATATYPE_UINT32, uint32_t, (uint64_t)*x)
        KEYS(DATATYPE_UINT64, uint64_t, *x)
    default:
        BUG_ON(datatype);
    }
}

#define KEY_STRETCH 64

static const char *element_at(const struct tensor *x, int64_t number) {
    return (const char *)x->data + (size_t)number * datatype_size(x->datatype);
}

/* --- ArgMax, ArgMin ---------------------------------------------------------------------------------------------- */

OP_INFER(arg) {
    struct onnx__lanes lanes;
    struct tensor *out = step->out[0];
    if (onnx__lanes_along(step, onnx__step_int(step, "axis", 0), &lanes, err) != 0) return -1;
    if (lanes.length == 0) return onnx__step_refuse(step, err, "the axis has no elements");
    onnx__shape_set(out, DATATYPE_INT64, step->in[0]->rank, step->in[0]->shape);
    out->shape[lanes.axis] = 1;
    if (onnx__step_int(step, "keepdims", 1) != 0) return 0;
    out->rank--;
    for (int i = lanes.axis; i < out->rank; i++) out->shape[i] = out->shape[i + 1];
    return 0;
}

/* Where the largest key of a lane is: the first of them, or the last. */
static int64_t find_largest(const struct tensor *x, const struct onnx__lanes *lanes, int64_t lane, uint64_t turn,
                            bool last) {
    uint64_t keys[KEY_STRETCH], best = 0;
    int64_t found = 0, start = lane_start(lanes, lane);
    for (int64_t at = 0; at < lanes->length; at += KEY_STRETCH) {
        int64_t n = lanes->length - at < KEY_STRETCH ? lanes->length - at : KEY_STRETCH;
        read_keys(x->datatype, element_at(x, start + at * lanes->inner), lanes->inner, n, turn, keys);
        for (int64_t i = 0; i < n; i++) {
            if (keys[i] < best || (keys[i] == best && !last && at + i > 0)) continue;
            best = keys[i];
            found = at + i;
        }
    }
    return found;
}

static int run_arg(const struct onnx__step *step, uint64_t turn, struct err *err) {
    struct onnx__lanes lanes;
    if (onnx__lanes_along(step, onnx__step_int(step, "axis", 0), &lanes, err) != 0) return -1;
    bool last = onnx__step_int(step, "select_last_index", 0) != 0;
    int64_t *out = step->out[0]->data;
    for (int64_t lane = 0; lane < lanes.outer * lanes.inner; lane++)
        out[lane] = find_largest(step->in[0], &lanes, lane, turn, last);
    return 0;
}

OP_RUN(arg_max) { return run_arg(step, 0, err); }
OP_RUN(arg_min) { return run_arg(step, UINT64_MAX, err); }

/* --- Hardmax ----------------------------------------------------------------------------------------------------- */

OP_INFER(hardmax) {
    struct onnx__lanes lanes;
    if (onnx__lanes_read(step, &lanes, err) != 0) return -1;
    return onnx__same_infer(step, err);
}

OP_RUN(hardmax) {
    struct onnx__lanes lanes;
    const struct tensor *out = step->out[0];
    float *y = out->data;
    if (onnx__lanes_read(step, &lanes, err) != 0) return -1;
    if (out->size_bytes == 0) return 0;
    memset(y, 0, out->size_bytes);
    for (int64_t lane = 0; lane < lanes.outer * lanes.inner; lane++)
        y[lane_start(&lanes, lane) + find_largest(step->in[0], &lanes, lane, 0, false) * lanes.inner] = 1;
    return 0;
}

/* --- TopK -------------------------------------------------------------------------------------------------------- */

struct entry {
    uint64_t key;
    int64_t index;
};

/* How many: an attribute until opset 9, then an input. */
int onnx__top_k_read(const struct onnx__step *step, struct onnx__lanes *lanes, int64_t *ret_k, struct err *err) {
    struct onnx__ints k;
    if (onnx__lanes_along(step, onnx__step_int(step, "axis", -1), lanes, err) != 0) return -1;
    if (step->opset < 10) {
        *ret_k = onnx__step_int(step, "k", -1);
    } else {
        if (onnx__step_ints(step, NULL, 1, &k, err) != 0) return -1;
        if (k.count != 1) return onnx__step_refuse(step, err, "k is not one number");
        *ret_k = onnx__ints_at(&k, 0);
    }
    if (*ret_k >= 0 && *ret_k <= lanes->length) return 0;
    return onnx__step_refuse(step, err, "the first %lld of %lld", (long long)*ret_k, (long long)lanes->length);
}

OP_INFER(top_k) {
    struct onnx__lanes lanes;
    int64_t k;
    if (onnx__top_k_read(step, &lanes, &k, err) != 0) return -1;
    for (size_t i = 0; i < step->out_count; i++) {
        if (!step->out[i]) continue;
        onnx__shape_like(step->out[i], step->in[0]);
        step->out[i]->shape[lanes.axis] = k;
        if (i == 1) step->out[i]->datatype = DATATYPE_INT64;
    }
    step->scratch_bytes = (size_t)k * sizeof(struct entry);
    return 0;
}

static bool is_better(const struct entry *a, const struct entry *b) {
    return a->key > b->key || (a->key == b->key && a->index < b->index);
}

/* A heap whose root is the worst of `count`. */
static void sift_down(struct entry *heap, int64_t count, int64_t at) {
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_better(&heap[child], &heap[child + 1])) child++;
        if (!is_better(&heap[at], &heap[child])) return;
        struct entry held = heap[at];
        heap[at] = heap[child];
        heap[child] = held;
    }
}

/* The best k of a lane, in order: the heap keeps the best so far, then gives its worst to the end of the list. */
static void select_best(const struct tensor *x, const struct onnx__lanes *lanes, int64_t lane, int64_t k, uint64_t turn,
                        struct entry *heap) {
    uint64_t keys[KEY_STRETCH];
    int64_t count = 0, start = lane_start(lanes, lane);
    for (int64_t at = 0; at < lanes->length; at += KEY_STRETCH) {
        int64_t n = lanes->length - at < KEY_STRETCH ? lanes->length - at : KEY_STRETCH;
        read_keys(x->datatype, element_at(x, start + at * lanes->inner), lanes->inner, n, turn, keys);
        for (int64_t i = 0; i < n; i++) {
            struct entry next = {keys[i], at + i};
            if (count < k) {
                heap[count++] = next;
                if (count == k)
                    for (int64_t parent = k / 2; parent-- > 0;) sift_down(heap, k, parent);
            } else if (is_better(&next, &heap[0])) {
                heap[0] = next;
                sift_down(heap, k, 0);
            }
        }
    }
    for (int64_t left = k - 1; left > 0; left--) {
        struct entry worst = heap[0];
        heap[0] = heap[left];
        heap[left] = worst;
        sift_down(heap, left, 0);
    }
}

/* The list is in order whether that is asked for or not. */
OP_RUN(top_k) {
    const struct tensor *x = step->in[0], *values = step->out[0], *indices = step->out_count > 1 ? step->out[1] : NULL;
    struct onnx__lanes lanes;
    int64_t k;
    if (onnx__top_k_read(step, &lanes, &k, err) != 0) return -1;
    if (k == 0) return 0;
    struct entry *heap = step->scratch;
    uint64_t turn = step->opset < 11 || onnx__step_int(step, "largest", 1) != 0 ? 0 : UINT64_MAX;
    size_t size = datatype_size(x->datatype);
    for (int64_t lane = 0; lane < lanes.outer * lanes.inner; lane++) {
        int64_t to = lane / lanes.inner * k * lanes.inner + lane % lanes.inner, from = lane_start(&lanes, lane);
        select_best(x, &lanes, lane, k, turn, heap);
        for (int64_t i = 0; i < k; i++, to += lanes.inner) {
            if (values)
                memcpy((char *)values->data + (size_t)to * size, element_at(x, from + heap[i].index * lanes.inner),
                       size);
            if (indices) ((int64_t *)indices->data)[to] = heap[i].index;
        }
    }
    return 0;
}

/* --- CumSum ------------------------------------------------------------------------------------------------------ */

/* From `from` on, `step` elements apart; exclusive: each is the sum of those before it. */
typedef void sum_fn(const void *x, void *y, int64_t from, int64_t step, int64_t n, bool exclusive);

#define RUNNING_SUM(type, wide)                                                                                        \
    static void sum_##type(const void *x, void *y, int64_t from, int64_t step, int64_t n, bool exclusive) {            \
        wide sum = 0;                                                                                                  \
        for (int64_t i = 0; i < n; i++, from += step) {                                                                \
            wide before = sum;                                                                                         \
            sum += (wide)((const type *)x)[from];                                                                      \
            ((type *)y)[from] = (type)(exclusive ? before : sum);                                                      \
        }                                                                                                              \
    }
RUNNING_SUM(float, double)
RUNNING_SUM(double, double)
RUNNING_SUM(int32_t, uint64_t)
RUNNING_SUM(int64_t, uint64_t)
RUNNING_SUM(uint32_t, uint64_t)
RUNNING_SUM(uint64_t, uint64_t)

int onnx__cum_sum_read(const struct onnx__step *step, struct onnx__lanes *ret, struct err *err) {
    struct onnx__ints axis;
    if (onnx__step_ints(step, NULL, 1, &axis, err) != 0) return -1;
    if (axis.count != 1) return onnx__step_refuse(step, err, "the axis is not one number");
    return onnx__lanes_along(step, onnx__ints_at(&axis, 0), ret, err);
}

OP_INFER(cum_sum) {
    struct onnx__lanes lanes;
    if (onnx__cum_sum_read(step, &lanes, err) != 0) return -1;
    return onnx__same_infer(step, err);
}

OP_RUN(cum_sum) {
    static sum_fn *const fns[DATATYPE_COUNT] = {
        FNS_REAL(sum),
        [DATATYPE_INT32] = sum_int32_t,
        [DATATYPE_INT64] = sum_int64_t,
        [DATATYPE_UINT32] = sum_uint32_t,
        [DATATYPE_UINT64] = sum_uint64_t,
    };
    const struct tensor *x = step->in[0];
    struct onnx__lanes lanes;
    if (onnx__cum_sum_read(step, &lanes, err) != 0) return -1;
    bool exclusive = onnx__step_int(step, "exclusive", 0) != 0, reverse = onnx__step_int(step, "reverse", 0) != 0;
    int64_t to_last = (lanes.length - 1) * lanes.inner;
    if (onnx__count(x) == 0) return 0;
    for (int64_t lane = 0; lane < lanes.outer * lanes.inner; lane++)
        fns[x->datatype](x->data, step->out[0]->data, lane_start(&lanes, lane) + (reverse ? to_last : 0),
                         reverse ? -lanes.inner : lanes.inner, lanes.length, exclusive);
    return 0;
}

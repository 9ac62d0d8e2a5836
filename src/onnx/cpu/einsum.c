/* Einsum: every letter of the equation is an index that runs over a dimension; an output element is the sum, over the
 * letters that the output does not have, of the product of the inputs' elements. An ellipsis stands for dimensions that
 * broadcast, which get labels of their own. A letter that one input has twice walks its diagonal.
 *
 * It is a loop over all indices: right for any equation and fast for none. Exporters write MatMul where it matters.
 */
#include "cpu_internal.h"

#define LETTERS     52
#define ELLIPSIS    LETTERS /* its dimensions: labels from here on, the last one at the end */
#define LABELS      (LETTERS + TENSOR_MAX_RANK)
#define MAX_INPUTS  8
#define MAX_INDICES (LABELS + 1)

struct einsum {
    int index_count, out_rank; /* the output's indices first, then those that are summed over */
    int64_t dims[MAX_INDICES];
    int64_t strides[MAX_INPUTS][MAX_INDICES]; /* elements */
};

/* One side of a comma: labels of a tensor's dimensions, or of the output where `rank` is -1. */
struct term {
    int labels[TENSOR_MAX_RANK];
    int count;
    int ellipsis; /* dimensions that it stands for; -1: there is none */
};

static int label_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    return c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

static int push(const struct onnx__step *step, struct term *term, int label, struct err *err) {
    if (term->count == TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "a term of the equation has more than %d dimensions", TENSOR_MAX_RANK);
    term->labels[term->count++] = label;
    return 0;
}

/* Reads up to a comma, an arrow or the end. `ellipsis`: how many dimensions an ellipsis stands for; -1: what the
 * letters leave of `rank`. */
static int read_term(const struct onnx__step *step, const char **at, int rank, int ellipsis, struct term *ret,
                     struct err *err) {
    size_t len = strcspn(*at, ",-");
    const char *end = *at + len;
    int letters = 0;
    *ret = (struct term){.ellipsis = -1};
    for (const char *c = *at; c < end; c++) letters += label_of(*c) >= 0;
    if (ellipsis < 0) ellipsis = rank - letters;
    for (; *at < end; ++*at) {
        if (**at == ' ') continue;
        if (strncmp(*at, "...", 3) == 0 && ret->ellipsis < 0 && ellipsis >= 0) {
            for (int i = 0; i < ellipsis; i++)
                if (push(step, ret, LABELS - ellipsis + i, err) != 0) return -1;
            ret->ellipsis = ellipsis;
            *at += 2;
        } else if (label_of(**at) < 0) {
            return onnx__step_refuse(step, err, "the equation cannot be read");
        } else if (push(step, ret, label_of(**at), err) != 0) {
            return -1;
        }
    }
    if (rank >= 0 && ret->count != rank)
        return onnx__step_refuse(step, err, "a term of the equation has %d dimensions, its input %d", ret->count, rank);
    return 0;
}

/* Without an arrow: the ellipsis, then the letters that occur once, in their order. */
static int implied_term(const struct onnx__step *step, const int *uses, int ellipsis, struct term *ret,
                        struct err *err) {
    *ret = (struct term){.ellipsis = ellipsis};
    for (int i = 0; i < ellipsis; i++)
        if (push(step, ret, LABELS - ellipsis + i, err) != 0) return -1;
    for (int label = 0; label < LETTERS; label++)
        if (uses[label] == 1 && push(step, ret, label, err) != 0) return -1;
    return 0;
}

/* Numbers the indices: which label is which, the output's first. */
static int number_indices(const struct onnx__step *step, struct einsum *ein, const struct term *out, const int *uses,
                          int *numbers, struct err *err) {
    for (int label = 0; label < LABELS; label++) numbers[label] = -1;
    for (int i = 0; i < out->count; i++) {
        int label = out->labels[i];
        if (numbers[label] >= 0 || uses[label] == 0)
            return onnx__step_refuse(step, err,
                                     "the output of the equation names an index twice, or one that no input has");
        numbers[label] = ein->index_count++;
    }
    ein->out_rank = ein->index_count;
    for (int label = 0; label < LABELS; label++)
        if (uses[label] && numbers[label] < 0) numbers[label] = ein->index_count++;
    return 0;
}

static int lay_input(const struct onnx__step *step, struct einsum *ein, size_t input, const struct term *term,
                     const int *numbers, struct err *err) {
    const struct tensor *x = step->in[input];
    int64_t stride = 1;
    for (int i = x->rank - 1; i >= 0; stride *= x->shape[i], i--) {
        int64_t *dim = &ein->dims[numbers[term->labels[i]]], own = x->shape[i];
        if (*dim != own && *dim != 1 && own != 1)
            return onnx__step_refuse(step, err, "an index runs over %lld and over %lld", (long long)*dim,
                                     (long long)own);
        if (own != 1) {
            *dim = own;
            ein->strides[input][numbers[term->labels[i]]] += stride;
        }
    }
    return 0;
}

static int einsum_read(const struct onnx__step *step, struct einsum *ein, struct err *err) {
    const char *at = onnx__step_string(step, "equation", "");
    struct term terms[MAX_INPUTS], out;
    int uses[LABELS] = {0}, numbers[LABELS], ellipsis = 0;
    *ein = (struct einsum){0};
    if (step->in_count > MAX_INPUTS) return onnx__step_refuse(step, err, "more than %d inputs", MAX_INPUTS);
    for (size_t i = 0; i < step->in_count; i++) {
        if (!step->in[i] || step->in[i]->datatype != step->in[0]->datatype)
            return onnx__step_refuse(step, err, "input %zu is left out, or has another datatype than the first", i);
        if (read_term(step, &at, step->in[i]->rank, -1, &terms[i], err) != 0) return -1;
        if (terms[i].ellipsis > ellipsis) ellipsis = terms[i].ellipsis;
        for (int j = 0; j < terms[i].count; j++) uses[terms[i].labels[j]]++;
        bool last = i + 1 == step->in_count;
        if (last ? *at == ',' : *at != ',')
            return onnx__step_refuse(step, err, "the equation does not have %zu terms", step->in_count);
        at += !last;
    }
    bool arrow = strncmp(at, "->", 2) == 0;
    at += arrow ? 2 : 0;
    if (arrow ? read_term(step, &at, -1, ellipsis, &out, err) != 0 : implied_term(step, uses, ellipsis, &out, err) != 0)
        return -1;
    if (*at) return onnx__step_refuse(step, err, "the equation cannot be read");
    if (number_indices(step, ein, &out, uses, numbers, err) != 0) return -1;
    ein->index_count += ein->index_count == ein->out_rank; /* nothing is summed over: an index that has one value */
    for (int i = 0; i < MAX_INDICES; i++) ein->dims[i] = 1;
    for (size_t i = 0; i < step->in_count; i++)
        if (lay_input(step, ein, i, &terms[i], numbers, err) != 0) return -1;
    return 0;
}

OP_INFER(einsum) {
    struct einsum ein;
    if (einsum_read(step, &ein, err) != 0) return -1;
    onnx__shape_set(step->out[0], step->in[0]->datatype, ein.out_rank, ein.dims);
    return 0;
}

/* The next combination of indices [from, to), moving each input's place; false after the last. */
static bool advance(const struct einsum *ein, size_t inputs, int from, int to, int64_t *index, int64_t *places) {
    for (int i = to - 1; i >= from; i--) {
        int64_t by = ++index[i] < ein->dims[i] ? 1 : 1 - ein->dims[i];
        for (size_t n = 0; n < inputs; n++) places[n] += by * ein->strides[n][i];
        if (by == 1) return true;
        index[i] = 0;
    }
    return false;
}

/* The last index that is summed over is the inner loop. Integers are summed as unsigned ones, which wrap around. */
#define SUM(type, wide)                                                                                                \
    do {                                                                                                               \
        wide sum = 0;                                                                                                  \
        do {                                                                                                           \
            for (int64_t k = 0; k < ein->dims[last]; k++) {                                                            \
                wide product = 1;                                                                                      \
                for (size_t n = 0; n < step->in_count; n++)                                                            \
                    product *= (wide)((const type *)step->in[n]->data)[places[n] + k * ein->strides[n][last]];         \
                sum += product;                                                                                        \
            }                                                                                                          \
        } while (advance(ein, step->in_count, ein->out_rank, last, index, places));                                    \
        ((type *)step->out[0]->data)[at] = (type)sum;                                                                  \
    } while (0)

static void sum_element(const struct onnx__step *step, const struct einsum *ein, int64_t *index, int64_t *places,
                        int64_t at) {
    int last = ein->index_count - 1;
    switch (step->out[0]->datatype) {
    case DATATYPE_FP32:
        SUM(float, double);
        break;
    case DATATYPE_FP64:
        SUM(double, double);
        break;
    case DATATYPE_INT32:
        SUM(int32_t, uint32_t);
        break;
    case DATATYPE_INT64:
        SUM(int64_t, uint64_t);
        break;
    default:
        SUM(uint8_t, uint32_t);
        break;
    }
}

OP_RUN(einsum) {
    struct einsum ein;
    if (einsum_read(step, &ein, err) != 0) return -1;
    int64_t index[MAX_INDICES] = {0}, places[MAX_INPUTS] = {0}, count = onnx__count(step->out[0]);
    for (int i = ein.out_rank; i < ein.index_count; i++)
        if (ein.dims[i] == 0) { /* a sum of nothing */
            memset(step->out[0]->data, 0, step->out[0]->size_bytes);
            return 0;
        }
    for (int64_t at = 0; at < count; at++) {
        sum_element(step, &ein, index, places, at);
        (void)advance(&ein, step->in_count, 0, ein.out_rank, index, places);
    }
    return 0;
}

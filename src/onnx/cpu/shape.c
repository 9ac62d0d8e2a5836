/* Operators that change a shape and no byte (Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout at inference), and
 * Constant. The plan lays a view's output over its input, so there is nothing to run. */
#include "cpu_internal.h"

/* --- Reshape and Flatten ----------------------------------------------------------------------------------------- */

static int count_differs(const struct onnx__step *step, const int64_t *want, int rank, struct err *err) {
    const struct tensor *x = step->in[0];
    char have[128], text[128];
    return onnx__step_refuse(step, err, "%s cannot become %s", onnx__shape_text(x->shape, x->rank, have, sizeof have),
                             onnx__shape_text(want, rank, text, sizeof text));
}

/* 0 copies the dimension (unless allowzero), one -1 takes what is left. */
OP_INFER(reshape) {
    const struct tensor *x = step->in[0], *want = step->in[1];
    if (want->datatype != DATATYPE_INT64 || want->rank != 1 || want->shape[0] > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "the new shape is not a list of at most %d INT64", TENSOR_MAX_RANK);
    const int64_t *dims = want->data;
    int rank = (int)want->shape[0], rest = -1;
    bool zero_copies = onnx__step_int(step, "allowzero", 0) == 0;
    int64_t shape[TENSOR_MAX_RANK], known = 1;
    for (int i = 0; i < rank; i++) {
        shape[i] = dims[i] == 0 && zero_copies && i < x->rank ? x->shape[i] : dims[i];
        if (shape[i] == -1 && rest < 0) {
            rest = i;
            continue;
        }
        if (shape[i] < 0 || __builtin_mul_overflow(known, shape[i], &known))
            return count_differs(step, dims, rank, err);
    }
    int64_t count = onnx__count(x);
    if (rest >= 0) {
        shape[rest] = known ? count / known : 0;
        if (known == 0 || count % known != 0) return count_differs(step, dims, rank, err);
    } else if (known != count) {
        return count_differs(step, dims, rank, err);
    }
    onnx__shape_set(step->out[0], x->datatype, rank, shape);
    return 0;
}

OP_INFER(flatten) {
    const struct tensor *x = step->in[0];
    int64_t axis = onnx__step_int(step, "axis", 1);
    if (axis < 0) axis += x->rank;
    if (axis < 0 || axis > x->rank)
        return onnx__step_refuse(step, err, "the axis is out of range"); /* rank itself is in */
    int at = (int)axis;
    int64_t shape[2] = {onnx__shape_product(x, 0, at), onnx__shape_product(x, at, x->rank)};
    onnx__shape_set(step->out[0], x->datatype, 2, shape);
    return 0;
}

/* --- Squeeze and Unsqueeze --------------------------------------------------------------------------------------- */

/* The axes as a set of bits: an attribute until opset 12, then an input. *ret_given: were there any? */
static int read_axes(const struct onnx__step *step, int rank, unsigned *ret, bool *ret_given, struct err *err) {
    const int64_t *axes = NULL;
    size_t count = 0;
    const struct onnx__attr *attr = step->opset < 13 ? onnx__step_attr(step, "axes", ATTR_INTS) : NULL;
    const struct tensor *input = step->opset < 13 ? NULL : onnx__step_in(step, 1);
    if (input && (input->datatype != DATATYPE_INT64 || input->rank > 1))
        return onnx__step_refuse(step, err, "the axes are not a list of INT64");
    if (attr) {
        axes = attr->ints;
        count = attr->count;
    } else if (input) {
        axes = input->data;
        count = (size_t)onnx__count(input);
    }
    *ret = 0;
    *ret_given = attr || input;
    for (size_t i = 0; i < count; i++) {
        int axis;
        if (onnx__step_axis(step, axes[i], rank, &axis, err) != 0) return -1;
        if (*ret >> axis & 1) return onnx__step_refuse(step, err, "axis %d is named twice", axis);
        *ret |= 1u << axis;
    }
    return 0;
}

OP_INFER(squeeze) {
    const struct tensor *x = step->in[0];
    unsigned axes;
    bool given;
    if (read_axes(step, x->rank, &axes, &given, err) != 0) return -1;
    struct tensor out = {.datatype = x->datatype};
    for (int i = 0; i < x->rank; i++) {
        bool squeezed = given ? (axes >> i & 1) : x->shape[i] == 1;
        if (squeezed && x->shape[i] != 1) return onnx__step_refuse(step, err, "dimension %d is not 1", i);
        if (!squeezed) out.shape[out.rank++] = x->shape[i];
    }
    onnx__shape_like(step->out[0], &out);
    return 0;
}

OP_INFER(unsqueeze) {
    const struct tensor *x = step->in[0];
    const struct onnx__attr *attr = onnx__step_attr(step, "axes", ATTR_INTS);
    const struct tensor *input = onnx__step_in(step, 1);
    int64_t more = step->opset < 13 ? (attr ? (int64_t)attr->count : 0) : (input ? onnx__count(input) : 0);
    if (more < 1 || x->rank + more > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "%lld axes are added to %d", (long long)more, x->rank);
    unsigned axes;
    bool given;
    int rank = x->rank + (int)more;
    if (read_axes(step, rank, &axes, &given, err) != 0) return -1;
    struct tensor out = {.datatype = x->datatype, .rank = rank};
    for (int i = 0, from = 0; i < rank; i++) out.shape[i] = (axes >> i & 1) ? 1 : x->shape[from++];
    onnx__shape_like(step->out[0], &out);
    return 0;
}

/* --- Dropout and Constant ---------------------------------------------------------------------------------------- */

/* At inference every element is kept. Training is refused: its value must be known to be false. */
OP_INFER(dropout) {
    const struct tensor *training = onnx__step_in(step, 2);
    if (training && (training->size_bytes < 1 || *(const uint8_t *)training->data))
        return onnx__step_refuse(step, err, "training_mode is not supported");
    onnx__shape_like(step->out[0], step->in[0]);
    if (step->out_count < 2 || !step->out[1]) return 0;
    if (step->opset < 10) return onnx__step_refuse(step, err, "a mask that is not BOOL is not supported");
    onnx__shape_set(step->out[1], DATATYPE_BOOL, step->in[0]->rank, step->in[0]->shape);
    return 0;
}

OP_RUN(dropout) {
    if (step->out_count < 2 || !step->out[1]) return 0;
    memset(step->out[1]->data, 1, step->out[1]->size_bytes);
    return 0;
}

struct constant {
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    const void *data;
};

static int read_constant(const struct onnx__step *step, struct constant *ret, struct err *err) {
    const struct onnx__attr *attr;
    if ((attr = onnx__step_attr(step, "value", ATTR_TENSOR))) {
        *ret =
            (struct constant){.datatype = attr->tensor.datatype, .rank = attr->tensor.rank, .data = attr->tensor.data};
        memcpy(ret->shape, attr->tensor.shape, sizeof ret->shape);
    } else if ((attr = onnx__step_attr(step, "value_float", ATTR_FLOAT))) {
        *ret = (struct constant){.datatype = DATATYPE_FP32, .data = &attr->number};
    } else if ((attr = onnx__step_attr(step, "value_int", ATTR_INT))) {
        *ret = (struct constant){.datatype = DATATYPE_INT64, .data = &attr->integer};
    } else if ((attr = onnx__step_attr(step, "value_floats", ATTR_FLOATS))) {
        *ret = (struct constant){
            .datatype = DATATYPE_FP32, .rank = 1, .shape = {(int64_t)attr->count}, .data = attr->floats};
    } else if ((attr = onnx__step_attr(step, "value_ints", ATTR_INTS))) {
        *ret = (struct constant){
            .datatype = DATATYPE_INT64, .rank = 1, .shape = {(int64_t)attr->count}, .data = attr->ints};
    } else {
        return onnx__step_refuse(step, err, "it has no value of a supported kind");
    }
    return 0;
}

OP_INFER(constant) {
    struct constant constant;
    if (read_constant(step, &constant, err) != 0) return -1;
    onnx__shape_set(step->out[0], constant.datatype, constant.rank, constant.shape);
    return 0;
}

OP_RUN(constant) {
    struct constant constant;
    if (read_constant(step, &constant, err) != 0) return -1;
    if (step->out[0]->size_bytes) memcpy(step->out[0]->data, constant.data, step->out[0]->size_bytes);
    return 0;
}

/* Broadcasting: several operands seen as rows of one output.
 *
 * The output is walked row by row; along a row each operand steps by one element or stands still. Neighbouring
 * dimensions in which all operands behave alike are merged first, so that equal shapes are one single row and a bias
 * over channels is one row per channel. Every operator of more than one operand goes through here.
 */
#include "cpu_internal.h"

/* Elements from one index of `dim` (of the output) to the next; 0 where the operand is stretched. */
static int64_t step_of(const struct tensor *operand, int dim, int out_rank) {
    int at = dim - (out_rank - operand->rank);
    if (at < 0 || operand->shape[at] == 1) return 0;
    return onnx__shape_product(operand, at + 1, operand->rank);
}

/* Adds a dimension to the walk, or widens its last one. */
static void add_dim(struct onnx__rows *rows, int64_t size, const int64_t *steps) {
    int last = rows->rank - 1;
    bool joins = last >= 0;
    for (int k = 0; k < rows->operands && joins; k++) joins = rows->steps[k][last] == steps[k] * size;
    if (joins)
        rows->dims[last] *= size;
    else
        rows->dims[last = rows->rank++] = size;
    for (int k = 0; k < rows->operands; k++) rows->steps[k][last] = steps[k];
}

void onnx__rows_init(struct onnx__rows *rows, const struct tensor *out, int operands,
                     const struct tensor *const *operand) {
    *rows = (struct onnx__rows){.operands = operands, .total = onnx__count(out)};
    for (int dim = 0; dim < out->rank; dim++) {
        int64_t steps[ROWS_MAX_OPERANDS];
        if (out->shape[dim] == 1) continue;
        for (int k = 0; k < operands; k++) steps[k] = step_of(operand[k], dim, out->rank);
        add_dim(rows, out->shape[dim], steps);
    }
    if (rows->rank == 0) rows->dims[rows->rank++] = 1;
    rows->n = rows->dims[rows->rank - 1];
    for (int k = 0; k < operands; k++) {
        rows->stride[k] = rows->steps[k][rows->rank - 1];
        rows->size[k] = datatype_size(operand[k]->datatype);
        rows->at[k] = operand[k]->data;
    }
}

void onnx__rows_next(struct onnx__rows *rows) {
    rows->done += rows->n;
    for (int dim = rows->rank - 2; dim >= 0; dim--) {
        bool more = ++rows->index[dim] < rows->dims[dim];
        int64_t by = more ? 1 : 1 - rows->dims[dim]; /* or back to the first */
        for (int k = 0; k < rows->operands; k++) rows->at[k] += by * rows->steps[k][dim] * (int64_t)rows->size[k];
        if (more) return;
        rows->index[dim] = 0;
    }
}

struct tensor onnx__broadcast_operand(const struct onnx__step *step, size_t index) {
    struct tensor operand = *step->in[index];
    const struct onnx__attr *axis = step->opset < 7 && index == 1 ? onnx__step_attr(step, "axis", ATTR_INT) : NULL;
    int rank = step->in[0]->rank;
    if (!axis || axis->integer < -rank || axis->integer >= rank) return operand;
    int end = (int)axis->integer + (axis->integer < 0 ? rank : 0) + operand.rank;
    while (end < rank--) operand.shape[operand.rank++] = 1;
    return operand;
}

int onnx__broadcast_infer(const struct onnx__step *step, size_t first, enum datatype datatype, struct err *err) {
    struct tensor shape = {.rank = 0};
    for (size_t i = first; i < step->in_count; i++) {
        const struct tensor *x = step->in[i];
        if (!x) return onnx__step_refuse(step, err, "input %zu is left out", i);
        if (x->datatype != step->in[first]->datatype)
            return onnx__step_refuse(step, err, "inputs of different datatypes, %s and %s",
                                     datatype_name(step->in[first]->datatype), datatype_name(x->datatype));
    }
    for (size_t i = 0; i < step->in_count; i++) {
        struct tensor x = onnx__broadcast_operand(step, i), before = shape;
        char left[128], right[128];
        if (!onnx__shape_broadcast(&before, &x, &shape.rank, shape.shape))
            return onnx__step_refuse(step, err, "shapes %s and %s cannot be broadcast together",
                                     onnx__shape_text(before.shape, before.rank, left, sizeof left),
                                     onnx__shape_text(x.shape, x.rank, right, sizeof right));
    }
    onnx__shape_set(step->out[0], datatype, shape.rank, shape.shape);
    return 0;
}

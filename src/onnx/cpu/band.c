/* Trilu and EyeLike: what a matrix has on one side of a diagonal, and the diagonal itself. */
#include "cpu_internal.h"

/* --- Trilu ------------------------------------------------------------------------------------------------------- */

OP_INFER(trilu) {
    const struct tensor *k = onnx__step_in(step, 1);
    if (step->in[0]->rank < 2) return onnx__step_refuse(step, err, "the input is no matrix");
    if (k && (k->datatype != DATATYPE_INT64 || onnx__count(k) != 1))
        return onnx__step_refuse(step, err, "k is not one INT64");
    return onnx__same_infer(step, err);
}

/* Row by row: from column `first` on the upper part begins; the lower one ends with the diagonal, one before. */
OP_RUN(trilu) {
    const struct tensor *x = step->in[0], *k = onnx__step_in(step, 1);
    int64_t rows = x->shape[x->rank - 2], columns = x->shape[x->rank - 1],
            total = onnx__shape_product(x, 0, x->rank - 1);
    int64_t diagonal = k ? *(const int64_t *)k->data : 0;
    bool upper = onnx__step_int(step, "upper", 1) != 0;
    size_t size = datatype_size(x->datatype), row_bytes = (size_t)columns * size;
    if (diagonal < -rows) diagonal = -rows; /* beyond the corner nothing changes */
    if (diagonal > columns) diagonal = columns;
    if (row_bytes == 0) return 0;
    for (int64_t i = 0; i < total; i++) {
        int64_t first = i % rows + diagonal + (upper ? 0 : 1);
        size_t at = (size_t)(first < 0 ? 0 : first > columns ? columns : first) * size;
        char *to = (char *)step->out[0]->data + (size_t)i * row_bytes;
        memcpy(to, (const char *)x->data + (size_t)i * row_bytes, row_bytes);
        if (upper)
            memset(to, 0, at);
        else
            memset(to + at, 0, row_bytes - at);
    }
    return 0;
}

/* --- EyeLike ----------------------------------------------------------------------------------------------------- */

OP_INFER(eye_like) {
    const struct tensor *x = step->in[0];
    int64_t type = onnx__step_int(step, "dtype", -1);
    enum datatype datatype = type < 0 ? x->datatype : onnx__datatype((uint64_t)type);
    if (x->rank != 2) return onnx__step_refuse(step, err, "the input is no matrix");
    if (datatype == DATATYPE_INVALID)
        return onnx__step_refuse(step, err, "ONNX data type %lld is not supported", (long long)type);
    onnx__shape_set(step->out[0], datatype, 2, x->shape);
    return 0;
}

/* The bytes of a one. */
static void one_of(enum datatype datatype, char one[8]) {
    float single = 1;
    double twice = 1;
    memset(one, 0, 8);
    one[0] = 1;
    if (datatype == DATATYPE_FP32) memcpy(one, &single, sizeof single);
    if (datatype == DATATYPE_FP64) memcpy(one, &twice, sizeof twice);
    if (datatype == DATATYPE_FP16) memcpy(one, "\x00\x3c", 2);
}

OP_RUN(eye_like) {
    struct tensor *out = step->out[0];
    int64_t rows = out->shape[0], columns = out->shape[1], k = onnx__step_int(step, "k", 0);
    size_t size = datatype_size(out->datatype);
    char one[8];
    one_of(out->datatype, one);
    memset(out->data, 0, out->size_bytes);
    if (k <= -rows || k >= columns) return 0;
    for (int64_t i = k < 0 ? -k : 0; i < rows && i + k < columns; i++)
        memcpy((char *)out->data + (size_t)(i * columns + i + k) * size, one, size);
    return 0;
}

/* Operators that rearrange whole tensors: Transpose, Concat, DepthToSpace and SpaceToDepth. They know sizes, not
 * datatypes. */
#include "cpu_internal.h"

/* --- Transpose --------------------------------------------------------------------------------------------------- */

static int read_perm(const struct onnx__step *step, int *perm, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, "perm", ATTR_INTS);
    int rank = step->in[0]->rank;
    unsigned seen = 0;
    if (attr && attr->count != (size_t)rank)
        return onnx__step_refuse(step, err, "perm has %zu numbers for %d dimensions", attr->count, rank);
    for (int i = 0; i < rank; i++) {
        int64_t from = attr ? attr->ints[i] : rank - 1 - i;
        if (from < 0 || from >= rank || (seen >> from & 1))
            return onnx__step_refuse(step, err, "perm is no permutation");
        seen |= 1u << from;
        perm[i] = (int)from;
    }
    return 0;
}

OP_INFER(transpose) {
    const struct tensor *x = step->in[0];
    int perm[TENSOR_MAX_RANK];
    if (read_perm(step, perm, err) != 0) return -1;
    onnx__shape_like(step->out[0], x);
    for (int i = 0; i < x->rank; i++) step->out[0]->shape[i] = x->shape[perm[i]];
    return 0;
}

/* The output's dimension i is dimension perm[i] of `from`. */
static struct onnx__strided permuted(const struct onnx__strided *from, const int *perm) {
    struct onnx__strided view = {.rank = from->rank};
    for (int i = 0; i < from->rank; i++) {
        view.shape[i] = from->shape[perm[i]];
        view.strides[i] = from->strides[perm[i]];
    }
    return view;
}

int onnx__transpose_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err) {
    struct onnx__strided from = onnx__strided_of(step->in[0]);
    int perm[TENSOR_MAX_RANK];
    if (read_perm(step, perm, err) != 0) return -1;
    *ret = permuted(&from, perm);
    return 0;
}

OP_RUN(transpose) { return onnx__strided_run(step, onnx__transpose_view, err); }

/* --- Concat ------------------------------------------------------------------------------------------------------ */

int onnx__concat_axis(const struct onnx__step *step, int *ret, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, "axis", ATTR_INT);
    if (!attr) return onnx__step_refuse(step, err, "attribute axis is missing");
    return onnx__step_axis(step, attr->integer, step->in[0]->rank, ret, err);
}

OP_INFER(concat) {
    struct tensor *out = step->out[0];
    int axis;
    if (onnx__concat_axis(step, &axis, err) != 0) return -1;
    onnx__shape_like(out, step->in[0]);
    for (size_t i = 1; i < step->in_count; i++) {
        const struct tensor *x = step->in[i];
        bool fits = x && x->datatype == out->datatype && x->rank == out->rank;
        for (int dim = 0; fits && dim < out->rank; dim++) fits = dim == axis || x->shape[dim] == out->shape[dim];
        if (!fits) return onnx__step_refuse(step, err, "input %zu does not fit input 0", i);
        if (__builtin_add_overflow(out->shape[axis], x->shape[axis], &out->shape[axis]))
            return onnx__step_refuse(step, err, "the output is too large");
    }
    return 0;
}

OP_RUN(concat) {
    struct tensor *out = step->out[0];
    int axis;
    if (onnx__concat_axis(step, &axis, err) != 0) return -1;
    int64_t outer = onnx__shape_product(out, 0, axis);
    char *to = out->data;
    for (int64_t i = 0; i < outer; i++)
        for (size_t j = 0; j < step->in_count; j++) {
            const struct tensor *x = step->in[j];
            size_t chunk = (size_t)onnx__shape_product(x, axis, x->rank) * datatype_size(x->datatype);
            if (chunk) memcpy(to, (const char *)x->data + (size_t)i * chunk, chunk);
            to += chunk;
        }
    return 0;
}

/* --- DepthToSpace and SpaceToDepth ------------------------------------------------------------------------------- */

#define MAX_BLOCK (1 << 15) /* so that its square, and its product with any dimension in memory, fit */

static int read_block(const struct onnx__step *step, int64_t *ret, struct err *err) {
    *ret = onnx__step_int(step, "blocksize", 0);
    if (step->in[0]->rank != 4) return onnx__step_refuse(step, err, "the input has not four dimensions");
    if (*ret >= 1 && *ret <= MAX_BLOCK) return 0;
    return onnx__step_refuse(step, err, "attribute blocksize is not between 1 and %d", MAX_BLOCK);
}

/* The input seen in six dimensions, each of which has its distance, and permuted. */
static struct onnx__strided split_dims(const struct onnx__step *step, const int64_t shape[6], const int perm[6]) {
    struct onnx__strided view = {.rank = 6};
    int64_t stride = (int64_t)datatype_size(step->in[0]->datatype);
    for (int i = 5; i >= 0; i--) {
        view.shape[i] = shape[i];
        view.strides[i] = stride;
        stride *= shape[i];
    }
    return permuted(&view, perm);
}

OP_INFER(depth_to_space) {
    const struct tensor *x = step->in[0];
    const char *mode = onnx__step_string(step, "mode", "DCR");
    int64_t block;
    if (read_block(step, &block, err) != 0) return -1;
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0)
        return onnx__step_refuse(step, err, "mode '%.40s' is not known", mode);
    if (x->shape[1] % (block * block) != 0)
        return onnx__step_refuse(step, err, "%lld channels are no multiple of the block", (long long)x->shape[1]);
    int64_t shape[4] = {x->shape[0], x->shape[1] / (block * block), x->shape[2] * block, x->shape[3] * block};
    onnx__shape_set(step->out[0], x->datatype, 4, shape);
    return 0;
}

int onnx__depth_to_space_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret,
                              struct err *err) {
    const int64_t *dims = step->in[0]->shape;
    int64_t block;
    if (read_block(step, &block, err) != 0) return -1;
    int64_t channels = dims[1] / (block * block);
    if (strcmp(onnx__step_string(step, "mode", "DCR"), "CRD") == 0)
        *ret =
            split_dims(step, (int64_t[]){dims[0], channels, block, block, dims[2], dims[3]}, (int[]){0, 1, 4, 2, 5, 3});
    else
        *ret =
            split_dims(step, (int64_t[]){dims[0], block, block, channels, dims[2], dims[3]}, (int[]){0, 3, 4, 1, 5, 2});
    return 0;
}

OP_RUN(depth_to_space) { return onnx__strided_run(step, onnx__depth_to_space_view, err); }

OP_INFER(space_to_depth) {
    const struct tensor *x = step->in[0];
    int64_t block;
    if (read_block(step, &block, err) != 0) return -1;
    if (x->shape[2] % block != 0 || x->shape[3] % block != 0)
        return onnx__step_refuse(step, err, "height and width are no multiples of the block");
    int64_t shape[4] = {x->shape[0], x->shape[1] * block * block, x->shape[2] / block, x->shape[3] / block};
    onnx__shape_set(step->out[0], x->datatype, 4, shape);
    return 0;
}

int onnx__space_to_depth_view(const struct onnx__step *step, size_t output, struct onnx__strided *ret,
                              struct err *err) {
    const int64_t *dims = step->in[0]->shape;
    int64_t block;
    if (read_block(step, &block, err) != 0) return -1;
    *ret = split_dims(step, (int64_t[]){dims[0], dims[1], dims[2] / block, block, dims[3] / block, block},
                      (int[]){0, 3, 5, 1, 2, 4});
    return 0;
}

OP_RUN(space_to_depth) { return onnx__strided_run(step, onnx__space_to_depth_view, err); }

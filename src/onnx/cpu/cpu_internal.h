/* Shared by the CPU kernels: each operator's two functions, and what more than one of them uses. */
#ifndef PENSTOCK_ONNX_CPU_INTERNAL_H
#define PENSTOCK_ONNX_CPU_INTERNAL_H

#include "forms.h"

#define OP_INFER(name) int onnx__##name##_infer(struct onnx__step *step, struct err *err)
#define OP_RUN(name)   int onnx__##name##_run(const struct onnx__step *step, struct err *err)

OP_INFER(same); /* output 0 is as input 0 */
OP_INFER(binary);
OP_RUN(add);
OP_RUN(sub);
OP_RUN(mul);
OP_RUN(div);
OP_RUN(relu);
OP_RUN(sigmoid);
OP_RUN(tanh);
OP_INFER(truth);
OP_INFER(compare);
OP_INFER(cast_like);
OP_INFER(gelu);
OP_RUN(gelu);
OP_INFER(cast);
OP_RUN(cast);
OP_INFER(bit_shift);
OP_RUN(bit_shift);
OP_INFER(prelu);
OP_RUN(prelu);
OP_INFER(pow);
OP_RUN(pow);
OP_INFER(where);
OP_RUN(where);
OP_RUN(acos);
OP_RUN(acosh);
OP_RUN(asin);
OP_RUN(asinh);
OP_RUN(atan);
OP_RUN(atanh);
OP_RUN(ceil);
OP_RUN(cos);
OP_RUN(cosh);
OP_RUN(erf);
OP_RUN(exp);
OP_RUN(floor);
OP_RUN(log);
OP_RUN(reciprocal);
OP_RUN(round);
OP_RUN(sin);
OP_RUN(sinh);
OP_RUN(sqrt);
OP_RUN(tan);
OP_RUN(celu);
OP_RUN(elu);
OP_RUN(hard_sigmoid);
OP_RUN(hard_swish);
OP_RUN(leaky_relu);
OP_RUN(mish);
OP_RUN(selu);
OP_RUN(shrink);
OP_RUN(softplus);
OP_RUN(softsign);
OP_RUN(thresholded_relu);
OP_RUN(abs);
OP_RUN(neg);
OP_RUN(sign);
OP_RUN(not );
OP_RUN(is_nan);
OP_RUN(is_inf);
OP_RUN(mod);
OP_RUN(equal);
OP_RUN(greater);
OP_RUN(greater_or_equal);
OP_RUN(less);
OP_RUN(less_or_equal);
OP_RUN(and);
OP_RUN(or);
OP_RUN(xor);
OP_RUN(max);
OP_RUN(min);
OP_RUN(sum);
OP_RUN(mean);
OP_INFER(clip);
OP_RUN(clip);
OP_INFER(conv);
OP_RUN(conv);
OP_INFER(pool);
OP_RUN(max_pool);
OP_RUN(average_pool);
OP_RUN(lp_pool);
OP_INFER(global_pool);
OP_RUN(global_average_pool);
OP_RUN(global_max_pool);
OP_RUN(global_lp_pool);
OP_INFER(conv_transpose);
OP_RUN(conv_transpose);
OP_INFER(matmul);
OP_RUN(matmul);
OP_INFER(gemm);
OP_RUN(gemm);
OP_INFER(batch_norm);
OP_RUN(batch_norm);
OP_INFER(softmax);
OP_RUN(softmax);
OP_RUN(log_softmax);
OP_INFER(reduce);
OP_INFER(arg);
OP_RUN(reduce_l1);
OP_RUN(reduce_l2);
OP_RUN(reduce_log_sum);
OP_RUN(reduce_log_sum_exp);
OP_RUN(reduce_max);
OP_RUN(reduce_mean);
OP_RUN(reduce_min);
OP_RUN(reduce_prod);
OP_RUN(reduce_sum);
OP_RUN(reduce_sum_square);
OP_RUN(arg_max);
OP_RUN(arg_min);
OP_INFER(hardmax);
OP_RUN(hardmax);
OP_INFER(top_k);
OP_RUN(top_k);
OP_INFER(cum_sum);
OP_RUN(cum_sum);
OP_INFER(lrn);
OP_RUN(lrn);
OP_INFER(layer_norm);
OP_RUN(layer_norm);
OP_INFER(instance_norm);
OP_RUN(instance_norm);
OP_INFER(group_norm);
OP_RUN(group_norm);
OP_INFER(constant);
OP_RUN(constant);
OP_INFER(dropout);
OP_RUN(dropout);
OP_INFER(shape);
OP_RUN(shape);
OP_INFER(size);
OP_RUN(size);
OP_INFER(constant_of_shape);
OP_RUN(constant_of_shape);
OP_INFER(reshape);
OP_INFER(flatten);
OP_INFER(squeeze);
OP_INFER(unsqueeze);
OP_INFER(transpose);
OP_RUN(transpose);
OP_INFER(concat);
OP_RUN(concat);
OP_INFER(center_crop_pad);
OP_RUN(center_crop_pad);
OP_INFER(col2im);
OP_RUN(col2im);
OP_INFER(grid_sample);
OP_RUN(grid_sample);
OP_INFER(max_unpool);
OP_RUN(max_unpool);
OP_INFER(roi_align);
OP_RUN(roi_align);
OP_INFER(compress);
OP_RUN(compress);
OP_INFER(einsum);
OP_RUN(einsum);
OP_INFER(eye_like);
OP_RUN(eye_like);
OP_INFER(range);
OP_RUN(range);
OP_INFER(reverse_sequence);
OP_RUN(reverse_sequence);
OP_INFER(trilu);
OP_RUN(trilu);
OP_INFER(resize);
OP_RUN(resize);
OP_INFER(gru);
OP_RUN(gru);
OP_INFER(lstm);
OP_RUN(lstm);
OP_INFER(rnn);
OP_RUN(rnn);
OP_INFER(depth_to_space);
OP_RUN(depth_to_space);
OP_INFER(expand);
OP_RUN(expand);
OP_INFER(gather);
OP_RUN(gather);
OP_INFER(gather_elements);
OP_RUN(gather_elements);
OP_INFER(gather_nd);
OP_RUN(gather_nd);
OP_INFER(non_zero);
OP_RUN(non_zero);
OP_INFER(one_hot);
OP_RUN(one_hot);
OP_INFER(pad);
OP_RUN(pad);
OP_INFER(scatter_elements);
OP_RUN(scatter_elements);
OP_INFER(scatter_nd);
OP_RUN(scatter_nd);
OP_INFER(slice);
OP_RUN(slice);
OP_INFER(space_to_depth);
OP_RUN(space_to_depth);
OP_INFER(split);
OP_RUN(split);
OP_INFER(tile);
OP_RUN(tile);

/* cast.c */
void onnx__convert(enum datatype from_type, const void *from, enum datatype to_type, void *to, int64_t n);
#define HALF_STRETCH 256 /* numbers of FP16 that are computed as FP32 at a time */

/* Members of a table of functions, by datatype, from functions whose names end in the C type. */
#define FNS_REAL(name) [DATATYPE_FP32] = name##_float, [DATATYPE_FP64] = name##_double
#define FNS_SIGNED(name)                                                                                               \
    [DATATYPE_INT8] = name##_int8_t, [DATATYPE_INT16] = name##_int16_t, [DATATYPE_INT32] = name##_int32_t,             \
    [DATATYPE_INT64] = name##_int64_t
#define FNS_UNSIGNED(name)                                                                                             \
    [DATATYPE_UINT8] = name##_uint8_t, [DATATYPE_UINT16] = name##_uint16_t, [DATATYPE_UINT32] = name##_uint32_t,       \
    [DATATYPE_UINT64] = name##_uint64_t
#define FNS_NUMBER(name) FNS_REAL(name), FNS_SIGNED(name), FNS_UNSIGNED(name)

/* broadcast.c: operands seen as rows of an output.
 *
 *     for (onnx__rows_init(&rows, out, 2, operands); rows.done < rows.total; onnx__rows_next(&rows))
 *         ... rows.n elements of the output from its element rows.done on
 */
#define ROWS_MAX_OPERANDS 3
struct onnx__rows {
    int64_t done, total, n;            /* elements of the output; n: of a row */
    const char *at[ROWS_MAX_OPERANDS]; /* where the row begins */
    int64_t stride[ROWS_MAX_OPERANDS]; /* along the row, in elements: 0 or 1 */
    size_t size[ROWS_MAX_OPERANDS];    /* of an element */
    int operands, rank;
    int64_t dims[TENSOR_MAX_RANK], index[TENSOR_MAX_RANK], steps[ROWS_MAX_OPERANDS][TENSOR_MAX_RANK];
};
void onnx__rows_init(struct onnx__rows *rows, const struct tensor *out, int operands,
                     const struct tensor *const *operand);
void onnx__rows_next(struct onnx__rows *rows);
/* Output 0 becomes what all inputs broadcast to; those from `first` on must be of one datatype. */
int onnx__broadcast_infer(const struct onnx__step *step, size_t first, enum datatype datatype,
                          struct err *err) MUSTCHECK;

/* strided.c */
void onnx__strided_copy(const struct onnx__strided *view, size_t size, const void *from, void *to);
int onnx__strided_run(const struct onnx__step *step, onnx__view_fn *view_of, struct err *err) MUSTCHECK;

/* gather.c: numbers that pick elements */
int onnx__index_check(const struct onnx__step *step, const struct tensor *indices, struct err *err) MUSTCHECK;
/* Element `at` of the indices, counted from the front of a dimension of `dim`. */
int onnx__index_read(const struct onnx__step *step, const struct tensor *indices, int64_t at, int64_t dim, int64_t *ret,
                     struct err *err) MUSTCHECK;
/* Where index `number` of GatherElements and ScatterElements points. */
int onnx__elements_find(const struct onnx__step *step, int axis, int64_t number, int64_t *ret,
                        struct err *err) MUSTCHECK;
/* The first element that tuple `number` of GatherND and ScatterND names. */
int onnx__tuples_find(const struct onnx__step *step, const struct onnx__tuples *tuples, int64_t number, int64_t *ret,
                      struct err *err) MUSTCHECK;

/* activation.c: the functions inside recurrent cells. Fills `count` of them: the attributes activations,
 * activation_alpha and activation_beta, else `fallback`, of which `period` begin again for each direction. */
int onnx__activation_read(const struct onnx__step *step, const char *const *fallback, int period, int count,
                          struct onnx__activation ret[MAX_ACTIVATIONS], struct err *err) MUSTCHECK;
float onnx__activate(const struct onnx__activation *activation, float x);

/* gemm.c: row-major c[m,n] = alpha * a[m,k] * b[k,n] + beta * c; empty sizes are fine. Sizes must fit int. */
struct onnx__gemm {
    bool trans_a, trans_b;
    int64_t m, n, k;
    float alpha, beta;
};
void onnx__gemm_call(const struct onnx__gemm *gemm, const float *a, const float *b, float *c);
int onnx__gemm_check(const struct onnx__step *step, const struct onnx__gemm *gemm, struct err *err) MUSTCHECK;
int onnx__gemm_read(const struct onnx__step *step, struct onnx__gemm *ret, struct err *err) MUSTCHECK; /* of Gemm */
struct onnx__matmul {
    struct onnx__gemm gemm;
    struct tensor a, b; /* promoted to at least two dimensions */
    int batch_rank;
    int64_t batch[TENSOR_MAX_RANK];
};
int onnx__matmul_read(const struct onnx__step *step, struct onnx__matmul *ret, struct err *err) MUSTCHECK;
/* Where, in operand's elements, the matrix begins that belongs to matrix `number` of the output's stack. */
int64_t onnx__matmul_offset(const struct onnx__matmul *mm, const struct tensor *operand, int64_t number);

/* conv.c */
struct onnx__conv {
    struct onnx__window win;
    struct onnx__gemm gemm; /* m: output channels of a group, k: channels x kernel, n: output positions */
    int64_t groups, group_channels;
    bool pointwise;
};
int onnx__conv_read(const struct onnx__step *step, struct onnx__conv *ret, struct err *err) MUSTCHECK;

/* fast_gemm.c: a part of a product, [m, n] at c whose rows are `ld` apart, with its tail while it is in the cache. */
struct onnx__part {
    struct onnx__gemm gemm;
    int lda, ldb, ldc;
    const float *a, *b, *bias, *rest; /* rest is laid out as c */
    float *c;
    bool bias_by_row;
    const struct onnx__tail *tail;
};
void onnx__part_run(const struct onnx__part *part);
/* Of a node with a tail: can the rest be added to the output without making it larger? */
int onnx__tail_check(const struct onnx__step *step, struct err *err) MUSTCHECK;
/* What can be done part by part; `late`: nothing but the bias, since the rest is stretched. */
struct onnx__ending {
    bool late;
    const struct onnx__tail *tail;
    const float *rest;
};
struct onnx__ending onnx__tail_ending(const struct onnx__step *step);
void onnx__tail_late(
    const struct onnx__step *step); /* adds the stretched rest to the whole output, then the function */

OP_INFER(fast_conv);
OP_RUN(fast_conv);
void *onnx__fast_conv_pack(const struct onnx_model *model, const struct onnx__node *node, size_t *ret_size);
OP_INFER(fast_matmul);
OP_RUN(fast_matmul);
OP_INFER(fast_gemm);
OP_RUN(fast_gemm);
OP_INFER(attention);
OP_RUN(attention);
OP_RUN(fast_exp);
OP_RUN(fast_sigmoid);
OP_RUN(fast_tanh);
OP_RUN(fast_erf);
OP_RUN(fast_gelu);
OP_RUN(fast_relu);
OP_RUN(fast_softmax);
OP_RUN(fast_layer_norm);
OP_INFER(fast_max_pool);
OP_RUN(fast_max_pool);
OP_RUN(fast_global_average_pool);
OP_RUN(fast_lstm);

static inline const float *onnx__floats(const struct onnx__step *step, size_t index) { return step->in[index]->data; }
static inline float *onnx__out_floats(const struct onnx__step *step) { return step->out[0]->data; }

#endif

/* What a node asks for, as both back ends read it: its attributes and what decides its shape become a description, which
 * inference checks and kernels work from. A header of its own, since CUDA's C++ includes it too. */
#ifndef PENSTOCK_ONNX_CPU_FORMS_H
#define PENSTOCK_ONNX_CPU_FORMS_H

#include "../onnx_internal.h"

/* --- strided.c: an input seen as an output's elements in their order --------------------------------------------- */

#define STRIDED_MAX_RANK (2 * TENSOR_MAX_RANK)
struct onnx__strided {
    int rank;
    int64_t at;                                                 /* where it begins, in bytes */
    int64_t shape[STRIDED_MAX_RANK], strides[STRIDED_MAX_RANK]; /* in bytes; 0 repeats, negative goes backwards */
};
struct onnx__strided onnx__strided_of(const struct tensor *tensor); /* as it lies in memory */
/* Broadcast over `out`. */
struct onnx__strided onnx__strided_spread(const struct tensor *tensor, const struct tensor *out);
/* Without dimensions of 1, and with neighbours joined; at least one dimension is left. */
struct onnx__strided onnx__strided_joined(const struct onnx__strided *view, size_t size);

/* Operators that move elements and do nothing else: where those of an output lie in input 0. */
typedef int onnx__view_fn(const struct onnx__step *step, size_t output, struct onnx__strided *ret, struct err *err);
onnx__view_fn onnx__transpose_view, onnx__depth_to_space_view, onnx__space_to_depth_view; /* move.c */
onnx__view_fn onnx__slice_view, onnx__split_view;                                         /* slice.c */
onnx__view_fn onnx__expand_view, onnx__tile_view;                                         /* pad.c */

/* --- move.c, pad.c ----------------------------------------------------------------------------------------------- */

int onnx__concat_axis(const struct onnx__step *step, int *ret, struct err *err) MUSTCHECK;

enum onnx__pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };
struct onnx__pad {
    enum onnx__pad_mode mode;
    int64_t begin[TENSOR_MAX_RANK], end[TENSOR_MAX_RANK]; /* negative in constant mode: cut off */
};
int onnx__pad_read(const struct onnx__step *step, struct onnx__pad *ret, struct err *err) MUSTCHECK;
int onnx__center_crop_pad_read(const struct onnx__step *step, struct onnx__pad *ret, struct err *err) MUSTCHECK;
/* What is filled in where no input 2 says. */
void onnx__pad_constant(const struct onnx__step *step, char ret[8]);

/* --- gather.c, scatter.c: numbers that pick elements ------------------------------------------------------------- */

/* GatherElements and ScatterElements: indices (input 1) that stand for the coordinate along `axis` of input 0. */
int onnx__elements_axis(const struct onnx__step *step, int *ret, struct err *err) MUSTCHECK;
/* GatherND and ScatterND: indices (input 1) whose last dimension holds leading coordinates of input 0. */
struct onnx__tuples {
    int batch_dims, length;
    int64_t batches, per_batch; /* tuples: batches x per_batch */
    int64_t batch_size, chunk;  /* elements of a batch of the data, and of what one tuple names */
    struct tensor shape;        /* of all that they name */
};
int onnx__tuples_read(const struct onnx__step *step, int64_t batch_dims, struct onnx__tuples *ret,
                      struct err *err) MUSTCHECK;
enum onnx__reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN };
/* What becomes of an element and its update. */
int onnx__scatter_reduction(const struct onnx__step *step, enum onnx__reduction *ret, struct err *err) MUSTCHECK;

/* --- window.c: the geometry that convolutions and pools share ---------------------------------------------------- */

/* One or two spatial dimensions are seen as three with
 * leading dimensions of 1, so that there is one loop nest. */
struct onnx__window {
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
};
/* `kernel`: its spatial dimensions, or NULL to read the attribute kernel_shape. */
int onnx__window_read(const struct onnx__step *step, const struct tensor *x, const int64_t *kernel, bool ceil_mode,
                      struct onnx__window *ret, struct err *err) MUSTCHECK;
/* Of ConvTranspose: `in` is its output and `out` its input, because it is Conv's walk in the other direction. */
int onnx__window_read_transposed(const struct onnx__step *step, const struct tensor *x, const int64_t *kernel,
                                 struct onnx__window *ret, struct err *err) MUSTCHECK;
/* Gives `out` the shape [x0, channels, spatial...]. */
void onnx__window_shape(const struct onnx__window *window, const struct tensor *x, int64_t channels,
                        struct tensor *out);
static inline int64_t onnx__volume(const int64_t dims[3]) { return dims[0] * dims[1] * dims[2]; }

/* --- resize.c: an axis of Resize or Upsample as a table ---------------------------------------------------------- */

/* Which element of the input is part of one of the output, -1 for what lies outside the image, and with what weight. */
struct onnx__tap {
    int64_t at;
    float weight;
};
/* Of a step that has been inferred: elements that make one of the output; 0: nothing happens to this axis. */
int64_t onnx__resize_taps(const struct onnx__step *step, int dim);
/* taps: as many for each element of the output along `dim`. */
void onnx__resize_fill(const struct onnx__step *step, int dim, struct onnx__tap *taps);

/* --- attention.c --------------------------------------------------------------------------------------------------- */

struct onnx__attention {
    const struct onnx__step *step;
    int64_t batch, heads, queries, keys, size, value_size; /* sizes of a head's query or key, and of its value */
    int64_t block;                                         /* rows of the CPU's task at a time */
    int64_t mask_steps[3];                                 /* of batch, head, query; that of a key is 1 */
    float scale;
};
int onnx__attention_read(const struct onnx__step *step, struct onnx__attention *ret, struct err *err) MUSTCHECK;

/* --- order.c, norm.c: the input seen as [outer, length, inner] --------------------------------------------------- */

struct onnx__lanes { /* a lane is what lies along the axis */
    int axis;
    int64_t outer, length, inner;
};
int onnx__lanes_along(const struct onnx__step *step, int64_t axis, struct onnx__lanes *ret, struct err *err) MUSTCHECK;
/* Of Softmax and Hardmax: until opset 12 everything from `axis` on is one dimension, and the default is axis 1. */
int onnx__lanes_read(const struct onnx__step *step, struct onnx__lanes *ret, struct err *err) MUSTCHECK;
int onnx__top_k_read(const struct onnx__step *step, struct onnx__lanes *lanes, int64_t *ret_k,
                     struct err *err) MUSTCHECK;
int onnx__cum_sum_read(const struct onnx__step *step, struct onnx__lanes *ret, struct err *err) MUSTCHECK;

/* --- reduce.c ---------------------------------------------------------------------------------------------------- */

struct onnx__reduce {
    bool nothing;  /* asked for no axes, and then to reduce none */
    unsigned axes; /* a set of bits: those that go */
    int64_t count; /* elements that make one of the output */
};
int onnx__reduce_read(const struct onnx__step *step, struct onnx__reduce *ret, struct err *err) MUSTCHECK;
/* The dimensions that stay (`stays`) or go, joined. */
struct onnx__strided onnx__reduce_part(const struct tensor *x, unsigned axes, bool stays);

/* --- activation.c, recurrent.c ----------------------------------------------------------------------------------- */

/* The functions inside cells, in the order of activation.c's table. */
enum onnx__cell_function {
    CELL_SIGMOID,
    CELL_TANH,
    CELL_RELU,
    CELL_AFFINE,
    CELL_LEAKY_RELU,
    CELL_THRESHOLDED_RELU,
    CELL_SCALED_TANH,
    CELL_HARD_SIGMOID,
    CELL_ELU,
    CELL_SOFTSIGN,
    CELL_SOFTPLUS,
};
struct onnx__activation {
    enum onnx__cell_function function;
    float alpha, beta;
};
#define MAX_ACTIVATIONS 6 /* three of an LSTM in two directions */

/* Inputs of LSTM, GRU and RNN. */
enum { RNN_X, RNN_W, RNN_R, RNN_B, RNN_LENS, RNN_H, RNN_C, RNN_P };
struct onnx__rnn {
    int gates, functions;                     /* functions: activations per direction */
    int64_t seq, batch, input, hidden, width; /* width: gates x hidden */
    int directions;
    bool first_reverse, batch_first, linear_before_reset, input_forget;
    float clip;
    struct onnx__activation activations[MAX_ACTIVATIONS];
};
int onnx__rnn_read(const struct onnx__step *step, struct onnx__rnn *ret, struct err *err) MUSTCHECK;

#endif

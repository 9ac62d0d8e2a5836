/* The table of operators: what the reader accepts and how each is inferred and run. To add one, write its two functions
 * in a file of this folder, declare them in cpu_internal.h and give it a row here; nothing else knows operators by
 * name.
 *
 * This is the reference: plain code on OpenBLAS, which every other back end is compared with, and which folds constants
 * for them. `since` is the first opset whose meaning is implemented; where a later opset changed the meaning, the
 * functions look at step->opset themselves.
 */
#include "cpu_internal.h"

#define ANY_NUMBER 255

/* clang-format off */
static const struct onnx__op table[] = {
    /* op_type              since in         out types        shape flags          infer, run */
    {"Add",                 7, 2, 2,          1, TYPES_NUMBER, 0, 0,             onnx__binary_infer, onnx__add_run},
    {"AveragePool",         1, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__pool_infer, onnx__average_pool_run},
    {"BatchNormalization",  7, 5, 5,          1, TYPES_FLOAT,  0, 0,             onnx__batch_norm_infer, onnx__batch_norm_run},
    {"CenterCropPad",       18, 2, 2,         1, TYPES_ANY,    2, 0,             onnx__center_crop_pad_infer, onnx__center_crop_pad_run},
    {"Clip",                6, 1, 3,          1, TYPES_FLOAT,  0, 0,             onnx__clip_infer, onnx__clip_run},
    {"Col2Im",              18, 3, 3,         1, TYPES_FLOAT,  6, 0,             onnx__col2im_infer, onnx__col2im_run},
    {"Compress",            9, 2, 2,          1, TYPES_ANY,    2, 0,             onnx__compress_infer, onnx__compress_run},
    {"Concat",              4, 1, ANY_NUMBER, 1, TYPES_ANY,    0, 0,             onnx__concat_infer, onnx__concat_run},
    {"Constant",            1, 0, 0,          1, TYPES_ANY,    0, 0,             onnx__constant_infer, onnx__constant_run},
    {"ConstantOfShape",     9, 1, 1,          1, TYPE_BIT(DATATYPE_INT64), 1, 0, onnx__constant_of_shape_infer, onnx__constant_of_shape_run},
    {"Conv",                1, 2, 3,          1, TYPES_FLOAT,  0, 0,             onnx__conv_infer, onnx__conv_run},
    {"ConvTranspose",       1, 2, 3,          1, TYPES_FLOAT,  0, 0,             onnx__conv_transpose_infer, onnx__conv_transpose_run},
    {"DepthToSpace",        1, 1, 1,          1, TYPES_ANY,    0, 0,             onnx__depth_to_space_infer, onnx__depth_to_space_run},
    {"Div",                 7, 2, 2,          1, TYPES_NUMBER, 0, 0,             onnx__binary_infer, onnx__div_run},
    {"Dropout",             7, 1, 3,          2, TYPES_ANY,    4, OP_VIEW,       onnx__dropout_infer, onnx__dropout_run},
    {"Einsum",              12, 1, ANY_NUMBER, 1, TYPES_NUMBER, 0, 0,            onnx__einsum_infer, onnx__einsum_run},
    {"Expand",              8, 2, 2,          1, TYPES_ANY,    2, 0,             onnx__expand_infer, onnx__expand_run},
    {"EyeLike",             9, 1, 1,          1, TYPES_ANY,    0, OP_OF_SHAPES,  onnx__eye_like_infer, onnx__eye_like_run},
    {"Flatten",             1, 1, 1,          1, TYPES_ANY,    0, OP_VIEW,       onnx__flatten_infer, NULL},
    {"GRU",                 7, 3, 6,          2, TYPES_FLOAT,  0, OP_ANY_OUTPUT, onnx__gru_infer, onnx__gru_run},
    {"Gather",              1, 2, 2,          1, TYPES_ANY,    0, 0,             onnx__gather_infer, onnx__gather_run},
    {"GatherElements",      11, 2, 2,         1, TYPES_ANY,    0, 0,             onnx__gather_elements_infer, onnx__gather_elements_run},
    {"GatherND",            11, 2, 2,         1, TYPES_ANY,    0, 0,             onnx__gather_nd_infer, onnx__gather_nd_run},
    {"Gemm",                1, 2, 3,          1, TYPES_FLOAT,  0, 0,             onnx__gemm_infer, onnx__gemm_run},
    {"GlobalAveragePool",   1, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__global_pool_infer, onnx__global_average_pool_run},
    {"GlobalLpPool",        2, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__global_pool_infer, onnx__global_lp_pool_run},
    {"GlobalMaxPool",       1, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__global_pool_infer, onnx__global_max_pool_run},
    {"GridSample",          16, 2, 2,         1, TYPES_FLOAT,  0, 0,             onnx__grid_sample_infer, onnx__grid_sample_run},
    {"Identity",            1, 1, 1,          1, TYPES_ANY,    0, OP_VIEW,       onnx__same_infer, NULL},
    {"LSTM",                7, 3, 8,          3, TYPES_FLOAT,  0, OP_ANY_OUTPUT, onnx__lstm_infer, onnx__lstm_run},
    {"LogSoftmax",          1, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__softmax_infer, onnx__log_softmax_run},
    {"LpPool",              2, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__pool_infer, onnx__lp_pool_run},
    {"MatMul",              1, 2, 2,          1, TYPES_FLOAT,  0, 0,             onnx__matmul_infer, onnx__matmul_run},
    {"MaxPool",             1, 1, 1,          2, TYPES_FLOAT | TYPE_BIT(DATATYPE_UINT8) | TYPE_BIT(DATATYPE_INT8), 0, 0, onnx__pool_infer, onnx__max_pool_run},
    {"MaxUnpool",           9, 2, 3,          1, TYPES_FLOAT,  4, 0,             onnx__max_unpool_infer, onnx__max_unpool_run},
    {"Mul",                 7, 2, 2,          1, TYPES_NUMBER, 0, 0,             onnx__binary_infer, onnx__mul_run},
    {"NonZero",             9, 1, 1,          1, TYPES_ANY,    1, 0,             onnx__non_zero_infer, onnx__non_zero_run},
    {"OneHot",              9, 3, 3,          1, TYPES_NUMBER, 2, 0,             onnx__one_hot_infer, onnx__one_hot_run},
    {"Pad",                 1, 1, 4,          1, TYPES_ANY,    10, 0,            onnx__pad_infer, onnx__pad_run},
    {"RNN",                 7, 3, 6,          2, TYPES_FLOAT,  0, OP_ANY_OUTPUT, onnx__rnn_infer, onnx__rnn_run},
    {"Range",               11, 3, 3,         1, TYPES_NUMBER & ~TYPE_BIT(DATATYPE_UINT8), 7, 0, onnx__range_infer, onnx__range_run},
    {"Relu",                6, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__same_infer, onnx__relu_run},
    {"Reshape",             5, 2, 2,          1, TYPES_ANY,    2, OP_VIEW,       onnx__reshape_infer, NULL},
    {"Resize",              10, 1, 4,         1, TYPES_ANY,    14, 0,            onnx__resize_infer, onnx__resize_run},
    {"ReverseSequence",     10, 2, 2,         1, TYPES_ANY,    0, 0,             onnx__reverse_sequence_infer, onnx__reverse_sequence_run},
    {"RoiAlign",            10, 3, 3,         1, TYPES_FLOAT,  0, 0,             onnx__roi_align_infer, onnx__roi_align_run},
    {"Scatter",             9, 3, 3,          1, TYPES_ANY,    0, 0,             onnx__scatter_elements_infer, onnx__scatter_elements_run},
    {"ScatterElements",     11, 3, 3,         1, TYPES_ANY,    0, 0,             onnx__scatter_elements_infer, onnx__scatter_elements_run},
    {"ScatterND",           11, 3, 3,         1, TYPES_ANY,    0, 0,             onnx__scatter_nd_infer, onnx__scatter_nd_run},
    {"Shape",               1, 1, 1,          1, TYPES_ANY,    0, OP_OF_SHAPES,  onnx__shape_infer, onnx__shape_run},
    {"Sigmoid",             6, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__same_infer, onnx__sigmoid_run},
    {"Size",                1, 1, 1,          1, TYPES_ANY,    0, OP_OF_SHAPES,  onnx__size_infer, onnx__size_run},
    {"Slice",               1, 1, 5,          1, TYPES_ANY,    30, 0,            onnx__slice_infer, onnx__slice_run},
    {"Softmax",             1, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__softmax_infer, onnx__softmax_run},
    {"SpaceToDepth",        1, 1, 1,          1, TYPES_ANY,    0, 0,             onnx__space_to_depth_infer, onnx__space_to_depth_run},
    {"Split",               1, 1, 2,        255, TYPES_ANY,    2, 0,             onnx__split_infer, onnx__split_run},
    {"Squeeze",             1, 1, 2,          1, TYPES_ANY,    2, OP_VIEW,       onnx__squeeze_infer, NULL},
    {"Sub",                 7, 2, 2,          1, TYPES_NUMBER, 0, 0,             onnx__binary_infer, onnx__sub_run},
    {"Tanh",                6, 1, 1,          1, TYPES_FLOAT,  0, 0,             onnx__same_infer, onnx__tanh_run},
    {"Tile",                6, 2, 2,          1, TYPES_ANY,    2, 0,             onnx__tile_infer, onnx__tile_run},
    {"Transpose",           1, 1, 1,          1, TYPES_ANY,    0, 0,             onnx__transpose_infer, onnx__transpose_run},
    {"Trilu",               14, 1, 2,         1, TYPES_ANY,    0, 0,             onnx__trilu_infer, onnx__trilu_run},
    {"Unsqueeze",           1, 1, 2,          1, TYPES_ANY,    2, OP_VIEW,       onnx__unsqueeze_infer, NULL},
    {"Upsample",            7, 1, 2,          1, TYPES_ANY,    2, 0,             onnx__resize_infer, onnx__resize_run},
};
/* clang-format on */

const struct onnx__op *onnx__op_find(const char *op_type) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].op_type, op_type) == 0) return &table[i];
    return NULL;
}

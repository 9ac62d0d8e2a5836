/* The table of operators that have kernels. To add one, write its launch function in a .cu file of its family and give
 * it a row here; a step that no row takes runs on the CPU (run.c), so the table may grow one operator at a time.
 *
 * Rows are macros, so that a row also declares its functions: PLAIN has a launch function, CHOOSY beside that one that
 * says which forms of the operator it takes, and PLANNED two more, which prepare the step and undo that.
 * `cuda__<name>_` stands before launch, takes, prepare and forget. */
#include "cuda_internal.h"

#define NUMBER (TYPES_REAL | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64))

/* clang-format off */
#define TABLE(PLAIN, CHOOSY, PLANNED)                                                                                  \
    PLAIN("Abs",              NUMBER,      abs)                                                                        \
    PLAIN("Acos",             TYPES_REAL,  acos)                                                                       \
    PLAIN("Acosh",            TYPES_REAL,  acosh)                                                                      \
    PLAIN("Add",              NUMBER,      add)                                                                        \
    PLAIN("And",              TYPES_BOOL,  both)                                                                       \
    PLAIN("ArgMax",           NUMBER,      arg_max)                                                                    \
    PLAIN("ArgMin",           NUMBER,      arg_min)                                                                    \
    PLAIN("Asin",             TYPES_REAL,  asin)                                                                       \
    PLAIN("Asinh",            TYPES_REAL,  asinh)                                                                      \
    PLAIN("Atan",             TYPES_REAL,  atan)                                                                       \
    PLAIN("Atanh",            TYPES_REAL,  atanh)                                                                      \
    CHOOSY("Attention",       TYPES_FLOAT, attention, attention)                                                       \
    CHOOSY("AveragePool",     TYPES_FLOAT, average_pool, pool)                                                         \
    PLAIN("BatchNormalization",TYPES_FLOAT, batch_norm)                                                                \
    PLAIN("Cast",             TYPES_ANY,   cast)                                                                       \
    PLAIN("CastLike",         TYPES_ANY,   cast)                                                                       \
    PLAIN("Ceil",             TYPES_REAL,  ceil)                                                                       \
    PLAIN("Celu",             TYPES_REAL,  celu)                                                                       \
    PLAIN("CenterCropPad",    TYPES_ANY,   center_crop_pad)                                                            \
    PLAIN("Clip",             NUMBER,      clip)                                                                       \
    PLAIN("Concat",           TYPES_ANY,   concat)                                                                     \
    PLAIN("ConstantOfShape",  TYPES_ANY,   constant_of_shape)                                                          \
    PLANNED("Conv",           TYPES_FLOAT, conv)                                                                       \
    PLANNED("ConvTranspose",  TYPES_FLOAT, conv_transpose)                                                             \
    PLAIN("Cos",              TYPES_REAL,  cos)                                                                        \
    PLAIN("Cosh",             TYPES_REAL,  cosh)                                                                       \
    PLAIN("CumSum",           TYPES_PRODUCT, cum_sum)                                                                  \
    PLAIN("DepthToSpace",     TYPES_ANY,   depth_to_space)                                                             \
    PLAIN("Div",              NUMBER,      div)                                                                        \
    PLAIN("Dropout",          TYPES_ANY,   dropout)                                                                    \
    PLAIN("Elu",              TYPES_REAL,  elu)                                                                        \
    PLAIN("Equal",            NUMBER | TYPES_BOOL, equal)                                                              \
    PLAIN("Erf",              TYPES_REAL,  erf)                                                                        \
    PLAIN("Exp",              TYPES_REAL,  exp)                                                                        \
    PLAIN("Expand",           TYPES_ANY,   expand)                                                                     \
    PLAIN("Floor",            TYPES_REAL,  floor)                                                                      \
    PLANNED("GRU",            TYPES_FLOAT, recurrent)                                                                  \
    PLAIN("Gather",           TYPES_ANY,   gather)                                                                     \
    PLAIN("GatherElements",   TYPES_ANY,   gather_elements)                                                            \
    PLAIN("GatherND",         TYPES_ANY,   gather_nd)                                                                  \
    PLAIN("Gelu",             TYPES_REAL,  gelu)                                                                       \
    PLANNED("Gemm",           TYPES_PRODUCT, matmul)                                                                   \
    CHOOSY("GlobalAveragePool",TYPES_FLOAT, global_average_pool, planes)                                               \
    CHOOSY("GlobalLpPool",    TYPES_FLOAT, global_lp_pool, planes)                                                     \
    CHOOSY("GlobalMaxPool",   TYPES_FLOAT, global_max_pool, planes)                                                    \
    PLAIN("Greater",          NUMBER,      greater)                                                                    \
    PLAIN("GreaterOrEqual",   NUMBER,      greater_or_equal)                                                           \
    CHOOSY("GroupNormalization", TYPES_FLOAT, group_norm, group_norm)                                                  \
    PLAIN("HardSigmoid",      TYPES_REAL,  hard_sigmoid)                                                               \
    PLAIN("HardSwish",        TYPES_REAL,  hard_swish)                                                                 \
    PLAIN("Hardmax",          TYPES_FLOAT, hardmax)                                                                    \
    CHOOSY("InstanceNormalization", TYPES_FLOAT, instance_norm, group_norm)                                            \
    PLAIN("IsInf",            TYPES_REAL,  is_inf)                                                                     \
    PLAIN("IsNaN",            TYPES_REAL,  is_nan)                                                                     \
    PLAIN("LRN",              TYPES_FLOAT, lrn)                                                                        \
    PLANNED("LSTM",           TYPES_FLOAT, recurrent)                                                                  \
    PLAIN("LayerNormalization", TYPES_FLOAT, layer_norm)                                                               \
    PLAIN("LeakyRelu",        TYPES_REAL,  leaky_relu)                                                                 \
    PLAIN("Less",             NUMBER,      less)                                                                       \
    PLAIN("LessOrEqual",      NUMBER,      less_or_equal)                                                              \
    PLAIN("Log",              TYPES_REAL,  log)                                                                        \
    PLAIN("LogSoftmax",       TYPES_FLOAT, log_softmax)                                                                \
    CHOOSY("LpPool",          TYPES_FLOAT, lp_pool, pool)                                                              \
    PLANNED("MatMul",         TYPES_PRODUCT, matmul)                                                                   \
    PLAIN("Max",              NUMBER,      max)                                                                        \
    CHOOSY("MaxPool",         TYPES_FLOAT | TYPE_BIT(DATATYPE_UINT8) | TYPE_BIT(DATATYPE_INT8), max_pool, pool)        \
    PLAIN("Mean",             TYPES_REAL,  mean)                                                                       \
    PLAIN("Min",              NUMBER,      min)                                                                        \
    PLAIN("Mish",             TYPES_REAL,  mish)                                                                       \
    PLAIN("Mod",              NUMBER,      mod)                                                                        \
    PLAIN("Mul",              NUMBER,      mul)                                                                        \
    PLAIN("Neg",              NUMBER,      neg)                                                                        \
    PLAIN("Not",              TYPES_BOOL,  not)                                                                        \
    PLAIN("OneHot",           TYPES_ANY,   one_hot)                                                                    \
    PLAIN("Or",               TYPES_BOOL,  either)                                                                     \
    PLAIN("PRelu",            NUMBER,      prelu)                                                                      \
    PLAIN("Pad",              TYPES_ANY,   pad)                                                                        \
    CHOOSY("Pow",             TYPES_REAL,  pow, pow)                                                                   \
    PLANNED("RNN",            TYPES_FLOAT, recurrent)                                                                  \
    PLAIN("Range",            TYPES_ANY,   range)                                                                      \
    PLAIN("Reciprocal",       TYPES_REAL,  reciprocal)                                                                 \
    CHOOSY("ReduceL1",        NUMBER,      reduce_l1, reduce)                                                          \
    CHOOSY("ReduceL2",        TYPES_REAL,  reduce_l2, reduce)                                                          \
    CHOOSY("ReduceLogSum",    TYPES_REAL,  reduce_log_sum, reduce)                                                     \
    CHOOSY("ReduceLogSumExp", TYPES_REAL,  reduce_log_sum_exp, reduce)                                                 \
    CHOOSY("ReduceMax",       NUMBER | TYPES_BOOL, reduce_max, reduce)                                                 \
    CHOOSY("ReduceMean",      NUMBER,      reduce_mean, reduce)                                                        \
    CHOOSY("ReduceMin",       NUMBER | TYPES_BOOL, reduce_min, reduce)                                                 \
    CHOOSY("ReduceProd",      NUMBER,      reduce_prod, reduce)                                                        \
    CHOOSY("ReduceSum",       NUMBER,      reduce_sum, reduce)                                                         \
    CHOOSY("ReduceSumSquare", NUMBER,      reduce_sum_square, reduce)                                                  \
    PLAIN("Relu",             NUMBER,      relu)                                                                       \
    PLANNED("Resize",         TYPES_ANY,   resize)                                                                     \
    PLAIN("ReverseSequence",  TYPES_ANY,   reverse_sequence)                                                           \
    PLAIN("Round",            TYPES_REAL,  round)                                                                      \
    CHOOSY("Scatter",         TYPES_ANY,   scatter_elements, scatter)                                                  \
    CHOOSY("ScatterElements", TYPES_ANY,   scatter_elements, scatter)                                                  \
    CHOOSY("ScatterND",       TYPES_ANY,   scatter_nd, scatter)                                                        \
    PLAIN("Selu",             TYPES_REAL,  selu)                                                                       \
    PLAIN("Shrink",           TYPES_REAL,  shrink)                                                                     \
    PLAIN("Sigmoid",          TYPES_REAL,  sigmoid)                                                                    \
    PLAIN("Sign",             NUMBER,      sign)                                                                       \
    PLAIN("Sin",              TYPES_REAL,  sin)                                                                        \
    PLAIN("Sinh",             TYPES_REAL,  sinh)                                                                       \
    PLAIN("Slice",            TYPES_ANY,   slice)                                                                      \
    PLAIN("Softmax",          TYPES_FLOAT, softmax)                                                                    \
    PLAIN("Softplus",         TYPES_REAL,  softplus)                                                                   \
    PLAIN("Softsign",         TYPES_REAL,  softsign)                                                                   \
    PLAIN("SpaceToDepth",     TYPES_ANY,   space_to_depth)                                                             \
    PLAIN("Split",            TYPES_ANY,   split)                                                                      \
    PLAIN("Sqrt",             TYPES_REAL,  sqrt)                                                                       \
    PLAIN("Sub",              NUMBER,      sub)                                                                        \
    PLAIN("Sum",              TYPES_REAL,  sum)                                                                        \
    PLAIN("Tan",              TYPES_REAL,  tan)                                                                        \
    PLAIN("Tanh",             TYPES_REAL,  tanh)                                                                       \
    PLAIN("ThresholdedRelu",  TYPES_REAL,  thresholded_relu)                                                           \
    PLAIN("Tile",             TYPES_ANY,   tile)                                                                       \
    CHOOSY("TopK",            TYPE_BIT(DATATYPE_FP16) | TYPES_FLOAT | TYPE_BIT(DATATYPE_INT32), top_k, top_k)          \
    PLAIN("Transpose",        TYPES_ANY,   transpose)                                                                  \
    PLAIN("Trilu",            TYPES_ANY,   trilu)                                                                      \
    PLANNED("Upsample",       TYPES_ANY,   resize)                                                                     \
    PLAIN("Where",            TYPES_BOOL,  where)                                                                      \
    PLAIN("Xor",              TYPES_BOOL,  one_of)

#define PLAIN_DECLARED(op, types, name)          cuda__launch_fn cuda__##name##_launch;
#define CHOOSY_DECLARED(op, types, name, choice) cuda__launch_fn cuda__##name##_launch; bool cuda__##choice##_takes(const struct onnx__step *step);
#define PLANNED_DECLARED(op, types, name)        cuda__launch_fn cuda__##name##_launch; bool cuda__##name##_takes(const struct onnx__step *step); cuda__prepare_fn cuda__##name##_prepare; cuda__forget_fn cuda__##name##_forget;
TABLE(PLAIN_DECLARED, CHOOSY_DECLARED, PLANNED_DECLARED)

#define PLAIN_ROW(op, types, name)          {op, types, NULL, cuda__##name##_launch, NULL, NULL},
#define CHOOSY_ROW(op, types, name, choice) {op, types, cuda__##choice##_takes, cuda__##name##_launch, NULL, NULL},
#define PLANNED_ROW(op, types, name)        {op, types, cuda__##name##_takes, cuda__##name##_launch, cuda__##name##_prepare, cuda__##name##_forget},
static const struct cuda__op table[] = {TABLE(PLAIN_ROW, CHOOSY_ROW, PLANNED_ROW)};
/* clang-format on */

static bool row_takes(const struct cuda__op *op, const struct onnx__step *step) {
    if (strcmp(op->op_type, step->node->op_type) != 0) return false;
    if (step->in_count > 0 && step->in[0] && !(op->types & TYPE_BIT(step->in[0]->datatype))) return false;
    return !op->takes || op->takes(step);
}

const struct cuda__op *cuda__op_find(const struct onnx__step *step) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (row_takes(&table[i], step)) return &table[i];
    return NULL;
}

/* Operators that ONNX's node tests reach in small shapes only, on the onnx-cuda executor against the reference kernels:
 * shapes that fill tiles and words of 16 bytes, that end in the middle of one, lanes longer than a block, datatypes of
 * every size. Each case also shows that nothing of it ran on the host: once the plan is recorded, a run copies its
 * inputs and outputs and the word of faults, and nothing else. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cuda_emulation.h"
#include "onnx_cases.h"
#include "penstock/registry.h"
#include "testlib.h"

#define TYPE_UINT8   2
#define TYPE_BOOL    9
#define TYPE_HALF    10
#define TYPE_DOUBLE  11
#define MAX_INPUTS   8
#define MAX_ELEMENTS 40000

/* One node. Lists end with their first member that has no name. */
struct subject {
    const char *op_type, *in, *out; /* in: names of inputs and weights, of which those left out are empty */
    int opset;
    struct {
        const char *name;
        int64_t value;
    } ints[4];
    struct {
        const char *name, *value;
    } string;
    const char *functions[2]; /* attribute activations */
    struct {
        const char *name;
        int count;
        int64_t values[8];
    } list; /* an attribute */
    struct {
        const char *name;
        int count; /* 0: a scalar */
        int64_t values[8];
    } weights[4]; /* INT64 */
    struct {
        const char *name;
        int type, rank;
        int64_t shape[6], least, beyond; /* of whole numbers; real ones are in [-1, 1) */
    } inputs[MAX_INPUTS];
    struct {
        const char *name;
        int type, rank;
    } outputs[3];
};

#define FLOAT ONNX_TYPE_FLOAT
#define X(type, rank, ...)                                                                                             \
    { "x", type, rank, {__VA_ARGS__}, -100, 100 }
#define Y(type, rank) .outputs = {{"y", type, rank}}

static const struct subject moving[] = {
    {"Transpose", "x", "y", 13, .list = {"perm", 2, {1, 0}}, .inputs = {X(FLOAT, 2, 70, 45)}, Y(FLOAT, 2)},
    {"Transpose", "x", "y", 13, .list = {"perm", 4, {0, 2, 3, 1}}, .inputs = {X(FLOAT, 4, 2, 33, 9, 11)}, Y(FLOAT, 4)},
    {"Transpose", "x", "y", 13, .list = {"perm", 4, {0, 3, 1, 2}}, .inputs = {X(TYPE_UINT8, 4, 2, 9, 11, 33)},
     Y(TYPE_UINT8, 4)},
    {"Transpose", "x", "y", 13, .list = {"perm", 5, {4, 1, 3, 0, 2}}, .inputs = {X(TYPE_DOUBLE, 5, 10, 3, 4, 5, 12)},
     Y(TYPE_DOUBLE, 5)},
    {"Transpose", "x", "y", 13, .list = {"perm", 4, {0, 2, 1, 3}}, .inputs = {X(TYPE_HALF, 4, 2, 5, 3, 24)},
     Y(TYPE_HALF, 4)},
    {"Transpose", "x", "y", 13, .list = {"perm", 3, {2, 0, 1}}, .inputs = {X(ONNX_TYPE_INT64, 3, 4, 6, 3)},
     Y(ONNX_TYPE_INT64, 3)},
    {"Slice", "x,starts,ends,axes,steps", "y", 13,
     .weights =
         {{"starts", 3, {1, -1, 4}}, {"ends", 3, {9, -1000, 20}}, {"axes", 3, {0, 1, 2}}, {"steps", 3, {2, -2, 1}}},
     .inputs = {X(FLOAT, 3, 10, 7, 24)}, Y(FLOAT, 3)},
    {"Slice", "x,starts,ends", "y", 13, .weights = {{"starts", 1, {2}}, {"ends", 1, {5}}},
     .inputs = {X(TYPE_BOOL, 2, 8, 13)}, Y(TYPE_BOOL, 2)},
    {"Slice", "x,starts,ends", "y", 13, .weights = {{"starts", 1, {5}}, {"ends", 1, {5}}},
     .inputs = {X(FLOAT, 2, 8, 13)}, Y(FLOAT, 2)},
    {"Split", "x,sizes", "y,z", 13, .ints = {{"axis", 1}}, .weights = {{"sizes", 2, {4, 9}}},
     .inputs = {X(FLOAT, 3, 5, 13, 6)}, .outputs = {{"y", FLOAT, 3}, {"z", FLOAT, 3}}},
    {"Expand", "x,to", "y", 13, .weights = {{"to", 4, {3, 5, 7, 40}}}, .inputs = {X(ONNX_TYPE_INT32, 3, 5, 1, 40)},
     Y(ONNX_TYPE_INT32, 4)},
    {"Tile", "x,times", "y", 13, .weights = {{"times", 3, {2, 1, 3}}}, .inputs = {X(TYPE_HALF, 3, 4, 5, 7)},
     Y(TYPE_HALF, 3)},
    {"DepthToSpace", "x", "y", 13, .ints = {{"blocksize", 2}}, .string = {"mode", "CRD"},
     .inputs = {X(FLOAT, 4, 1, 8, 5, 6)}, Y(FLOAT, 4)},
    {"SpaceToDepth", "x", "y", 13, .ints = {{"blocksize", 3}}, .inputs = {X(FLOAT, 4, 2, 3, 6, 9)}, Y(FLOAT, 4)},
    {"Concat", "x,a,b", "y", 13, .ints = {{"axis", 1}},
     .inputs = {X(FLOAT, 3, 4, 8, 4), {"a", FLOAT, 3, {4, 3, 4}}, {"b", FLOAT, 3, {4, 0, 4}}}, Y(FLOAT, 3)},
    {"Concat", "x,a", "y", 13, .ints = {{"axis", -1}},
     .inputs = {X(TYPE_UINT8, 2, 30, 7), {"a", TYPE_UINT8, 2, {30, 6}, 0, 200}}, Y(TYPE_UINT8, 2)},
    {"Concat", "x,a", "y", 13, .ints = {{"axis", 0}}, .inputs = {X(FLOAT, 2, 3, 7), {"a", FLOAT, 2, {2, 7}}},
     Y(FLOAT, 2)},
};

static const struct subject filling[] = {
    {"Pad", "x,pads", "y", 13, .weights = {{"pads", 8, {0, 0, 1, 2, 0, 0, 3, 1}}}, .inputs = {X(FLOAT, 4, 2, 3, 6, 7)},
     Y(FLOAT, 4)},
    {"Pad", "x,pads,v", "y", 13, .weights = {{"pads", 6, {1, 0, 0, -2, 0, 0}}},
     .inputs = {X(ONNX_TYPE_INT32, 3, 5, 4, 6), {"v", ONNX_TYPE_INT32, 0, {0}, 5, 6}}, Y(ONNX_TYPE_INT32, 3)},
    {"Pad", "x,pads", "y", 13, .string = {"mode", "reflect"}, .weights = {{"pads", 6, {0, 0, 5, 0, 0, 4}}},
     .inputs = {X(FLOAT, 3, 3, 4, 6)}, Y(FLOAT, 3)},
    {"Pad", "x,pads", "y", 13, .string = {"mode", "edge"}, .weights = {{"pads", 4, {2, 0, 1, 0}}},
     .inputs = {X(TYPE_HALF, 2, 5, 300)}, Y(TYPE_HALF, 2)},
    {"Pad", "x,pads", "y", 19, .string = {"mode", "wrap"}, .weights = {{"pads", 4, {2, 9, 1, 3}}},
     .inputs = {X(TYPE_UINT8, 2, 5, 6)}, Y(TYPE_UINT8, 2)},
    {"CenterCropPad", "x,to", "y", 18, .weights = {{"to", 2, {4, 11}}}, .inputs = {X(FLOAT, 2, 7, 6)}, Y(FLOAT, 2)},
    {"Trilu", "x", "y", 14, .inputs = {X(FLOAT, 3, 4, 13, 17)}, Y(FLOAT, 3)},
    {"Trilu", "x,k", "y", 14, .ints = {{"upper", 0}},
     .inputs = {X(ONNX_TYPE_INT64, 2, 13, 17), {"k", ONNX_TYPE_INT64, 0, {0}, -2, -1}}, Y(ONNX_TYPE_INT64, 2)},
    {"OneHot", "x,depth,v", "y", 11, .ints = {{"axis", 1}}, .weights = {{"depth", 0, {9}}},
     .inputs = {{"x", ONNX_TYPE_INT64, 2, {30, 5}, -12, 12}, {"v", FLOAT, 1, {2}}}, Y(FLOAT, 3)},
    {"OneHot", "x,depth,v", "y", 11, .weights = {{"depth", 0, {9}}},
     .inputs = {{"x", ONNX_TYPE_INT32, 1, {300}, -12, 12}, {"v", TYPE_BOOL, 1, {2}, 0, 2}}, Y(TYPE_BOOL, 2)},
    {"Dropout", "x", "y,mask", 13, .inputs = {X(FLOAT, 2, 30, 10)},
     .outputs = {{"y", FLOAT, 2}, {"mask", TYPE_BOOL, 2}}},
};

static const struct subject gathering[] = {
    {"Gather", "x,i", "y", 13, .ints = {{"axis", 1}},
     .inputs = {X(FLOAT, 3, 3, 20, 12), {"i", ONNX_TYPE_INT64, 2, {5, 4}, -20, 20}}, Y(FLOAT, 4)},
    {"Gather", "x,i", "y", 13, .inputs = {X(TYPE_BOOL, 2, 20, 3), {"i", ONNX_TYPE_INT32, 1, {200}, -20, 20}},
     Y(TYPE_BOOL, 2)},
    {"GatherElements", "x,i", "y", 13, .ints = {{"axis", 1}},
     .inputs = {X(FLOAT, 3, 6, 9, 7), {"i", ONNX_TYPE_INT64, 3, {5, 30, 7}, -9, 9}}, Y(FLOAT, 3)},
    {"GatherND", "x,i", "y", 13, .ints = {{"batch_dims", 1}},
     .inputs = {X(TYPE_HALF, 4, 3, 5, 5, 24), {"i", ONNX_TYPE_INT64, 3, {3, 9, 2}, -5, 5}}, Y(TYPE_HALF, 3)},
    {"ScatterND", "x,i,u", "y", 18,
     .inputs = {X(FLOAT, 2, 9, 8), {"i", ONNX_TYPE_INT64, 2, {1, 1}, -9, 9}, {"u", FLOAT, 2, {1, 8}}}, Y(FLOAT, 2)},
    {"ScatterND", "x,i,u", "y", 18, .string = {"reduction", "add"},
     .inputs = {X(ONNX_TYPE_INT64, 2, 9, 8),
                {"i", ONNX_TYPE_INT64, 2, {50, 1}, -9, 9},
                {"u", ONNX_TYPE_INT64, 2, {50, 8}, -9, 9}},
     Y(ONNX_TYPE_INT64, 2)},
    {"ScatterElements", "x,i,u", "y", 18, .ints = {{"axis", 1}}, .string = {"reduction", "max"},
     .inputs = {X(FLOAT, 2, 9, 8), {"i", ONNX_TYPE_INT32, 2, {9, 40}, -8, 8}, {"u", FLOAT, 2, {9, 40}}}, Y(FLOAT, 2)},
    {"ScatterElements", "x,i,u", "y", 18, .string = {"reduction", "mul"},
     .inputs = {X(TYPE_DOUBLE, 2, 9, 8), {"i", ONNX_TYPE_INT64, 2, {20, 8}, -9, 9}, {"u", TYPE_DOUBLE, 2, {20, 8}}},
     Y(TYPE_DOUBLE, 2)},
    {"ReverseSequence", "x,lens", "y", 10, .ints = {{"batch_axis", 0}, {"time_axis", 1}},
     .inputs = {X(FLOAT, 3, 7, 9, 4), {"lens", ONNX_TYPE_INT64, 1, {7}, 0, 10}}, Y(FLOAT, 3)},
};

static const struct subject reducing[] = {
    {"ReduceSum", "x,axes", "y", 13, .weights = {{"axes", 1, {-1}}}, .inputs = {X(FLOAT, 2, 7, 40)}, Y(FLOAT, 2)},
    {"ReduceSum", "x,axes", "y", 13, .weights = {{"axes", 1, {1}}}, .inputs = {X(FLOAT, 2, 3, 3000)}, Y(FLOAT, 2)},
    {"ReduceSum", "x", "y", 13, .ints = {{"keepdims", 0}}, .inputs = {X(ONNX_TYPE_INT64, 1, 20000)},
     Y(ONNX_TYPE_INT64, 0)},
    {"ReduceSum", "x,axes", "y", 13, .weights = {{"axes", 1, {1}}}, .inputs = {X(ONNX_TYPE_INT32, 3, 5, 21, 70)},
     Y(ONNX_TYPE_INT32, 3)},
    {"ReduceMean", "x", "y", 13, .list = {"axes", 2, {0, 2}}, .inputs = {X(FLOAT, 4, 5, 4, 21, 3)}, Y(FLOAT, 4)},
    {"ReduceSum", "x,axes", "y", 13, .weights = {{"axes", 1, {0}}}, .inputs = {X(FLOAT, 2, 2000, 9)}, Y(FLOAT, 2)},
    {"ReduceMean", "x", "y", 13, .list = {"axes", 1, {1}}, .inputs = {X(TYPE_DOUBLE, 3, 3, 17, 9)}, Y(TYPE_DOUBLE, 3)},
    {"ReduceMean", "x", "y", 13, .list = {"axes", 1, {0}}, .inputs = {X(ONNX_TYPE_INT32, 2, 17, 9)},
     Y(ONNX_TYPE_INT32, 2)},
    {"ReduceMax", "x", "y", 13, .list = {"axes", 1, {1}}, .inputs = {X(TYPE_HALF, 3, 3, 17, 40)}, Y(TYPE_HALF, 3)},
    {"ReduceMax", "x,axes", "y", 20, .weights = {{"axes", 1, {0}}}, .inputs = {{"x", TYPE_BOOL, 2, {2, 60}, 0, 2}},
     Y(TYPE_BOOL, 2)},
    {"ReduceMax", "x", "y", 13, .list = {"axes", 1, {0}}, .inputs = {X(FLOAT, 2, 0, 4)}, Y(FLOAT, 2)},
    {"ReduceMin", "x", "y", 13, .inputs = {X(ONNX_TYPE_INT64, 2, 30, 50)}, Y(ONNX_TYPE_INT64, 2)},
    {"ReduceMin", "x,axes", "y", 20, .weights = {{"axes", 1, {1}}}, .inputs = {{"x", TYPE_BOOL, 2, {60, 2}, 0, 2}},
     Y(TYPE_BOOL, 2)},
    {"ReduceProd", "x", "y", 13, .list = {"axes", 1, {2}}, .inputs = {X(ONNX_TYPE_INT32, 3, 5, 4, 50)},
     Y(ONNX_TYPE_INT32, 3)},
    {"ReduceProd", "x", "y", 13, .list = {"axes", 1, {0}}, .inputs = {X(FLOAT, 2, 0, 4)}, Y(FLOAT, 2)},
    {"ReduceL1", "x", "y", 13, .list = {"axes", 1, {1}}, .inputs = {X(ONNX_TYPE_INT32, 2, 5, 90)},
     Y(ONNX_TYPE_INT32, 2)},
    {"ReduceL2", "x", "y", 13, .list = {"axes", 1, {0}}, .inputs = {X(FLOAT, 2, 50, 33)}, Y(FLOAT, 2)},
    {"ReduceSumSquare", "x", "y", 13, .inputs = {X(FLOAT, 2, 50, 33)}, Y(FLOAT, 2)},
    {"ReduceLogSumExp", "x", "y", 13, .list = {"axes", 1, {1}}, .inputs = {X(FLOAT, 2, 5, 1500)}, Y(FLOAT, 2)},
    {"ReduceSum", "x", "y", 13, .ints = {{"noop_with_empty_axes", 1}}, .inputs = {X(FLOAT, 2, 5, 6)}, Y(FLOAT, 2)},
};

static const struct subject ordering[] = {
    {"ArgMax", "x", "y", 13, .ints = {{"axis", 1}}, .inputs = {X(FLOAT, 2, 9, 1000)}, Y(ONNX_TYPE_INT64, 2)},
    {"ArgMax", "x", "y", 13, .ints = {{"axis", 1}, {"select_last_index", 1}},
     .inputs = {{"x", ONNX_TYPE_INT32, 2, {3, 2000}, -9, 9}}, Y(ONNX_TYPE_INT64, 2)},
    {"ArgMin", "x", "y", 13, .ints = {{"axis", 1}}, .inputs = {{"x", ONNX_TYPE_INT64, 2, {3, 2000}, -9, 9}},
     Y(ONNX_TYPE_INT64, 2)},
    {"ArgMin", "x", "y", 13, .ints = {{"axis", 1}, {"select_last_index", 1}},
     .inputs = {{"x", ONNX_TYPE_INT64, 3, {3, 20, 40}, -3, 3}}, Y(ONNX_TYPE_INT64, 3)},
    {"ArgMax", "x", "y", 13, .ints = {{"axis", 0}}, .inputs = {X(TYPE_HALF, 3, 11, 4, 5)}, Y(ONNX_TYPE_INT64, 3)},
    {"Hardmax", "x", "y", 13, .ints = {{"axis", 1}}, .inputs = {X(FLOAT, 3, 3, 50, 4)}, Y(FLOAT, 3)},
    {"TopK", "x,k", "y,i", 11, .weights = {{"k", 1, {5}}}, .inputs = {X(FLOAT, 2, 20, 90)},
     .outputs = {{"y", FLOAT, 2}, {"i", ONNX_TYPE_INT64, 2}}},
    {"TopK", "x,k", "y,i", 11, .ints = {{"largest", 0}, {"axis", 1}}, .weights = {{"k", 1, {300}}},
     .inputs = {{"x", ONNX_TYPE_INT32, 3, {2, 3000, 2}, -900, 900}},
     .outputs = {{"y", ONNX_TYPE_INT32, 3}, {"i", ONNX_TYPE_INT64, 3}}},
    {"TopK", "x,k", "y,i", 11, .weights = {{"k", 1, {1024}}}, .inputs = {X(FLOAT, 1, 20000)},
     .outputs = {{"y", FLOAT, 1}, {"i", ONNX_TYPE_INT64, 1}}},
    {"TopK", "x,k", ",i", 11, .weights = {{"k", 1, {3}}}, .inputs = {{"x", ONNX_TYPE_INT32, 2, {2, 2000}, -2, 2}},
     .outputs = {{"i", ONNX_TYPE_INT64, 2}}},
    {"TopK", "x,k", "y,i", 11, .weights = {{"k", 1, {1}}}, .inputs = {X(TYPE_HALF, 2, 20, 1)},
     .outputs = {{"y", TYPE_HALF, 2}, {"i", ONNX_TYPE_INT64, 2}}},
    {"CumSum", "x,axis", "y", 14, .weights = {{"axis", 0, {1}}}, .inputs = {X(FLOAT, 2, 9, 1000)}, Y(FLOAT, 2)},
    {"CumSum", "x,axis", "y", 14, .ints = {{"exclusive", 1}, {"reverse", 1}}, .weights = {{"axis", 0, {0}}},
     .inputs = {X(FLOAT, 1, 5000)}, Y(FLOAT, 1)},
    {"CumSum", "x,axis", "y", 14, .ints = {{"exclusive", 1}}, .weights = {{"axis", 0, {1}}},
     .inputs = {X(ONNX_TYPE_INT64, 3, 3, 7, 50)}, Y(ONNX_TYPE_INT64, 3)},
    {"CumSum", "x,axis", "y", 14, .ints = {{"reverse", 1}}, .weights = {{"axis", 0, {1}}},
     .inputs = {X(ONNX_TYPE_INT32, 3, 3, 40, 5)}, Y(ONNX_TYPE_INT32, 3)},
};

static const struct subject normalising[] = {
    {"Softmax", "x", "y", 13, .inputs = {X(FLOAT, 3, 3, 7, 40)}, Y(FLOAT, 3)},
    {"Softmax", "x", "y", 13, .ints = {{"axis", 1}}, .inputs = {X(FLOAT, 3, 2, 1500, 5)}, Y(FLOAT, 3)},
    {"LogSoftmax", "x", "y", 11, .ints = {{"axis", 1}}, .inputs = {X(FLOAT, 3, 4, 50, 33)}, Y(FLOAT, 3)},
    {"LayerNormalization", "x,s,b", "y,m,v", 17,
     .inputs = {X(FLOAT, 3, 3, 5, 64), {"s", FLOAT, 1, {64}}, {"b", FLOAT, 1, {64}}},
     .outputs = {{"y", FLOAT, 3}, {"m", FLOAT, 3}, {"v", FLOAT, 3}}},
    {"LayerNormalization", "x,s", "y", 17, .ints = {{"axis", 1}},
     .inputs = {X(FLOAT, 3, 3, 37, 51), {"s", FLOAT, 2, {37, 51}}}, Y(FLOAT, 3)},
    {"LayerNormalization", "x,s,b", "y", 17, .inputs = {X(FLOAT, 2, 30, 7), {"s", FLOAT, 1, {1}}, {"b", FLOAT, 1, {7}}},
     Y(FLOAT, 2)},
    {"InstanceNormalization", "x,s,b", "y", 13,
     .inputs = {X(FLOAT, 4, 2, 5, 9, 7), {"s", FLOAT, 1, {5}}, {"b", FLOAT, 1, {5}}}, Y(FLOAT, 4)},
    {"InstanceNormalization", "x,s,b", "y", 13,
     .inputs = {X(FLOAT, 4, 1, 3, 40, 40), {"s", FLOAT, 1, {3}}, {"b", FLOAT, 1, {3}}}, Y(FLOAT, 4)},
    {"GroupNormalization", "x,s,b", "y", 18, .ints = {{"num_groups", 2}},
     .inputs = {X(FLOAT, 4, 2, 6, 9, 7), {"s", FLOAT, 1, {2}}, {"b", FLOAT, 1, {2}}}, Y(FLOAT, 4)},
    {"GroupNormalization", "x,s,b", "y", 21, .ints = {{"num_groups", 3}},
     .inputs = {X(FLOAT, 4, 2, 6, 8, 2), {"s", FLOAT, 1, {6}}, {"b", FLOAT, 1, {6}}}, Y(FLOAT, 4)},
};

/* seq, batch, input, hidden: 5, 3, 6, 10 or with one item 4, 1, 6, 40; 2 directions have twice the weights. */
#define W(name, ...)                                                                                                   \
    {                                                                                                                  \
        name, FLOAT, 3, { __VA_ARGS__ }                                                                                \
    }
#define LIST(name, ...)                                                                                                \
    {                                                                                                                  \
        name, FLOAT, 2, { __VA_ARGS__ }                                                                                \
    }
#define LENS                                                                                                           \
    { "lens", ONNX_TYPE_INT32, 1, {3}, 0, 6 }
#define OUT_H  .outputs = {{"y", FLOAT, 4}, {"h", FLOAT, 3}}
#define OUT_HC .outputs = {{"y", FLOAT, 4}, {"h", FLOAT, 3}, {"c", FLOAT, 3}}

static const struct subject remembering[] = {
    {"LSTM", "x,w,r,b,lens,h0,c0,p", "y,h,c", 14, .ints = {{"hidden_size", 10}},
     .inputs = {W("x", 5, 3, 6), W("w", 1, 40, 6), W("r", 1, 40, 10), LIST("b", 1, 80), LENS, W("h0", 1, 3, 10),
                W("c0", 1, 3, 10), LIST("p", 1, 30)},
     OUT_HC},
    {"LSTM", "x,w,r", "y,h,c", 14, .ints = {{"hidden_size", 40}}, .string = {"direction", "reverse"},
     .inputs = {W("x", 4, 1, 6), W("w", 1, 160, 6), W("r", 1, 160, 40)}, OUT_HC},
    {"LSTM", "x,w,r,b,lens", "y,h,c", 14, .ints = {{"hidden_size", 10}, {"layout", 1}, {"input_forget", 1}},
     .string = {"direction", "bidirectional"},
     .inputs = {W("x", 3, 5, 6), W("w", 2, 40, 6), W("r", 2, 40, 10), LIST("b", 2, 80), LENS}, OUT_HC},
    {"LSTM", "x,w,r,b", ",h", 14, .ints = {{"hidden_size", 10}},
     .inputs = {W("x", 5, 9, 6), W("w", 1, 40, 6), W("r", 1, 40, 10), LIST("b", 1, 80)}, .outputs = {{"h", FLOAT, 3}}},
    {"GRU", "x,w,r,b,lens,h0", "y,h", 14, .ints = {{"hidden_size", 10}}, .string = {"direction", "bidirectional"},
     .inputs = {W("x", 5, 3, 6), W("w", 2, 30, 6), W("r", 2, 30, 10), LIST("b", 2, 60), LENS, W("h0", 2, 3, 10)},
     OUT_H},
    {"GRU", "x,w,r,b,lens", "y,h", 14, .ints = {{"hidden_size", 10}, {"linear_before_reset", 1}},
     .inputs = {W("x", 5, 3, 6), W("w", 1, 30, 6), W("r", 1, 30, 10), LIST("b", 1, 60), LENS}, OUT_H},
    {"GRU", "x,w,r", "y,h", 14, .ints = {{"hidden_size", 10}, {"linear_before_reset", 1}, {"layout", 1}},
     .inputs = {W("x", 3, 5, 6), W("w", 1, 30, 6), W("r", 1, 30, 10)}, OUT_H},
    {"RNN", "x,w,r,b,lens,h0", "y,h", 14, .ints = {{"hidden_size", 10}, {"layout", 1}},
     .string = {"direction", "bidirectional"},
     .inputs = {W("x", 3, 5, 6), W("w", 2, 10, 6), W("r", 2, 10, 10), LIST("b", 2, 20), LENS, W("h0", 3, 2, 10)},
     OUT_H},
    {"RNN", "x,w,r", "y,h", 14, .ints = {{"hidden_size", 10}},
     .inputs = {W("x", 0, 3, 6), W("w", 1, 10, 6), W("r", 1, 10, 10)}, OUT_H},
};

/* --- the node as a model ----------------------------------------------------------------------------------------- */

struct fixture {
    const struct executor_ops *ops;
    struct executor *ex;
    struct executor_model *model;
    struct arena arena;
    struct tensor inputs[MAX_INPUTS];
    size_t input_count, output_count;
    uint32_t seed;
    bool odd; /* real numbers come with those that are none, infinities and both zeros among them */
};

static struct fixture fx;

static int setup(void **state) {
    struct executor_error why;
    struct err err;
    fx = (struct fixture){.seed = 7};
    arena_init(&fx.arena);
    cuda_emulation_reset();
    if (registry_executor_find("onnx-cuda", BUILD_DIR "/emulated", &fx.ops, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(fx.ops->open(&(struct executor_options){.threads = 1}, &fx.ex, &why), 0);
    return 0;
}

static int teardown(void **state) {
    fx.ops->close(fx.ex);
    arena_done(&fx.arena);
    return 0;
}

static double random_unit(void) {
    fx.seed = fx.seed * 1664525 + 1013904223;
    return (double)(fx.seed >> 8) / (1 << 24);
}

static enum datatype datatype_of(int type) {
    switch (type) {
    case FLOAT:
        return DATATYPE_FP32;
    case TYPE_DOUBLE:
        return DATATYPE_FP64;
    case TYPE_HALF:
        return DATATYPE_FP16;
    case TYPE_UINT8:
        return DATATYPE_UINT8;
    case TYPE_BOOL:
        return DATATYPE_BOOL;
    default:
        return type == ONNX_TYPE_INT32 ? DATATYPE_INT32 : DATATYPE_INT64;
    }
}

/* One in 64, among real numbers. */
static double odd_one(double value) {
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0};
    uint32_t dice = fx.seed >> 9 & 0x1ff;
    return fx.odd && dice < 8 ? odd[dice % 5] : value;
}

/* Any bits are a number of 16 bits but for those of infinities and NaN. */
static void fill(struct tensor *x, int64_t least, int64_t beyond) {
    for (int64_t i = 0; i < tensor_element_count(x->shape, x->rank); i++) {
        double unit = random_unit();
        int64_t whole = least + (int64_t)(unit * (double)(beyond - least));
        switch (x->datatype) {
        case DATATYPE_FP32:
            ((float *)x->data)[i] = (float)odd_one(2 * unit - 1);
            break;
        case DATATYPE_FP64:
            ((double *)x->data)[i] = odd_one(2 * unit - 1);
            break;
        case DATATYPE_FP16:
            ((uint16_t *)x->data)[i] = (uint16_t)(((uint32_t)(unit * 8192) + 0x2000) | (i & 1 ? 0x8000u : 0u));
            break;
        case DATATYPE_INT32:
            ((int32_t *)x->data)[i] = (int32_t)whole;
            break;
        case DATATYPE_INT64:
            ((int64_t *)x->data)[i] = whole;
            break;
        default:
            ((uint8_t *)x->data)[i] = x->datatype == DATATYPE_BOOL ? whole & 1 : (uint8_t)whole;
            break;
        }
    }
}

static void add_inputs(struct onnx_builder *b, const struct subject *s) {
    for (fx.input_count = 0; fx.input_count < MAX_INPUTS && s->inputs[fx.input_count].name; fx.input_count++) {
        size_t i = fx.input_count;
        struct tensor *x = &fx.inputs[i];
        onnx_build_io(b, ONNX_BUILD_INPUT, s->inputs[i].name, s->inputs[i].type, s->inputs[i].rank, s->inputs[i].shape);
        *x = (struct tensor){
            .name = s->inputs[i].name, .datatype = datatype_of(s->inputs[i].type), .rank = s->inputs[i].rank};
        memcpy(x->shape, s->inputs[i].shape, sizeof s->inputs[i].shape);
        x->size_bytes = (size_t)tensor_element_count(x->shape, x->rank) * datatype_size(x->datatype);
        assert_true(x->size_bytes <= MAX_ELEMENTS * sizeof(double));
        x->data = arena_alloc(&fx.arena, x->size_bytes + 1);
        fill(x, s->inputs[i].least, s->inputs[i].beyond);
    }
}

static void add_attributes(struct onnx_builder *b, const struct subject *s) {
    for (size_t i = 0; i < 4 && s->ints[i].name; i++) onnx_build_int(b, s->ints[i].name, s->ints[i].value);
    if (s->list.name) onnx_build_ints(b, s->list.name, (size_t)s->list.count, s->list.values);
    if (s->string.name) onnx_build_string(b, s->string.name, s->string.value);
    if (s->functions[0]) onnx_build_strings(b, "activations", 2, s->functions);
}

static void build(const struct subject *s, struct buf *bytes) {
    struct onnx_builder b = {0};
    for (size_t i = 0; i < 4 && s->weights[i].name; i++) {
        int64_t count = s->weights[i].count;
        onnx_build_weight(&b, s->weights[i].name, ONNX_TYPE_INT64, count > 0, &count, s->weights[i].values,
                          (count ? (size_t)count : 1) * sizeof(int64_t));
    }
    add_inputs(&b, s);
    add_attributes(&b, s);
    onnx_build_node(&b, s->op_type, s->op_type, s->in, s->out);
    for (fx.output_count = 0; fx.output_count < 3 && s->outputs[fx.output_count].name; fx.output_count++)
        onnx_build_io(&b, ONNX_BUILD_OUTPUT, s->outputs[fx.output_count].name, s->outputs[fx.output_count].type,
                      s->outputs[fx.output_count].rank, (int64_t[]){-1, -1, -1, -1, -1, -1, -1, -1});
    onnx_build_model(&b, s->opset, bytes);
}

/* --- both ways --------------------------------------------------------------------------------------------------- */

static void load(const struct buf *bytes) {
    static const char *root;
    static int count;
    if (!root) root = test_temp_dir();
    char *folder = arena_printf(&fx.arena, "%s/case%d", root, count++);
    const struct executor_model_source source = {.name = "case", .version = "1", .path = folder};
    struct executor_error why;
    assert_int_equal(mkdir(folder, 0755), 0);
    FILE *file = fopen(arena_printf(&fx.arena, "%s/model.onnx", folder), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
    fclose(file);
    if (fx.ops->load(fx.ex, &source, &fx.model, &why) != 0) fail_msg("%s", why.message);
}

static bool should_stop(void *ctx, size_t index) { return false; }
static void progress(void *ctx, size_t index, double fraction, const char *message) {}

static struct executor_job run_on_device(void) {
    struct executor_job job = {.job_id = "job", .attempt = 1, .inputs = fx.inputs, .input_count = fx.input_count};
    const struct executor_control control = {NULL, should_stop, progress};
    struct executor_error why;
    assert_int_equal(fx.ops->run(fx.model, &job, 1, &control, &why), 0);
    return job;
}

static size_t count_copies(void) {
    size_t count = 1; /* the faults */
    for (size_t i = 0; i < fx.input_count; i++) count += fx.inputs[i].size_bytes > 0;
    return count;
}

static void check_outputs(const struct subject *s, size_t number, const struct executor_job *job,
                          struct onnx_session *ses, size_t *copies) {
    struct err err;
    for (size_t i = 0; i < fx.output_count; i++) {
        if (onnx_case_compare(&job->outputs[i], onnx_session_output(ses, i), 1e-4, 1e-6, &err) != 0)
            fail_msg("%s, case %zu, output %zu: %s", s->op_type, number, i, err.msg);
        *copies += job->outputs[i].size_bytes > 0;
    }
}

/* Rounds in the order of additions alone, hence the tolerance. */
static void check(const struct subject *s, size_t number) {
    struct buf bytes = {0};
    struct onnx_model *model;
    struct onnx_session *ses;
    struct err err;
    build(s, &bytes);
    if (onnx_model_parse(bytes.data, bytes.len, &model, &err) != 0 || onnx_session_new(model, 1, &ses, &err) != 0 ||
        onnx_session_prepare(ses, fx.inputs, &err) != 0)
        fail_msg("%s, case %zu: %s", s->op_type, number, err.msg);
    for (size_t i = 0; i < fx.input_count; i++)
        if (fx.inputs[i].size_bytes)
            memcpy(onnx_session_input(ses, i)->data, fx.inputs[i].data, fx.inputs[i].size_bytes);
    if (onnx_session_run(ses, NULL, &err) != 0) fail_msg("%s, case %zu: %s", s->op_type, number, err.msg);
    load(&bytes);
    for (int turn = 0; turn < 3; turn++) { /* step by step; recorded; as every later one */
        uint64_t before = cuda_emulation_calls("cudaMemcpyAsync");
        struct executor_job job = run_on_device();
        if (job.outcome != EXECUTOR_COMPLETED) fail_msg("%s, case %zu: %s", s->op_type, number, job.error.message);
        size_t copies = count_copies();
        check_outputs(s, number, &job, ses, &copies);
        if (turn == 2 && cuda_emulation_calls("cudaMemcpyAsync") - before != copies)
            fail_msg("%s, case %zu: it ran on the host", s->op_type, number);
    }
    fx.ops->unload(fx.model);
    onnx_session_free(ses);
    onnx_model_free(model);
    buf_done(&bytes);
}

#define CHECK_ALL(subjects)                                                                                            \
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) check(&subjects[i], i)

static void test_elements_are_moved_on_the_device_as_on_the_cpu(void **state) { CHECK_ALL(moving); }
static void test_what_is_filled_in_is_filled_in_on_the_device_as_on_the_cpu(void **state) { CHECK_ALL(filling); }
static void test_elements_are_picked_on_the_device_as_on_the_cpu(void **state) { CHECK_ALL(gathering); }

static void test_reductions_on_the_device_give_what_the_cpu_gives(void **state) { CHECK_ALL(reducing); }
static void test_lanes_are_compared_and_summed_on_the_device_as_on_the_cpu(void **state) { CHECK_ALL(ordering); }
static void test_what_is_no_number_is_reduced_and_compared_on_the_device_as_on_the_cpu(void **state) {
    fx.odd = true;
    CHECK_ALL(reducing);
    CHECK_ALL(ordering);
}

static void test_stretches_are_normalised_on_the_device_as_on_the_cpu(void **state) { CHECK_ALL(normalising); }
static void test_recurrent_cells_on_the_device_remember_what_those_on_the_cpu_do(void **state) {
    CHECK_ALL(remembering);
}

/* Each function, in the cell that takes one. */
static void test_every_function_of_recurrent_cells_is_the_same_on_the_device(void **state) {
    static const char *const names[] = {"Sigmoid",    "Tanh",        "Relu", "Affine",   "LeakyRelu", "ThresholdedRelu",
                                        "ScaledTanh", "HardSigmoid", "Elu",  "Softsign", "Softplus"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct subject s = remembering[7];
        s.functions[0] = s.functions[1] = names[i];
        check(&s, i);
    }
}

static void test_recurrent_cells_do_without_the_library_where_it_has_no_algorithm(void **state) {
    for (size_t i = 0; i < 3; i++) {
        cuda_emulation_fail("cublasLtMatmulAlgoGetHeuristic", 1, 1);
        check(&remembering[i], i);
    }
    assert_int_equal(cuda_emulation_calls("cublasLtMatmul"), 0);
}

/* --- what is too large to be known ------------------------------------------------------------------------------- */

#define LARGE ((int64_t)70000000) /* of 4 bytes each: more than a plan computes for itself */

/* Two elements of the node's output, from `start` on. */
static void gives(struct onnx_builder *b, const char *op_type, const char *inputs, int64_t start, int type,
                  const void *want, size_t size) {
    const int64_t one = 1, end = start < 0 ? LARGE : start + 2;
    struct buf bytes = {0};
    onnx_build_weight(b, "starts", ONNX_TYPE_INT64, 1, &one, &start, sizeof start);
    onnx_build_weight(b, "ends", ONNX_TYPE_INT64, 1, &one, &end, sizeof end);
    onnx_build_node(b, op_type, op_type, inputs, "large");
    onnx_build_node(b, "Slice", "slice", "large,starts,ends", "y");
    onnx_build_io(b, ONNX_BUILD_OUTPUT, "y", type, 1, (int64_t[]){-1});
    onnx_build_model(b, 13, &bytes);
    load(&bytes);
    struct executor_job job = run_on_device();
    assert_int_equal(job.outcome, EXECUTOR_COMPLETED);
    assert_int_equal(job.outputs[0].size_bytes, size);
    assert_memory_equal(job.outputs[0].data, want, size);
    fx.ops->unload(fx.model);
    buf_done(&bytes);
}

static void test_a_constant_too_large_for_a_plan_is_made_on_the_device(void **state) {
    const int64_t one = 1, length = LARGE;
    const int32_t numbers[3] = {5, 5 - 3 * LARGE, -3}, last[2] = {5 - 3 * (LARGE - 2), 5 - 3 * (LARGE - 1)};
    struct onnx_builder range = {0}, zeros = {0};
    onnx_build_weight(&range, "start", ONNX_TYPE_INT32, 0, NULL, &numbers[0], sizeof numbers[0]);
    onnx_build_weight(&range, "limit", ONNX_TYPE_INT32, 0, NULL, &numbers[1], sizeof numbers[1]);
    onnx_build_weight(&range, "delta", ONNX_TYPE_INT32, 0, NULL, &numbers[2], sizeof numbers[2]);
    gives(&range, "Range", "start,limit,delta", -2, ONNX_TYPE_INT32, last, sizeof last);
    assert_int_equal(cuda_emulation_calls("kernel"), 1); /* the cut is a copy */
    onnx_build_weight(&zeros, "shape", ONNX_TYPE_INT64, 1, &one, &length, sizeof length);
    gives(&zeros, "ConstantOfShape", "shape", 0, FLOAT, (float[2]){0}, sizeof(float[2]));
    assert_int_equal(cuda_emulation_calls("kernel"), 2);
}

/* --- faults ------------------------------------------------------------------------------------------------------ */

static void fails(const struct subject *s, const char *words) {
    struct buf bytes = {0};
    build(s, &bytes);
    load(&bytes);
    struct executor_job job = run_on_device();
    assert_int_equal(job.outcome, EXECUTOR_FAILED);
    if (!strstr(job.error.message, words) || !strstr(job.error.message, s->op_type))
        fail_msg("expected '%s' and the node in: %s", words, job.error.message);
    fx.ops->unload(fx.model);
    buf_done(&bytes);
}

static void test_numbers_that_are_out_of_range_fail_the_run_and_name_the_node(void **state) {
    static const struct subject out_of_range[] = {
        {"Gather", "x,i", "y", 13, .inputs = {X(FLOAT, 2, 5, 3), {"i", ONNX_TYPE_INT64, 1, {2}, 5, 6}}, Y(FLOAT, 2)},
        {"GatherElements", "x,i", "y", 13, .inputs = {X(FLOAT, 1, 5), {"i", ONNX_TYPE_INT64, 1, {2}, -7, -6}},
         Y(FLOAT, 1)},
        {"GatherND", "x,i", "y", 13, .inputs = {X(FLOAT, 2, 5, 3), {"i", ONNX_TYPE_INT64, 2, {1, 2}, 3, 4}},
         Y(FLOAT, 1)},
        {"ScatterND", "x,i,u", "y", 13,
         .inputs = {X(FLOAT, 1, 5), {"i", ONNX_TYPE_INT64, 2, {1, 1}, 5, 6}, {"u", FLOAT, 1, {1}}}, Y(FLOAT, 1)},
        {"ScatterElements", "x,i,u", "y", 13,
         .inputs = {X(FLOAT, 1, 5), {"i", ONNX_TYPE_INT32, 1, {1}, 5, 6}, {"u", FLOAT, 1, {1}}}, Y(FLOAT, 1)},
    };
    static const struct subject too_long = {
        "ReverseSequence", "x,lens", "y", 10, .inputs = {X(FLOAT, 2, 5, 3), {"lens", ONNX_TYPE_INT64, 1, {3}, 6, 7}},
        Y(FLOAT, 2)};
    for (size_t i = 0; i < sizeof out_of_range / sizeof *out_of_range; i++)
        fails(&out_of_range[i], "an index is out of range");
    static const struct subject beyond_the_end = {
        "RNN",
        "x,w,r,,lens",
        "y",
        14,
        .ints = {{"hidden_size", 2}},
        .inputs = {W("x", 5, 3, 6), W("w", 1, 2, 6), W("r", 1, 2, 2), {"lens", ONNX_TYPE_INT32, 1, {3}, 6, 7}},
        Y(FLOAT, 4)};
    fails(&too_long, "a sequence length is out of range");
    fails(&beyond_the_end, "a sequence length is out of range");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_elements_are_moved_on_the_device_as_on_the_cpu, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_filled_in_is_filled_in_on_the_device_as_on_the_cpu, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_elements_are_picked_on_the_device_as_on_the_cpu, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reductions_on_the_device_give_what_the_cpu_gives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lanes_are_compared_and_summed_on_the_device_as_on_the_cpu, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_number_is_reduced_and_compared_on_the_device_as_on_the_cpu,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_stretches_are_normalised_on_the_device_as_on_the_cpu, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recurrent_cells_on_the_device_remember_what_those_on_the_cpu_do, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_every_function_of_recurrent_cells_is_the_same_on_the_device, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_recurrent_cells_do_without_the_library_where_it_has_no_algorithm, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_numbers_that_are_out_of_range_fail_the_run_and_name_the_node, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_constant_too_large_for_a_plan_is_made_on_the_device, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

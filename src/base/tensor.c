/* Names and sizes of the Open Inference Protocol's datatypes. */
#include "penstock/tensor.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size_bytes;
} types[DATATYPE_COUNT] = {
    [DATATYPE_INVALID] = {"INVALID", 0}, [DATATYPE_BOOL] = {"BOOL", 1},     [DATATYPE_UINT8] = {"UINT8", 1},
    [DATATYPE_UINT16] = {"UINT16", 2},   [DATATYPE_UINT32] = {"UINT32", 4}, [DATATYPE_UINT64] = {"UINT64", 8},
    [DATATYPE_INT8] = {"INT8", 1},       [DATATYPE_INT16] = {"INT16", 2},   [DATATYPE_INT32] = {"INT32", 4},
    [DATATYPE_INT64] = {"INT64", 8},     [DATATYPE_FP16] = {"FP16", 2},     [DATATYPE_FP32] = {"FP32", 4},
    [DATATYPE_FP64] = {"FP64", 8},       [DATATYPE_BYTES] = {"BYTES", 0},
};

size_t datatype_size(enum datatype datatype) { return datatype < DATATYPE_COUNT ? types[datatype].size_bytes : 0; }
const char *datatype_name(enum datatype datatype) {
    return types[datatype < DATATYPE_COUNT ? datatype : DATATYPE_INVALID].name;
}

enum datatype datatype_from_name(const char *name) {
    for (int i = DATATYPE_INVALID + 1; i < DATATYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) return (enum datatype)i;
    return DATATYPE_INVALID;
}

int64_t tensor_element_count(const int64_t *shape, int rank) {
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(count, shape[i], &count)) return -1;
    return count;
}

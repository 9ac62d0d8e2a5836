/* tensor: the Open Inference Protocol v2 datatypes and a dense, row-major tensor.
 *
 * Plain data, shared by wire (which decodes JSON into it) and by executor plug-ins (whose public ABI it is part of).
 * Source: KServe Open Inference Protocol v2, "Tensor Data Types".
 */
#ifndef PENSTOCK_TENSOR_H
#define PENSTOCK_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#define TENSOR_MAX_RANK 8

enum datatype {
    DATATYPE_INVALID = 0,
    DATATYPE_BOOL,
    DATATYPE_UINT8,
    DATATYPE_UINT16,
    DATATYPE_UINT32,
    DATATYPE_UINT64,
    DATATYPE_INT8,
    DATATYPE_INT16,
    DATATYPE_INT32,
    DATATYPE_INT64,
    DATATYPE_FP16,
    DATATYPE_FP32,
    DATATYPE_FP64,
    DATATYPE_BYTES,
    DATATYPE_COUNT
};

struct tensor {
    const char *name;
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* elements per dimension, outermost first */
    void *data;                     /* little-endian, row-major; BYTES: each element a uint32 length and its bytes */
    size_t size_bytes;
};

size_t datatype_size(enum datatype datatype);       /* bytes an element; 0 for BYTES and INVALID */
const char *datatype_name(enum datatype datatype);  /* "FP32" ... */
enum datatype datatype_from_name(const char *name); /* DATATYPE_INVALID if unknown */

/* Number of elements of a shape, or -1 if a dimension is negative or the product overflows. A scalar (rank 0) has 1. */
int64_t tensor_element_count(const int64_t *shape, int rank);

#endif

/* TensorProto to struct tensor: weights, constants and test data.
 *
 * A weight given as raw_data stays where it lies in the mapped file when it is aligned for its element type; otherwise
 * it is copied once (protobuf aligns nothing, and reading a float at an odd address is undefined). The typed fields
 * (float_data and its kin) are an older encoding, one element at a time, and are converted. Either way the number of
 * elements must be exactly the product of the dimensions, so a tensor can never be larger than the file that brought
 * it. Data in a file of its own (external.c) is taken as raw_data is.
 */
#include "onnx_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ONNX data are little-endian and used in place");

enum { /* field numbers of TensorProto, onnx.proto */
       TENSOR_DIMS = 1,
       TENSOR_DATA_TYPE = 2,
       TENSOR_SEGMENT = 3,
       TENSOR_FLOAT_DATA = 4,
       TENSOR_INT32_DATA = 5,
       TENSOR_INT64_DATA = 7,
       TENSOR_NAME = 8,
       TENSOR_RAW_DATA = 9,
       TENSOR_DOUBLE_DATA = 10,
       TENSOR_UINT64_DATA = 11,
       TENSOR_EXTERNAL_DATA = 13,
       TENSOR_DATA_LOCATION = 14,
};
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 }; /* StringStringEntryProto */

enum datatype onnx__datatype(uint64_t onnx_type) {
    static const uint8_t types[] = {
        [1] = DATATYPE_FP32,  [2] = DATATYPE_UINT8, [3] = DATATYPE_INT8,    [4] = DATATYPE_UINT16,
        [5] = DATATYPE_INT16, [6] = DATATYPE_INT32, [7] = DATATYPE_INT64,   [9] = DATATYPE_BOOL,
        [10] = DATATYPE_FP16, [11] = DATATYPE_FP64, [12] = DATATYPE_UINT32, [13] = DATATYPE_UINT64,
    };
    return onnx_type < sizeof types ? (enum datatype)types[onnx_type] : DATATYPE_INVALID;
}

struct tensor_fields {
    struct proto raw;
    bool has_raw, external, segment;
    uint64_t data_type;
    struct onnx__place place;
};

/* Decimal, as external_data has its numbers: as text. */
static int read_number(const char *text, uint64_t *ret, struct err *err) {
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0') return 0;
    return err_set(err, ERR_MODEL_LOAD_FAILED, "external data: '%.40s' is no number of bytes", text);
}

/* One key and value of external_data; "checksum" and what else there may be tells nothing about the place. */
static int read_place(struct proto in, struct arena *arena, struct onnx__place *place, struct err *err) {
    const char *key = "", *value = "";
    struct proto_field field;
    int more, rc = 0;
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number == ENTRY_KEY) rc = onnx__proto_string(&field, arena, &key, err);
        if (field.number == ENTRY_VALUE) rc = onnx__proto_string(&field, arena, &value, err);
    }
    if (rc != 0 || more < 0) return -1;
    if (strcmp(key, "location") == 0) place->location = value;
    if (strcmp(key, "offset") == 0) return read_number(value, &place->offset, err);
    if (strcmp(key, "length") == 0) {
        place->has_length = true;
        return read_number(value, &place->length, err);
    }
    return 0;
}

static int read_fields(struct proto in, struct arena *arena, struct tensor_fields *ret, struct tensor *tensor,
                       struct err *err) {
    struct proto_field field;
    int more, rc = 0;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        switch (field.number) {
        case TENSOR_DATA_TYPE:
            rc = onnx__proto_expect(&field, PROTO_VARINT, err);
            ret->data_type = field.value;
            break;
        case TENSOR_NAME:
            rc = onnx__proto_string(&field, arena, &tensor->name, err);
            break;
        case TENSOR_RAW_DATA:
            rc = onnx__proto_expect(&field, PROTO_BYTES, err);
            ret->raw = field.body;
            ret->has_raw = true;
            break;
        case TENSOR_DATA_LOCATION:
            ret->external = ret->external || field.value != 0;
            break;
        case TENSOR_SEGMENT:
            ret->segment = true;
            break;
        case TENSOR_EXTERNAL_DATA:
            rc = onnx__proto_expect(&field, PROTO_BYTES, err);
            if (rc == 0) rc = read_place(field.body, arena, &ret->place, err);
            break;
        default:
            break;
        }
        if (rc != 0) return -1;
    }
    return more;
}

static int read_shape(struct proto in, struct arena *arena, struct tensor *tensor, struct err *err) {
    uint64_t *dims;
    size_t rank;
    if (onnx__proto_scalars(in, TENSOR_DIMS, PROTO_VARINT, arena, &dims, &rank, err) != 0) return -1;
    if (rank > TENSOR_MAX_RANK)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "tensor '%s' has %zu dimensions, more than %d", tensor->name, rank,
                       TENSOR_MAX_RANK);
    tensor->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) tensor->shape[i] = (int64_t)dims[i];
    if (!onnx__shape_fits(tensor, &tensor->size_bytes))
        return err_set(err, ERR_MODEL_LOAD_FAILED, "tensor '%s': its dimensions are negative or too large",
                       tensor->name);
    return 0;
}

static int wrong_size(const struct tensor *tensor, size_t given, const char *unit, struct err *err) {
    return err_set(err, ERR_MODEL_LOAD_FAILED, "tensor '%s': %zu %s given, %" PRId64 " elements of %s declared",
                   tensor->name, given, unit, tensor_element_count(tensor->shape, tensor->rank),
                   datatype_name(tensor->datatype));
}

static int take_raw(const struct proto *raw, struct arena *arena, struct tensor *tensor, struct err *err) {
    size_t len = (size_t)(raw->end - raw->at);
    if (len != tensor->size_bytes) return wrong_size(tensor, len, "bytes", err);
    if ((uintptr_t)raw->at % datatype_size(tensor->datatype) == 0) {
        tensor->data = (void *)(uintptr_t)raw->at; /* never written: constants are inputs only */
    } else {
        tensor->data = arena_alloc(arena, len);
        memcpy(tensor->data, raw->at, len);
    }
    return 0;
}

/* Which field carries a datatype when raw_data is absent, and how one of its elements is encoded. */
static uint32_t typed_field(enum datatype datatype, enum proto_wire *ret_wire) {
    *ret_wire = PROTO_VARINT;
    switch (datatype) {
    case DATATYPE_FP32:
        *ret_wire = PROTO_FIXED32;
        return TENSOR_FLOAT_DATA;
    case DATATYPE_FP64:
        *ret_wire = PROTO_FIXED64;
        return TENSOR_DOUBLE_DATA;
    case DATATYPE_INT64:
        return TENSOR_INT64_DATA;
    case DATATYPE_UINT32:
    case DATATYPE_UINT64:
        return TENSOR_UINT64_DATA;
    default:
        return TENSOR_INT32_DATA; /* all the narrow ones, FP16 as its bits */
    }
}

static int take_typed(struct proto in, struct arena *arena, struct tensor *tensor, struct err *err) {
    enum proto_wire wire;
    uint32_t number = typed_field(tensor->datatype, &wire);
    uint64_t *values;
    size_t count, size = datatype_size(tensor->datatype);
    if (onnx__proto_scalars(in, number, wire, arena, &values, &count, err) != 0) return -1;
    if (count * size != tensor->size_bytes) return wrong_size(tensor, count, "elements", err);
    char *data = arena_alloc(arena, tensor->size_bytes);
    for (size_t i = 0; i < count; i++) memcpy(data + i * size, &values[i], size); /* little-endian: the low bytes */
    tensor->data = data;
    return 0;
}

int onnx__decode_tensor(struct proto in, struct arena *arena, struct onnx__external *external, struct tensor *ret,
                        struct err *err) {
    struct tensor tensor = {.name = ""};
    struct tensor_fields fields = {0};
    if (read_fields(in, arena, &fields, &tensor, err) != 0) return -1;
    if (fields.segment)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "tensor '%s': data in segments are not supported", tensor.name);
    tensor.datatype = onnx__datatype(fields.data_type);
    if (tensor.datatype == DATATYPE_INVALID)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "tensor '%s': ONNX data type %" PRIu64 " is not supported",
                       tensor.name, fields.data_type);
    if (read_shape(in, arena, &tensor, err) != 0) return -1;
    if (fields.external) {
        if (onnx__external_find(external, &fields.place, tensor.size_bytes, &fields.raw, err) != 0)
            return err_wrap(err, "tensor '%s'", tensor.name);
        fields.has_raw = true;
    }
    int rc = fields.has_raw ? take_raw(&fields.raw, arena, &tensor, err) : take_typed(in, arena, &tensor, err);
    if (rc == 0) *ret = tensor;
    return rc;
}

int onnx_tensor_read(const void *bytes, size_t len, struct arena *arena, struct tensor *ret, struct err *err) {
    const uint8_t *at = bytes;
    return onnx__decode_tensor((struct proto){.base = at, .at = at, .end = at + len}, arena, NULL, ret, err);
}

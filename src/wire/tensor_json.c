/* Open Inference Protocol v2 tensors, from JSON to the memory layout of tensor.h.
 *
 * Ingest only asks whether a tensor is right; a worker also wants its bytes. Both go through the same function for one
 * element (element_store), so what ingest accepted a worker can decode: ingest lets it write into a scratch variable.
 *
 * "data" is flat, or nested exactly as the shape says; anything between the two is refused. Elements must fit: an
 * integer type takes a whole number in its range, FP32 and FP16 take what does not round to infinity, and the strings
 * "NaN", "Infinity" and "-Infinity" (JSON has no such numbers) stand for themselves. INT64 and UINT64 may be decimal
 * strings, since many JSON writers cannot hold such integers, and UINT64 beyond INT64_MAX must be.
 *
 * Source: KServe Open Inference Protocol v2, "Tensor Data" and "Tensor Data Types". */
#include "wire_internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the head: name, shape, datatype, data or uri ----------------------------------------------------------------- */

static int read_shape(const json_t *shape, size_t index, struct wire__tensor *ret, struct err *err) {
    if (!shape) return err_set(err, ERR_MISSING_MEMBER, "inputs/%zu/shape: missing", index);
    if (!json_is_array(shape))
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/shape: %s, not an array", index, wire__json_kind(shape));
    size_t rank = json_array_size(shape);
    if (rank > TENSOR_MAX_RANK)
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/shape: %zu dimensions, more than %d", index, rank,
                       TENSOR_MAX_RANK);
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!wire__json_integer(dim, &ret->shape[i]))
            return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/shape/%zu: %s, not an integer", index, i,
                           wire__json_kind(dim));
        if (ret->shape[i] < 0)
            return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/shape/%zu: %" PRId64 " is negative", index, i,
                           ret->shape[i]);
    }
    ret->rank = (int)rank;
    ret->count = tensor_element_count(ret->shape, ret->rank);
    if (ret->count < 0 || ret->count > INT64_MAX / 8) /* 8: the largest element, so that sizes in bytes fit as well */
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/shape: the number of elements does not fit 60 bits", index);
    return 0;
}

static int read_datatype(const json_t *json, size_t index, struct wire__tensor *ret, struct err *err) {
    if (!json) return err_set(err, ERR_MISSING_MEMBER, "inputs/%zu/datatype: missing", index);
    if (!json_is_string(json))
        return err_set(err, ERR_UNSUPPORTED_DATATYPE, "inputs/%zu/datatype: %s, not a string", index,
                       wire__json_kind(json));
    const char *name = json_string_value(json);
    ret->datatype = strlen(name) == json_string_length(json) ? datatype_from_name(name) : DATATYPE_INVALID;
    if (ret->datatype == DATATYPE_INVALID)
        return err_set(err, ERR_UNSUPPORTED_DATATYPE, "inputs/%zu/datatype: \"%.40s\"", index, name);
    return 0;
}

static int read_uri(const json_t *uri, size_t index, struct wire__tensor *ret, struct err *err) {
    static const char scheme[] = "file:///";
    const char *s = json_string_value(uri);
    if (!s) return err_set(err, ERR_INVALID_MEMBER, "inputs/%zu/uri: %s, not a string", index, wire__json_kind(uri));
    if (strlen(s) != json_string_length(uri))
        return err_set(err, ERR_INVALID_MEMBER, "inputs/%zu/uri: contains a NUL character", index);
    if (strncmp(s, scheme, sizeof scheme - 1) != 0 || s[sizeof scheme - 1] == '\0')
        return err_set(err, ERR_INVALID_MEMBER, "inputs/%zu/uri: \"%.100s\" is not file:///<path>", index, s);
    ret->uri = s;
    return 0;
}

static int read_source(const json_t *input, size_t index, struct wire__tensor *ret, struct err *err) {
    const json_t *uri = json_object_get(input, "uri");
    ret->data = json_object_get(input, "data");
    if (!ret->data && !uri) return err_set(err, ERR_MISSING_MEMBER, "inputs/%zu: neither data nor uri", index);
    if (ret->data && uri) return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu: both data and uri", index);
    if (uri) return read_uri(uri, index, ret, err);
    if (!json_is_array(ret->data))
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/data: %s, not an array", index, wire__json_kind(ret->data));
    return 0;
}

int wire__tensor_read(json_t *input, size_t index, struct wire__tensor *ret, struct err *err) {
    static const char *const known[] = {"name", "shape", "datatype", "data", "uri", NULL};
    *ret = (struct wire__tensor){0};
    if (!json_is_object(input))
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu: %s, not an object", index, wire__json_kind(input));
    char at[40];
    snprintf(at, sizeof at, "inputs/%zu/", index);
    if (wire__check_members(input, at, known, err) != 0) return -1;
    const json_t *name = json_object_get(input, "name");
    if (!name) return err_set(err, ERR_MISSING_MEMBER, "inputs/%zu/name: missing", index);
    ret->name = json_string_value(name);
    if (!ret->name || ret->name[0] == '\0' || strlen(ret->name) != json_string_length(name))
        return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/name: %s, not a name", index,
                       ret->name ? "a string that is empty or has a NUL" : wire__json_kind(name));
    if (read_datatype(json_object_get(input, "datatype"), index, ret, err) != 0) return -1;
    if (read_shape(json_object_get(input, "shape"), index, ret, err) != 0) return -1;
    return read_source(input, index, ret, err);
}

/* --- elements ----------------------------------------------------------------------------------------------------- */

static const struct int_range {
    int64_t min;
    uint64_t max;
} int_ranges[DATATYPE_COUNT] = {
    [DATATYPE_UINT8] = {0, UINT8_MAX},         [DATATYPE_UINT16] = {0, UINT16_MAX},
    [DATATYPE_UINT32] = {0, UINT32_MAX},       [DATATYPE_UINT64] = {0, UINT64_MAX},
    [DATATYPE_INT8] = {INT8_MIN, INT8_MAX},    [DATATYPE_INT16] = {INT16_MIN, INT16_MAX},
    [DATATYPE_INT32] = {INT32_MIN, INT32_MAX}, [DATATYPE_INT64] = {INT64_MIN, INT64_MAX},
};

/* A 64-bit integer in a string: decimal digits, no leading zeros, "-" for INT64 only. *ret: two's complement. */
static bool parse_int_string(const char *s, size_t len, bool is_signed, uint64_t *ret) {
    const char *digits = s + (is_signed && *s == '-');
    size_t digit_count = len - (size_t)(digits - s);
    if (digit_count == 0 || digit_count > 20 || (digits[0] == '0' && digit_count > 1)) return false;
    for (size_t i = 0; i < digit_count; i++)
        if (!isdigit((unsigned char)digits[i])) return false;
    errno = 0;
    *ret = is_signed ? (uint64_t)strtoll(s, NULL, 10) : strtoull(s, NULL, 10);
    return errno == 0;
}

static bool int_store(enum datatype datatype, const json_t *json, void *dst) {
    const struct int_range *range = &int_ranges[datatype];
    uint64_t bits;
    int64_t value;
    if (wire__json_integer(json, &value)) {
        if (value < range->min || (value > 0 && (uint64_t)value > range->max)) return false;
        bits = (uint64_t)value;
    } else if (datatype_size(datatype) != 8 || !json_is_string(json) ||
               !parse_int_string(json_string_value(json), json_string_length(json), range->min < 0, &bits)) {
        return false;
    }
    memcpy(dst, &bits, datatype_size(datatype)); /* little-endian: the low bytes come first */
    return true;
}

/* Exactly these three strings. */
static bool parse_non_finite(const json_t *json, double *ret) {
    const char *s = json_string_value(json);
    if (!s) return false;
    if (strcmp(s, "NaN") == 0)
        *ret = NAN;
    else if (strcmp(s, "Infinity") == 0)
        *ret = INFINITY;
    else if (strcmp(s, "-Infinity") == 0)
        *ret = -INFINITY;
    else
        return false;
    return strlen(s) == json_string_length(json);
}

static bool float_store(enum datatype datatype, const json_t *json, void *dst) {
    double value;
    if (json_is_number(json))
        value = json_number_value(json);
    else if (!parse_non_finite(json, &value))
        return false;
    if (datatype == DATATYPE_FP64) {
        memcpy(dst, &value, sizeof value);
        return true;
    }
    bool overflowed;
    if (datatype == DATATYPE_FP32) {
        float narrow = (float)value;
        overflowed = isinf(narrow) && !isinf(value);
        memcpy(dst, &narrow, sizeof narrow);
    } else {
        uint16_t half = wire__fp16_from_double(value);
        overflowed = (half & 0x7fff) == 0x7c00 && !isinf(value);
        memcpy(dst, &half, sizeof half);
    }
    return !overflowed;
}

/* Writes one element of a fixed size. False: it is not one of this datatype. */
static bool element_store(enum datatype datatype, const json_t *json, void *dst) {
    switch (datatype) {
    case DATATYPE_BOOL: {
        uint8_t value = json_is_true(json);
        memcpy(dst, &value, 1);
        return json_is_boolean(json);
    }
    case DATATYPE_FP16:
    case DATATYPE_FP32:
    case DATATYPE_FP64:
        return float_store(datatype, json, dst);
    default:
        return int_store(datatype, json, dst);
    }
}

/* --- walking data ------------------------------------------------------------------------------------------------- */

/* A walk over all elements in row-major order: checks if dst is NULL, else stores. */
struct walk {
    const struct wire__tensor *tensor;
    size_t index;   /* of the input, for messages */
    char *dst;      /* where the next element goes; NULL: check only */
    size_t bytes;   /* so far */
    int64_t number; /* of the element, for messages */
    struct err *err;
};

static int refuse_element(const struct walk *walk, const json_t *json) {
    struct buf text = {0};
    if (json_is_object(json) || json_is_array(json))
        buf_puts(&text, wire__json_kind(json));
    else
        wire__put_json(&text, json);
    int rc = err_set(walk->err, ERR_INVALID_TENSOR, "inputs/%zu/data: element %" PRId64 ", %.60s, is not %s",
                     walk->index, walk->number, text.data, datatype_name(walk->tensor->datatype));
    buf_done(&text);
    return rc;
}

static int walk_bytes(struct walk *walk, const json_t *json) {
    if (!json_is_string(json)) return refuse_element(walk, json);
    uint32_t len = (uint32_t)json_string_length(json);
    if (walk->dst) {
        memcpy(walk->dst + walk->bytes, &len, sizeof len);
        memcpy(walk->dst + walk->bytes + sizeof len, json_string_value(json), len);
    }
    walk->bytes += sizeof len + len;
    return 0;
}

/* An array of elements, no deeper. */
static int walk_row(struct walk *walk, const json_t *row) {
    enum datatype datatype = walk->tensor->datatype;
    size_t size = datatype_size(datatype), count = json_array_size(row);
    uint64_t scratch;
    for (size_t i = 0; i < count; i++, walk->number++) {
        const json_t *json = json_array_get(row, i);
        if (datatype == DATATYPE_BYTES) {
            if (walk_bytes(walk, json) != 0) return -1;
            continue;
        }
        if (!element_store(datatype, json, walk->dst ? walk->dst + walk->bytes : (void *)&scratch))
            return refuse_element(walk, json);
        walk->bytes += size;
    }
    return 0;
}

static int walk_nested(struct walk *walk, const json_t *json, int dim) {
    const struct wire__tensor *tensor = walk->tensor;
    if (!json_is_array(json) || (int64_t)json_array_size(json) != tensor->shape[dim])
        return err_set(
            walk->err, ERR_INVALID_TENSOR,
            "inputs/%zu/data: nested data must follow the shape, but at level %d stands %s of %zu, not %" PRId64,
            walk->index, dim, wire__json_kind(json), json_array_size(json), tensor->shape[dim]);
    if (dim == tensor->rank - 1) return walk_row(walk, json);
    for (size_t i = 0; i < json_array_size(json); i++)
        if (walk_nested(walk, json_array_get(json, i), dim + 1) != 0) return -1;
    return 0;
}

static int walk_data(struct walk *walk) {
    const struct wire__tensor *tensor = walk->tensor;
    if (tensor->rank > 1 && json_is_array(json_array_get(tensor->data, 0))) return walk_nested(walk, tensor->data, 0);
    if ((int64_t)json_array_size(tensor->data) != tensor->count)
        return err_set(walk->err, ERR_INVALID_TENSOR, "inputs/%zu/data: %zu elements, but the shape says %" PRId64,
                       walk->index, json_array_size(tensor->data), tensor->count);
    return walk_row(walk, tensor->data);
}

int wire__tensor_check(const struct wire__tensor *tensor, size_t index, size_t *ret_bytes, struct err *err) {
    struct walk walk = {.tensor = tensor, .index = index, .err = err};
    if (walk_data(&walk) != 0) return -1;
    *ret_bytes = walk.bytes;
    return 0;
}

void wire__tensor_store(const struct wire__tensor *tensor, void *dst) {
    struct walk walk = {.tensor = tensor, .dst = dst};
    int rc = walk_data(&walk);
    BUG_ON(rc != 0); /* checked before */
}

/* Documents that Penstock writes beside a record: the result of a run, and the error envelope.
 *
 * Both are canonical (json_write.c: members sorted, numbers in one form), so that a document that went through the
 * event log and came back is the same bytes. Floats are the shortest decimals that read back as the same FP32; integers
 * are exact, UINT64 beyond INT64_MAX as a string, as commands have it too (tensor_json.c). A BYTES element is a JSON
 * string: what is not UTF-8 in it cannot be said in JSON and becomes U+FFFD. */
#include "wire_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- elements ----------------------------------------------------------------------------------------------------- */

/* The element at `p`, widened: two's complement for the signed types. */
static int64_t load_int(enum datatype datatype, const unsigned char *p) {
    size_t size = datatype_size(datatype);
    uint64_t bits = 0;
    memcpy(&bits, p, size); /* little-endian */
    bool is_signed = datatype >= DATATYPE_INT8 && datatype <= DATATYPE_INT64;
    unsigned unused_bits = (unsigned)(8 * (sizeof bits - size));
    return is_signed ? (int64_t)(bits << unused_bits) >> unused_bits : (int64_t)bits;
}

static void put_fp64(struct buf *out, double value) {
    if (isfinite(value))
        wire__put_double(out, value);
    else
        wire__put_float(out, (float)value);
}

static void put_element(struct buf *out, enum datatype datatype, const unsigned char *p) {
    float narrow;
    double wide;
    uint16_t half;
    switch (datatype) {
    case DATATYPE_BOOL:
        buf_puts(out, *p ? "true" : "false");
        break;
    case DATATYPE_FP16:
        memcpy(&half, p, sizeof half);
        wire__put_float(out, wire__fp16_to_float(half));
        break;
    case DATATYPE_FP32:
        memcpy(&narrow, p, sizeof narrow);
        wire__put_float(out, narrow);
        break;
    case DATATYPE_FP64:
        memcpy(&wide, p, sizeof wide);
        put_fp64(out, wide);
        break;
    case DATATYPE_UINT64: {
        int64_t bits = load_int(datatype, p);
        if (bits < 0)
            buf_printf(out, "\"%" PRIu64 "\"", (uint64_t)bits);
        else
            wire__put_int(out, bits);
        break;
    }
    default:
        wire__put_int(out, load_int(datatype, p));
        break;
    }
}

/* Elements of BYTES: a uint32 length and its bytes. A length that points past the end is the executor's bug. */
static void put_bytes_data(struct buf *out, const struct tensor *tensor) {
    const char *p = tensor->data, *end = p + tensor->size_bytes;
    for (bool is_first = true; p < end; is_first = false) {
        uint32_t len;
        BUG_ON((size_t)(end - p) < sizeof len);
        memcpy(&len, p, sizeof len);
        p += sizeof len;
        BUG_ON((size_t)(end - p) < len);
        if (!is_first) buf_append(out, ",", 1);
        wire_json_string(p, len, out);
        p += len;
    }
}

void wire__put_elements(struct buf *out, const struct tensor *tensor) {
    if (tensor->datatype == DATATYPE_BYTES) {
        put_bytes_data(out, tensor);
        return;
    }
    size_t size = datatype_size(tensor->datatype);
    BUG_ON(size == 0);
    const unsigned char *data = tensor->data;
    for (size_t i = 0; i < tensor->size_bytes / size; i++) {
        if (i > 0) buf_append(out, ",", 1);
        put_element(out, tensor->datatype, data + i * size);
    }
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

static void put_shape(struct buf *out, const struct tensor *tensor) {
    wire__put_literal(out, ",\"shape\":[");
    for (int i = 0; i < tensor->rank; i++) {
        if (i > 0) buf_append(out, ",", 1);
        wire__put_int(out, tensor->shape[i]);
    }
    wire__put_literal(out, "]");
}

/* Members in the order of their names: "bytes" or "data" first, "uri" last. */
static void put_tensor(struct buf *out, const struct tensor *tensor, const struct wire_artifact *artifact) {
    if (artifact->uri) {
        wire__put_literal(out, "{\"bytes\":");
        wire__put_int(out, (int64_t)artifact->size_bytes);
    } else {
        wire__put_literal(out, "{\"data\":[");
        wire__put_elements(out, tensor);
        wire__put_literal(out, "]");
    }
    wire__put_literal(out, ",\"datatype\":\"");
    buf_puts(out, datatype_name(tensor->datatype));
    wire__put_literal(out, "\",\"name\":");
    wire_json_string(tensor->name, strlen(tensor->name), out);
    if (artifact->uri) {
        wire__put_literal(out, ",\"sha256\":");
        wire_json_string(artifact->sha256, strlen(artifact->sha256), out);
    }
    put_shape(out, tensor);
    if (artifact->uri) {
        wire__put_literal(out, ",\"uri\":");
        wire_json_string(artifact->uri, strlen(artifact->uri), out);
    }
    wire__put_literal(out, "}");
}

void wire_result_encode(const char *model, const char *version, const struct tensor *outputs,
                        const struct wire_artifact *artifacts, size_t count, struct buf *out) {
    static const struct wire_artifact none;
    wire__put_literal(out, "{\"model_name\":");
    wire_json_string(model, strlen(model), out);
    if (version) {
        wire__put_literal(out, ",\"model_version\":");
        wire_json_string(version, strlen(version), out);
    }
    wire__put_literal(out, ",\"outputs\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buf_append(out, ",", 1);
        put_tensor(out, &outputs[i], artifacts ? &artifacts[i] : &none);
    }
    wire__put_literal(out, "]}");
}

void wire_input_encode(const struct tensor *tensor, const char *uri, struct buf *out) {
    wire__put_literal(out, "{\"name\":");
    wire_json_string(tensor->name, strlen(tensor->name), out);
    wire__put_literal(out, ",\"datatype\":\"");
    buf_puts(out, datatype_name(tensor->datatype));
    wire__put_literal(out, "\"");
    put_shape(out, tensor);
    if (uri) {
        wire__put_literal(out, ",\"uri\":");
        wire_json_string(uri, strlen(uri), out);
    } else {
        wire__put_literal(out, ",\"data\":[");
        wire__put_elements(out, tensor);
        wire__put_literal(out, "]");
    }
    wire__put_literal(out, "}");
}

void wire_error_encode(enum err_code code, const char *message, bool retryable, struct buf *out) {
    const char *name = err_code_name(code), *hint = err_code_hint(code);
    wire__put_literal(out, "{\"code\":");
    wire_json_string(name, strlen(name), out);
    wire__put_literal(out, ",\"hint\":");
    wire_json_string(hint, strlen(hint), out);
    wire__put_literal(out, ",\"message\":");
    wire_json_string(message, strlen(message), out);
    buf_puts(out, retryable ? ",\"retryable\":true}" : ",\"retryable\":false}");
}

/* A bounds-checked reader of the protobuf wire format, just as much of it as ONNX uses.
 *
 * A message is a pair of pointers; reading a field moves the first and can never pass the second, since a length is
 * compared with what is left (not added to a pointer that might wrap). A sub-message is again such a pair, so there is
 * no recursion here and nesting costs what the caller's code costs. Nothing is copied but strings and scalars. Unknown
 * fields are for the caller to ignore, as protobuf wants; groups, which ONNX never used, are refused. Source:
 * protobuf.dev, "Encoding".
 */
#include "onnx_internal.h"

#include <stdio.h>

#define VARINT_MAX_BYTES 10

int onnx__proto_bad(const struct proto *in, struct err *err, const char *what) {
    return err_set(err, ERR_MODEL_LOAD_FAILED, "not a valid ONNX file: byte %zu: %s", (size_t)(in->at - in->base),
                   what);
}

static int read_varint(struct proto *in, uint64_t *ret, struct err *err) {
    uint64_t value = 0;
    for (int i = 0; i < VARINT_MAX_BYTES; i++) {
        if (in->at == in->end) return onnx__proto_bad(in, err, "a number is cut short");
        uint8_t byte = *in->at++;
        if (i == VARINT_MAX_BYTES - 1 && byte > 1) return onnx__proto_bad(in, err, "a number is over 64 bits");
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return 0;
        }
    }
    return onnx__proto_bad(in, err, "a number is over 64 bits");
}

static int read_fixed(struct proto *in, size_t size, uint64_t *ret, struct err *err) {
    if ((size_t)(in->end - in->at) < size) return onnx__proto_bad(in, err, "a number is cut short");
    uint64_t value = 0;
    memcpy(&value, in->at, size);
    in->at += size;
    *ret = value;
    return 0;
}

static int read_body(struct proto *in, struct proto *ret, struct err *err) {
    uint64_t len;
    if (read_varint(in, &len, err) != 0) return -1;
    if (len > (uint64_t)(in->end - in->at)) return onnx__proto_bad(in, err, "a length points past the end");
    *ret = (struct proto){.base = in->base, .at = in->at, .end = in->at + len};
    in->at += len;
    return 0;
}

int onnx__proto_next(struct proto *in, struct proto_field *ret, struct err *err) {
    if (in->at == in->end) return 0;
    *ret = (struct proto_field){.body = *in}; /* the place, for messages about this field */
    uint64_t tag;
    if (read_varint(in, &tag, err) != 0) return -1;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return onnx__proto_bad(&ret->body, err, "a field number is out of range");
    ret->number = (uint32_t)(tag >> 3);
    ret->wire = (enum proto_wire)(tag & 7);
    int rc;
    switch (tag & 7) {
    case PROTO_VARINT:
        rc = read_varint(in, &ret->value, err);
        break;
    case PROTO_FIXED64:
        rc = read_fixed(in, 8, &ret->value, err);
        break;
    case PROTO_FIXED32:
        rc = read_fixed(in, 4, &ret->value, err);
        break;
    case PROTO_BYTES:
        rc = read_body(in, &ret->body, err);
        break;
    default:
        rc = onnx__proto_bad(&ret->body, err, "a field has an unknown wire type");
        break;
    }
    return rc == 0 ? 1 : -1;
}

int onnx__proto_expect(const struct proto_field *field, enum proto_wire wire, struct err *err) {
    if (field->wire == wire) return 0;
    char what[80];
    snprintf(what, sizeof what, "field %u has wire type %d where %d is meant", field->number, (int)field->wire,
             (int)wire);
    return onnx__proto_bad(&field->body, err, what);
}

int onnx__proto_count(struct proto in, uint32_t number, size_t *ret, struct err *err) {
    struct proto_field field;
    int more;
    *ret = 0;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) *ret += field.number == number;
    return more;
}

int onnx__proto_string(const struct proto_field *field, struct arena *arena, const char **ret, struct err *err) {
    if (onnx__proto_expect(field, PROTO_BYTES, err) != 0) return -1;
    const struct proto *body = &field->body;
    size_t len = (size_t)(body->end - body->at);
    if (memchr(body->at, 0, len)) return onnx__proto_bad(body, err, "a name contains a NUL");
    *ret = arena_strndup(arena, (const char *)body->at, len);
    return 0;
}

/* --- repeated scalars -------------------------------------------------------------------------------------------- */

static size_t count_packed(const struct proto *body, enum proto_wire wire) {
    size_t len = (size_t)(body->end - body->at), count = 0;
    if (wire == PROTO_FIXED32) return len / 4;
    if (wire == PROTO_FIXED64) return len / 8;
    for (size_t i = 0; i < len; i++) count += body->at[i] < 0x80;
    return count;
}

static int read_packed(struct proto body, enum proto_wire wire, uint64_t *values, size_t *count, struct err *err) {
    while (body.at < body.end) {
        uint64_t *value = &values[*count];
        int rc = wire == PROTO_VARINT ? read_varint(&body, value, err)
                                      : read_fixed(&body, wire == PROTO_FIXED32 ? 4 : 8, value, err);
        if (rc != 0) return -1;
        (*count)++;
    }
    return 0;
}

/* Counts first, so that there is one allocation, never more than eight times the field's own bytes. */
int onnx__proto_scalars(struct proto in, uint32_t number, enum proto_wire wire, struct arena *arena, uint64_t **ret,
                        size_t *ret_count, struct err *err) {
    struct proto_field field;
    struct proto again = in;
    size_t total = 0, count = 0;
    int more;
    while ((more = onnx__proto_next(&again, &field, err)) > 0)
        if (field.number == number) total += field.wire == PROTO_BYTES ? count_packed(&field.body, wire) : 1;
    if (more < 0) return -1;
    uint64_t *values = arena_alloc(arena, total * sizeof *values);
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != number) continue;
        if (field.wire == PROTO_BYTES) {
            if (read_packed(field.body, wire, values, &count, err) != 0) return -1;
            continue;
        }
        if (onnx__proto_expect(&field, wire, err) != 0) return -1;
        values[count++] = field.value;
    }
    if (more < 0) return -1;
    *ret = values;
    *ret_count = count;
    return 0;
}

/* Reading JSON that a stranger wrote, within bounds that are checked before anything is built from it.
 *
 * jansson parses by recursion and builds a tree of small allocations, so size, nesting and the length of strings are
 * looked at first, in one pass over the bytes (scan). The scan is not a parser: it only has to be right about where
 * strings begin and end, and what it takes for nesting can be more than a parser would, never less. Whatever passes is
 * parsed by jansson, which refuses bad UTF-8, duplicate members and anything behind the object.
 *
 * Numbers: jansson's integers are int64. A literal beyond that is refused by name (ERR_INVALID_MEMBER), not rounded;
 * 64-bit integers may be sent as strings for that reason (tensor_json.c), as I-JSON (RFC 7493, 2.2) advises. */
#include "wire_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const struct wire__limits wire__limits_command = {WIRE_MAX_VALUE_BYTES, WIRE_MAX_DEPTH, WIRE_MAX_STRING_BYTES};

/* A spec is at most as large as a command, but a result is as large as the operator lets it be, and the event that
 * carries either is a little larger and deeper. */
const struct wire__limits wire__limits_document = {(size_t)256 * 1024 * 1024, WIRE_MAX_DEPTH + 8,
                                                   (size_t)256 * 1024 * 1024};

/* --- the scan ----------------------------------------------------------------------------------------------------- */

/* UTF-8 bytes that the escape \uXXXX stands for: each half of a surrogate pair counts as 2 of its 4. Bad digits are
 * left for jansson to refuse. */
static size_t unicode_escape_bytes(const char *digits, const char *end) {
    unsigned value = 0;
    for (int i = 0; i < 4 && digits + i < end; i++) {
        char c = digits[i];
        value = value << 4 | (unsigned)(c >= '0' && c <= '9' ? c - '0' : ((c | 0x20) - 'a' + 10) & 0xf);
    }
    if (value < 0x80) return 1;
    if (value < 0x800 || (value >= 0xd800 && value <= 0xdfff)) return 2;
    return 3;
}

/* From behind the opening quote to behind the closing one; *ret_bytes: the decoded length. */
static const char *skip_string(const char *p, const char *end, size_t *ret_bytes) {
    size_t bytes = 0;
    for (; p < end && *p != '"'; p++, bytes++) {
        if (*p != '\\' || p + 1 == end) continue;
        p++;
        if (*p == 'u') {
            bytes += unicode_escape_bytes(p + 1, end) - 1;
            p += end - p > 4 ? 4 : end - p - 1;
        }
    }
    *ret_bytes = bytes;
    return p < end ? p + 1 : end;
}

static int scan(const char *text, size_t len, const struct wire__limits *limits, struct err *err) {
    const char *end = text + len;
    int depth = 0;
    for (const char *p = text; p < end;) {
        switch (*p++) {
        case '"': {
            const char *start = p;
            size_t bytes;
            p = skip_string(p, end, &bytes);
            if (bytes > limits->max_string_bytes)
                return err_set(err, ERR_STRING_TOO_LONG, "the string at byte %zu has %zu bytes, more than %zu",
                               (size_t)(start - text), bytes, limits->max_string_bytes);
            break;
        }
        case '[':
        case '{':
            if (++depth > limits->max_depth)
                return err_set(err, ERR_TOO_DEEP, "nested deeper than %d levels at byte %zu", limits->max_depth,
                               (size_t)(p - text));
            break;
        case ']':
        case '}':
            depth--;
            break;
        default:
            break;
        }
    }
    return 0;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

json_t *wire__json_load(const char *text, size_t len, const struct wire__limits *limits, struct err *err) {
    if (!text || len == 0) {
        err_set(err, ERR_MALFORMED_JSON, "the value is empty");
        return NULL;
    }
    if (len > limits->max_bytes) {
        err_set(err, ERR_TOO_LARGE, "the value has %zu bytes, more than %zu", len, limits->max_bytes);
        return NULL;
    }
    if (scan(text, len, limits, err) != 0) return NULL;
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!root) {
        enum err_code code =
            json_error_code(&error) == json_error_numeric_overflow ? ERR_INVALID_MEMBER : ERR_MALFORMED_JSON;
        err_set(err, code, "line %d column %d: %s", error.line, error.column, error.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        err_set(err, ERR_MALFORMED_JSON, "the value is %s, not an object", wire__json_kind(root));
        json_decref(root);
        return NULL;
    }
    return root;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

const char *wire__json_kind(const json_t *json) {
    if (!json) return "absent";
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

bool wire__json_integer(const json_t *json, int64_t *ret) {
    if (json_is_integer(json)) {
        *ret = json_integer_value(json);
        return true;
    }
    if (!json_is_real(json)) return false;
    double value = json_real_value(json);
    if (value < -0x1p63 || value >= 0x1p63 || value != rint(value)) return false;
    *ret = (int64_t)value;
    return true;
}

int wire__get_int(const json_t *obj, const char *name, int64_t min, int64_t max, int64_t *ret, struct err *err) {
    const json_t *json = json_object_get(obj, name);
    if (!json) return 0;
    int64_t value;
    if (wire__json_integer(json, &value)) {
        if (value < min || value > max)
            return err_set(err, ERR_INVALID_MEMBER, "%s: %" PRId64 " is not in %" PRId64 " to %" PRId64, name, value,
                           min, max);
        *ret = value;
        return 0;
    }
    if (json_is_real(json))
        return err_set(err, ERR_INVALID_MEMBER, "%s: %.17g is not an integer", name, json_real_value(json));
    return err_set(err, ERR_INVALID_MEMBER, "%s: %s, not an integer", name, wire__json_kind(json));
}

static size_t count_chars(const char *s, size_t len) {
    size_t chars = 0;
    for (size_t i = 0; i < len; i++) chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

int wire__get_string(const json_t *obj, const char *name, size_t max_chars, struct arena *arena, const char **ret,
                     struct err *err) {
    const json_t *json = json_object_get(obj, name);
    if (!json) return 0;
    if (!json_is_string(json))
        return err_set(err, ERR_INVALID_MEMBER, "%s: %s, not a string", name, wire__json_kind(json));
    const char *s = json_string_value(json);
    size_t len = json_string_length(json);
    if (memchr(s, '\0', len)) return err_set(err, ERR_INVALID_MEMBER, "%s: contains a NUL character", name);
    size_t chars = count_chars(s, len);
    if (chars > max_chars)
        return err_set(err, ERR_INVALID_MEMBER, "%s: %zu characters, more than %zu", name, chars, max_chars);
    *ret = arena_strndup(arena, s, len);
    return 0;
}

static bool is_listed(const char *name, const char *const *known) {
    for (; *known; known++)
        if (strcmp(name, *known) == 0) return true;
    return false;
}

int wire__check_members(json_t *obj, const char *at, const char *const *known, struct err *err) {
    for (void *iter = json_object_iter(obj); iter; iter = json_object_iter_next(obj, iter)) {
        const char *name = json_object_iter_key(iter);
        if (!is_listed(name, known)) return err_set(err, ERR_UNKNOWN_MEMBER, "%s%.200s: unknown member", at, name);
    }
    return 0;
}

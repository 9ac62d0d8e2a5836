/* Looking into JSON text. This is no parser: it finds where a value ends, by brackets and quotes, and leaves the
 * judgement to wire, which checks every command before it is sent and wrote every document that comes out of the store.
 * So broken text gives slices that wire refuses, or no member; never a read beyond the end. */
#include <string.h>

#include "penstock/wire_json.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip(struct wire_slice *s, size_t n) {
    s->at += n;
    s->len -= n;
}

static void skip_space(struct wire_slice *s) {
    while (s->len && is_space(*s->at)) skip(s, 1);
}

/* Bytes of the string that begins at s->at, quotes included; up to the end if it is not closed. */
static size_t string_len(struct wire_slice s) {
    for (size_t i = 1; i < s.len; i++) {
        if (s.at[i] == '\\')
            i++;
        else if (s.at[i] == '"')
            return i + 1;
    }
    return s.len;
}

/* Bytes of the value that begins at s.at. */
static size_t value_len(struct wire_slice s) {
    if (*s.at == '"') return string_len(s);
    if (*s.at != '{' && *s.at != '[') {
        size_t i = 0;
        while (i < s.len && !is_space(s.at[i]) && !strchr(",]}:\"", s.at[i])) i++;
        return i ? i : 1;
    }
    size_t depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '"')
            i += string_len((struct wire_slice){s.at + i, s.len - i}) - 1;
        else if (s.at[i] == '{' || s.at[i] == '[')
            depth++;
        else if ((s.at[i] == '}' || s.at[i] == ']') && --depth == 0)
            return i + 1;
    }
    return s.len;
}

bool wire_json_value(struct wire_slice *rest, struct wire_slice *ret) {
    skip_space(rest);
    if (!rest->len) return false;
    *ret = (struct wire_slice){rest->at, value_len(*rest)};
    skip(rest, ret->len);
    return true;
}

/* Takes one value off the inside of an object or array, with the separators (',' ':') before it. */
static bool next_inside(struct wire_slice *s, struct wire_slice *ret) {
    skip_space(s);
    while (s->len && (*s->at == ',' || *s->at == ':')) {
        skip(s, 1);
        skip_space(s);
    }
    if (!s->len || *s->at == '}' || *s->at == ']') return false;
    return wire_json_value(s, ret);
}

bool wire_json_member(struct wire_slice object, const char *name, struct wire_slice *ret) {
    skip_space(&object);
    if (!object.len || *object.at != '{') return false;
    skip(&object, 1);
    struct wire_slice key, value;
    size_t len = strlen(name);
    while (next_inside(&object, &key) && next_inside(&object, &value))
        if (key.len == len + 2 && memcmp(key.at + 1, name, len) == 0) {
            *ret = value;
            return true;
        }
    return false;
}

bool wire_json_element(struct wire_slice *array, struct wire_slice *ret) {
    skip_space(array);
    if (array->len && *array->at == '[') skip(array, 1);
    return next_inside(array, ret);
}

void wire_json_text(struct wire_slice value, struct buf *out) {
    if (value.len < 2 || *value.at != '"') {
        buf_append(out, value.at, value.len);
        return;
    }
    for (size_t i = 1; i + 1 < value.len; i++) {
        if (value.at[i] == '\\' && i + 2 < value.len && strchr("\"\\/", value.at[i + 1])) i++;
        buf_append(out, value.at + i, 1);
    }
}

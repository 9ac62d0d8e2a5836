/* Writing JSON in one canonical form, so that equal values have equal bytes.
 *
 * The store tells "the same command again" from "another job under this id" by comparing specs byte by byte, and a
 * result that was healed from the event log must equal the one that was lost. So there is one form, in the spirit of
 * RFC 8785: members sorted by their bytes, no white space, the shortest escapes, and each number in a form that depends
 * on its value alone: 1, 1.0 and 1e0 are all "1" (save -0.0, whose sign a tensor may need). What wire writes itself
 * (results, error envelopes) is in this form from the start.
 *
 * Numbers are also what costs: "%.17g" takes some 300 ns. Most numbers in tensors have few decimals, and for those the
 * shortest text is found by arithmetic: if n = rint(x * 10^k) < 2^53 and n / 10^k == x, then both operands are exact,
 * IEEE division rounds as strtod does, and so "n with k decimals" reads back as x. */
#include "wire_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers ------------------------------------------------------------------------------------------------------ */

#define EXACT_INTEGERS 0x1p53 /* every integer below has a double of its own */
#define FIXED_MIN      1e-5   /* below, text with an exponent is shorter */
#define DECIMALS_MAX   17

static const double powers_of_ten[DECIMALS_MAX + 1] = {1e0, 1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                                       1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};

/* Writes the digits of `value` so that they end before `end`; returns where they start. */
static char *digits_before(char *end, uint64_t value) {
    do *--end = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    return end;
}

void wire__put_int(struct buf *out, int64_t value) {
    char text[24], *end = text + sizeof text;
    char *p = digits_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0) *--p = '-';
    buf_append(out, p, (size_t)(end - p));
}

/* n / 10^decimals, decimals > 0. */
static void put_fixed(struct buf *out, bool negative, uint64_t n, int decimals) {
    char text[48], *end = text + sizeof text;
    char *p = digits_before(end, n);
    while (end - p <= decimals) *--p = '0';
    size_t fraction = (size_t)decimals;
    memmove(p - 1, p, (size_t)(end - p) - fraction);
    p--;
    end[-(ptrdiff_t)fraction - 1] = '.';
    if (negative) *--p = '-';
    buf_append(out, p, (size_t)(end - p));
}

void wire__put_double(struct buf *out, double value) {
    double magnitude = fabs(value);
    if (value == 0 && signbit(value)) {
        wire__put_literal(out, "-0.0");
        return;
    }
    if (magnitude < EXACT_INTEGERS && value == rint(value)) {
        wire__put_int(out, (int64_t)value);
        return;
    }
    if (magnitude >= FIXED_MIN)
        for (int k = 1; k <= DECIMALS_MAX && magnitude * powers_of_ten[k] < EXACT_INTEGERS; k++) {
            double n = rint(magnitude * powers_of_ten[k]);
            if (n / powers_of_ten[k] == magnitude) {
                put_fixed(out, value < 0, (uint64_t)n, k);
                return;
            }
        }
    char text[32];
    /* 15 digits survive any double, so fewer cannot be shorter text, save for subnormals, where it does not matter. */
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    buf_puts(out, text);
}

/* The shortest decimal that reads back as the same float, in the form that wire__put_double gives that decimal. */
void wire__put_float(struct buf *out, float value) {
    if (!isfinite(value)) {
        buf_puts(out, isnan(value) ? "\"NaN\"" : value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
        return;
    }
    double magnitude = fabs((double)value);
    if (magnitude < EXACT_INTEGERS && (double)value == rint((double)value)) {
        wire__put_double(out, (double)value);
        return;
    }
    if (magnitude >= FIXED_MIN)
        for (int k = 1; k <= DECIMALS_MAX && magnitude * powers_of_ten[k] < EXACT_INTEGERS; k++) {
            double n = rint(magnitude * powers_of_ten[k]);
            if ((float)(n / powers_of_ten[k]) == (float)magnitude) {
                put_fixed(out, value < 0, (uint64_t)n, k);
                return;
            }
        }
    char text[32];
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    wire__put_double(out, strtod(text, NULL));
}

/* --- strings ------------------------------------------------------------------------------------------------------ */

/* Length of the well-formed UTF-8 sequence at s (Unicode, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *s, size_t len) {
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, size;
    } rows[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = rows[i].size;
        if (s[0] < rows[i].first_min || s[0] > rows[i].first_max) continue;
        if (size > len || (size > 1 && (s[1] < rows[i].second_min || s[1] > rows[i].second_max))) return 0;
        for (size_t k = 2; k < size; k++)
            if ((s[k] & 0xc0) != 0x80) return 0;
        return size;
    }
    return 0;
}

static void put_escape(struct buf *out, unsigned char c) {
    static const char *const short_forms[] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
                                              ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"};
    if (c < sizeof short_forms / sizeof short_forms[0] && short_forms[c])
        buf_puts(out, short_forms[c]);
    else
        buf_printf(out, "\\u%04x", c);
}

/* Bytes that are not UTF-8 become U+FFFD: an error message may have been cut within a character, and what is written
 * here must be JSON whatever it quotes. */
void wire_json_string(const char *s, size_t len, struct buf *out) {
    const unsigned char *bytes = (const unsigned char *)s;
    buf_append(out, "\"", 1);
    size_t start = 0, i = 0; /* bytes from start to i need no escape */
    while (i < len) {
        unsigned char c = bytes[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t size = c >= 0x80 ? utf8_sequence(bytes + i, len - i) : 0;
        if (size > 0) {
            i += size;
            continue;
        }
        buf_append(out, s + start, i - start);
        if (c >= 0x80)
            wire__put_literal(out, "\xef\xbf\xbd");
        else
            put_escape(out, c);
        start = ++i;
    }
    if (len > start) buf_append(out, s + start, len - start);
    buf_append(out, "\"", 1);
}

/* --- trees -------------------------------------------------------------------------------------------------------- */

struct member {
    const char *name;
    const json_t *value;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static void put_object(struct buf *out, const json_t *json) {
    size_t count = json_object_size(json);
    struct member few[24], *members = count <= sizeof few / sizeof few[0] ? few : mem_calloc(count, sizeof *members);
    json_t *obj = (json_t *)json; /* jansson's iterators take no const; nothing is changed */
    size_t n = 0;
    for (void *iter = json_object_iter(obj); iter; iter = json_object_iter_next(obj, iter))
        members[n++] = (struct member){json_object_iter_key(iter), json_object_iter_value(iter)};
    qsort(members, n, sizeof *members, by_name);
    buf_append(out, "{", 1);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_append(out, ",", 1);
        wire_json_string(members[i].name, strlen(members[i].name), out);
        buf_append(out, ":", 1);
        wire__put_json(out, members[i].value);
    }
    buf_append(out, "}", 1);
    if (members != few) free(members);
}

void wire__put_json(struct buf *out, const json_t *json) {
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        put_object(out, json);
        break;
    case JSON_ARRAY:
        buf_append(out, "[", 1);
        for (size_t i = 0; i < json_array_size(json); i++) {
            if (i > 0) buf_append(out, ",", 1);
            wire__put_json(out, json_array_get(json, i));
        }
        buf_append(out, "]", 1);
        break;
    case JSON_STRING:
        wire_json_string(json_string_value(json), json_string_length(json), out);
        break;
    case JSON_INTEGER:
        wire__put_int(out, json_integer_value(json));
        break;
    case JSON_REAL:
        wire__put_double(out, json_real_value(json));
        break;
    case JSON_TRUE:
        wire__put_literal(out, "true");
        break;
    case JSON_FALSE:
        wire__put_literal(out, "false");
        break;
    case JSON_NULL:
        wire__put_literal(out, "null");
        break;
    }
}

/* The head of NumPy's .npy: a magic, a version, and a Python literal of three members, padded with spaces. Read as what
 * it is, a text from a stranger: no more of Python is understood than NumPy writes. */
#include "artifact_internal.h"

#include <string.h>

#define HEAD_MAX ((size_t)64 * 1024)

struct text {
    const char *at, *end;
};

static int bad(struct err *err, const char *what) {
    return err_set(err, ERR_INVALID_INPUT, "not a .npy file that can be read here: %s", what);
}

static void skip_space(struct text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')) t->at++;
}

static bool take(struct text *t, const char *word) {
    size_t len = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0) return false;
    t->at += len;
    return true;
}

/* 'text' of at most 15 characters. */
static bool take_string(struct text *t, char ret[16]) {
    size_t len = 0;
    skip_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    char quote = *t->at++;
    while (t->at < t->end && *t->at != quote && len < 15) ret[len++] = *t->at++;
    ret[len] = '\0';
    return t->at < t->end && *t->at++ == quote;
}

static bool take_number(struct text *t, int64_t *ret) {
    skip_space(t);
    const char *first = t->at;
    *ret = 0;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        if (*ret > (INT64_MAX - 9) / 10) return false;
        *ret = *ret * 10 + (*t->at++ - '0');
    }
    return t->at > first;
}

/* (), (3,), (3, 4) */
static bool take_shape(struct text *t, struct artifact_npy *ret) {
    ret->rank = 0;
    if (!take(t, "(")) return false;
    while (!take(t, ")")) {
        if (ret->rank == TENSOR_MAX_RANK || !take_number(t, &ret->shape[ret->rank++])) return false;
        if (!take(t, ",")) return take(t, ")");
    }
    return true;
}

static enum datatype datatype_of(const char *descr) {
    static const struct {
        const char *descr;
        enum datatype datatype;
    } kinds[] = {{"|b1", DATATYPE_BOOL},   {"|u1", DATATYPE_UINT8},  {"|i1", DATATYPE_INT8},  {"<u2", DATATYPE_UINT16},
                 {"<u4", DATATYPE_UINT32}, {"<u8", DATATYPE_UINT64}, {"<i2", DATATYPE_INT16}, {"<i4", DATATYPE_INT32},
                 {"<i8", DATATYPE_INT64},  {"<f2", DATATYPE_FP16},   {"<f4", DATATYPE_FP32},  {"<f8", DATATYPE_FP64}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].descr, descr) == 0) return kinds[i].datatype;
    return DATATYPE_INVALID;
}

static int read_members(struct text *t, struct artifact_npy *ret, struct err *err) {
    bool descr = false, order = false, shape = false;
    if (!take(t, "{")) return bad(err, "its head is no dictionary");
    while (!take(t, "}")) {
        char name[16], kind[16];
        if (!take_string(t, name) || !take(t, ":")) return bad(err, "its head is broken");
        if (strcmp(name, "descr") == 0) {
            if (!take_string(t, kind)) return bad(err, "its elements are structured");
            ret->datatype = datatype_of(kind);
            if (ret->datatype == DATATYPE_INVALID)
                return err_set(err, ERR_INVALID_INPUT, "a .npy file of elements '%s': no tensor here has such", kind);
            descr = true;
        } else if (strcmp(name, "fortran_order") == 0) {
            if (!take(t, "False")) return bad(err, "its order is Fortran's");
            order = true;
        } else if (strcmp(name, "shape") == 0) {
            if (!take_shape(t, ret)) return bad(err, "its shape is broken, or has too many dimensions");
            shape = true;
        } else {
            return bad(err, "its head has an unknown member");
        }
        if (!take(t, ",")) {
            if (!take(t, "}")) return bad(err, "its head is broken");
            break;
        }
    }
    return descr && order && shape ? 0 : bad(err, "its head is incomplete");
}

int artifact_npy_head(const void *bytes, size_t len, struct artifact_npy *ret, struct err *err) {
    const unsigned char *b = bytes;
    *ret = (struct artifact_npy){0};
    if (len < 10 || memcmp(b, "\x93NUMPY", 6) != 0) return bad(err, "it does not begin as one");
    if (b[6] < 1 || b[6] > 3 || b[7] != 0) return bad(err, "its version is unknown");
    size_t at = b[6] == 1 ? 10 : 12, head = b[8] | (size_t)b[9] << 8;
    if (b[6] > 1) {
        if (len < 12) return bad(err, "it ends in its head");
        head |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    }
    if (head > HEAD_MAX || head > len - at) return bad(err, "it ends in its head");
    struct text t = {(const char *)b + at, (const char *)b + at + head};
    ret->data_at = at + head;
    return read_members(&t, ret, err);
}

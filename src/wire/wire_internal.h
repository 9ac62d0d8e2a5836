/* What the files of wire share: bounded loading, typed access to members, the canonical writer, tensors. */
#ifndef PENSTOCK_WIRE_INTERNAL_H
#define PENSTOCK_WIRE_INTERNAL_H

#include <jansson.h>

#include "penstock/wire.h"

/* The most that a command may ask for, and that a model may say about its jobs. */
#define WIRE__ATTEMPTS_MAX   100
#define WIRE__TIMEOUT_MAX_MS (INT64_C(86400000) * 30)
#define WIRE__BACKOFF_MAX_MS INT64_C(86400000)

/* --- json.c: reading ---------------------------------------------------------------------------------------------- */
struct wire__limits {
    size_t max_bytes;
    int max_depth;
    size_t max_string_bytes; /* of one decoded string or member name */
};
extern const struct wire__limits wire__limits_command;  /* what a stranger may send */
extern const struct wire__limits wire__limits_document; /* what Penstock itself wrote: a spec, a result, an event */

/* One JSON text that is an object. Owns: caller calls json_decref. NULL with *err on failure. */
json_t *wire__json_load(const char *text, size_t len, const struct wire__limits *limits, struct err *err) MUSTCHECK;

const char *wire__json_kind(const json_t *json); /* "a string", "null" ...: for messages */

/* A number without a fraction that fits int64: 4 and 4.0 are the same number to JSON and to the schemas. */
bool wire__json_integer(const json_t *json, int64_t *ret);

/* Typed members of `obj`; an absent member leaves *ret as it is. ERR_INVALID_MEMBER names `name` and what was found.
 * Strings are copied into the arena, have at most max_chars code points and no NUL. */
int wire__get_int(const json_t *obj, const char *name, int64_t min, int64_t max, int64_t *ret,
                  struct err *err) MUSTCHECK;
int wire__get_string(const json_t *obj, const char *name, size_t max_chars, struct arena *arena, const char **ret,
                     struct err *err) MUSTCHECK;
/* Refuses, by name, a member of `obj` that `known` (NULL-terminated) does not list. `at`: "" or "inputs/0/". */
int wire__check_members(json_t *obj, const char *at, const char *const *known, struct err *err) MUSTCHECK;

/* --- json_write.c: writing ---------------------------------------------------------------------------------------- */
void wire__put_int(struct buf *out, int64_t value);
void wire__put_double(struct buf *out, double value);     /* finite */
void wire__put_float(struct buf *out, float value);       /* NaN and infinities as strings */
void wire__put_json(struct buf *out, const json_t *json); /* canonical: members sorted, no white space */
#define wire__put_literal(out, text) buf_append(out, text, sizeof(text) - 1)

/* --- cloudevents.c ------------------------------------------------------------------------------------------------ */
struct wire__text {
    const char *s; /* NULL: absent */
    size_t len;
};

/* What the envelope says about the command within; everything is borrowed from the message and `root`. */
struct wire__envelope {
    json_t *body;                  /* the command's object */
    const char *type;              /* "create", "pause" ... as the CloudEvents type implies; NULL: a plain command */
    struct wire__text subject;     /* the job_id, or the model of a mode, says CloudEvents */
    struct wire__text traceparent; /* not yet validated */
};
int wire__envelope_open(const struct wire_message *in, json_t *root, struct wire__envelope *ret,
                        struct err *err) MUSTCHECK;
struct wire__text wire__header_find(const struct wire_message *in, const char *name);

/* --- tensor_json.c ------------------------------------------------------------------------------------------------ */
struct wire__tensor {
    const char *name; /* borrowed from the JSON tree, as are data and uri */
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    int64_t count;
    json_t *data;    /* NULL: see uri */
    const char *uri; /* NULL: see data */
};
/* Reads member `index` of "inputs" and checks all of it but the elements. */
int wire__tensor_read(json_t *input, size_t index, struct wire__tensor *ret, struct err *err) MUSTCHECK;
/* Checks every element of tensor->data against shape and datatype; *ret_bytes = what wire__tensor_store will write. */
int wire__tensor_check(const struct wire__tensor *tensor, size_t index, size_t *ret_bytes, struct err *err) MUSTCHECK;
/* Writes the elements of a checked tensor, as tensor.h lays them out. */
void wire__tensor_store(const struct wire__tensor *tensor, void *dst);

/* result.c: the elements, as JSON between brackets. The tensor is sound: of BYTES, every length leads to the next one. */
void wire__put_elements(struct buf *out, const struct tensor *tensor);

/* --- fp16.c: IEEE 754 binary16 ------------------------------------------------------------------------------------ */
uint16_t wire__fp16_from_double(double value); /* nearest, ties to even; too big: infinity */
float wire__fp16_to_float(uint16_t half);

#endif

/* wire_infer: the Open Inference Protocol's inference request and answer over HTTP, with its binary tensor data
 * extension, as a create command and from a result document.
 *
 *     if (wire_infer_decode(body, len, json_len, arena, &in, &err) != 0) ...
 *     wire_infer_command(&in, job_id, "digits", NULL, &command);          // goes the way of every command
 *     if (wire_infer_answer(&in, result, result_len, load, self, arena, &json, &binary, &err) != 0) ...
 *
 * Sources: KServe "Open Inference Protocol" v2, HTTP/REST; Triton's "Binary Tensor Data Extension".
 */
#ifndef PENSTOCK_WIRE_INFER_H
#define PENSTOCK_WIRE_INFER_H

#include "penstock/wire.h"

struct wire_infer_input {
    struct tensor tensor; /* data: the bytes that came behind the JSON, as tensor.h lays them out; NULL: see `json` */
    const char *json;     /* the member "data" as JSON; NULL: see tensor */
    const char *uri;      /* where the caller put a large tensor's bytes; NULL: they go into the command */
};

struct wire_infer_output {
    const char *name;
    bool binary;
};

struct wire_infer {
    const char *id; /* the client's own name for its request, which comes back; NULL: none */
    struct wire_infer_input *inputs;
    size_t input_count;
    struct wire_infer_output *outputs; /* none: all of them, as all_binary says */
    size_t output_count;
    bool all_binary;
    int64_t timeout_ms;     /* of the run; 0: none was asked for */
    int priority;           /* Penstock's, 0 to 9; -1: none was asked for */
    const char *parameters; /* the request's other parameters, a JSON object */
};

/* `json_len`: of the JSON at the front of the body; what follows are the tensors that say "binary_data_size", in order.
 * Everything but JSON data's elements is checked here; those are when the command is decoded. ERR_MALFORMED_JSON,
 * ERR_INVALID_TENSOR, ERR_INVALID_MEMBER and their kin. The tensors' data point into `body`. */
int wire_infer_decode(const char *body, size_t len, size_t json_len, struct arena *arena, struct wire_infer *ret,
                      struct err *err) MUSTCHECK;

/* The create command. */
void wire_infer_command(const struct wire_infer *in, const char *job_id, const char *model, const char *version,
                        struct buf *out);

/* Fills tensor->data with what `uri` names. */
typedef int wire_infer_load_fn(void *self, const char *uri, struct tensor *tensor, struct arena *arena,
                               struct err *err);
/* The answer: JSON into `json`, the bytes of outputs that were asked for as such into `binary`. ERR_INVALID_MEMBER: the
 * result has no output of a name that was asked for. */
int wire_infer_answer(const struct wire_infer *in, const char *result, size_t len, wire_infer_load_fn *load, void *self,
                      struct arena *arena, struct buf *json, struct buf *binary, struct err *err) MUSTCHECK;

#endif

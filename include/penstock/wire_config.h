/* wire_config: reading the small JSON files that stand beside models. See wire.h for the rules of decoding.
 *
 *     struct wire_model_config cfg;
 *     if (wire_model_config_decode(bytes, len, &cfg, &err) != 0) ...
 */
#ifndef PENSTOCK_WIRE_CONFIG_H
#define PENSTOCK_WIRE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"
#include "penstock/job.h"

/* A model's config.json, with Triton's knob names: {"name","backend","max_batch_size",
 * "dynamic_batching":{"max_queue_delay_microseconds"}}; and "penstock":{...}, whose members are those of struct
 * model_policy. Unknown members are refused by name (ERR_CONFIG). Shape: schemas/model-config.schema.json. */
struct wire_model_config {
    char name[65];    /* "" if absent; must equal the folder's name (the caller checks) */
    char backend[33]; /* "onnx" if absent */
    int max_batch_size;
    int64_t max_queue_delay_us;
    struct model_policy policy;
};
int wire_model_config_decode(const char *json, size_t len, struct wire_model_config *ret, struct err *err) MUSTCHECK;

#endif

/* wire_json: looking into JSON text that wire has checked or will check, for the edges (cli, http), which have no JSON
 * library of their own; src/wire/slice.c says why this is no parser.
 *
 *     struct wire_slice outputs, first;
 *     if (wire_json_member(result, "outputs", &outputs) && wire_json_element(&outputs, &first)) ...
 */
#ifndef PENSTOCK_WIRE_JSON_H
#define PENSTOCK_WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "penstock/mem.h"

struct wire_slice {
    const char *at;
    size_t len;
};
bool wire_json_value(struct wire_slice *rest,
                     struct wire_slice *ret); /* takes the next value off; false: nothing is left */
bool wire_json_member(struct wire_slice object, const char *name, struct wire_slice *ret);
bool wire_json_element(struct wire_slice *array, struct wire_slice *ret); /* takes the first element off */
void wire_json_text(struct wire_slice value, struct buf *out); /* a string without quotes; others as they are */

#endif

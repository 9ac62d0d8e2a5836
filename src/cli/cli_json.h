/* Looking into JSON text that wire has checked or will check; src/cli/cli_json.c says why this is no parser.
 *
 *     struct cli_slice outputs, first;
 *     if (cli__json_member(result, "outputs", &outputs) && cli__json_element(&outputs, &first)) ...
 */
#ifndef PENSTOCK_CLI_JSON_H
#define PENSTOCK_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "penstock/mem.h"

struct cli_slice {
    const char *at;
    size_t len;
};
bool cli__json_value(struct cli_slice *rest,
                     struct cli_slice *ret); /* takes the next value off; false: nothing is left */
bool cli__json_member(struct cli_slice object, const char *name, struct cli_slice *ret);
bool cli__json_element(struct cli_slice *array, struct cli_slice *ret); /* takes the first element off */
void cli__json_text(struct cli_slice value, struct buf *out); /* a string without quotes; others as they are */

#endif

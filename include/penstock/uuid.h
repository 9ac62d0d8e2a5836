/* uuid: ids for jobs whose sender chose none.
 *
 *     char id[UUID_SIZE];
 *     if (uuid_v7(id, &err) != 0) ...
 */
#ifndef PENSTOCK_UUID_H
#define PENSTOCK_UUID_H

#include "penstock/err.h"

#define UUID_SIZE 37
/* UUID version 7 (RFC 9562) in its usual form; those of one process sort in the order made. ERR_SYSTEM when there is no
 * randomness. Thread: any. */
int uuid_v7(char ret[static UUID_SIZE], struct err *err) MUSTCHECK;

#endif

/* store_watch: a worker's ear: Redis tells it that jobs became ready or that one of its jobs shall be cancelled.
 * Messages may be lost; they only make things faster than polling. See store.h.
 *
 *     if (store_watch(st, id, &fd, &err) == 0) poll(fd);
 *     if (store_watch_read(st, &ready, &cancel, &err) != 0) ...
 */
#ifndef PENSTOCK_STORE_WATCH_H
#define PENSTOCK_STORE_WATCH_H

#include "penstock/store.h"

/* A second connection on which Redis tells this worker that jobs became ready or that one of its jobs shall be
 * cancelled. *ret_fd: to poll for reading; valid until the next error. Calling again is cheap. */
int store_watch(struct store *st, const char *worker, int *ret_fd, struct err *err) MUSTCHECK;
/* Reads what was told since, without waiting. *ret_cancel: some job of this worker has a cancel requested: renew now.
 * Messages may be lost; they only make things faster than polling. */
int store_watch_read(struct store *st, bool *ret_ready, bool *ret_cancel, struct err *err) MUSTCHECK;

#endif

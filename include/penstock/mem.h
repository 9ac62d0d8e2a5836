/* mem: allocation that does not fail, and arenas; buf.h, which it includes, has the growing byte buffer.
 *
 * A service that cannot get a few bytes cannot do anything useful either, so mem_alloc and its kin end the process
 * (crash-only, see docs/architecture.md) when memory is gone; nothing that was acknowledged is lost by that. Large
 * amounts that input from outside decides are bounded where the input enters.
 *
 *     struct arena arena;              // one arena per consumed batch
 *     arena_init(&arena);
 *     char *id = arena_strndup(&arena, bytes, len);
 *     arena_reset(&arena);             // everything gone, blocks kept
 *     arena_done(&arena);
 */
#ifndef PENSTOCK_MEM_H
#define PENSTOCK_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "penstock/buf.h"
#include "penstock/err.h"

/* Allocation on the heap; never NULL. Owns: caller frees with free(). */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));

struct arena_block;
struct arena {
    struct arena_block *head; /* newest block */
    size_t used_bytes;        /* in head */
};

void arena_init(struct arena *arena);
void arena_reset(struct arena *arena); /* frees all but one block */
void arena_done(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t size); /* 16-byte aligned, zeroed */
char *arena_strndup(struct arena *arena, const char *s, size_t len);
char *arena_strdup(struct arena *arena, const char *s); /* NULL stays NULL */
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif

/* Allocation that ends the process rather than fail, and arenas. See mem.h for why. */
#include "penstock/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES ((size_t)16 * 1024)
#define ARENA_ALIGN       16

static void *or_die(void *p, size_t size) {
    if (p) return p;
    fprintf(stderr, "penstock: out of memory (%zu bytes)\n", size);
    abort();
}

void *mem_alloc(size_t size) { return or_die(malloc(size ? size : 1), size); }
void *mem_calloc(size_t count, size_t size) { return or_die(calloc(count ? count : 1, size ? size : 1), count * size); }
void *mem_realloc(void *old, size_t size) { return or_die(realloc(old, size ? size : 1), size); }
char *mem_strdup(const char *s) { return or_die(strdup(s), strlen(s) + 1); }

/* --- arena -------------------------------------------------------------------------------------------------------- */

struct arena_block {
    struct arena_block *next;
    size_t size_bytes;
    _Alignas(ARENA_ALIGN) char data[];
};

void arena_init(struct arena *arena) { *arena = (struct arena){0}; }

static void free_blocks(struct arena_block *block) {
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

/* Keeps the oldest block, which is of the ordinary size unless the first allocation ever was a big one: batch after
 * batch then runs without malloc, and one giant does not stay. */
void arena_reset(struct arena *arena) {
    struct arena_block *block = arena->head;
    if (!block) return;
    while (block->next) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    if (block->size_bytes > ARENA_BLOCK_BYTES) {
        free(block);
        block = NULL;
    }
    arena->head = block;
    arena->used_bytes = 0;
}

void arena_done(struct arena *arena) {
    free_blocks(arena->head);
    *arena = (struct arena){0};
}

void *arena_alloc(struct arena *arena, size_t size) {
    BUG_ON(size > SIZE_MAX / 2);
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (!arena->head || arena->head->size_bytes - arena->used_bytes < size) {
        size_t block_bytes = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
        struct arena_block *block = mem_alloc(sizeof *block + block_bytes);
        block->next = arena->head;
        block->size_bytes = block_bytes;
        arena->head = block;
        arena->used_bytes = 0;
    }
    void *p = arena->head->data + arena->used_bytes;
    arena->used_bytes += size;
    return memset(p, 0, size);
}

char *arena_strndup(struct arena *arena, const char *s, size_t len) {
    char *copy = arena_alloc(arena, len + 1);
    if (len) memcpy(copy, s, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *s) { return s ? arena_strndup(arena, s, strlen(s)) : NULL; }

char *arena_printf(struct arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    BUG_ON(n < 0);
    char *text = arena_alloc(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

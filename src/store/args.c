/* Lists of command arguments. A batch of 128 commands is some 2,000 arguments: pointers into the caller's bytes, with
 * only numbers and keys printed into an arena of the call's own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

void store__args_init(struct store__args *args) {
    *args = (struct store__args){0};
    arena_init(&args->arena);
}

void store__args_done(struct store__args *args) {
    arena_done(&args->arena);
    free(args->argv);
    free(args->lens);
    *args = (struct store__args){0};
}

void store__args_bytes(struct store__args *args, const char *bytes, size_t len) {
    if (args->count == args->cap) {
        args->cap = args->cap ? args->cap * 2 : 64;
        args->argv = mem_realloc(args->argv, args->cap * sizeof *args->argv);
        args->lens = mem_realloc(args->lens, args->cap * sizeof *args->lens);
    }
    args->argv[args->count] = bytes ? bytes : "";
    args->lens[args->count++] = len;
}

void store__args_str(struct store__args *args, const char *s) { store__args_bytes(args, s, s ? strlen(s) : 0); }

void store__args_int(struct store__args *args, int64_t n) {
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, n);
    store__args_bytes(args, arena_strndup(&args->arena, text, (size_t)len), (size_t)len);
}

void store__args_key(struct store__args *args, const struct store *st, const char *rest) {
    store__args_str(args, arena_printf(&args->arena, "%s%s", st->cfg.prefix, rest));
}

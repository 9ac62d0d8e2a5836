/* Any bytes as a message with headers: lines "name: value" up to an empty line, then the Kafka value. The header "key"
 * is the Kafka key. */
#include <string.h>

#include "fuzz.h"
#include "penstock/wire.h"

#define MAX_HEADERS 16

/* Takes one line off *text; false at the empty line or the end. */
static bool next_line(const char **text, const char *end, const char **ret, size_t *ret_len) {
    const char *newline = *text < end ? memchr(*text, '\n', (size_t)(end - *text)) : NULL;
    *ret = *text;
    *ret_len = (size_t)((newline ? newline : end) - *text);
    *text = newline ? newline + 1 : end;
    return *ret_len > 0;
}

static size_t read_headers(const char **text, const char *end, struct arena *arena, struct wire_header *headers) {
    size_t count = 0, len;
    for (const char *line; next_line(text, end, &line, &len);) {
        const char *colon = memchr(line, ':', len);
        if (!colon || count == MAX_HEADERS) continue;
        const char *value = colon + 1 + (colon + 1 < line + len && colon[1] == ' ');
        headers[count].name = arena_strndup(arena, line, (size_t)(colon - line));
        headers[count].value_len = (size_t)(line + len - value);
        headers[count++].value = value;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *end = text + size;
    struct wire_header headers[MAX_HEADERS];
    struct arena arena;
    struct err err;
    struct job_command cmd;
    const char *job_id;
    arena_init(&arena);
    struct wire_message in = {.headers = headers};
    in.header_count = read_headers(&text, end, &arena, headers);
    in.value = text;
    in.value_len = (size_t)(end - text);
    for (size_t i = 0; i < in.header_count; i++)
        if (strcmp(headers[i].name, "key") == 0) {
            in.key = headers[i].value;
            in.key_len = headers[i].value_len;
        }
    if (wire_command_decode(&in, &arena, &cmd, &job_id, &err) == 0) {
        const char *named = cmd.job_id ? cmd.job_id : cmd.model ? cmd.model : "";
        BUG_ON(in.key_len > 0 && (strlen(named) != in.key_len || memcmp(named, in.key, in.key_len) != 0));
        BUG_ON(cmd.traceparent && strlen(cmd.traceparent) != 55);
        BUG_ON((cmd.type == WIRE_COMMAND_CREATE) != (cmd.spec != NULL));
    } else {
        BUG_ON(err.code == ERR_NONE || (job_id && !job_id_is_valid(job_id, strlen(job_id))));
    }
    arena_done(&arena);
    return 0;
}

/* Any bytes as an event's value. What is read must, written and read and written again, be the same bytes: rebuilding
 * records from the log rests on it. */
#include <string.h>

#include "fuzz.h"
#include "penstock/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct job_event ev, again;
    struct wire_event_out first, second;
    struct err err;
    arena_init(&arena);
    if (wire_event_decode((const char *)data, size, &arena, &ev, &err) == 0) {
        wire_event_encode(&ev, "/penstock", &arena, &first);
        BUG_ON(wire_event_decode(first.value, first.value_len, &arena, &again, &err) != 0);
        wire_event_encode(&again, "/penstock", &arena, &second);
        BUG_ON(first.value_len != second.value_len || memcmp(first.value, second.value, first.value_len) != 0);
        BUG_ON(first.header_count != second.header_count);
    } else {
        BUG_ON(err.code == ERR_NONE || err.msg[0] == '\0');
    }
    arena_done(&arena);
    return 0;
}

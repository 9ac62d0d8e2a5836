/* Any bytes as a plain command. What is accepted must have a spec that a worker can decode and that, sent as a command,
 * gives itself: otherwise "the same job again" would be told as a conflict. */
#include <string.h>

#include "fuzz.h"
#include "penstock/wire.h"

static void check_spec(const struct job_command *cmd, struct arena *arena) {
    struct wire_request request;
    struct job_command again;
    struct wire_message in = {.value = cmd->spec, .value_len = cmd->spec_len};
    struct err err;
    BUG_ON(wire_spec_decode(cmd->spec, cmd->spec_len, arena, &request, &err) != 0);
    BUG_ON(wire_command_decode(&in, arena, &again, NULL, &err) != 0);
    BUG_ON(again.spec_len != cmd->spec_len || memcmp(again.spec, cmd->spec, cmd->spec_len) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct job_command cmd = {0};
    struct wire_message in = {.value = (const char *)data, .value_len = size};
    struct err err;
    const char *job_id = "";
    arena_init(&arena);
    if (wire_command_decode(&in, &arena, &cmd, &job_id, &err) == 0) {
        bool of_job = cmd.type == WIRE_COMMAND_CREATE || cmd.type == WIRE_COMMAND_CANCEL;
        BUG_ON(of_job != (cmd.job_id != NULL) || job_id != cmd.job_id);
        if (cmd.type == WIRE_COMMAND_CREATE) check_spec(&cmd, &arena);
    } else {
        BUG_ON(cmd.job_id || err.code == ERR_NONE || err.class != ERR_CLASS_REJECT || err.msg[0] == '\0');
        BUG_ON(job_id && !job_id_is_valid(job_id, strlen(job_id)));
    }
    arena_done(&arena);
    return 0;
}

/* Every command against what became of it.
 *
 * A command that the store has taken (its offset is below the stored one) has left a trace: a refused one the rejected
 * event with its coordinates; a create its job, which carries the same spec and comes from this command or an earlier
 * one of the same partition. A cancel need not show when its job completed: which came first is not in the log; but a
 * job that failed has refused it. The other way round, every job's creating event names a command that is there and
 * asks for this job.
 *
 * Kafka's retention may have deleted old commands, and new ones arrive while we read; so the absence of a command says
 * something only between two commands of its partition that are there. */
#include "cli_verify.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/wire.h"

struct cli_verify_command {
    const char *topic;
    int32_t partition;
    int64_t offset;
    enum { UNREADABLE, CREATE, CANCEL, OTHER } kind;
    bool taken, refused;
    const char *job_id; /* UNREADABLE: "?" */
    uint64_t spec;      /* digest */
    uint64_t refusal;   /* digest of the rejected event */
};

static int by_place(const void *a, const void *b) {
    const struct cli_verify_command *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0) return order;
    if (left->partition != right->partition) return left->partition < right->partition ? -1 : 1;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static void decode(struct cli_verify *v, const struct bus_msg *msg, struct arena *arena,
                   struct cli_verify_command *ret) {
    struct wire_header *headers = arena_alloc(arena, (msg->header_count + 1) * sizeof *headers);
    for (size_t i = 0; i < msg->header_count; i++)
        headers[i] = (struct wire_header){msg->headers[i].name, msg->headers[i].value, msg->headers[i].value_len};
    struct wire_message in = {msg->key, msg->key_len, msg->value, msg->value_len, headers, msg->header_count};
    struct job_command cmd;
    struct err why;
    if (wire_command_decode(&in, arena, &cmd, NULL, &why) != 0) return;
    ret->kind = cmd.type == WIRE_COMMAND_CREATE ? CREATE : cmd.type == WIRE_COMMAND_CANCEL ? CANCEL : OTHER;
    if (cmd.job_id) ret->job_id = arena_strdup(&v->arena, cmd.job_id);
    if (ret->kind == CREATE) ret->spec = cli__verify_digest(cmd.spec, cmd.spec_len);
}

void cli__verify_command(struct cli_verify *v, const struct bus_msg *msg, bool taken) {
    struct arena arena;
    if (v->command_count == v->command_room) {
        v->command_room = v->command_room ? 2 * v->command_room : 1024;
        v->commands = mem_realloc(v->commands, v->command_room * sizeof *v->commands);
    }
    struct cli_verify_command *last = v->command_count ? &v->commands[v->command_count - 1] : NULL;
    struct cli_verify_command *cmd = &v->commands[v->command_count++];
    const char *topic =
        last && strcmp(last->topic, msg->topic) == 0 ? last->topic : arena_strdup(&v->arena, msg->topic);
    *cmd = (struct cli_verify_command){
        .topic = topic, .partition = msg->partition, .offset = msg->offset, .taken = taken, .job_id = "?"};
    arena_init(&arena);
    decode(v, msg, &arena, cmd);
    arena_done(&arena);
    v->commands_sorted = false;
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

/* The first command at this place or behind it: v->command_count if there is none. */
static size_t place_of(struct cli_verify *v, const struct job_source *source) {
    struct cli_verify_command probe = {
        .topic = source->topic, .partition = source->partition, .offset = source->offset};
    size_t low = 0, high = v->command_count;
    if (!v->commands_sorted && v->command_count) qsort(v->commands, v->command_count, sizeof *v->commands, by_place);
    v->commands_sorted = true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_place(&v->commands[middle], &probe) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_in_partition(const struct cli_verify *v, size_t i, const struct job_source *source) {
    return i < v->command_count && v->commands[i].partition == source->partition &&
           strcmp(v->commands[i].topic, source->topic) == 0;
}

/* NULL if it is not there; *ret_lost: and yet commands before and behind it are. */
static struct cli_verify_command *find(struct cli_verify *v, const struct job_source *source, bool *ret_lost) {
    size_t i = place_of(v, source);
    bool in_partition = is_in_partition(v, i, source);
    *ret_lost = false;
    if (in_partition && v->commands[i].offset == source->offset) return &v->commands[i];
    *ret_lost = in_partition && i > 0 && is_in_partition(v, i - 1, source);
    return NULL;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

void cli__verify_refusal(struct cli_verify *v, const struct job_event *ev, uint64_t digest) {
    bool lost;
    struct cli_verify_command *cmd = ev->source.topic ? find(v, &ev->source, &lost) : NULL;
    if (cmd && cmd->refused) {
        v->repeats++;
        if (cmd->refusal != digest)
            cli__verify_violation(v, CLI_VERIFY_COMMAND, cmd->job_id,
                                  "its command at %s[%" PRId32 "]@%" PRId64 " was refused twice", cmd->topic,
                                  cmd->partition, cmd->offset);
        return;
    }
    v->rejected++;
    if (!cmd) return; /* deleted by retention, or newer than what was read */
    cmd->refused = true;
    cmd->refusal = digest;
}

static void judge_create(struct cli_verify *v, const struct cli_verify_command *cmd) {
    const struct cli_verify_history *history = cli__verify_find(v, cmd->job_id);
    if (!history) {
        cli__verify_late(v, CLI_VERIFY_COMMAND, cmd->job_id, "its create was taken, but it has no events");
        return;
    }
    if (history->broken || history->lived_before) return;
    const struct job_source *origin = &history->origin;
    if (history->spec != cmd->spec)
        cli__verify_violation(v, CLI_VERIFY_COMMAND, cmd->job_id,
                              "another create of it, at %s[%" PRId32 "]@%" PRId64 ", was not refused", cmd->topic,
                              cmd->partition, cmd->offset);
    else if (origin->topic && strcmp(origin->topic, cmd->topic) == 0 && origin->partition == cmd->partition &&
             origin->offset > cmd->offset)
        cli__verify_violation(v, CLI_VERIFY_COMMAND, cmd->job_id,
                              "its create at offset %" PRId64 " was passed over for that at %" PRId64, cmd->offset,
                              origin->offset);
}

/* A cancel that was taken while its job lived ends it, unless the run completes first; it never ends as failed. */
static void judge_cancel(struct cli_verify *v, const struct cli_verify_command *cmd) {
    const struct cli_verify_history *history = cli__verify_find(v, cmd->job_id);
    if (!history || history->broken || history->lived_before || history->rec.state != JOB_STATE_FAILED) return;
    if (cli__verify_is_over(v, &history->rec)) return; /* the cancel may have come after it */
    cli__verify_late(v, CLI_VERIFY_CANCEL, cmd->job_id, "has failed, but a cancel of it was taken and not refused");
}

static void judge_command(struct cli_verify *v, const struct cli_verify_command *cmd) {
    if (!cmd->taken) {
        v->pending++;
        if (v->all_ended) cli__verify_late(v, CLI_VERIFY_UNENDED, cmd->job_id, "its command was not taken");
    } else if (!cmd->refused && cmd->kind == UNREADABLE) {
        cli__verify_late(v, CLI_VERIFY_COMMAND, cmd->job_id,
                         "a command that cannot be read was taken, but not refused");
    } else if (!cmd->refused && cmd->kind == CREATE) {
        judge_create(v, cmd);
    } else if (!cmd->refused && cmd->kind == CANCEL) {
        judge_cancel(v, cmd);
    }
}

static void judge_origin(const void *node, VISIT visit, void *closure) {
    struct cli_verify *v = closure;
    const struct cli_verify_history *history = *(struct cli_verify_history *const *)node;
    bool lost;
    if ((visit != postorder && visit != leaf) || history->broken || !history->origin.topic) return;
    const struct cli_verify_command *cmd = find(v, &history->origin, &lost);
    if (lost || (cmd && (cmd->kind != CREATE || strcmp(cmd->job_id, history->rec.job_id) != 0)))
        cli__verify_violation(v, CLI_VERIFY_COMMAND, history->rec.job_id,
                              "no create stands at %s[%" PRId32 "]@%" PRId64 ", which it names", history->origin.topic,
                              history->origin.partition, history->origin.offset);
}

void cli__verify_commands(struct cli_verify *v) {
    for (size_t i = 0; i < v->command_count; i++) judge_command(v, &v->commands[i]);
    twalk_r(v->root, judge_origin, v);
}

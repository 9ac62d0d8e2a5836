/* What `penstock verify` knows: the jobs as their events tell them, and the commands that should have made them. No
 * I/O; cmd_verify.c reads the topics and the records and hands them over.
 *
 *     struct cli_verify v;
 *     cli__verify_init(&v, &store_cfg);
 *     for each command, then for each event in the log's order: cli__verify_command(...), cli__verify_event(...)
 *     cli__verify_begin(&v, final);
 *     for each history: cli__verify_record(&v, history, &stored);
 *     cli__verify_commands(&v);      // v.late: what may only be on its way; v.violations, v.told
 */
#ifndef PENSTOCK_CLI_VERIFY_H
#define PENSTOCK_CLI_VERIFY_H

#include "penstock/bus.h"
#include "penstock/job.h"
#include "penstock/mem.h"
#include "penstock/store.h"

/* What a violation is one of. X(constant, word in front of every message) */
#define CLI_VERIFY_CHECKS(X)                                                                                           \
    X(SEQUENCE, "sequence")     /* a job's seq is 1, 2, 3 ... */                                                       \
    X(TRANSITION, "transition") /* only those of the table, one end at most */                                         \
    X(REPEAT, "repeat")         /* one place in a history, one content */                                              \
    X(TOKEN, "token")           /* runs do not overlap, and end by whom they began with */                             \
    X(ATTEMPT, "attempt")       /* attempts and crashes only grow, within their limit */                               \
    X(RECORD, "record")         /* the record and its document are what the events add up to */                        \
    X(CANCEL, "cancel")         /* a cancel that came while the job ran is obeyed or answered */                       \
    X(COMMAND, "command")       /* every command has its job or its refusal, every job its command */                  \
    X(UNENDED, "unended")       /* with --ended */

enum cli_verify_check {
#define X(constant, word) CLI_VERIFY_##constant,
    CLI_VERIFY_CHECKS(X)
#undef X
        CLI_VERIFY_CHECK_COUNT
};
const char *cli__verify_check_name(enum cli_verify_check check);

/* One job, folded so far. */
struct cli_verify_history {
    struct job_record rec; /* first, and job_id is the key of the tree */
    uint64_t *digests;     /* of the events by seq - 1; heap */
    size_t digest_count, digest_room;
    uint64_t spec, end;        /* digests: of the create, of the result or error that the last event carries */
    struct job_source origin;  /* the command that created it */
    uint64_t epoch, token;     /* of the newest run */
    bool lived_before, broken; /* its id was used again after its retention; a violation has ended the folding */
};

struct cli_verify_command; /* verify_commands.c */

struct cli_verify {
    struct arena arena; /* strings and histories: live as long as the run */
    void *root;         /* tsearch tree of struct cli_verify_history by job_id */
    struct cli_verify_command *commands;
    size_t command_count, command_room;
    bool commands_sorted;
    struct store_config store; /* for its retention */
    bool all_ended;            /* jobs that have not ended and commands that were not taken are late, too */
    bool final;                /* late is now a violation */
    uint64_t jobs, events, repeats, rejected, pending, expired, late;
    struct cli_verify_findings {
        uint64_t count, by_check[CLI_VERIFY_CHECK_COUNT];
        size_t told_len;
    } violations, in_log; /* all; those that stand whatever is read yet */
    struct buf told;      /* the first violations, a line each */
};

void cli__verify_init(struct cli_verify *v, const struct store_config *store);
void cli__verify_done(struct cli_verify *v);

/* Adds a violation to v->told; after some they are only counted. */
void cli__verify_violation(struct cli_verify *v, enum cli_verify_check check, const char *job_id, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Something is missing that may still come: a violation only in the final look. */
void cli__verify_late(struct cli_verify *v, enum cli_verify_check check, const char *job_id, const char *what);

/* An event in the order of the log. -1 when it cannot be decoded. */
int cli__verify_event(struct cli_verify *v, const struct bus_msg *msg, struct err *err) MUSTCHECK;
/* NULL if the log has no such job. */
const struct cli_verify_history *cli__verify_find(const struct cli_verify *v, const char *job_id);

/* May the record have been forgotten by now, because its retention is over? */
bool cli__verify_is_over(const struct cli_verify *v, const struct job_record *folded);

/* Forgets what the last look found late; then every history with its stored record (state NONE: there is none). */
void cli__verify_begin(struct cli_verify *v, bool final);
void cli__verify_record(struct cli_verify *v, const struct cli_verify_history *history,
                        const struct job_record *stored);

/* The document beside a record that cli__verify_record has nothing against; NULL: there is none. */
void cli__verify_document(struct cli_verify *v, const struct cli_verify_history *history, const char *what,
                          const char *doc, size_t len);

/* --- verify_commands.c ------------------------------------------------------------------------------------------- */

/* A message of a command topic, before the events. taken: the store's offset is beyond it. */
void cli__verify_command(struct cli_verify *v, const struct bus_msg *msg, bool taken);
/* A rejected event names the command that it refuses. */
void cli__verify_refusal(struct cli_verify *v, const struct job_event *ev, uint64_t digest);
/* Holds every command against what became of it, every job against the command that it names. */
void cli__verify_commands(struct cli_verify *v);
uint64_t cli__verify_digest(const void *bytes, size_t len);

#endif

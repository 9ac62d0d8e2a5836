/* What the commands that deal with jobs share: connections, making and sending commands, waiting, showing a record.
 *
 *     struct cli_producer producer;
 *     if (cli__open_producer(ctx, NULL, NULL, &producer, &err) != 0) ...
 *     if (cli__command_build(doc, &overlay, job_id, &out, &err) != 0) ...
 *     if (cli__command_send(ctx, &producer, command, job_id, 0, &err) != 0 ||
 *         cli__flush(&producer, 30000, &err) != 0) ...
 */
#ifndef PENSTOCK_CLI_JOBS_H
#define PENSTOCK_CLI_JOBS_H

#include "cli_internal.h"
#include "penstock/bus_kafka.h"
#include "penstock/image.h"
#include "penstock/store_view.h"
#include "penstock/wire.h"
#include "penstock/wire_json.h"

/* --- cli_client.c: connections ------------------------------------------------------------------------------------ */
void cli__kafka_config(struct cli_context *ctx, struct bus_kafka_config *ret); /* borrows from ctx */
void cli__store_config(const struct cli_context *ctx, struct store_config *ret);
int cli__open_store(struct cli_context *ctx, struct store **ret,
                    struct err *err) MUSTCHECK; /* for reading: no scripts */

/* A producer that counts what is not acknowledged yet. on_acked (may be NULL) is told of every message. */
struct cli_producer {
    struct bus_producer *prod;
    bus_delivered_fn *on_acked;
    void *self;
    bool notes;    /* tell the person when Kafka lets us wait */
    bool answered; /* a broker did, when asked about the first message's topic */
    size_t unacked, failed;
    struct err first_err; /* of the failed ones */
};
int cli__open_producer(struct cli_context *ctx, bus_delivered_fn *on_acked, void *self, struct cli_producer *ret,
                       struct err *err) MUSTCHECK;
/* Fails with the first message if no broker answers: nobody waits half a minute for a wrong address. */
int cli__produce(struct cli_producer *producer, const struct bus_out *msg, struct err *err) MUSTCHECK;
int cli__flush(struct cli_producer *producer, int64_t timeout_ms, struct err *err) MUSTCHECK; /* waits for every ack */
void cli__close_producer(struct cli_producer *producer);

/* --- cli_command.c: create commands from documents and flags ------------------------------------------------------ */
#define CLI_OVERLAY_MAX 32
struct cli_pairs {
    struct wire_member members[CLI_OVERLAY_MAX];
    size_t count;
};
/* Members that flags lay over every document; texts live in the arena. */
struct cli_overlay {
    struct arena *arena;
    struct wire_member members[CLI_OVERLAY_MAX];
    size_t count;
    struct cli_pairs params, labels; /* laid over the document's own objects */
};
void cli__overlay_set(struct cli_overlay *overlay, const char *name, const char *text, bool quote);
/* "name=value"; `scalars`: numbers and true/false stay what they are in JSON. */
int cli__pairs_add(struct cli_pairs *pairs, struct arena *arena, const char *pair, bool scalars,
                   struct err *err) MUSTCHECK;
/* job_id NULL: the document has one. Adds "type" where it is missing. */
int cli__command_build(struct wire_slice doc, const struct cli_overlay *overlay, const char *job_id, struct buf *out,
                       struct err *err) MUSTCHECK;
bool cli__command_is_cloudevent(struct wire_slice doc); /* structured mode: sent as it is */
/* Decodes as the ingest would. *ret_job_id: arena. */
int cli__command_check(struct wire_slice command, struct arena *arena, const char **ret_job_id,
                       struct err *err) MUSTCHECK;
/* job_id: the key; NULL: none. */
int cli__command_send(struct cli_context *ctx, struct cli_producer *producer, struct wire_slice command,
                      const char *job_id, uint64_t tag, struct err *err) MUSTCHECK;
/* JSON documents, each with where it came from; texts in the arena. */
struct cli_documents {
    struct cli_document {
        const char *path;
        size_t number; /* in its file, from 1 */
        struct wire_slice json;
    } * list;
    size_t count;
};
void cli__documents_add(struct cli_documents *docs, const char *path, size_t number, struct wire_slice json);
/* One after the other, as the file has them; none at all is an error. */
int cli__documents_read(struct cli_documents *docs, const char *path, struct arena *arena, struct err *err) MUSTCHECK;
void cli__documents_done(struct cli_documents *docs);
int cli__read_whole(const char *path, struct buf *out, struct err *err) MUSTCHECK; /* "-": standard input */

/* --- cli_inputs.c: files as a job's inputs ------------------------------------------------------------------------ */
#define CLI_INPUTS_MAX 16
struct cli_inputs {
    struct cli_input {
        const char *text; /* "[NAME=]FILE" */
        bool is_image;
    } files[CLI_INPUTS_MAX];
    size_t count;
    struct image_options image;
};
/* Writes the command's "inputs" for `model`: pictures and .npy files as the tensors that it declares, as workers have
 * registered it or, where none has, as the repository's file says. What is too large for a command goes to a file in
 * artifacts.input_root. Texts and data in `arena`. */
int cli__inputs_build(struct cli_context *ctx, const struct cli_inputs *inputs, const char *model, const char *version,
                      struct arena *arena, struct buf *out, struct err *err) MUSTCHECK;

/* --- cli_progress.c: how far a long piece of work is -------------------------------------------------------------- */
#define CLI_PROGRESS_SAMPLES 10
struct cli_progress {
    const struct cli_context *ctx;
    const char *verb; /* "ended" */
    size_t total;
    int64_t told_ms; /* when something was shown last */
    bool drawn;      /* a bar stands on the terminal */
    struct {
        int64_t at_ms;
        size_t done;
    } samples[CLI_PROGRESS_SAMPLES];
    size_t sample_count;
};
void cli__progress_init(struct cli_progress *progress, const struct cli_context *ctx, const char *verb, size_t total);
/* May be called as often as one likes. begun: of those that are not done, how much is, as a sum of fractions. */
void cli__progress_show(struct cli_progress *progress, size_t done, double begun, size_t failed);
void cli__progress_clear(struct cli_progress *progress); /* so that a line can be printed where the bar stood */

/* --- cli_wait.c: waiting for jobs to end -------------------------------------------------------------------------- */
struct cli_wait {
    const char *const *ids;
    size_t count;
    int64_t timeout_ms;               /* 0: none */
    bool print;                       /* a line (or record) on standard output for each job that ends */
    size_t by_state[JOB_STATE_COUNT]; /* written: how many ended so; [NONE]: not ended */
    size_t absent;                    /* written: of those, how many have no record at all */
};
/* ERR_TIMED_OUT_WAITING when not all have ended in time; by_state is valid then, too. */
int cli__wait(struct cli_context *ctx, struct store *st, struct cli_wait *wait, struct err *err) MUSTCHECK;
int cli__wait_exit_code(const struct cli_wait *wait); /* 0 if every job completed */

/* --- cli_record.c: one record ------------------------------------------------------------------------------------- */
/* The record as one line of JSON, with its result and error documents and, if asked, its spec. */
int cli__print_record_json(struct store *st, const struct job_record *rec, bool with_spec, struct err *err) MUSTCHECK;
int cli__print_ended(struct cli_context *ctx, struct store *st, const struct job_record *rec,
                     struct err *err) MUSTCHECK;

#endif

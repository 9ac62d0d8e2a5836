/* One record on standard output, with the documents that stand beside it in the store. */
#include <inttypes.h>

#include "cli_jobs.h"

int cli__print_record_json(struct store *st, const struct job_record *rec, bool with_spec, struct err *err) {
    struct arena arena;
    struct buf out = {0};
    const char *spec = NULL, *result = NULL, *error = NULL;
    size_t len;
    int rc = -1;
    arena_init(&arena);
    if (with_spec && store_job_doc(st, "spec", rec->job_id, &arena, &spec, &len, err) != 0) goto out;
    if (store_job_doc(st, "result", rec->job_id, &arena, &result, &len, err) != 0) goto out;
    if (store_job_doc(st, "error", rec->job_id, &arena, &error, &len, err) != 0) goto out;
    wire_record_encode(rec, spec, result, error, &out);
    printf("%s\n", out.data);
    rc = 0;
out:
    buf_done(&out);
    arena_done(&arena);
    return rc;
}

/* The message of the error document, or its code when there is none. */
static int error_text(struct store *st, const struct job_record *rec, struct arena *arena, struct buf *out,
                      struct err *err) {
    struct wire_slice doc = {0}, message;
    if (store_job_doc(st, "error", rec->job_id, arena, &doc.at, &doc.len, err) != 0) return -1;
    buf_puts(out, rec->error_code ? rec->error_code : "");
    if (doc.at && wire_json_member(doc, "message", &message)) {
        buf_puts(out, ": ");
        wire_json_text(message, out);
    }
    return 0;
}

int cli__print_ended(struct cli_context *ctx, struct store *st, const struct job_record *rec, struct err *err) {
    if (ctx->json) return cli__print_record_json(st, rec, false, err);
    struct arena arena;
    struct buf text = {0};
    char total[16], run[16];
    int rc = 0;
    arena_init(&arena);
    const char *state = job_state_name(rec->state);
    cli__format_ms(rec->finished_at - rec->created_at, total);
    cli__format_ms(rec->duration_ms, run);
    if (rec->state == JOB_STATE_FAILED) rc = error_text(st, rec, &arena, &text, err);
    if (rc == 0)
        printf("%s  %s%s%s  run %s, total %s%s%s\n", rec->job_id, cli__state_color(ctx, state), state,
               cli__color_end(ctx), run, total, text.len ? "  " : "", text.len ? text.data : "");
    buf_done(&text);
    arena_done(&arena);
    return rc;
}

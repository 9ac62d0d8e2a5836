/* Making a create command out of a document and what the flags lay over it. The document is the person's own JSON and
 * is changed through wire only; what this file decides is which members are laid over it, and that an id is there. */
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"

void cli__overlay_set(struct cli_overlay *overlay, const char *name, const char *text, bool quote) {
    struct buf json = {0};
    size_t i = 0;
    while (i < overlay->count && strcmp(overlay->members[i].name, name) != 0) i++;
    BUG_ON(i == CLI_OVERLAY_MAX); /* more names than there are flags */
    if (quote)
        wire_json_string(text, strlen(text), &json);
    else
        buf_puts(&json, text);
    overlay->members[i] = (struct wire_member){name, arena_strdup(overlay->arena, json.data)};
    if (i == overlay->count) overlay->count++;
    buf_done(&json);
}

/* A number or a word of JSON stays what it is; everything else is a string. */
static bool is_json_scalar(const char *text) {
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) return true;
    const char *digits = text + (*text == '-');
    size_t int_len = strspn(digits, "0123456789");
    if (int_len == 0 || (int_len > 1 && *digits == '0')) return false;
    const char *rest = digits + int_len;
    if (*rest == '.') {
        size_t len = strspn(rest + 1, "0123456789");
        if (len == 0) return false;
        rest += 1 + len;
    }
    if (*rest == 'e' || *rest == 'E') {
        rest += 1 + (rest[1] == '-' || rest[1] == '+');
        if (!*rest) return false;
        rest += strspn(rest, "0123456789");
    }
    return *rest == '\0';
}

int cli__pairs_add(struct cli_pairs *pairs, struct arena *arena, const char *pair, bool scalars, struct err *err) {
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair) return err_set(err, ERR_USAGE, "'%s' is not NAME=VALUE", pair);
    if (pairs->count == CLI_OVERLAY_MAX)
        return err_set(err, ERR_USAGE, "more than %d parameters or labels", CLI_OVERLAY_MAX);
    struct buf json = {0};
    if (scalars && is_json_scalar(equals + 1))
        buf_puts(&json, equals + 1);
    else
        wire_json_string(equals + 1, strlen(equals + 1), &json);
    pairs->members[pairs->count++] =
        (struct wire_member){arena_strndup(arena, pair, (size_t)(equals - pair)), arena_strdup(arena, json.data)};
    buf_done(&json);
    return 0;
}

/* The document's own object `name` with the pairs laid over it. */
static int merge_pairs(struct wire_slice doc, const char *name, const struct cli_pairs *pairs, struct buf *out,
                       struct err *err) {
    struct wire_slice own = {"{}", 2};
    wire_json_member(doc, name, &own);
    if (wire_object_merge(own.at, own.len, pairs->members, pairs->count, out, err) != 0)
        return err_wrap(err, "%s", name);
    return 0;
}

int cli__command_build(struct wire_slice doc, const struct cli_overlay *overlay, const char *job_id, struct buf *out,
                       struct err *err) {
    struct wire_member members[CLI_OVERLAY_MAX + 4];
    size_t count = overlay ? overlay->count : 0;
    struct buf params = {0}, labels = {0}, id = {0};
    struct wire_slice ignored;
    int rc = -1;
    if (count) memcpy(members, overlay->members, count * sizeof members[0]);
    if (!wire_json_member(doc, "type", &ignored)) members[count++] = (struct wire_member){"type", "\"create\""};
    if (job_id) {
        wire_json_string(job_id, strlen(job_id), &id);
        members[count++] = (struct wire_member){"job_id", id.data};
    }
    if (overlay && overlay->params.count) {
        if (merge_pairs(doc, "parameters", &overlay->params, &params, err) != 0) goto out;
        members[count++] = (struct wire_member){"parameters", params.data};
    }
    if (overlay && overlay->labels.count) {
        if (merge_pairs(doc, "labels", &overlay->labels, &labels, err) != 0) goto out;
        members[count++] = (struct wire_member){"labels", labels.data};
    }
    rc = wire_object_merge(doc.at, doc.len, members, count, out, err);
out:
    buf_done(&params);
    buf_done(&labels);
    buf_done(&id);
    return rc;
}

static const struct wire_header cloudevent_header = {"content-type", "application/cloudevents+json", 28};

bool cli__command_is_cloudevent(struct wire_slice doc) {
    struct wire_slice ignored;
    return wire_json_member(doc, "specversion", &ignored);
}

int cli__command_check(struct wire_slice command, struct arena *arena, const char **ret_job_id, struct err *err) {
    struct wire_message msg = {.value = command.at, .value_len = command.len};
    struct job_command cmd;
    if (cli__command_is_cloudevent(command)) {
        msg.headers = &cloudevent_header;
        msg.header_count = 1;
    }
    if (wire_command_decode(&msg, arena, &cmd, NULL, err) != 0) return -1;
    *ret_job_id = cmd.job_id;
    return 0;
}

int cli__command_send(struct cli_context *ctx, struct cli_producer *producer, struct wire_slice command,
                      const char *job_id, uint64_t tag, struct err *err) {
    static const struct bus_header header = {"content-type", "application/cloudevents+json", 28};
    bool cloudevent = cli__command_is_cloudevent(command);
    struct bus_out msg = {.topic = config_string(ctx->cfg, "bus.commands_topic"),
                          .partition = -1,
                          .key = job_id,
                          .key_len = job_id ? strlen(job_id) : 0,
                          .value = command.at,
                          .value_len = command.len,
                          .headers = cloudevent ? &header : NULL,
                          .header_count = cloudevent ? 1 : 0,
                          .tag = tag};
    return cli__produce(producer, &msg, err);
}

int cli__read_whole(const char *path, struct buf *out, struct err *err) {
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) return err_set_errno(err, ERR_USAGE, "%s", path);
    char chunk[16384];
    size_t n;
    buf_puts(out, "");
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) buf_append(out, chunk, n);
    int rc = ferror(file) ? err_set_errno(err, ERR_USAGE, "%s", path) : 0;
    if (file != stdin) fclose(file);
    return rc;
}

void cli__documents_add(struct cli_documents *docs, const char *path, size_t number, struct wire_slice json) {
    docs->list = mem_realloc(docs->list, (docs->count + 1) * sizeof *docs->list);
    docs->list[docs->count++] = (struct cli_document){path, number, json};
}

int cli__documents_read(struct cli_documents *docs, const char *path, struct arena *arena, struct err *err) {
    struct buf text = {0};
    if (cli__read_whole(path, &text, err) != 0) {
        buf_done(&text);
        return -1;
    }
    struct wire_slice rest = {arena_strndup(arena, text.data, text.len), text.len}, value;
    buf_done(&text);
    size_t number = 0;
    while (wire_json_value(&rest, &value)) cli__documents_add(docs, path, ++number, value);
    return number ? 0 : err_set(err, ERR_USAGE, "%s holds no JSON document", path);
}

void cli__documents_done(struct cli_documents *docs) {
    free(docs->list);
    *docs = (struct cli_documents){0};
}

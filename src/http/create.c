/* POST /jobs: a create command on its way to Kafka.
 *
 * All that the control process would refuse later by an event, and that can be known here, is refused here by an
 * answer: a broken command, an unknown model, an id that is another job's, a queue that is full. The last word is the
 * control process's; looking at the store first is a service to the client, and is left out while the store is away,
 * because Kafka takes commands nevertheless. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/uuid.h"

int http__choose_id(struct http_request *req, const char **ret, struct err *err) {
    const char *key = http__request_header(req, "Idempotency-Key");
    char uuid[UUID_SIZE];
    if (!key) {
        if (uuid_v7(uuid, err) != 0) return -1;
        *ret = arena_strdup(&req->arena, uuid);
        return 0;
    }
    size_t len = strlen(key);
    if (len >= 2 && key[0] == '"' && key[len - 1] == '"') {
        key++;
        len -= 2;
    }
    if (!job_id_is_valid(key, len))
        return err_set(err, ERR_INVALID_JOB_ID, "Idempotency-Key '%.100s' cannot be a job_id", key);
    *ret = arena_strndup(&req->arena, key, len);
    return 0;
}

static int check_model(const struct http_request *req, const struct job_command *cmd, struct err *err) {
    const struct http_config *cfg = &req->http->cfg;
    struct model_policy ignored;
    if (cfg->model && !cfg->model(cfg->self, cmd->model, cmd->model_version, &ignored))
        return err_set(err, ERR_UNKNOWN_MODEL, "there is no model %s%s%s", cmd->model,
                       cmd->model_version ? " version " : "", cmd->model_version ? cmd->model_version : "");
    return http__monitor_admit(req->http->monitor, cmd->model, err);
}

/* 1: the job is there already, the same; 0: it is not, or the store cannot say; -1: another job has the id. */
static int find_same(struct http_request *req, const struct job_command *cmd, struct err *err) {
    const char *spec = NULL;
    size_t len = 0;
    struct err ignored;
    if (http__store(req, &ignored) != 0) return 0;
    if (store_job_doc(req->st, "spec", cmd->job_id, &req->arena, &spec, &len, &ignored) != 0 || !spec) return 0;
    if (len == cmd->spec_len && memcmp(spec, cmd->spec, len) == 0) return 1;
    return err_set(err, ERR_JOB_CONFLICT, "job %s is there already, and is another job", cmd->job_id);
}

/* --- the answer ----------------------------------------------------------------------------------------------------
 */

/* 202, or with a record of a job that has ended 200. */
static int answer(struct http_request *req, const struct job_record *rec, struct err *err) {
    bool ended = rec && job_state_is_terminal(rec->state);
    if (ended && http__put_record(req, rec, err) != 0) return -1;
    if (!ended) http__put_accepted(req, req->job_id, rec ? rec->state : JOB_STATE_NONE);
    http__json(req, ended ? 200 : 202);
    http__header(req, "Location", "/jobs/%s", req->job_id);
    if (req->wait_ms > 0) http__header(req, "Preference-Applied", "wait=%lld", (long long)req->wait_ms / 1000);
    return HTTP_DONE;
}

/* After the wait. That the store cannot say how the job stands changes nothing about its having been accepted. */
static int waited(struct http_request *req, struct err *err) {
    struct job_record rec = {0};
    struct err ignored;
    if (store_job_get(req->st, req->job_id, &req->arena, &rec, &ignored) != 0) return answer(req, NULL, err);
    return answer(req, &rec, err);
}

static int acknowledged(struct http_request *req, struct err *err) {
    return req->wait_ms > 0 ? http__wait(req, waited) : answer(req, NULL, err);
}

int http__submit(struct http_request *req, const char *value, size_t len, const char *content_type,
                 http_handler_fn *step, struct err *err) {
    struct wire_header headers[2];
    struct bus_header out[2];
    struct job_command cmd;
    const char *traceparent = http__request_header(req, "traceparent");
    size_t count = 0;
    if (content_type) headers[count++] = (struct wire_header){"content-type", content_type, strlen(content_type)};
    if (traceparent) headers[count++] = (struct wire_header){"traceparent", traceparent, strlen(traceparent)};
    struct wire_message msg = {.value = value, .value_len = len, .headers = headers, .header_count = count};
    if (wire_command_decode(&msg, &req->arena, &cmd, NULL, err) != 0) return -1;
    if (cmd.type != WIRE_COMMAND_CREATE)
        return err_set(err, ERR_UNKNOWN_TYPE, "POST /jobs takes create commands only; DELETE /jobs/{job_id} cancels");
    req->job_id = cmd.job_id;
    int same = find_same(req, &cmd, err);
    if (same != 0) return same < 0 ? -1 : step(req, err);
    if (check_model(req, &cmd, err) != 0) return -1;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct bus_header){headers[i].name, headers[i].value, headers[i].value_len};
    struct bus_out command = {.topic = req->http->cfg.commands_topic,
                              .key = cmd.job_id,
                              .key_len = strlen(cmd.job_id),
                              .value = value,
                              .value_len = len,
                              .headers = out,
                              .header_count = count};
    return http__publish(req, &command, step, err);
}

int http__job_create(struct http_request *req, struct err *err) {
    const char *type = http__request_header(req, "Content-Type"), *job_id;
    struct wire_member members[] = {{"type", "\"create\""}, {"job_id", NULL}};
    struct buf value = {0};
    req->wait_ms = http__prefer_wait_ms(req);
    if (type && http__media_is(type, "application/cloudevents+json"))
        return http__submit(req, req->body.data, req->body.len, type, acknowledged, err);
    if (http__choose_id(req, &job_id, err) != 0) return -1;
    members[1].json = arena_printf(&req->arena, "\"%s\"", job_id); /* needs no escapes */
    int rc = wire_object_defaults(req->body.data, req->body.len, members, 2, &value, err);
    if (rc == 0) rc = http__submit(req, value.data, value.len, NULL, acknowledged, err);
    buf_done(&value); /* the bus has copied it */
    return rc;
}

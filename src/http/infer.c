/* POST /v2/models/{model}/infer: the Open Inference Protocol's way in. The request becomes a create command that goes
 * through Kafka as everybody's, and the answer waits for the job's end. A client that does not wait long enough, or
 * whose connection breaks, has lost nothing: X-Job-Id names the job.
 *
 * The request's `id` is the client's own name for it and comes back; it is no job_id, since clients count them from 0
 * and mean something else by them. Who wants to be able to repeat a request sends an Idempotency-Key. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/uuid.h"
#include "penstock/wire_infer.h"

#define UPLOAD_FROM_BYTES 65536 /* a tensor of as many bytes goes into a file where there is a place */
#define OUTPUT_MAX_BYTES  ((size_t)256 * 1024 * 1024) /* of one output that lies in a file */
#define JSON_LENGTH       "Inference-Header-Content-Length"

/* --- the request ---------------------------------------------------------------------------------------------------
 */

static int json_length(const struct http_request *req, size_t *ret, struct err *err) {
    const char *text = http__request_header(req, JSON_LENGTH);
    size_t digits = text ? strspn(text, "0123456789") : 0;
    *ret = req->body.len;
    if (!text) return 0;
    if (digits == 0 || digits > 10 || text[digits])
        return err_set(err, ERR_INVALID_MEMBER, JSON_LENGTH " '%.40s' is no length", text);
    *ret = (size_t)strtoull(text, NULL, 10);
    return 0;
}

/* Under a name of its own: an Idempotency-Key does not cover it. */
static int upload(struct http_request *req, struct wire_infer_input *input, struct err *err) {
    struct artifact_root *root = req->http->inputs;
    char id[UUID_SIZE];
    int fd;
    if (uuid_v7(id, err) != 0 || artifact_upload_begin(root, id, &fd, err) != 0) return -1;
    if (http__write_all(fd, input->tensor.data, input->tensor.size_bytes, err) != 0) {
        artifact_upload_abort(root, id, fd);
        return -1;
    }
    return artifact_upload_end(root, id, fd, &req->arena, &input->uri, err);
}

/* A command is at most 1 MiB, and a tensor as JSON is several times its bytes. BYTES have no form as a raw file. */
static int upload_large(struct http_request *req, struct wire_infer *in, struct err *err) {
    for (size_t i = 0; i < in->input_count; i++) {
        const struct tensor *tensor = &in->inputs[i].tensor;
        if (!tensor->data || tensor->size_bytes < UPLOAD_FROM_BYTES || tensor->datatype == DATATYPE_BYTES) continue;
        if (req->http->inputs && upload(req, &in->inputs[i], err) != 0) return -1;
    }
    return 0;
}

/* --- the answer ----------------------------------------------------------------------------------------------------
 */

static int load(void *self, const char *uri, struct tensor *tensor, struct arena *arena, struct err *err) {
    struct http_request *req = self;
    if (!req->http->artifacts)
        return err_set(err, ERR_NOT_FOUND, "output '%.100s' is in a file, and artifacts.root is not seen from here",
                       tensor->name);
    return artifact_read(req->http->artifacts, uri, OUTPUT_MAX_BYTES, tensor, arena, err);
}

static int answer_outputs(struct http_request *req, struct err *err) {
    const char *doc = NULL;
    struct buf binary = {0};
    size_t len;
    if (store_job_doc(req->st, "result", req->job_id, &req->arena, &doc, &len, err) != 0) return -1;
    if (!doc) return err_set(err, ERR_NOT_FOUND, "the result of job %s is no longer kept", req->job_id);
    int rc = wire_infer_answer(req->own, doc, len, load, req, &req->arena, &req->res.body, &binary, err);
    if (rc == 0) {
        http__json(req, 200);
        if (binary.len > 0) {
            http__header(req, JSON_LENGTH, "%zu", req->res.body.len);
            req->res.type = "application/octet-stream";
            buf_append(&req->res.body, binary.data, binary.len);
        }
    }
    buf_done(&binary);
    return rc;
}

/* The job's own error becomes the answer's. */
static int answer_failure(struct http_request *req, const struct job_record *rec, struct err *err) {
    const char *doc = NULL;
    size_t len = 0;
    enum err_code code = rec->error_code ? err_code_from_name(rec->error_code) : ERR_NONE;
    if (store_job_doc(req->st, "error", req->job_id, &req->arena, &doc, &len, err) != 0) return -1;
    return err_set(err, code == ERR_NONE ? ERR_EXECUTION_FAILED : code, "job %s failed: %s", req->job_id,
                   doc ? wire_error_message(doc, len, &req->arena) : "its error is no longer kept");
}

static int waited(struct http_request *req, struct err *err) {
    struct job_record rec;
    http__header(req, "X-Job-Id", "%s", req->job_id);
    if (http__store(req, err) != 0 || store_job_get(req->st, req->job_id, &req->arena, &rec, err) != 0) return -1;
    switch (rec.state) {
    case JOB_STATE_COMPLETED:
        return answer_outputs(req, err);
    case JOB_STATE_FAILED:
        return answer_failure(req, &rec, err);
    case JOB_STATE_CANCELLED:
        return err_set(err, ERR_CANCELLED, "job %s was cancelled", req->job_id);
    default:
        return err_set(err, ERR_TIMED_OUT_WAITING, "job %s has not ended within %lld s: GET /jobs/%s", req->job_id,
                       (long long)req->wait_ms / 1000, req->job_id);
    }
}

static int acknowledged(struct http_request *req, struct err *err) { return http__wait(req, waited); }

int http__infer(struct http_request *req, struct err *err) {
    struct wire_infer *in = arena_alloc(&req->arena, sizeof *in);
    struct buf command = {0};
    size_t json_len;
    if (json_length(req, &json_len, err) != 0 || http__choose_id(req, &req->job_id, err) != 0 ||
        wire_infer_decode(req->body.data, req->body.len, json_len, &req->arena, in, err) != 0 ||
        upload_large(req, in, err) != 0)
        return -1;
    req->own = in;
    req->wait_ms = http__prefer_wait_ms(req);
    if (req->wait_ms == 0) req->wait_ms = HTTP_WAIT_MAX_MS;
    wire_infer_command(in, req->job_id, req->params[0], req->params[1], &command);
    int rc = http__submit(req, command.data, command.len, NULL, acknowledged, err);
    buf_done(&command);
    return rc;
}

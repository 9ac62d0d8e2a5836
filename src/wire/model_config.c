/* config.json beside a model: Triton's knob names, the few of them that Penstock has, and under "penstock" what Triton
 * has no knob for: how jobs of this model are tried, timed and counted. An operator writes this file, so whatever is
 * wrong with it is a configuration error that names the member, and a knob that would have no effect is refused instead
 * of being read over: an unknown one, and a default beyond its own cap. tests/vectors/model-config holds this file and
 * schemas/model-config.schema.json to the same verdicts. */
#include "wire_internal.h"

#include <inttypes.h>
#include <string.h>

#include "penstock/wire_config.h"

#define MAX_BATCH_SIZE     65536
#define MAX_QUEUE_DELAY_US INT64_C(60000000)
#define MAX_RUNNING        1000000
#define MAX_QUEUED         1000000000

static int get_text(const json_t *root, const char *name, char *ret, size_t size, struct err *err) {
    const json_t *json = json_object_get(root, name);
    if (!json) return 0;
    const char *s = json_string_value(json);
    size_t len = json_string_length(json);
    if (!s) return err_set(err, ERR_CONFIG, "%s: %s, not a string", name, wire__json_kind(json));
    if (!job_model_is_valid(s, len) || len >= size)
        return err_set(err, ERR_CONFIG, "%s: \"%.100s\" is not 1 to %zu of A-Z a-z 0-9 . _ -", name, s, size - 1);
    memcpy(ret, s, len + 1);
    return 0;
}

static int decode_batching(const json_t *root, struct wire_model_config *cfg, struct err *err) {
    static const char *const known[] = {"max_queue_delay_microseconds", NULL};
    json_t *batching = json_object_get(root, "dynamic_batching");
    if (!batching) return 0;
    if (!json_is_object(batching))
        return err_set(err, ERR_CONFIG, "dynamic_batching: %s, not an object", wire__json_kind(batching));
    if (wire__check_members(batching, "dynamic_batching/", known, err) != 0) return -1;
    if (wire__get_int(batching, known[0], 0, MAX_QUEUE_DELAY_US, &cfg->max_queue_delay_us, err) != 0)
        return err_wrap(err, "dynamic_batching");
    return 0;
}

/* A default that its own cap would cut is a mistake, not a policy. */
static int check_cap(const char *name, int64_t value, const char *cap_name, int64_t cap, struct err *err) {
    if (value == 0 || cap == 0 || value <= cap) return 0;
    return err_set(err, ERR_CONFIG, "%s: %" PRId64 " is over %s, which is %" PRId64, name, value, cap_name, cap);
}

static int decode_policy(const json_t *root, struct model_policy *policy, struct err *err) {
    static const char *const known[] = {
        "max_attempts",     "backoff_ms",           "backoff_max_ms", "timeout_ms", "timeout_max_ms",
        "queue_timeout_ms", "queue_timeout_max_ms", "max_running",    "max_queued", NULL};
    json_t *own = json_object_get(root, "penstock");
    int64_t max_attempts = 0;
    if (!own) return 0;
    if (!json_is_object(own)) return err_set(err, ERR_CONFIG, "penstock: %s, not an object", wire__json_kind(own));
    if (wire__check_members(own, "penstock/", known, err) != 0) return -1;
    const struct {
        const char *name;
        int64_t max, *ret;
    } members[] = {{"max_attempts", WIRE__ATTEMPTS_MAX, &max_attempts},
                   {"backoff_ms", WIRE__BACKOFF_MAX_MS, &policy->backoff_ms},
                   {"backoff_max_ms", WIRE__BACKOFF_MAX_MS, &policy->backoff_max_ms},
                   {"timeout_ms", WIRE__TIMEOUT_MAX_MS, &policy->timeout_ms},
                   {"timeout_max_ms", WIRE__TIMEOUT_MAX_MS, &policy->timeout_max_ms},
                   {"queue_timeout_ms", WIRE__TIMEOUT_MAX_MS, &policy->queue_timeout_ms},
                   {"queue_timeout_max_ms", WIRE__TIMEOUT_MAX_MS, &policy->queue_timeout_max_ms},
                   {"max_running", MAX_RUNNING, &policy->max_running},
                   {"max_queued", MAX_QUEUED, &policy->max_queued}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (wire__get_int(own, members[i].name, 1, members[i].max, members[i].ret, err) != 0)
            return err_wrap(err, "penstock");
    policy->max_attempts = (int)max_attempts;
    if (check_cap("backoff_ms", policy->backoff_ms, "backoff_max_ms", policy->backoff_max_ms, err) != 0 ||
        check_cap("timeout_ms", policy->timeout_ms, "timeout_max_ms", policy->timeout_max_ms, err) != 0 ||
        check_cap("queue_timeout_ms", policy->queue_timeout_ms, "queue_timeout_max_ms", policy->queue_timeout_max_ms,
                  err) != 0)
        return err_wrap(err, "penstock");
    return 0;
}

static int decode_root(json_t *root, struct wire_model_config *cfg, struct err *err) {
    static const char *const known[] = {"name", "backend", "max_batch_size", "dynamic_batching", "penstock", NULL};
    int64_t max_batch_size = 0;
    if (wire__check_members(root, "", known, err) != 0 ||
        get_text(root, "name", cfg->name, sizeof cfg->name, err) != 0 ||
        get_text(root, "backend", cfg->backend, sizeof cfg->backend, err) != 0 ||
        wire__get_int(root, "max_batch_size", 0, MAX_BATCH_SIZE, &max_batch_size, err) != 0)
        return -1;
    cfg->max_batch_size = (int)max_batch_size;
    if (decode_batching(root, cfg, err) != 0) return -1;
    return decode_policy(root, &cfg->policy, err);
}

int wire_model_config_decode(const char *json, size_t len, struct wire_model_config *ret, struct err *err) {
    struct err local; /* err may be NULL, and the code is rewritten below */
    struct wire_model_config cfg = {.backend = "onnx"};
    json_t *root = wire__json_load(json, len, &wire__limits_command, &local);
    int rc = root ? decode_root(root, &cfg, &local) : -1;
    json_decref(root);
    if (rc != 0) return err_set(err, ERR_CONFIG, "%s", local.msg);
    *ret = cfg;
    return 0;
}

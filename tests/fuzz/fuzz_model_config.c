/* Any bytes as a model's config.json. What is accepted is within its ranges; what is not leaves nothing behind. */
#include <string.h>

#include "fuzz.h"
#include "penstock/wire_config.h"

static bool in_range(int64_t value, int64_t max) { return value >= 0 && value <= max; }

static void check(const struct wire_model_config *cfg) {
    const struct model_policy *policy = &cfg->policy;
    const int64_t day_ms = 86400000;
    BUG_ON(!memchr(cfg->name, '\0', sizeof cfg->name) || !memchr(cfg->backend, '\0', sizeof cfg->backend));
    BUG_ON(cfg->backend[0] == '\0' || (cfg->name[0] && !job_model_is_valid(cfg->name, strlen(cfg->name))));
    BUG_ON(!in_range(cfg->max_batch_size, 65536) || !in_range(cfg->max_queue_delay_us, 60000000));
    BUG_ON(!in_range(policy->max_attempts, 100) || !in_range(policy->max_running, 1000000));
    BUG_ON(!in_range(policy->backoff_ms, day_ms) || !in_range(policy->timeout_ms, 30 * day_ms));
    BUG_ON(policy->timeout_max_ms && policy->timeout_ms > policy->timeout_max_ms);
    BUG_ON(policy->backoff_max_ms && policy->backoff_ms > policy->backoff_max_ms);
    BUG_ON(policy->queue_timeout_max_ms && policy->queue_timeout_ms > policy->queue_timeout_max_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_model_config cfg, before;
    struct err err;
    memset(&cfg, 0x5a, sizeof cfg);
    before = cfg;
    if (wire_model_config_decode((const char *)data, size, &cfg, &err) == 0)
        check(&cfg);
    else
        BUG_ON(err.code != ERR_CONFIG || err.msg[0] == '\0' || memcmp(&cfg, &before, sizeof cfg) != 0);
    return 0;
}

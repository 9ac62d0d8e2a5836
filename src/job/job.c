/* The state machine. This table is the only statement of which state may follow which: the Lua prelude of every store
 * script is generated from it (store/script.c), job_fold checks the event log against it, docs/protocol.md prints it
 * and a test enumerates every pair. Whoever adds a row adds what handles it in src/store/lua/common.lua. */
#include "penstock/job.h"

#include <ctype.h>
#include <string.h>

const struct job_transition job_transition_table[] = {
    {JOB_STATE_NONE, JOB_STATE_QUEUED, "create"},
    {JOB_STATE_NONE, JOB_STATE_CANCELLED, "create after its cancel arrived first"},
    {JOB_STATE_QUEUED, JOB_STATE_RUNNING, "claim"},
    {JOB_STATE_QUEUED, JOB_STATE_CANCELLED, "cancel"},
    {JOB_STATE_QUEUED, JOB_STATE_FAILED, "queue_timeout"},
    {JOB_STATE_RUNNING, JOB_STATE_COMPLETED, "finish, token current"},
    {JOB_STATE_RUNNING, JOB_STATE_FAILED,
     "finish (not retryable, or attempts used up), timeout, worker_lost (crash limit)"},
    {JOB_STATE_RUNNING, JOB_STATE_CANCELLED, "cancel, once the work has stopped"},
    {JOB_STATE_RUNNING, JOB_STATE_QUEUED, "retry (attempt + 1), worker_lost (crashes + 1), release"},
};
const size_t job_transition_count = sizeof job_transition_table / sizeof job_transition_table[0];

static const char *const state_names[] = {"none", "queued", "running", "completed", "failed", "cancelled", "rejected"};

bool job_may(enum job_state from, enum job_state to) {
    for (size_t i = 0; i < job_transition_count; i++)
        if (job_transition_table[i].from == from && job_transition_table[i].to == to) return true;
    return false;
}

bool job_state_is_terminal(enum job_state state) {
    return state == JOB_STATE_COMPLETED || state == JOB_STATE_FAILED || state == JOB_STATE_CANCELLED;
}

const char *job_state_name(enum job_state state) {
    BUG_ON((int)state < 0 || state > JOB_STATE_REJECTED);
    return state_names[state];
}

int job_state_from_name(const char *name, size_t len) {
    for (int i = 0; i <= JOB_STATE_REJECTED; i++)
        if (strlen(state_names[i]) == len && memcmp(state_names[i], name, len) == 0) return i;
    return -1;
}

bool job_id_is_valid(const char *id, size_t len) {
    if (len < 1 || len > JOB_ID_MAX) return false;
    for (size_t i = 0; i < len; i++)
        if (!isascii((unsigned char)id[i]) ||
            (!isalnum((unsigned char)id[i]) && (id[i] == '\0' || !strchr("._:-", id[i]))))
            return false;
    return true;
}

bool job_model_is_valid(const char *name, size_t len) {
    if (len < 1 || len > JOB_MODEL_MAX || name[0] == '.') return false;
    for (size_t i = 0; i < len; i++)
        if (!isascii((unsigned char)name[i]) ||
            (!isalnum((unsigned char)name[i]) && (name[i] == '\0' || !strchr("._-", name[i]))))
            return false;
    return true;
}

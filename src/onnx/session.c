/* Sessions: plans by input shape, on a back end.
 *
 * A service sees the same few shapes again and again (batches of 1 to n), so plans are kept, the least recently used
 * giving way. All of them share the back end's memory, which is as large as the largest plan needs; whoever wants run
 * to allocate nothing prepares the largest batch first. What is known here of a back end is its vtable: a plan is bound
 * to it at each prepare, and run by it.
 */
#include "onnx_internal.h"

#include "penstock/onnx_report.h"

#include <stdlib.h>
#include <unistd.h>

#define MAX_PLANS 64

struct onnx_session {
    const struct onnx_model *model;
    const struct onnx_backend *backend;
    void *state; /* the back end's */
    struct onnx_session_options options;
    struct onnx__plan *plans[MAX_PLANS];
    size_t plan_count;
    struct onnx__plan *current;
    uint64_t clock; /* counts prepares, for last_used */
};

int onnx_backend_probe(const struct onnx_backend *backend, int device, char *ret_name, size_t ret_size,
                       struct err *err) {
    return backend->probe(device, ret_name, ret_size, err);
}

int onnx_backend_session(const struct onnx_backend *backend, const struct onnx_model *model,
                         const struct onnx_session_options *options, struct onnx_session **ret, struct err *err) {
    void *state;
    if (backend->open(model, options, &state, err) != 0) return -1;
    struct onnx_session *ses = mem_calloc(1, sizeof *ses);
    *ses = (struct onnx_session){.model = model, .backend = backend, .state = state, .options = *options};
    *ret = ses;
    return 0;
}

int onnx_session_new(const struct onnx_model *model, int threads, struct onnx_session **ret, struct err *err) {
    return onnx_backend_session(onnx_backend_cpu(), model, &(struct onnx_session_options){.threads = threads}, ret,
                                err);
}

static void free_plan(struct onnx_session *ses, struct onnx__plan *plan) {
    if (ses->backend->forget) ses->backend->forget(ses->state, plan);
    onnx__plan_free(plan);
}

void onnx_session_free(struct onnx_session *ses) {
    if (!ses) return;
    for (size_t i = 0; i < ses->plan_count; i++) free_plan(ses, ses->plans[i]);
    ses->backend->close(ses->state);
    free(ses);
}

size_t onnx__memory_limit(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (size_t)pages / 2 * (size_t)page_bytes : SIZE_MAX / 4;
}

/* --- preparing --------------------------------------------------------------------------------------------------- */

static bool plan_fits(const struct onnx_session *ses, const struct onnx__plan *plan, const struct tensor *inputs) {
    for (size_t i = 0; i < ses->model->input_count; i++) {
        int number = ses->model->input_values[i];
        const struct tensor *have = &plan->values[number], *want = &inputs[i];
        if (have->rank != want->rank || memcmp(have->shape, want->shape, (size_t)want->rank * sizeof *want->shape) != 0)
            return false;
        if (ses->model->values[number].decides_shape && (!want->data || want->size_bytes != have->size_bytes ||
                                                         memcmp(have->data, want->data, have->size_bytes) != 0))
            return false;
    }
    return true;
}

static struct onnx__plan **slot_for_new(struct onnx_session *ses) {
    if (ses->plan_count < MAX_PLANS) return &ses->plans[ses->plan_count++];
    struct onnx__plan **oldest = &ses->plans[0];
    for (size_t i = 1; i < ses->plan_count; i++)
        if (ses->plans[i]->last_used < (*oldest)->last_used) oldest = &ses->plans[i];
    free_plan(ses, *oldest);
    return oldest;
}

static int new_plan(struct onnx_session *ses, const struct tensor *inputs, struct onnx__plan **ret, struct err *err) {
    int threads = ses->options.threads > 1 ? ses->options.threads : 1;
    if (ses->backend->fused && !ses->options.plain && onnx__plan_new(ses->model, true, threads, inputs, ret, err) == 0)
        return 0;
    return onnx__plan_new(ses->model, false, threads, inputs, ret, err);
}

int onnx_session_prepare(struct onnx_session *ses, const struct tensor *inputs, struct err *err) {
    struct onnx__plan *plan = NULL;
    ses->current = NULL;
    for (size_t i = 0; i < ses->model->input_count; i++)
        if (onnx_model_check_input(ses->model, i, &inputs[i], err) != 0) return -1;
    for (size_t i = 0; i < ses->plan_count && !plan; i++)
        if (plan_fits(ses, ses->plans[i], inputs)) plan = ses->plans[i];
    bool made = !plan;
    if (made && new_plan(ses, inputs, &plan, err) != 0) return -1;
    if (ses->backend->bind(ses->state, plan, err) != 0) {
        if (made) free_plan(ses, plan);
        return -1;
    }
    if (made) *slot_for_new(ses) = plan;
    plan->last_used = ++ses->clock;
    ses->current = plan;
    return 0;
}

struct tensor *onnx_session_input(struct onnx_session *ses, size_t index) {
    BUG_ON(!ses->current || index >= ses->model->input_count);
    return &ses->current->values[ses->model->input_values[index]];
}

const struct tensor *onnx_session_output(const struct onnx_session *ses, size_t index) {
    BUG_ON(!ses->current || index >= ses->model->output_count);
    return &ses->current->values[ses->model->output_values[index]];
}

size_t onnx_session_memory(const struct onnx_session *ses) { return ses->backend->memory(ses->state); }

void onnx_report_memory(const struct onnx_session *ses, struct onnx_memory *ret) {
    BUG_ON(!ses->current);
    const struct onnx__plan *plan = ses->current;
    *ret = (struct onnx_memory){.weight_bytes = ses->model->weight_bytes, .planned_bytes = plan->memory_bytes};
    for (size_t i = 0; i < plan->value_count; i++)
        if (plan->offsets[i] != PLAN_NO_OFFSET) ret->value_bytes += plan->values[i].size_bytes;
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].scratch_bytes > ret->scratch_bytes) ret->scratch_bytes = plan->steps[s].scratch_bytes;
    ret->steps = plan->step_count;
}

int onnx_session_run(struct onnx_session *ses, const struct onnx_control *control, struct err *err) {
    BUG_ON(!ses->current);
    return ses->backend->run(ses->state, ses->current, control, err);
}

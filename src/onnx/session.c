/* Running a model: plans by input shape, and the one block of memory that they are laid over.
 *
 * A service sees the same few shapes again and again (batches of 1 to n), so plans are kept, the least recently used
 * giving way. All of them share one block, as large as the largest plan needs; whoever wants run to allocate nothing
 * prepares the largest batch first. run itself is the loop over the plan's steps: between two of them it asks whether
 * to stop and tells how far it is.
 */
#include "onnx_internal.h"

#include "penstock/onnx_report.h"

#include <cblas.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_PLANS 64

struct onnx_session {
    const struct onnx_model *model;
    struct onnx__plan *plans[MAX_PLANS];
    size_t plan_count;
    struct onnx__plan *current;
    char *memory;
    size_t memory_bytes;
    uint64_t clock; /* counts prepares, for last_used */
};

int onnx_session_new(const struct onnx_model *model, int threads, struct onnx_session **ret, struct err *err) {
    if (threads < 1) return err_set(err, ERR_CONFIG, "%d threads: at least 1", threads);
    openblas_set_num_threads(threads);
    struct onnx_session *ses = mem_calloc(1, sizeof *ses);
    ses->model = model;
    *ret = ses;
    return 0;
}

void onnx_session_free(struct onnx_session *ses) {
    if (!ses) return;
    for (size_t i = 0; i < ses->plan_count; i++) onnx__plan_free(ses->plans[i]);
    free(ses->memory);
    free(ses);
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
    onnx__plan_free(*oldest);
    return oldest;
}

/* Dimensions can come with a job, and a few bytes of them can ask for any amount. Half of the machine's memory is more
 * than one run should have, and what malloc promises beyond it ends in the kernel killing the process. */
static size_t memory_limit(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (size_t)pages / 2 * (size_t)page_bytes : SIZE_MAX / 4;
}

static int ensure_memory(struct onnx_session *ses, size_t size_bytes, struct err *err) {
    if (ses->memory && size_bytes <= ses->memory_bytes) return 0;
    size_t size =
        (size_bytes + PLAN_ALIGN) & ~(PLAN_ALIGN - 1); /* at least one unit, and a multiple as the call wants */
    char *memory = size <= memory_limit() ? aligned_alloc(PLAN_ALIGN, size) : NULL;
    if (!memory) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %zu bytes of activations", size);
    memset(memory, 0, size); /* touched now: page faults belong to loading, not to the first job */
    free(ses->memory);
    ses->memory = memory;
    ses->memory_bytes = size;
    return 0;
}

int onnx_session_prepare(struct onnx_session *ses, const struct tensor *inputs, struct err *err) {
    struct onnx__plan *plan = NULL;
    ses->current = NULL;
    for (size_t i = 0; i < ses->model->input_count; i++)
        if (onnx_model_check_input(ses->model, i, &inputs[i], err) != 0) return -1;
    for (size_t i = 0; i < ses->plan_count && !plan; i++)
        if (plan_fits(ses, ses->plans[i], inputs)) plan = ses->plans[i];
    bool made = !plan;
    if (made && onnx__plan_new(ses->model, inputs, &plan, err) != 0) return -1;
    if (ensure_memory(ses, plan->memory_bytes, err) != 0) {
        if (made) onnx__plan_free(plan);
        return -1;
    }
    if (made) *slot_for_new(ses) = plan;
    onnx__plan_bind(plan, ses->model, ses->memory);
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

size_t onnx_session_memory(const struct onnx_session *ses) { return ses->model->weight_bytes + ses->memory_bytes; }

void onnx_report_memory(const struct onnx_session *ses, struct onnx_memory *ret) {
    BUG_ON(!ses->current);
    const struct onnx__plan *plan = ses->current;
    *ret = (struct onnx_memory){.weight_bytes = ses->model->weight_bytes, .planned_bytes = plan->memory_bytes};
    for (size_t i = 0; i < ses->model->value_count; i++)
        if (plan->offsets[i] != PLAN_NO_OFFSET) ret->value_bytes += plan->values[i].size_bytes;
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].scratch_bytes > ret->scratch_bytes) ret->scratch_bytes = plan->steps[s].scratch_bytes;
    ret->steps = plan->step_count;
}

/* --- running ----------------------------------------------------------------------------------------------------- */

int onnx_session_run(struct onnx_session *ses, const struct onnx_control *control, struct err *err) {
    BUG_ON(!ses->current);
    const struct onnx__plan *plan = ses->current;
    for (size_t s = 0; s < plan->step_count; s++) {
        const struct onnx__step *step = &plan->steps[s];
        const struct onnx__op *op = step->node->op;
        if (control && control->should_stop(control->ctx)) return 1;
        if (op->run && op->run(step, err) != 0) return -1;
        if (control) control->progress(control->ctx, (double)(s + 1) / (double)plan->step_count, step->node->op_type);
    }
    return 0;
}

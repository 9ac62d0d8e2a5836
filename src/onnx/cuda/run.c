/* Running a plan: steps in segments, a look at the flags between them.
 *
 * A GPU is fed ahead of time, and what is enqueued cannot be taken back. A run that recorded the whole network as one
 * CUDA graph would be the fastest and could not be stopped at all; a run that waited after each node would leave the
 * device idle for as long as a small kernel takes. So the first run of a plan launches node by node, waits for each,
 * and measures it; the plan is then cut into segments that take SEGMENT_MS at most, or one step where that takes
 * longer, and each is recorded as a graph. Between segments the flags are looked at, and at most two short segments are
 * on their way: what goes on after a flag is raised is one step that takes longer than a segment, or two segments.
 *
 * Recording allocates, so it is done by the prepare after the run that measured, never in a run.
 *
 * A step without a kernel runs on the CPU, as a segment of its own: its inputs are copied to the mirror, the reference
 * kernel runs there, its outputs are copied back.
 *
 * Inputs are copied on a stream of their own, each with an event that the first segment to read it waits for; outputs
 * leave on it as soon as the segment that makes them is done. Kernels report what they find wrong with the data (a
 * division by zero) in one word on the device, which is looked at in the end.
 */
#include "cuda_internal.h"

#define SEGMENT_MS 0.2f

struct running {
    struct cuda__state *state;
    struct onnx__plan *plan;
    struct cuda__plan *own;
    const struct onnx_control *control;
    struct err *err;
    uint64_t waited; /* bit i: the compute stream waits for input i already; inputs beyond 64 are waited for at once */
    size_t told;     /* steps of which progress was told */
};

static bool must_stop(const struct running *run) {
    return run->control && run->control->should_stop(run->control->ctx);
}

/* All steps before `upto` are done. */
static void tell(struct running *run, size_t upto) {
    for (; run->told < upto; run->told++)
        if (run->control)
            run->control->progress(run->control->ctx, (double)(run->told + 1) / (double)run->plan->step_count,
                                   run->plan->steps[run->told].node->op_type);
}

/* --- inputs and outputs ------------------------------------------------------------------------------------------ */

static bool is_placed(const struct running *run, int number) {
    return run->plan->offsets[number] != PLAN_NO_OFFSET && run->plan->values[number].size_bytes > 0;
}

static int send_inputs(struct running *run) {
    const struct onnx_model *model = run->state->model;
    const struct cuda__device *device = &run->state->device;
    for (size_t i = 0; i < model->input_count; i++) {
        int number = model->input_values[i];
        const struct tensor *value = &run->plan->values[number];
        if (is_placed(run, number))
            CUDA__TRY(cudaMemcpyAsync(run->own->device[number], value->data, value->size_bytes, cudaMemcpyHostToDevice,
                                      device->copies),
                      run->err);
        CUDA__TRY(cudaEventRecord(run->state->inputs_there[i], device->copies), run->err);
    }
    CUDA__TRY(cudaMemsetAsync(device->fault, 0, sizeof *device->fault, device->stream), run->err);
    return 0;
}

static int wait_for_input(struct running *run, size_t index) {
    if (index < 64 && run->waited >> index & 1) return 0;
    if (index < 64) run->waited |= (uint64_t)1 << index;
    CUDA__TRY(cudaStreamWaitEvent(run->state->device.stream, run->state->inputs_there[index], 0), run->err);
    return 0;
}

/* The compute stream waits for the inputs that steps [from, to) read. */
static int wait_for_inputs(struct running *run, size_t from, size_t to) {
    const struct onnx_model *model = run->state->model;
    for (size_t s = from; s < to; s++) {
        const struct onnx__node *node = run->plan->steps[s].node;
        for (size_t i = 0; i < node->input_count; i++)
            for (size_t j = 0; node->inputs[i] >= 0 && j < model->input_count; j++)
                if (run->plan->roots[node->inputs[i]] == model->input_values[j] && wait_for_input(run, j) != 0)
                    return -1;
    }
    return 0;
}

static bool is_made_in(const struct running *run, int number, size_t from, size_t to) {
    for (size_t s = from; s < to; s++)
        for (size_t i = 0; i < run->plan->steps[s].node->output_count; i++)
            if (run->plan->steps[s].node->outputs[i] == number) return true;
    return false;
}

/* Copies the graph's outputs that steps [from, to) have made, beside what comes next. */
static int fetch_outputs(struct running *run, size_t from, size_t to) {
    const struct onnx_model *model = run->state->model;
    const struct cuda__device *device = &run->state->device;
    bool waits = false;
    for (size_t i = 0; i < model->output_count; i++) {
        int number = model->output_values[i];
        const struct tensor *value = &run->plan->values[number];
        if (!is_placed(run, number) || !is_made_in(run, number, from, to)) continue;
        if (!waits) {
            CUDA__TRY(cudaEventRecord(run->state->after, device->stream), run->err);
            CUDA__TRY(cudaStreamWaitEvent(device->copies, run->state->after, 0), run->err);
        }
        waits = true;
        CUDA__TRY(cudaMemcpyAsync(value->data, run->own->device[number], value->size_bytes, cudaMemcpyDeviceToHost,
                                  device->copies),
                  run->err);
    }
    return 0;
}

/* --- a step ------------------------------------------------------------------------------------------------------ */

static int copy_values(struct running *run, const int *numbers, size_t count, enum cudaMemcpyKind kind) {
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < 0 || !is_placed(run, numbers[i])) continue;
        const struct tensor *value = &run->plan->values[numbers[i]];
        void *device = run->own->device[numbers[i]];
        bool up = kind == cudaMemcpyHostToDevice;
        CUDA__TRY(cudaMemcpyAsync(up ? device : value->data, up ? value->data : device, value->size_bytes, kind,
                                  run->state->device.stream),
                  run->err);
    }
    return 0;
}

static int run_on_host(struct running *run, size_t s) {
    const struct onnx__step *step = &run->plan->steps[s];
    const struct onnx__node *node = step->node;
    if (copy_values(run, node->inputs, node->input_count, cudaMemcpyDeviceToHost) != 0) return -1;
    CUDA__TRY(cudaStreamSynchronize(run->state->device.stream), run->err);
    if (cuda__host_run(step)(step, run->err) != 0) return -1;
    return copy_values(run, node->outputs, node->output_count, cudaMemcpyHostToDevice);
}

static int run_step(struct running *run, size_t s) {
    if (run->own->where[s] == CUDA__ON_HOST) return run_on_host(run, s);
    return run->own->where[s] == CUDA__ON_DEVICE ? run->own->ops[s]->launch(&run->own->calls[s], run->err) : 0;
}

/* --- the first run: step by step --------------------------------------------------------------------------------- */

/* 0 done, 1 stopped, -1. */
static int run_measuring(struct running *run) {
    const struct cuda__state *state = run->state;
    for (size_t s = 0; s < run->plan->step_count; s++) {
        if (must_stop(run)) return 1;
        if (wait_for_inputs(run, s, s + 1) != 0) return -1;
        CUDA__TRY(cudaEventRecord(state->before, state->device.stream), run->err);
        if (run_step(run, s) != 0) return -1;
        CUDA__TRY(cudaEventRecord(state->after, state->device.stream), run->err);
        CUDA__TRY(cudaEventSynchronize(state->after), run->err);
        CUDA__TRY(cudaEventElapsedTime(&run->own->step_ms[s], state->before, state->after), run->err);
        if (fetch_outputs(run, s, s + 1) != 0) return -1;
        tell(run, s + 1);
    }
    run->own->measured = true;
    return 0;
}

/* --- segments ---------------------------------------------------------------------------------------------------- */

static void add_segment(struct cuda__plan *own, size_t from, size_t to, bool on_host, float ms) {
    own->segments[own->segment_count++] =
        (struct cuda__segment){.from = from, .to = to, .on_host = on_host, .longer = ms > SEGMENT_MS};
}

static void cut(struct cuda__plan *own, size_t step_count) {
    size_t from = 0;
    float ms = 0;
    for (size_t s = 0; s < step_count; s++) {
        bool host = own->where[s] == CUDA__ON_HOST;
        if (s > from && (host || ms + own->step_ms[s] > SEGMENT_MS)) {
            add_segment(own, from, s, false, ms);
            from = s;
            ms = 0;
        }
        ms += own->step_ms[s];
        if (!host) continue;
        add_segment(own, s, s + 1, true, ms);
        from = s + 1;
        ms = 0;
    }
    if (from < step_count) add_segment(own, from, step_count, false, ms);
}

/* Only this thread's calls are recorded: another one may be loading a model. */
static int record(struct running *run, struct cuda__segment *segment) {
    cudaGraph_t graph;
    cudaStream_t stream = run->state->device.stream;
    CUDA__TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), run->err);
    int rc = 0;
    for (size_t s = segment->from; s < segment->to && rc == 0; s++) rc = run_step(run, s);
    cudaError_t code = cudaStreamEndCapture(stream, &graph);
    if (rc != 0) {
        if (code == cudaSuccess) (void)cudaGraphDestroy(graph);
        return -1;
    }
    if (code != cudaSuccess) return cuda__fail(code, "cudaStreamEndCapture", run->err);
    code = cudaGraphInstantiate(&segment->graph, graph, 0);
    (void)cudaGraphDestroy(graph);
    if (code != cudaSuccess) return cuda__fail(code, "cudaGraphInstantiate", run->err);
    CUDA__TRY(cudaGraphUpload(segment->graph, stream), run->err);
    return 0;
}

int cuda__run_cut(struct cuda__state *state, struct onnx__plan *plan, struct err *err) {
    struct cuda__plan *own = plan->backend;
    struct running run = {.state = state, .plan = plan, .own = own, .err = err};
    own->segment_count = 0;
    cut(own, plan->step_count);
    for (size_t i = 0; i < own->segment_count; i++) {
        CUDA__TRY(cudaEventCreateWithFlags(&own->segments[i].done, cudaEventDisableTiming), err);
        if (!own->segments[i].on_host && record(&run, &own->segments[i]) != 0) return -1;
    }
    own->cut = true;
    CUDA__TRY(cudaStreamSynchronize(state->device.stream), err);
    return 0;
}

void cuda__run_forget(struct cuda__plan *own) {
    for (size_t i = 0; i < own->segment_count; i++) {
        if (own->segments[i].graph) (void)cudaGraphExecDestroy(own->segments[i].graph);
        if (own->segments[i].done) (void)cudaEventDestroy(own->segments[i].done);
    }
    own->segment_count = 0;
    own->cut = false;
}

/* At most two segments are on their way; a long one alone. */
static int make_room(struct running *run, size_t next) {
    const struct cuda__segment *segments = run->own->segments;
    if (next == 0) return 0;
    bool alone = segments[next].longer || segments[next - 1].longer;
    size_t upto = alone ? next : next - 1;
    if (upto == 0) return 0;
    CUDA__TRY(cudaEventSynchronize(segments[upto - 1].done), run->err);
    tell(run, segments[upto - 1].to);
    return 0;
}

static int run_segments(struct running *run) {
    const struct cuda__device *device = &run->state->device;
    for (size_t i = 0; i < run->own->segment_count; i++) {
        const struct cuda__segment *segment = &run->own->segments[i];
        if (make_room(run, i) != 0) return -1;
        if (must_stop(run)) return 1;
        if (wait_for_inputs(run, segment->from, segment->to) != 0) return -1;
        if (segment->graph)
            CUDA__TRY(cudaGraphLaunch(segment->graph, device->stream), run->err);
        else if (run_on_host(run, segment->from) != 0)
            return -1;
        CUDA__TRY(cudaEventRecord(segment->done, device->stream), run->err);
        if (fetch_outputs(run, segment->from, segment->to) != 0) return -1;
    }
    return 0;
}

/* --- a run ------------------------------------------------------------------------------------------------------- */

static int look_at_fault(const struct running *run) {
    static const char *const texts[] = {[CUDA__DIVIDED_BY_ZERO] = "an integer is divided by zero",
                                        [CUDA__INDEX_OUT_OF_RANGE] = "an index is out of range",
                                        [CUDA__LENGTH_OUT_OF_RANGE] = "a sequence length is out of range"};
    const struct cuda__fault *fault = run->state->device.fault_seen;
    if (fault->step == 0) return 0;
    BUG_ON(fault->step > run->plan->step_count || fault->code >= sizeof texts / sizeof texts[0]);
    return onnx__step_fail(&run->plan->steps[fault->step - 1], run->err, "%s", texts[fault->code]);
}

/* Inputs that are outputs, too, unread by any step: there is nothing to wait for but the copies. */
static int finish(struct running *run) {
    const struct cuda__device *device = &run->state->device;
    CUDA__TRY(cudaMemcpyAsync(device->fault_seen, device->fault, sizeof *device->fault, cudaMemcpyDeviceToHost,
                              device->stream),
              run->err);
    CUDA__TRY(cudaStreamSynchronize(device->stream), run->err);
    CUDA__TRY(cudaStreamSynchronize(device->copies), run->err);
    if (look_at_fault(run) != 0) return -1;
    tell(run, run->plan->step_count);
    return 0;
}

/* Nothing may be on its way any more when the caller goes on, whatever the outcome. */
static void settle(const struct cuda__device *device) {
    (void)cudaStreamSynchronize(device->stream);
    (void)cudaStreamSynchronize(device->copies);
    (void)cudaGetLastError();
}

int cuda__run(struct cuda__state *state, struct onnx__plan *plan, const struct onnx_control *control, struct err *err) {
    struct running run = {.state = state, .plan = plan, .own = plan->backend, .control = control, .err = err};
    int rc = send_inputs(&run);
    if (rc == 0) rc = run.own->cut ? run_segments(&run) : run_measuring(&run);
    if (rc == 0) rc = finish(&run);
    if (rc != 0) settle(&state->device);
    return rc;
}

/* onnx-cpu against ONNX Runtime's library for the CPU, side by side: the same files, the same inputs, the same threads,
 * and rounds that take turns, so that what else the machine does meets both.
 *
 *     bench_onnx ORT_LIBRARY ROUNDS MODEL.onnx...       (tests/bench/bench_onnx.sh finds all of them)
 *
 * For each model, batch (1 and 8, where the model leaves dimension 0 free) and number of threads (1 and 2): the median
 * time of a run on either side, their ratio, and whether both gave the same numbers. Exit code 1 if they did not.
 *
 * ONNX Runtime is opened by dlopen and called through its C interface, a table of functions whose order its authors
 * promise never to change; only the places that are needed here are named. It runs as it does by default (all graph
 * optimisations, its own thread pool), one session at a time. Between the two sides the threads of the one get time to
 * go to sleep. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "penstock/onnx.h"

enum { MAX_IOS = 16, MAX_ROUNDS = 101, ROUND_MS = 60, SETTLE_MS = 40, SEQUENCE = 128 };

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_onnx: %s: %s\n", what, why);
    exit(1);
}

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

/* --- ONNX Runtime ------------------------------------------------------------------------------------------------ */

/* Places in struct OrtApi (onnxruntime_c_api.h). */
enum ort_place {
    ORT_GET_ERROR_MESSAGE = 2,
    ORT_CREATE_ENV = 3,
    ORT_CREATE_SESSION = 7,
    ORT_RUN = 9,
    ORT_CREATE_SESSION_OPTIONS = 10,
    ORT_SET_INTRA_OP_NUM_THREADS = 24,
    ORT_CREATE_TENSOR_WITH_DATA = 49,
    ORT_GET_TENSOR_MUTABLE_DATA = 51,
    ORT_CREATE_CPU_MEMORY_INFO = 69,
    ORT_RELEASE_SESSION = 95,
    ORT_RELEASE_VALUE = 96,
    ORT_RELEASE_SESSION_OPTIONS = 100,
};
enum { ORT_API_VERSION = 16, ORT_LOG_ERROR = 3, ORT_ARENA_ALLOCATOR = 1, ORT_MEM_DEFAULT = 0 };
enum { ORT_FLOAT = 1, ORT_INT32 = 6, ORT_INT64 = 7 };

struct ort {
    void *const *api;
    void *env, *memory, *session;
};

static void ort_must(const struct ort *ort, void *status) {
    if (!status) return;
    const char *(*message)(const void *) = (const char *(*)(const void *))ort->api[ORT_GET_ERROR_MESSAGE];
    die("ONNX Runtime", message(status));
}
/* Calls the function at `place`, whose parameters after the status are of `types`. */
#define ORT(ort, place, types, ...) ort_must(ort, ((void *(*)types)(ort)->api[place])(__VA_ARGS__))
#define ORT_RELEASE(ort, place, it) ((void (*)(void *))(ort)->api[place])(it)

static void ort_load(struct ort *ort, const char *path) {
    struct api_base {
        void *const *(*get_api)(uint32_t version);
    };
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die(path, dlerror());
    const struct api_base *(*base)(void) = (const struct api_base *(*)(void))dlsym(library, "OrtGetApiBase");
    ort->api = base ? base()->get_api(ORT_API_VERSION) : NULL;
    if (!ort->api) die(path, "it has no such interface");
    ORT(ort, ORT_CREATE_ENV, (int, const char *, void **), ORT_LOG_ERROR, "bench", &ort->env);
    ORT(ort, ORT_CREATE_CPU_MEMORY_INFO, (int, int, void **), ORT_ARENA_ALLOCATOR, ORT_MEM_DEFAULT, &ort->memory);
}

static void ort_open(struct ort *ort, const char *path, int threads) {
    void *options;
    ORT(ort, ORT_CREATE_SESSION_OPTIONS, (void **), &options);
    ORT(ort, ORT_SET_INTRA_OP_NUM_THREADS, (void *, int), options, threads);
    ORT(ort, ORT_CREATE_SESSION, (void *, const char *, void *, void **), ort->env, path, options, &ort->session);
    ORT_RELEASE(ort, ORT_RELEASE_SESSION_OPTIONS, options);
}

static void *ort_tensor(const struct ort *ort, const struct tensor *tensor) {
    int type = tensor->datatype == DATATYPE_FP32    ? ORT_FLOAT
               : tensor->datatype == DATATYPE_INT64 ? ORT_INT64
                                                    : ORT_INT32;
    void *value;
    ORT(ort, ORT_CREATE_TENSOR_WITH_DATA, (const void *, void *, size_t, const int64_t *, size_t, int, void **),
        ort->memory, tensor->data, tensor->size_bytes, tensor->shape, (size_t)tensor->rank, type, &value);
    return value;
}

/* --- one case: a model, a batch, a number of threads -------------------------------------------------------------- */

struct bench_case {
    struct ort *ort;
    struct onnx_model *model;
    struct onnx_session *ses;
    size_t input_count, output_count;
    const char *input_names[MAX_IOS], *output_names[MAX_IOS];
    struct tensor inputs[MAX_IOS];
    void *ort_inputs[MAX_IOS], *ort_outputs[MAX_IOS];
    bool same;
};

/* Numbers around 0 for floats; token numbers below 1000, or a mask of ones, for integers. */
static void fill(struct tensor *tensor, uint64_t *seed) {
    int64_t count = tensor_element_count(tensor->shape, tensor->rank);
    bool mask = strstr(tensor->name, "mask") != NULL;
    tensor->size_bytes = (size_t)count * datatype_size(tensor->datatype);
    tensor->data = malloc(tensor->size_bytes + 1);
    if (!tensor->data) die(tensor->name, "no memory");
    for (int64_t i = 0; i < count; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t draw = *seed >> 33;
        if (tensor->datatype == DATATYPE_FP32)
            ((float *)tensor->data)[i] = (float)draw / (float)(1u << 30) - 1;
        else if (tensor->datatype == DATATYPE_INT64)
            ((int64_t *)tensor->data)[i] = mask ? 1 : (int64_t)(draw % 1000);
        else
            ((int32_t *)tensor->data)[i] = mask ? 1 : (int32_t)(draw % 1000);
    }
}

/* False where the model fixes dimension 0 at another number. */
static bool make_inputs(struct bench_case *bench, int64_t batch) {
    const struct onnx_io *ios = onnx_model_inputs(bench->model, &bench->input_count);
    uint64_t seed = 4;
    if (bench->input_count > MAX_IOS) die("the model", "too many inputs");
    for (size_t i = 0; i < bench->input_count; i++) {
        struct tensor *in = &bench->inputs[i];
        *in = (struct tensor){.name = ios[i].name, .datatype = ios[i].datatype, .rank = ios[i].rank};
        for (int dim = 0; dim < in->rank; dim++)
            in->shape[dim] = ios[i].shape[dim] >= 0 ? ios[i].shape[dim] : dim == 0 ? batch : SEQUENCE;
        if (in->rank < 1 || in->shape[0] != batch) return false;
    }
    for (size_t i = 0; i < bench->input_count; i++) {
        fill(&bench->inputs[i], &seed);
        bench->input_names[i] = ios[i].name;
    }
    return true;
}

static void run_ours(struct bench_case *bench) {
    struct err err;
    for (size_t i = 0; i < bench->input_count; i++)
        memcpy(onnx_session_input(bench->ses, i)->data, bench->inputs[i].data, bench->inputs[i].size_bytes);
    if (onnx_session_run(bench->ses, NULL, &err) != 0) die("onnx-cpu", err.msg);
}

static void run_theirs(struct bench_case *bench) {
    for (size_t i = 0; i < bench->output_count; i++) {
        if (bench->ort_outputs[i]) ORT_RELEASE(bench->ort, ORT_RELEASE_VALUE, bench->ort_outputs[i]);
        bench->ort_outputs[i] = NULL;
    }
    ORT(bench->ort, ORT_RUN,
        (void *, const void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **),
        bench->ort->session, NULL, bench->input_names, bench->ort_inputs, bench->input_count, bench->output_names,
        bench->output_count, bench->ort_outputs);
}

static void open_case(struct bench_case *bench, const char *path, int threads) {
    struct err err;
    const struct onnx_io *outputs = onnx_model_outputs(bench->model, &bench->output_count);
    if (bench->output_count > MAX_IOS) die(path, "too many outputs");
    for (size_t i = 0; i < bench->output_count; i++) bench->output_names[i] = outputs[i].name;
    if (onnx_session_new(bench->model, threads, &bench->ses, &err) != 0 ||
        onnx_session_prepare(bench->ses, bench->inputs, &err) != 0)
        die(path, err.msg);
    ort_open(bench->ort, path, threads);
    for (size_t i = 0; i < bench->input_count; i++) bench->ort_inputs[i] = ort_tensor(bench->ort, &bench->inputs[i]);
}

static void close_case(struct bench_case *bench) {
    for (size_t i = 0; i < bench->input_count; i++) {
        if (bench->ort_inputs[i]) ORT_RELEASE(bench->ort, ORT_RELEASE_VALUE, bench->ort_inputs[i]);
        free(bench->inputs[i].data);
    }
    for (size_t i = 0; i < bench->output_count; i++)
        if (bench->ort_outputs[i]) ORT_RELEASE(bench->ort, ORT_RELEASE_VALUE, bench->ort_outputs[i]);
    if (bench->ort->session) ORT_RELEASE(bench->ort, ORT_RELEASE_SESSION, bench->ort->session);
    bench->ort->session = NULL;
    onnx_session_free(bench->ses);
}

/* The largest difference as a part of the largest number of the output. 1e-3: both add in float32, each in its own
 * order, through as many as 50 layers. */
static void compare(struct bench_case *bench) {
    run_ours(bench);
    run_theirs(bench);
    bench->same = true;
    for (size_t i = 0; i < bench->output_count; i++) {
        const struct tensor *ours = onnx_session_output(bench->ses, i);
        const float *a = ours->data, *b;
        float largest = 0, off = 0;
        if (ours->datatype != DATATYPE_FP32) continue;
        ORT(bench->ort, ORT_GET_TENSOR_MUTABLE_DATA, (void *, void **), bench->ort_outputs[i], (void **)&b);
        for (size_t j = 0; j < ours->size_bytes / sizeof *a; j++) {
            float difference = fabsf(a[j] - b[j]);
            if (!(fabsf(b[j]) <= largest)) largest = fabsf(b[j]);
            if (!(difference <= off)) off = difference;
        }
        if (!(off <= 1e-3f * largest)) bench->same = false;
    }
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* One round of one side: after a pause, as many runs as fill ROUND_MS; milliseconds a run. */
static double measure(struct bench_case *bench, void (*run)(struct bench_case *)) {
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000L}, NULL);
    run(bench); /* wakes the threads and warms the caches */
    double start = now_ms(), took;
    int runs = 0;
    do {
        run(bench);
        runs++;
        took = now_ms() - start;
    } while (took < ROUND_MS);
    return took / runs;
}

static bool run_case(struct ort *ort, struct onnx_model *model, const char *path, int64_t batch, int threads,
                     int rounds) {
    struct bench_case bench = {.ort = ort, .model = model};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    double ours[MAX_ROUNDS], theirs[MAX_ROUNDS];
    if (!make_inputs(&bench, batch)) return true;
    open_case(&bench, path, threads);
    compare(&bench);
    for (int i = 0; i < rounds; i++) {
        ours[i] = measure(&bench, run_ours);
        theirs[i] = measure(&bench, run_theirs);
    }
    double a = median(ours, rounds), b = median(theirs, rounds);
    printf("%-28.28s %5lld %7d %12.3f %12.3f %7.2f  %s\n", name, (long long)batch, threads, a, b, a / b,
           bench.same ? "same" : "DIFFERENT");
    fflush(stdout);
    close_case(&bench);
    return bench.same;
}

int main(int argc, char **argv) {
    static const int64_t batches[] = {1, 8};
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    struct ort ort = {0};
    bool same = true;
    if (argc < 4 || rounds < 1 || rounds > MAX_ROUNDS) die("usage", "bench_onnx ORT_LIBRARY ROUNDS MODEL.onnx...");
    ort_load(&ort, argv[1]);
    printf("%-28s %5s %7s %12s %12s %7s\n", "model", "batch", "threads", "onnx-cpu ms", "ORT ms", "ratio");
    for (int i = 3; i < argc; i++) {
        struct onnx_model *model;
        struct err err;
        if (onnx_model_open(argv[i], &model, &err) != 0) die(argv[i], err.msg);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            for (int threads = 1; threads <= 2; threads++)
                same &= run_case(&ort, model, argv[i], batches[b], threads, rounds);
        onnx_model_free(model);
    }
    return same ? 0 : 1;
}

/* penstock check-model: would a worker run this model, with what memory, and does it give what it should?
 *
 * For whoever is about to put a model into the repository. It is opened as the worker opens it; where that fails, the
 * list of everything that is not supported tells more than the first complaint. Test data are in ONNX's own layout, as
 * the model zoo and exporters' tests have them. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_jobs.h"
#include "penstock/onnx_backend.h"
#include "penstock/onnx_report.h"
#include "penstock/registry.h"

enum { OPT_DATA = CLI_OPT_OWN, OPT_RTOL, OPT_ATOL, OPT_BATCH, OPT_DEVICE, OPT_THREADS, OPT_PLAIN };

static const struct cli_option options[] = {
    {"data", OPT_DATA, "DIR", CLI_FOLDERS,
     "run the test sets in DIR (test_data_set_*/input_*.pb, output_*.pb) and print the largest absolute and relative "
     "error of each output"},
    {"rtol", OPT_RTOL, "R", NULL, "how much an element may differ, as a part of what it should be (default 1e-3)"},
    {"atol", OPT_ATOL, "A", NULL, "and beside that (default 1e-5); NaN never passes"},
    {"batch", OPT_BATCH, "N", NULL, "what an input's free dimensions are taken for when memory is planned (default 1)"},
    {"device", OPT_DEVICE, "DEVICE", "cpu|cuda",
     "cpu (default), or cuda: the model must load on a GPU, too; not with --data"},
    {"threads", OPT_THREADS, "N", NULL, "of one run (default 1)"},
    {"plain", OPT_PLAIN, NULL, NULL, "node by node as the file has them, on the reference kernels, by one thread"},
    {0},
};

enum { SETS_MAX = 1000, FILE_MAX = 1 << 30 };

struct check {
    struct cli_context *ctx;
    struct arena arena;
    const char *file, *data;
    double rtol, atol;
    int64_t batch, threads;
    bool plain;
    struct onnx_model *model;
    struct onnx_session *ses;
    struct buf json; /* what is printed at the end with --json */
    bool good;
};

/* --- what it is ----------------------------------------------------------------------------------------------------
 */

static void put_shape(const struct onnx_io *io, struct buf *out) {
    buf_puts(out, "[");
    for (int d = 0; d < io->rank; d++) {
        if (io->shape[d] < 0)
            buf_puts(out, d ? ",?" : "?");
        else
            buf_printf(out, "%s%" PRId64, d ? "," : "", io->shape[d]);
    }
    buf_puts(out, io->rank < 0 ? "...]" : "]");
}

static void tell_ios(struct check *check, const char *what, const struct onnx_io *ios, size_t count) {
    struct buf shape = {0};
    buf_printf(&check->json, ",\"%s\":[", what);
    for (size_t i = 0; i < count; i++) {
        buf_reset(&shape);
        put_shape(&ios[i], &shape);
        if (!check->ctx->json)
            printf("%-10s %s  %s %s\n", what, ios[i].name, datatype_name(ios[i].datatype), shape.data);
        buf_puts(&check->json, i ? ",{\"name\":" : "{\"name\":");
        wire_json_string(ios[i].name, strlen(ios[i].name), &check->json);
        buf_printf(&check->json, ",\"datatype\":\"%s\",\"shape\":[", datatype_name(ios[i].datatype));
        for (int d = 0; d < ios[i].rank; d++) buf_printf(&check->json, "%s%" PRId64, d ? "," : "", ios[i].shape[d]);
        buf_puts(&check->json, "]}");
    }
    buf_puts(&check->json, "]");
    buf_done(&shape);
}

/* Returns how many of the operators are not supported. */
static size_t tell_operators(struct check *check, const struct onnx_survey *survey) {
    size_t unsupported = 0;
    buf_printf(&check->json, ",\"opset\":%d,\"nodes\":%zu,\"operators\":[", survey->opset, survey->node_count);
    if (!check->ctx->json) printf("%-10s %d\n%-10s %zu:", "opset", survey->opset, "nodes", survey->node_count);
    for (size_t i = 0; i < survey->op_count; i++) {
        const struct onnx_survey_op *op = &survey->ops[i];
        unsupported += !op->supported;
        if (!check->ctx->json) printf(" %s x%zu%s", op->op_type, op->count, op->supported ? "" : " (not supported)");
        buf_puts(&check->json, i ? ",{\"op_type\":" : "{\"op_type\":");
        wire_json_string(op->op_type, strlen(op->op_type), &check->json);
        buf_puts(&check->json, ",\"domain\":");
        wire_json_string(op->domain, strlen(op->domain), &check->json);
        buf_printf(&check->json, ",\"count\":%zu,\"supported\":%s}", op->count, op->supported ? "true" : "false");
    }
    buf_puts(&check->json, "]");
    if (!check->ctx->json) printf("\n");
    for (size_t i = 0; i < survey->op_count && !check->ctx->json; i++) {
        const struct onnx_survey_op *op = &survey->ops[i];
        if (!op->supported)
            printf("unsupported %s%s%s: %zu nodes, the first is '%s'\n", op->domain, *op->domain ? "." : "",
                   op->op_type, op->count, op->first_node);
    }
    return unsupported;
}

/* --- memory --------------------------------------------------------------------------------------------------------
 */

/* Zeros of the declared shapes, with --batch for what is free. */
static struct tensor *zeros(struct check *check, size_t *ret_count) {
    const struct onnx_io *ios = onnx_model_inputs(check->model, ret_count);
    struct tensor *inputs = arena_alloc(&check->arena, (*ret_count + 1) * sizeof *inputs);
    for (size_t i = 0; i < *ret_count; i++) {
        struct tensor *input = &inputs[i];
        *input = (struct tensor){.name = ios[i].name, .datatype = ios[i].datatype, .rank = ios[i].rank};
        for (int d = 0; d < input->rank; d++) input->shape[d] = ios[i].shape[d] < 0 ? check->batch : ios[i].shape[d];
        int64_t count = tensor_element_count(input->shape, input->rank);
        input->size_bytes = count < 0 || count > FILE_MAX ? 0 : (size_t)count * datatype_size(input->datatype);
        input->data = arena_alloc(&check->arena, input->size_bytes + 1);
    }
    return inputs;
}

static int tell_memory(struct check *check, struct err *err) {
    struct onnx_memory memory;
    size_t count;
    const struct tensor *inputs = zeros(check, &count);
    if (onnx_session_prepare(check->ses, inputs, err) != 0) return -1;
    onnx_report_memory(check->ses, &memory);
    buf_printf(&check->json,
               ",\"memory\":{\"weight_bytes\":%zu,\"value_bytes\":%zu,\"scratch_bytes\":%zu,\"planned_bytes\":%zu,"
               "\"steps\":%zu,\"free_dimensions\":%" PRId64 "}",
               memory.weight_bytes, memory.value_bytes, memory.scratch_bytes, memory.planned_bytes, memory.steps,
               check->batch);
    if (check->ctx->json) return 0;
    printf(
        "%-10s weights %zu bytes; %zu bytes for %zu steps, %zu if no place were used twice (free dimensions: %" PRId64
        ")\n",
        "memory", memory.weight_bytes, memory.planned_bytes, memory.steps, memory.value_bytes + memory.scratch_bytes,
        check->batch);
    return 0;
}

/* --- test data -----------------------------------------------------------------------------------------------------
 */

/* Element `i` as a number. */
static double element(const struct tensor *tensor, size_t i) {
    const char *data = tensor->data;
    switch (tensor->datatype) {
    case DATATYPE_FP32:
        return (double)((const float *)(const void *)data)[i];
    case DATATYPE_FP64:
        return ((const double *)(const void *)data)[i];
    case DATATYPE_INT64:
        return (double)((const int64_t *)(const void *)data)[i];
    case DATATYPE_INT32:
        return (double)((const int32_t *)(const void *)data)[i];
    case DATATYPE_INT16:
        return (double)((const int16_t *)(const void *)data)[i];
    case DATATYPE_UINT16:
        return (double)((const uint16_t *)(const void *)data)[i];
    case DATATYPE_UINT32:
        return (double)((const uint32_t *)(const void *)data)[i];
    case DATATYPE_UINT64:
        return (double)((const uint64_t *)(const void *)data)[i];
    case DATATYPE_INT8:
        return (double)((const int8_t *)(const void *)data)[i];
    default:
        return (double)((const uint8_t *)(const void *)data)[i];
    }
}

struct deviation {
    double absolute, relative;
    bool within;
};

static struct deviation compare(const struct check *check, const struct tensor *have, const struct tensor *want) {
    struct deviation worst = {.within = true};
    size_t size = datatype_size(want->datatype), count = size ? want->size_bytes / size : 0;
    for (size_t i = 0; i < count; i++) {
        double is = element(have, i), should = element(want, i), off = fabs(is - should);
        if (is == should) continue;                                                   /* infinities, too */
        if (!(off <= check->atol + check->rtol * fabs(should))) worst.within = false; /* NaN is not */
        if (!(off <= worst.absolute)) worst.absolute = off;
        if (should != 0 && !(off / fabs(should) <= worst.relative)) worst.relative = off / fabs(should);
    }
    return worst;
}

static int read_tensor(struct check *check, const char *folder, const char *kind, size_t index, struct tensor *ret,
                       struct err *err) {
    struct buf bytes = {0};
    const char *path = arena_printf(&check->arena, "%s/%s_%zu.pb", folder, kind, index);
    int rc = cli__read_whole(path, &bytes, err);
    if (rc == 0) {
        char *kept = arena_alloc(&check->arena, bytes.len + 1);
        memcpy(kept, bytes.data, bytes.len);
        rc = onnx_tensor_read(kept, bytes.len, &check->arena, ret, err);
        if (rc != 0) err_wrap(err, "%s", path);
    }
    buf_done(&bytes);
    return rc;
}

static int compare_output(struct check *check, const char *folder, size_t index, struct err *err) {
    const struct tensor *have = onnx_session_output(check->ses, index);
    struct tensor want;
    if (read_tensor(check, folder, "output", index, &want, err) != 0) return -1;
    bool same_kind = have->datatype == want.datatype && have->rank == want.rank &&
                     memcmp(have->shape, want.shape, (size_t)want.rank * sizeof want.shape[0]) == 0;
    bool countable = want.datatype != DATATYPE_BYTES && want.datatype != DATATYPE_FP16;
    struct deviation off = {.within = false, .absolute = NAN, .relative = NAN};
    if (same_kind && countable) off = compare(check, have, &want);
    if (same_kind && !countable)
        off.within = have->size_bytes == want.size_bytes && memcmp(have->data, want.data, want.size_bytes) == 0;
    check->good &= off.within;
    buf_printf(&check->json, "%s{\"set\":", check->json.data[check->json.len - 1] == '[' ? "" : ",");
    wire_json_string(folder, strlen(folder), &check->json);
    buf_puts(&check->json, ",\"output\":");
    wire_json_string(have->name, strlen(have->name), &check->json);
    if (isfinite(off.absolute) && isfinite(off.relative))
        buf_printf(&check->json, ",\"absolute_error\":%.9g,\"relative_error\":%.9g", off.absolute, off.relative);
    buf_printf(&check->json, ",\"within\":%s}", off.within ? "true" : "false");
    if (check->ctx->json) return 0;
    printf("%-10s %s: %s", "data", folder, have->name);
    if (!same_kind)
        printf("  has another datatype or shape\n");
    else
        printf("  absolute error %.3g, relative %.3g%s\n", off.absolute, off.relative,
               off.within ? "" : "  NOT within tolerance");
    return 0;
}

static int run_set(struct check *check, const char *folder, struct err *err) {
    size_t count, outputs;
    const struct onnx_io *ios = onnx_model_inputs(check->model, &count);
    struct tensor *inputs = arena_alloc(&check->arena, (count + 1) * sizeof *inputs);
    for (size_t i = 0; i < count; i++)
        if (read_tensor(check, folder, "input", i, &inputs[i], err) != 0) return -1;
    if (onnx_session_prepare(check->ses, inputs, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        struct tensor *to = onnx_session_input(check->ses, i);
        if (to->size_bytes != inputs[i].size_bytes)
            return err_set(err, ERR_INVALID_INPUT, "input '%s' has another size than its shape", ios[i].name);
        memcpy(to->data, inputs[i].data, to->size_bytes);
    }
    if (onnx_session_run(check->ses, NULL, err) != 0) return -1;
    onnx_model_outputs(check->model, &outputs);
    for (size_t i = 0; i < outputs; i++)
        if (compare_output(check, folder, i, err) != 0) return -1;
    return 0;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int run_sets(struct check *check, struct err *err) {
    const char *folders[SETS_MAX];
    size_t count = 0;
    DIR *dir = opendir(check->data);
    if (!dir) return err_set_errno(err, ERR_USAGE, "%s", check->data);
    for (struct dirent *entry; (entry = readdir(dir)) && count < SETS_MAX;)
        if (strncmp(entry->d_name, "test_data_set_", 14) == 0)
            folders[count++] = arena_printf(&check->arena, "%s/%s", check->data, entry->d_name);
    closedir(dir);
    if (count == 0) return err_set(err, ERR_USAGE, "%s has no folder test_data_set_*", check->data);
    qsort(folders, count, sizeof folders[0], by_text);
    buf_puts(&check->json, ",\"data\":[");
    for (size_t i = 0; i < count; i++)
        if (run_set(check, folders[i], err) != 0) return err_wrap(err, "%s", folders[i]);
    buf_puts(&check->json, "]");
    return 0;
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

static int check_all(struct check *check, struct err *err) {
    struct onnx_survey survey;
    size_t count;
    if (onnx_report_survey(check->file, &check->arena, &survey, err) != 0) return -1;
    size_t unsupported = tell_operators(check, &survey);
    if (onnx_model_open(check->file, &check->model, err) != 0) return -1;
    BUG_ON(unsupported > 0); /* it would not have opened */
    const struct onnx_io *ios = onnx_model_inputs(check->model, &count);
    tell_ios(check, "inputs", ios, count);
    ios = onnx_model_outputs(check->model, &count);
    tell_ios(check, "outputs", ios, count);
    const struct onnx_session_options how = {.threads = (int)check->threads, .plain = check->plain};
    if (onnx_backend_session(onnx_backend_cpu(), check->model, &how, &check->ses, err) != 0 ||
        tell_memory(check, err) != 0)
        return -1;
    return check->data ? run_sets(check, err) : 0;
}

/* A folder stands for the model.onnx in it. */
static const char *file_of(struct arena *arena, const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return arena_printf(arena, "%s/model.onnx", path);
    return path;
}

static int parse_tolerance(struct cli_context *ctx, const char *name, const char *text, double *ret) {
    char *end;
    *ret = strtod(text, &end);
    if (end != text && !*end && *ret >= 0 && isfinite(*ret)) return 0;
    ctx->exit_code = cli__usage(ctx, "%s '%s' is no tolerance", name, text);
    return -1;
}

static int refused_by(const struct executor_error *error, struct err *err) {
    enum err_code code = err_code_from_name(error->code);
    return err_set(err, code == ERR_NONE ? ERR_MODEL_LOAD_FAILED : code, "onnx-cuda: %s", error->message);
}

/* Loads the model on the device, as a worker would. */
static int load_on_device(const struct executor_ops *ops, const char *folder, struct err *err) {
    const struct executor_options how = {0};
    const struct executor_model_source source = {.name = "model", .version = "1", .path = folder};
    struct executor *ex;
    struct executor_model *model;
    struct executor_error error = {0};
    char device[128];
    if (ops->probe(&how, device, sizeof device, &error) != 0 || ops->open(&how, &ex, &error) != 0)
        return refused_by(&error, err);
    int rc = ops->load(ex, &source, &model, &error);
    if (rc == 0) ops->unload(model);
    ops->close(ex);
    return rc == 0 ? 0 : refused_by(&error, err);
}

/* cuda: is the plug-in there, and a device, and does the model load on it? What is printed is the CPU's view of it. */
static int check_device(struct check *check, const char *device, struct err *err) {
    const struct executor_ops *ops;
    const char *plugins = config_string(check->ctx->cfg, "worker.plugin_dir"), *slash = strrchr(check->file, '/');
    if (strcmp(device, "cpu") == 0) return 0;
    if (strcmp(device, "cuda") != 0) return err_set(err, ERR_USAGE, "--device '%s' is neither cpu nor cuda", device);
    if (check->data) return err_set(err, ERR_USAGE, "--data runs on the CPU only: leave --device out");
    if (!slash || strcmp(slash, "/model.onnx") != 0)
        return err_set(err, ERR_USAGE, "with --device cuda PATH is a folder with model.onnx");
    if (registry_executor_find("onnx-cuda", *plugins ? plugins : NULL, &ops, err) != 0) return -1;
    return load_on_device(ops, arena_strndup(&check->arena, check->file, (size_t)(slash - check->file)), err);
}

static int finish(struct check *check, int rc, struct err *err) {
    if (check->ctx->json && check->json.len) {
        check->json.data[0] = '{';
        printf("%s,\"ok\":%s}\n", check->json.data, rc == 0 && check->good ? "true" : "false");
    }
    onnx_session_free(check->ses);
    onnx_model_free(check->model);
    arena_done(&check->arena);
    buf_done(&check->json);
    if (rc != 0) return cli__fail(check->ctx, err);
    if (!check->ctx->json && !check->ctx->quiet)
        printf("%s\n", !check->good ? "not what it should give" : check->data ? "gives what it should" : "can be run");
    return check->good ? CLI_OK : CLI_FAILED;
}

static int check_model_main(struct cli_context *ctx, int argc, char **argv) {
    struct check check = {.ctx = ctx, .rtol = 1e-3, .atol = 1e-5, .batch = 1, .threads = 1, .good = true};
    const char *device = "cpu";
    struct err err;
    int opt, bad = 0;
    while (!bad && (opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_DATA:
            check.data = optarg;
            break;
        case OPT_RTOL:
            bad = parse_tolerance(ctx, "--rtol", optarg, &check.rtol);
            break;
        case OPT_ATOL:
            bad = parse_tolerance(ctx, "--atol", optarg, &check.atol);
            break;
        case OPT_BATCH:
            bad = cli__parse_int(ctx, "--batch", optarg, 1, 65536, &check.batch);
            break;
        case OPT_DEVICE:
            device = optarg;
            break;
        case OPT_PLAIN:
            check.plain = true;
            break;
        case OPT_THREADS:
            bad = cli__parse_int(ctx, "--threads", optarg, 1, 1024, &check.threads);
            break;
        default:
            return ctx->exit_code;
        }
    if (bad) return ctx->exit_code;
    if (optind + 1 != argc) return cli__usage(ctx, "check-model takes one PATH");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    arena_init(&check.arena);
    check.file = file_of(&check.arena, argv[optind]);
    int rc = check_device(&check, device, &err);
    if (rc == 0) rc = check_all(&check, &err);
    return finish(&check, rc, &err);
}

const struct cli_command cmd_check_model = {
    .name = "check-model",
    .summary = "Tell whether a model can be run, and whether it gives what it should",
    .usage = "PATH [OPTIONS]",
    .about = "Opens a model as a worker would and prints its inputs, outputs, operators and memory, and "
             "everything in it that is not supported. PATH is a .onnx file or a folder with model.onnx. Exit code "
             "0 if the model can be run and, with --data, every set is within tolerance; 1 if not.",
    .options = options,
    .examples = "penstock check-model models/digits/1\n"
                "penstock check-model resnet50.onnx --data resnet50/",
    .arguments = CLI_FILES,
    .run = check_model_main,
};

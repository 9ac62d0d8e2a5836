/* penstock submit: job commands onto the command topic.
 *
 * Everything is checked, as the ingest would check it, before anything is sent: of a hundred files with one mistake
 * none is half submitted. Then each command is produced with its job_id as the key and counted when Kafka has
 * acknowledged it; an id that is printed is an accepted job. --no-check sends what could be read, for trying out what a
 * refusal looks like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"
#include "penstock/uuid.h"

enum { ACK_TIMEOUT_MS = 60000, DOC_QUOTE_BYTES = 60 };
enum {
    OPT_MODEL = CLI_OPT_OWN,
    OPT_VERSION,
    OPT_JOB_ID,
    OPT_PARAM,
    OPT_LABEL,
    OPT_PRIORITY,
    OPT_MAX_ATTEMPTS,
    OPT_BACKOFF_MS,
    OPT_BACKOFF_MAX_MS,
    OPT_TIMEOUT_MS,
    OPT_QUEUE_TIMEOUT_MS,
    OPT_NOT_BEFORE,
    OPT_COUNT,
    OPT_IMAGE,
    OPT_NPY,
    OPT_IMAGE_SCALE,
    OPT_IMAGE_MEAN,
    OPT_IMAGE_STD,
    OPT_IMAGE_INVERT,
    OPT_IMAGE_LAYOUT,
    OPT_NO_CHECK,
    OPT_WAIT,
    OPT_WAIT_TIMEOUT
};

static const struct cli_option options[] = {
    {"model", OPT_MODEL, "NAME", CLI_MODELS, "model to run"},
    {"version", OPT_VERSION, "V", NULL, "its version (default: the latest)"},
    {"job-id", OPT_JOB_ID, "ID", NULL, "the id; of several: ID-1, ID-2 ... (default: the document's, else a UUIDv7)"},
    {"image", OPT_IMAGE, "[NAME=]FILE", CLI_FILES,
     "a PNG or JPEG as the model's input, resized to its shape; NAME if it has several; may be given again"},
    {"npy", OPT_NPY, "[NAME=]FILE", CLI_FILES, "the same with an array that NumPy saved"},
    {"image-scale", OPT_IMAGE_SCALE, "S", NULL, "pixels from 0 to S (default 1; for an input of whole numbers 255)"},
    {"image-mean", OPT_IMAGE_MEAN, "M[,M,M]", NULL, "subtracted after that, of each channel or of all (default 0)"},
    {"image-std", OPT_IMAGE_STD, "D[,D,D]", NULL, "divided by after that (default 1)"},
    {"image-invert", OPT_IMAGE_INVERT, NULL, NULL, "black for white, before all that: for dark ink on light paper"},
    {"image-layout", OPT_IMAGE_LAYOUT, "LAYOUT", "nchw|nhwc",
     "nchw or nhwc (default: where 1 or 3 stands in the model's shape)"},
    {"param", OPT_PARAM, "NAME=VALUE", NULL, "a parameter, may be given again"},
    {"label", OPT_LABEL, "NAME=VALUE", NULL, "a label, may be given again"},
    {"priority", OPT_PRIORITY, "0..9", "0|1|2|3|4|5|6|7|8|9", "9 is most urgent (default 4)"},
    {"max-attempts", OPT_MAX_ATTEMPTS, "N", NULL, "runs when they fail"},
    {"backoff-ms", OPT_BACKOFF_MS, "MS", NULL, "wait before the second run, doubled before each further one"},
    {"backoff-max-ms", OPT_BACKOFF_MAX_MS, "MS", NULL, "the longest such wait"},
    {"timeout-ms", OPT_TIMEOUT_MS, "MS", NULL, "of one run"},
    {"queue-timeout-ms", OPT_QUEUE_TIMEOUT_MS, "MS", NULL, "of waiting for a worker"},
    {"not-before", OPT_NOT_BEFORE, "TIME", NULL, "run it then or later: RFC 3339, or +MS from now"},
    {"count", OPT_COUNT, "N", NULL, "each document N times, with ids of their own"},
    {"no-check", OPT_NO_CHECK, NULL, NULL, "do not check the commands here"},
    {"wait", OPT_WAIT, NULL, NULL, "wait for the jobs and print how each ended; exit code 0 only if all completed"},
    {"wait-timeout", OPT_WAIT_TIMEOUT, "MS", NULL, "with --wait: no longer than this"},
    {0},
};

struct submit {
    struct cli_context *ctx;
    struct arena arena; /* options, documents, ids */
    struct cli_overlay overlay;
    struct cli_inputs inputs;
    const char *job_id, *model, *version;
    int64_t repeat, wait_timeout_ms;
    bool no_check, wait;
    struct cli_documents docs;
    const char **ids; /* of command i = document i / repeat, its copy i % repeat */
    bool *acked;
    size_t total, acked_count;
    struct cli_progress bar; /* of acknowledgements */
};

/* --- documents -----------------------------------------------------------------------------------------------------
 */

static int add_documents(struct submit *sub, char *const *paths, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++)
        if (cli__documents_read(&sub->docs, paths[i], &sub->arena, err) != 0) return -1;
    if (count == 0) cli__documents_add(&sub->docs, "the options", 1, (struct wire_slice){"{}", 2});
    sub->total = sub->docs.count * (size_t)sub->repeat;
    sub->ids = mem_calloc(sub->total, sizeof *sub->ids);
    sub->acked = mem_calloc(sub->total, sizeof *sub->acked);
    return 0;
}

/* --- commands ------------------------------------------------------------------------------------------------------
 */

/* The id that command `index` gets from us, or NULL where its document's own is to stay. */
static int choose_id(struct submit *sub, size_t index, const char **ret, struct err *err) {
    struct wire_slice own, doc = sub->docs.list[index / (size_t)sub->repeat].json;
    bool has_own = wire_json_member(doc, "job_id", &own);
    bool many = sub->job_id ? sub->total > 1 : sub->repeat > 1;
    char uuid[UUID_SIZE];
    if (!sub->job_id && !has_own) {
        if (uuid_v7(uuid, err) != 0) return -1;
        *ret = arena_strdup(&sub->arena, uuid);
    } else if (!many) {
        *ret = sub->job_id;
    } else if (sub->job_id) {
        *ret = arena_printf(&sub->arena, "%s-%zu", sub->job_id, index + 1);
    } else {
        struct buf text = {0};
        wire_json_text(own, &text);
        *ret = arena_printf(&sub->arena, "%s-%zu", text.data, index % (size_t)sub->repeat + 1);
        buf_done(&text);
    }
    return 0;
}

/* Structured CloudEvents are sent byte for byte, so what would change them cannot be asked for. */
static int refuse_changes(const struct submit *sub, const struct cli_document *doc, struct err *err) {
    const struct cli_overlay *overlay = &sub->overlay;
    if (!sub->job_id && sub->repeat == 1 && !overlay->count && !overlay->params.count && !overlay->labels.count)
        return 0;
    return err_set(err, ERR_USAGE,
                   "%s: document %zu is a CloudEvent and is sent as it is: no --count, no --job-id, no members",
                   doc->path, doc->number);
}

/* Writes command `index` to `out` and its id, as far as it is ours, to sub->ids, choosing one the first time. */
static int build(struct submit *sub, size_t index, struct buf *out, struct err *err) {
    const struct cli_document *doc = &sub->docs.list[index / (size_t)sub->repeat];
    buf_reset(out);
    if (cli__command_is_cloudevent(doc->json)) {
        buf_append(out, doc->json.at, doc->json.len);
        return refuse_changes(sub, doc, err);
    }
    if (!sub->ids[index] && choose_id(sub, index, &sub->ids[index], err) != 0) return -1;
    if (cli__command_build(doc->json, &sub->overlay, sub->ids[index], out, err) != 0)
        return err_wrap(err, "%s: document %zu", doc->path, doc->number);
    return 0;
}

/* Checks the first copy of each document; the others differ in their ids alone. Without checking, a command may have no
 * id that could be read; it is sent without a key then. */
static int check_all(struct submit *sub, struct err *err) {
    struct buf out = {0};
    struct arena scratch;
    int rc = 0;
    arena_init(&scratch);
    for (size_t i = 0; rc == 0 && i < sub->total; i += (size_t)sub->repeat) {
        const struct cli_document *doc = &sub->docs.list[i / (size_t)sub->repeat];
        const char *job_id = NULL;
        arena_reset(&scratch);
        rc = build(sub, i, &out, err);
        if (rc == 0 && cli__command_check((struct wire_slice){out.data, out.len}, &scratch, &job_id, err) != 0) {
            if (!sub->no_check) rc = err_wrap(err, "%s: document %zu", doc->path, doc->number);
        }
        if (rc == 0 && job_id) sub->ids[i] = arena_strdup(&sub->arena, job_id);
    }
    arena_done(&scratch);
    buf_done(&out);
    return rc;
}

static void on_acked(void *self, uint64_t tag, const struct err *err) {
    struct submit *sub = self;
    sub->acked[tag] = err == NULL;
    sub->acked_count += err == NULL;
    cli__progress_show(&sub->bar, sub->acked_count, 0, 0);
}

static int send_all(struct submit *sub, struct err *err) {
    struct cli_producer producer = {0};
    struct buf out = {0};
    int rc = cli__open_producer(sub->ctx, on_acked, sub, &producer, err);
    cli__progress_init(&sub->bar, sub->ctx, "acknowledged", sub->total);
    for (size_t i = 0; rc == 0 && i < sub->total; i++) {
        rc = build(sub, i, &out, err);
        if (rc == 0)
            rc = cli__command_send(sub->ctx, &producer, (struct wire_slice){out.data, out.len}, sub->ids[i], i, err);
    }
    if (rc == 0) rc = cli__flush(&producer, ACK_TIMEOUT_MS, err);
    cli__progress_clear(&sub->bar);
    cli__close_producer(&producer);
    buf_done(&out);
    return rc;
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

static void print_ids(const struct submit *sub) {
    struct buf line = {0};
    for (size_t i = 0; i < sub->total; i++) {
        const char *id = sub->ids[i] ? sub->ids[i] : "";
        if (!sub->acked[i]) continue;
        buf_reset(&line);
        if (sub->ctx->json) {
            buf_puts(&line, "{\"job_id\":");
            wire_json_string(id, strlen(id), &line);
            buf_puts(&line, "}");
        } else {
            buf_puts(&line, *id ? id : "(no job_id that could be read)");
        }
        printf("%s\n", line.data);
    }
    buf_done(&line);
}

static int wait_all(struct submit *sub, int *ret_code, struct err *err) {
    struct cli_wait wait = {.ids = sub->ids, .count = sub->total, .timeout_ms = sub->wait_timeout_ms, .print = true};
    struct store *st = NULL;
    int rc = cli__open_store(sub->ctx, &st, err);
    if (rc == 0) rc = cli__wait(sub->ctx, st, &wait, err);
    store_free(st);
    if (rc == 0) *ret_code = cli__wait_exit_code(&wait);
    return rc;
}

/* Files become the member "inputs" of every document. */
static int add_inputs(struct submit *sub, struct err *err) {
    struct buf json = {0};
    if (sub->inputs.count == 0) return 0;
    int rc = cli__inputs_build(sub->ctx, &sub->inputs, sub->model, sub->version, &sub->arena, &json, err);
    if (rc == 0) cli__overlay_set(&sub->overlay, "inputs", json.data, false);
    buf_done(&json);
    return rc;
}

static int submit(struct submit *sub, char *const *paths, size_t count) {
    struct err err;
    int code = CLI_OK;
    if (add_inputs(sub, &err) != 0 || add_documents(sub, paths, count, &err) != 0 || check_all(sub, &err) != 0)
        return cli__fail(sub->ctx, &err);
    int rc = send_all(sub, &err);
    if (rc != 0 || !sub->wait) print_ids(sub);
    if (rc == 0 && sub->wait) rc = wait_all(sub, &code, &err);
    return rc == 0 ? code : cli__fail(sub->ctx, &err);
}

/* "+MS" or RFC 3339; what it means is written as RFC 3339. */
static int set_not_before(struct submit *sub, const char *text) {
    int64_t ms;
    char at[25];
    if (*text == '+') {
        if (cli__parse_int(sub->ctx, "--not-before", text + 1, 0, INT64_C(1) << 40, &ms) != 0) return -1;
        ms += clock_wall_ms(&clock_system);
    } else if (clock_parse_rfc3339(text, &ms) != 0) {
        cli__usage(sub->ctx, "--not-before '%s' is neither RFC 3339 (2026-11-24T10:00:00Z) nor +MS", text);
        return -1;
    }
    clock_format_rfc3339(ms, at);
    cli__overlay_set(&sub->overlay, "not_before", at, true);
    return 0;
}

static int set_number(struct submit *sub, const char *option, const char *member, int64_t max) {
    int64_t number;
    if (cli__parse_int(sub->ctx, option, optarg, 0, max, &number) != 0) return -1;
    cli__overlay_set(&sub->overlay, member, optarg, false);
    return 0;
}

static int add_pair(struct submit *sub, struct cli_pairs *pairs, bool scalars) {
    struct err err;
    if (cli__pairs_add(pairs, &sub->arena, optarg, scalars, &err) == 0) return 0;
    sub->ctx->exit_code = cli__fail(sub->ctx, &err);
    return -1;
}

static int add_input(struct submit *sub, bool is_image) {
    if (sub->inputs.count == CLI_INPUTS_MAX) {
        cli__usage(sub->ctx, "more than %d of --image and --npy", CLI_INPUTS_MAX);
        return -1;
    }
    sub->inputs.files[sub->inputs.count++] = (struct cli_input){optarg, is_image};
    return 0;
}

/* "0.5" or "0.485,0.456,0.406"; none of them 0 where it is divided by. */
static int parse_numbers(struct submit *sub, const char *name, bool may_be_0, double *ret, int *ret_count) {
    const char *at = optarg;
    char *end;
    for (*ret_count = 0; *ret_count < IMAGE_MAX_CHANNELS; at = end + 1) {
        double number = strtod(at, &end);
        if (end == at || !isfinite(number) || (number == 0 && !may_be_0)) break;
        ret[(*ret_count)++] = number;
        if (!*end) return 0;
        if (*end != ',') break;
    }
    cli__usage(sub->ctx, "%s '%s' is not a number%s, or one for each channel with commas between", name, optarg,
               may_be_0 ? "" : " other than 0");
    return -1;
}

static int set_image(struct submit *sub, int opt) {
    struct image_options *image = &sub->inputs.image;
    int one;
    double scale[IMAGE_MAX_CHANNELS];
    switch (opt) {
    case OPT_IMAGE_SCALE:
        if (parse_numbers(sub, "--image-scale", false, scale, &one) != 0) return -1;
        image->scale = scale[0];
        return 0;
    case OPT_IMAGE_MEAN:
        return parse_numbers(sub, "--image-mean", true, image->mean, &image->mean_count);
    case OPT_IMAGE_STD:
        return parse_numbers(sub, "--image-std", false, image->std, &image->std_count);
    case OPT_IMAGE_INVERT:
        image->invert = true;
        return 0;
    default:
        image->layout = strcmp(optarg, "nhwc") == 0 ? IMAGE_LAYOUT_NHWC : IMAGE_LAYOUT_NCHW;
        if (image->layout == IMAGE_LAYOUT_NHWC || strcmp(optarg, "nchw") == 0) return 0;
        cli__usage(sub->ctx, "--image-layout '%s' is neither nchw nor nhwc", optarg);
        return -1;
    }
}

static int take_option(struct submit *sub, int opt) {
    switch (opt) {
    case OPT_MODEL:
        sub->model = optarg;
        cli__overlay_set(&sub->overlay, "model", optarg, true);
        return 0;
    case OPT_VERSION:
        sub->version = optarg;
        cli__overlay_set(&sub->overlay, "model_version", optarg, true);
        return 0;
    case OPT_JOB_ID:
        sub->job_id = optarg;
        return 0;
    case OPT_PARAM:
        return add_pair(sub, &sub->overlay.params, true);
    case OPT_LABEL:
        return add_pair(sub, &sub->overlay.labels, false);
    case OPT_PRIORITY:
        return set_number(sub, "--priority", "priority", JOB_PRIORITY_MAX);
    case OPT_MAX_ATTEMPTS:
        return set_number(sub, "--max-attempts", "max_attempts", INT32_MAX);
    case OPT_BACKOFF_MS:
        return set_number(sub, "--backoff-ms", "backoff_ms", INT64_C(1) << 40);
    case OPT_BACKOFF_MAX_MS:
        return set_number(sub, "--backoff-max-ms", "backoff_max_ms", INT64_C(1) << 40);
    case OPT_TIMEOUT_MS:
        return set_number(sub, "--timeout-ms", "timeout_ms", INT64_C(1) << 40);
    case OPT_QUEUE_TIMEOUT_MS:
        return set_number(sub, "--queue-timeout-ms", "queue_timeout_ms", INT64_C(1) << 40);
    case OPT_NOT_BEFORE:
        return set_not_before(sub, optarg);
    case OPT_COUNT:
        return cli__parse_int(sub->ctx, "--count", optarg, 1, 10000000, &sub->repeat);
    case OPT_IMAGE:
    case OPT_NPY:
        return add_input(sub, opt == OPT_IMAGE);
    case OPT_IMAGE_SCALE:
    case OPT_IMAGE_MEAN:
    case OPT_IMAGE_STD:
    case OPT_IMAGE_INVERT:
    case OPT_IMAGE_LAYOUT:
        return set_image(sub, opt);
    case OPT_NO_CHECK:
        sub->no_check = true;
        return 0;
    case OPT_WAIT:
        sub->wait = true;
        return 0;
    case OPT_WAIT_TIMEOUT:
        return cli__parse_int(sub->ctx, "--wait-timeout", optarg, 1, INT64_MAX / 2, &sub->wait_timeout_ms);
    default:
        return -1; /* CLI_OPT_EXIT: exit_code is set */
    }
}

static int parse_and_submit(struct submit *sub, int argc, char **argv) {
    int opt;
    while ((opt = cli__getopt(sub->ctx, argc, argv)) != CLI_OPT_END)
        if (take_option(sub, opt) != 0) return sub->ctx->exit_code;
    if (sub->inputs.count && !sub->model)
        return cli__usage(sub->ctx, "--image and --npy need --model: it says what it takes");
    if (optind == argc && !sub->model)
        return cli__usage(sub->ctx, "what? give files, - for standard input, or --model");
    if (sub->no_check && sub->wait) return cli__usage(sub->ctx, "--wait: what is not checked may never become a job");
    if (cli__begin(sub->ctx) != 0) return sub->ctx->exit_code;
    return submit(sub, argv + optind, (size_t)(argc - optind));
}

static int submit_main(struct cli_context *ctx, int argc, char **argv) {
    struct submit sub = {.ctx = ctx, .repeat = 1};
    arena_init(&sub.arena);
    sub.overlay.arena = &sub.arena;
    int code = parse_and_submit(&sub, argc, argv);
    cli__documents_done(&sub.docs);
    free(sub.ids);
    free(sub.acked);
    arena_done(&sub.arena);
    return code;
}

const struct cli_command cmd_submit = {
    .name = "submit",
    .summary = "Send jobs to Kafka, and wait for them if asked",
    .usage = "[FILE...] [OPTIONS]",
    .about = "Sends jobs to Kafka and prints the id of each that Kafka has acknowledged. A FILE holds one JSON "
             "document or many, one after the other (- is standard input): create commands, specs without type "
             "and job_id, or CloudEvents. Without FILE, --model alone makes a job. All are checked before any is "
             "sent.\n\n"
             "With --image or --npy a file becomes the model's input: its name, datatype and shape are those that a "
             "worker has registered or, where none has, that the file in models.repository declares. An image is "
             "resized to the shape; transparent parts lie on white; the orientation that a camera noted is not "
             "looked at. Each element is (pixel / 255 * scale - mean) / std. What is too large for a command is "
             "written to artifacts.input_root and named by uri; nobody deletes it there.",
    .options = options,
    .examples = "penstock submit models/digits/samples/01.json --wait\n"
                "penstock submit models/digits/samples/01.json --count 100\n"
                "penstock submit --model digits --image models/digits/samples/07.png --image-scale 16 --wait\n"
                "penstock submit --model resnet50 --image cat.jpg --image-mean 0.485,0.456,0.406 --image-std "
                "0.229,0.224,0.225\n"
                "penstock submit --model bert --npy input_ids=ids.npy --npy attention_mask=mask.npy\n"
                "generate-jobs | penstock submit - --label run=7",
    .arguments = CLI_FILES,
    .run = submit_main,
};

/* penstock demo: the sample images of a classifier through the whole house, and what was recognised.
 *
 * labels.json beside the samples says which digit each image shows: {"01.json":0, ...}. The label stays here; the job
 * carries the pixels alone. A demonstration that succeeds whatever comes out would prove nothing, so the exit code is 0
 * only if every job completed and at least PASS_PERCENT of the images were recognised. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"
#include "penstock/uuid.h"

enum { OPT_SAMPLES = CLI_OPT_OWN, OPT_TIMEOUT };

static const struct cli_option options[] = {
    {"samples", OPT_SAMPLES, "DIR", CLI_FOLDERS,
     "samples and their labels.json (default: digits/samples in models.repository)"},
    {"timeout", OPT_TIMEOUT, "MS", NULL, "wait no longer than this (default 60000)"},
    {0},
};

enum { SAMPLES_MAX = 1000, PASS_PERCENT = 95, ACK_TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = 60000 };

struct sample {
    const char *name, *label; /* "01.json", "7" */
    char job_id[UUID_SIZE];
};

struct demo {
    struct cli_context *ctx;
    const char *folder;
    int64_t timeout_ms;
    struct arena arena;
    struct sample samples[SAMPLES_MAX];
    size_t count, right;
};

static char *text_of(struct demo *demo, struct wire_slice value) {
    struct buf text = {0};
    buf_puts(&text, "");
    wire_json_text(value, &text);
    char *copy = arena_strdup(&demo->arena, text.data);
    buf_done(&text);
    return copy;
}

static int load_labels(struct demo *demo, struct err *err) {
    struct buf text = {0};
    const char *path = arena_printf(&demo->arena, "%s/labels.json", demo->folder);
    if (cli__read_whole(path, &text, err) != 0) {
        buf_done(&text);
        return -1;
    }
    struct wire_slice rest = {text.data, text.len}, name, label;
    while (rest.len && *rest.at != '{') rest = (struct wire_slice){rest.at + 1, rest.len - 1};
    if (rest.len) rest = (struct wire_slice){rest.at + 1, rest.len - 1};
    while (demo->count < SAMPLES_MAX && wire_json_element(&rest, &name) && wire_json_element(&rest, &label)) {
        struct sample *sample = &demo->samples[demo->count++];
        sample->name = text_of(demo, name);
        sample->label = text_of(demo, label);
    }
    buf_done(&text);
    return demo->count ? 0 : err_set(err, ERR_USAGE, "%s names no samples", path);
}

static int send_one(struct demo *demo, struct sample *sample, struct cli_producer *producer, struct err *err) {
    struct buf text = {0}, command = {0};
    const char *path = arena_printf(&demo->arena, "%s/%s", demo->folder, sample->name), *job_id;
    int rc = uuid_v7(sample->job_id, err);
    if (rc == 0) rc = cli__read_whole(path, &text, err);
    if (rc == 0) rc = cli__command_build((struct wire_slice){text.data, text.len}, NULL, sample->job_id, &command, err);
    struct wire_slice slice = {command.data, command.len};
    if (rc == 0 && cli__command_check(slice, &demo->arena, &job_id, err) != 0) rc = err_wrap(err, "%s", path);
    if (rc == 0) rc = cli__command_send(demo->ctx, producer, slice, sample->job_id, 0, err);
    buf_done(&text);
    buf_done(&command);
    return rc;
}

static int send_all(struct demo *demo, struct err *err) {
    struct cli_producer producer = {0};
    int rc = cli__open_producer(demo->ctx, NULL, NULL, &producer, err);
    for (size_t i = 0; rc == 0 && i < demo->count; i++) rc = send_one(demo, &demo->samples[i], &producer, err);
    if (rc == 0) rc = cli__flush(&producer, ACK_TIMEOUT_MS, err);
    cli__close_producer(&producer);
    return rc;
}

/* The class with the highest score in the first output of a result, -1 without one, and the score. */
static int best_class(struct wire_slice result, double *ret_score) {
    struct wire_slice outputs, first, data, element;
    if (!wire_json_member(result, "outputs", &outputs) || !wire_json_element(&outputs, &first) ||
        !wire_json_member(first, "data", &data))
        return -1;
    int best = -1;
    for (int i = 0; wire_json_element(&data, &element); i++) {
        double score = strtod(element.at, NULL); /* ends at the ',' or ']' behind it */
        if (best < 0 || score > *ret_score) {
            best = i;
            *ret_score = score;
        }
    }
    return best;
}

static void add_row(struct demo *demo, struct cli_table *table, const struct sample *sample,
                    const struct job_record *rec, int best, double score) {
    char wait[16] = "", run[16] = "", recognised[12] = "-";
    if (best >= 0) snprintf(recognised, sizeof recognised, "%d", best);
    bool right = strcmp(recognised, sample->label) == 0;
    demo->right += right;
    if (rec->started_at) cli__format_ms(rec->started_at - rec->created_at, wait);
    if (rec->finished_at) cli__format_ms(rec->duration_ms, run);
    cli__table_add(table, "%s", sample->name);
    cli__table_add(table, "%s", sample->label);
    cli__table_add(table, "%s", recognised);
    if (best >= 0)
        cli__table_add(table, "%.1f %%", score * 100);
    else
        cli__table_add(table, "-");
    cli__table_add(table, "%s", right ? "yes" : "NO");
    cli__table_add(table, "%s", job_state_name(rec->state));
    cli__table_add(table, "%s", wait);
    cli__table_add(table, "%s", run);
    cli__table_add(table, "%s", sample->job_id);
}

static int add_rows(struct demo *demo, struct store *st, struct cli_table *table, struct err *err) {
    for (size_t i = 0; i < demo->count; i++) {
        const struct sample *sample = &demo->samples[i];
        struct job_record rec;
        struct wire_slice result = {0};
        double score = 0;
        if (store_job_get(st, sample->job_id, &demo->arena, &rec, err) != 0) return -1;
        if (store_job_doc(st, "result", sample->job_id, &demo->arena, &result.at, &result.len, err) != 0) return -1;
        int best = result.at ? best_class(result, &score) : -1;
        add_row(demo, table, sample, &rec, best, score);
    }
    return 0;
}

/* Counts what was recognised; prints the table, unless JSON was asked for. */
static int compare(struct demo *demo, struct store *st, struct err *err) {
    static const char *const heads[] = {"IMAGE", ">SHOWS",  ">RECOGNISED", ">PROBABILITY", "RIGHT",
                                        "STATE", ">WAITED", ">RAN",        "JOB"};
    struct cli_table table;
    cli__table_init(&table, heads, sizeof heads / sizeof heads[0]);
    int rc = add_rows(demo, st, &table, err);
    if (rc == 0 && !demo->ctx->json) cli__table_print(&table, demo->ctx, true);
    cli__table_done(&table);
    return rc;
}

static void print_summary(const struct demo *demo, const struct cli_wait *wait, int64_t ms) {
    size_t completed = wait->by_state[JOB_STATE_COMPLETED];
    if (demo->ctx->json)
        printf("{\"images\":%zu,\"completed\":%zu,\"right\":%zu,\"total_ms\":%" PRId64 ",\"job_id\":\"%s\"}\n",
               demo->count, completed, demo->right, ms, demo->samples[0].job_id);
    else
        printf("\n%zu of %zu jobs completed, %zu of %zu images recognised, %" PRId64
               " ms from the first command to the last result\n",
               completed, demo->count, demo->right, demo->count, ms);
}

static int run(struct demo *demo, struct store *st, int *ret_code, struct err *err) {
    const char *ids[SAMPLES_MAX];
    int64_t start = clock_mono_ms(&clock_system);
    if (send_all(demo, err) != 0) return -1;
    for (size_t i = 0; i < demo->count; i++) ids[i] = demo->samples[i].job_id;
    struct cli_wait wait = {.ids = ids, .count = demo->count, .timeout_ms = demo->timeout_ms};
    struct err wait_err = {0};
    int waited = cli__wait(demo->ctx, st, &wait, &wait_err);
    int64_t ms = clock_mono_ms(&clock_system) - start;
    if (waited != 0 && wait_err.code != ERR_TIMED_OUT_WAITING) {
        *err = wait_err;
        return -1;
    }
    if (compare(demo, st, err) != 0) return -1;
    print_summary(demo, &wait, ms);
    if (waited != 0) {
        *err = wait_err;
        return -1;
    }
    bool pass = wait.by_state[JOB_STATE_COMPLETED] == demo->count && demo->right * 100 >= demo->count * PASS_PERCENT;
    *ret_code = pass ? CLI_OK : CLI_FAILED;
    return 0;
}

static int open_and_run(struct demo *demo) {
    struct store *st = NULL;
    struct err err;
    int code = CLI_FAILED;
    if (!demo->folder)
        demo->folder =
            arena_printf(&demo->arena, "%s/digits/samples", config_string(demo->ctx->cfg, "models.repository"));
    int rc = load_labels(demo, &err);
    if (rc == 0) rc = cli__open_store(demo->ctx, &st, &err);
    if (rc == 0) rc = run(demo, st, &code, &err);
    store_free(st);
    return rc == 0 ? code : cli__fail(demo->ctx, &err);
}

static int demo_main(struct cli_context *ctx, int argc, char **argv) {
    const char *folder = NULL;
    int64_t timeout_ms = WAIT_TIMEOUT_MS;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) switch (opt) {
        case OPT_SAMPLES:
            folder = optarg;
            break;
        case OPT_TIMEOUT:
            if (cli__parse_int(ctx, "--timeout", optarg, 1, INT64_MAX / 2, &timeout_ms) != 0) return ctx->exit_code;
            break;
        default:
            return ctx->exit_code;
        }
    if (optind < argc) return cli__usage(ctx, "unexpected argument '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    struct demo *demo = mem_calloc(1, sizeof *demo);
    demo->ctx = ctx;
    demo->folder = folder;
    demo->timeout_ms = timeout_ms;
    arena_init(&demo->arena);
    int code = open_and_run(demo);
    arena_done(&demo->arena);
    free(demo);
    return code;
}

const struct cli_command cmd_demo = {
    .name = "demo",
    .summary = "Run the sample images of the digits model and print what was recognised",
    .usage = "[OPTIONS]",
    .about = "Submits the sample images of the digits model, waits for them, and prints for each what it shows, "
             "what was recognised, and how long it waited and ran. Needs a running Penstock: `penstock dev`, for "
             "example. Exit code 0 if every job completed and at least 95 % of the images were recognised.",
    .options = options,
    .examples = "penstock demo",
    .run = demo_main,
};

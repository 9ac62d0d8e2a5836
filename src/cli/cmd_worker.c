/* penstock worker: one worker process. `serve` starts these; on machines of their own they are started by hand or by
 * systemd.
 *
 * It ends in one of three ways: asked to (finishes what runs within the grace period, gives the rest back uncharged),
 * by a configuration that cannot work, or because a run did not stop or the executor broke: then the process is ended
 * without further ado, since a thread that hangs cannot be joined, and whoever started it starts it afresh. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/artifact.h"
#include "penstock/clock.h"
#include "penstock/log.h"
#include "penstock/loop.h"
#include "penstock/worker.h"

#define ROLE          "worker"
#define EXIT_STUCK    70 /* sysexits' EX_SOFTWARE: start me again */
#define RETRY_MS      50
#define GUARD_MS      20
#define GUARD_LOOKS   4
#define BACKOFF_PARTS 10 /* of a lease: a store that was away is asked again in time to keep it */

enum { OPT_ID = CLI_OPT_OWN };

static const struct cli_option own_options[] = {
    {"id", OPT_ID, "ID", NULL, "the worker's name in records and events (default: host, pid and start time)"}, {0}};

static int step_and_wait(struct worker *worker, struct err *err) {
    int done = worker_step(worker, err);
    if (done == 0) worker_wait(worker);
    return done;
}

/* The models that are served, and the loader that looks for new ones; NULL: nobody looks. */
struct serving {
    struct worker *worker;
    struct worker_models *models;
    struct worker_loader *loader;
    struct cli_notify notify;
};

static int serve_and_wait(void *self, struct err *err) {
    struct serving *serving = self;
    cli__notify_alive(&serving->notify);
    struct worker_models *fresh = serving->loader ? worker_loader_take(serving->loader) : NULL;
    if (fresh) {
        worker_use_models(serving->worker, fresh);
        worker_models_free(serving->models);
        serving->models = fresh;
        log_info(ROLE, "serves %zu model versions now", worker_models_count(fresh));
    }
    return step_and_wait(serving->worker, err);
}

/* Steps on until nothing is held, for at most `ms`. A store that is away may come back in time. */
static void step_for(struct worker *worker, int64_t ms) {
    int64_t deadline = clock_mono_ms(&clock_system) + ms;
    struct err err;
    while (!worker_is_idle(worker) && clock_mono_ms(&clock_system) < deadline && !cli__hurries()) {
        if (step_and_wait(worker, &err) >= 0) continue;
        if (err.class == ERR_CLASS_FATAL) return;
        cli__pause_ms(RETRY_MS);
    }
}

/* The stop was requested. Each way ends in giving back, uncharged, what is held then. */
static void shut_down(struct worker *worker, const struct config *cfg) {
    const char *mode = config_string(cfg, "worker.shutdown");
    struct err err;
    worker_drain(worker);
    if (strcmp(mode, "drain") == 0) step_for(worker, config_int(cfg, "worker.shutdown_ms"));
    if (strcmp(mode, "immediate") != 0) {
        worker_stop_runs(worker);
        step_for(worker, config_int(cfg, "worker.grace_ms"));
    }
    if (!worker_is_idle(worker) && worker_release(worker, &err) != 0) log_err(ROLE, &err);
}

/* --- the guardian --------------------------------------------------------------------------------------------------
 */

/* Ends the process when a run goes on past its lease: another worker may have the job by then, and the main thread may
 * be waiting for a store that does not answer. */
struct guardian {
    pthread_t thread;
    struct worker *worker;
    atomic_bool quit;
};

static void *guard(void *self) {
    struct guardian *guardian = self;
    int seen = 0; /* in a row: a process that stood still gets a moment to see for itself */
    while (!atomic_load(&guardian->quit)) {
        seen = worker_must_end(guardian->worker) ? seen + 1 : 0;
        if (seen == GUARD_LOOKS) {
            log_error(ROLE, "a run goes on although its lease is long lost: this process ends");
            _exit(EXIT_STUCK);
        }
        cli__pause_ms(GUARD_MS);
    }
    return NULL;
}

static void guardian_start(struct guardian *guardian, struct worker *worker) {
    guardian->worker = worker;
    atomic_init(&guardian->quit, false);
    BUG_ON(pthread_create(&guardian->thread, NULL, guard, guardian) != 0);
}

static void guardian_stop(struct guardian *guardian) {
    atomic_store(&guardian->quit, true);
    pthread_join(guardian->thread, NULL);
}

/* Where large outputs go and inputs by uri come from; NULL: nowhere. */
struct files {
    struct artifact_root *artifacts, *inputs;
};

static int open_root(const struct config *cfg, const char *setting, struct artifact_root **ret, struct err *err) {
    const char *path = config_string(cfg, setting);
    if (!*path || artifact_root_open(path, ret, err) == 0) return 0;
    return err_wrap(err, "%s", setting);
}

static void close_files(struct files *files) {
    artifact_root_free(files->artifacts);
    artifact_root_free(files->inputs);
}

static uint64_t random_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint64_t)clock_mono_us(&clock_system);
    return seed;
}

/* Returns the exit code. With EXIT_STUCK a thread may still be running: the caller must _exit. */
static int run(struct cli_context *ctx, const char *id, struct store *st, struct serving *serving,
               const struct files *files) {
    const struct config *cfg = ctx->cfg;
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    struct worker_config wcfg = {
        .id = id,
        .host = host,
        .executor = config_string(cfg, "worker.executor"),
        .lease_ms = config_int(cfg, "worker.lease_ms"),
        .grace_ms = config_int(cfg, "worker.grace_ms"),
        .prefetch_below_ms = config_int(cfg, "worker.prefetch_below_ms"),
        .backoff_ms = config_int(cfg, "jobs.retry_backoff_ms"),
        .backoff_max_ms = config_int(cfg, "jobs.retry_backoff_max_ms"),
        .max_result_bytes = (size_t)config_int(cfg, "worker.max_result_bytes"),
        .artifacts = files->artifacts,
        .inputs = files->inputs,
        .inline_bytes = (size_t)config_int(cfg, "artifacts.inline_bytes"),
        .max_artifact_bytes = (size_t)config_int(cfg, "artifacts.max_bytes"),
        .max_input_bytes = (size_t)config_int(cfg, "artifacts.max_input_bytes"),
        .seed = random_seed(),
    };
    struct worker_runner *runner = worker_thread_new(&clock_system);
    struct worker *worker = worker_new(&wcfg, st, serving->models, runner, &clock_system);
    serving->worker = worker;
    struct loop loop = {.role = ROLE,
                        .step = serve_and_wait,
                        .self = serving,
                        .clock = &clock_system,
                        .max_backoff_ms = wcfg.lease_ms / BACKOFF_PARTS};
    struct guardian guardian;
    struct err err;
    int code = CLI_OK;
    log_info(ROLE, "%s serves %zu model versions on %s", id, worker_models_count(serving->models),
             worker_models_device(serving->models));
    guardian_start(&guardian, worker);
    cli__notify_open(&serving->notify);
    cli__notify_say(&serving->notify, "READY=1");
    if (loop_run(&loop, &err) != 0)
        code = err.code == ERR_EXECUTION_FAILED ? EXIT_STUCK : cli__exit_code(&err);
    else
        shut_down(worker, cfg);
    cli__notify_say(&serving->notify, "STOPPING=1");
    cli__notify_close(&serving->notify);
    guardian_stop(&guardian);
    if (store_worker_unregister(st, id, &err) != 0) log_err(ROLE, &err);
    if (code == EXIT_STUCK || !worker_is_idle(worker)) return EXIT_STUCK; /* a run goes on: it ends with the process */
    runner->free(runner);
    worker_free(worker);
    return code;
}

static int worker_main(struct cli_context *ctx, int argc, char **argv) {
    char name[49];
    const char *id = name;
    struct serving serving = {0};
    struct store_config store_cfg;
    struct store *st;
    struct err err;
    int opt;
    prctl(PR_SET_NAME, "penstock-worker"); /* it was started as /proc/self/exe, and would be called "exe" */
    cli__process_name(name);
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_ID) id = optarg;
    }
    if (optind < argc) return cli__usage(ctx, "worker takes no arguments, but got '%s'", argv[optind]);
    if (!job_id_is_valid(id, strlen(id)) || strlen(id) > 64)
        return cli__usage(ctx, "--id: 1 to 64 of the characters A-Z a-z 0-9 . _ : -");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__log_warnings(ctx);
    cli__handle_signals(true);
    const char *plugin_dir = config_string(ctx->cfg, "worker.plugin_dir");
    struct worker_model_options options = {
        .repository = config_string(ctx->cfg, "models.repository"),
        .onnx_executor = config_string(ctx->cfg, "worker.executor"),
        .plugin_dir = *plugin_dir ? plugin_dir : NULL,
        .device = (int)config_int(ctx->cfg, "worker.device"),
        .threads = (int)config_int(ctx->cfg, "worker.threads"),
    };
    if (worker_models_load(&options, &serving.models, &err) != 0) return cli__fail(ctx, &err);
    cli__store_config(ctx, &store_cfg);
    struct files files = {0};
    if (open_root(ctx->cfg, "artifacts.root", &files.artifacts, &err) != 0 ||
        open_root(ctx->cfg, "artifacts.input_root", &files.inputs, &err) != 0 ||
        store_open(&store_cfg, &st, &err) != 0) {
        close_files(&files);
        worker_models_free(serving.models);
        return cli__fail(ctx, &err);
    }
    int64_t poll_ms = config_int(ctx->cfg, "models.poll_ms");
    if (poll_ms > 0) serving.loader = worker_loader_new(&options, serving.models, poll_ms);
    int code = run(ctx, id, st, &serving, &files);
    if (code == EXIT_STUCK) _exit(loop_stop_requested() ? CLI_OK : EXIT_STUCK);
    worker_loader_free(serving.loader);
    store_free(st);
    worker_models_free(serving.models);
    close_files(&files);
    return code;
}

const struct cli_command cmd_worker = {
    .name = "worker",
    .summary = "Run one worker process",
    .usage = "[OPTIONS]",
    .about = "Runs one worker: loads every model of models.repository, claims jobs from Redis, runs and finishes "
             "them. `penstock serve` starts worker.count of them; run more on other machines with the same "
             "configuration.\n"
             "\n"
             "SIGTERM stops it as worker.shutdown says: drain finishes what runs within worker.shutdown_ms, "
             "requeue stops the runs and gives them back, immediate does not wait for them. A second SIGTERM, or "
             "SIGQUIT, is immediate.\n"
             "\n"
             "Exit code 70: a run did not stop, or the executor broke; start it again.",
    .options = own_options,
    .examples = "penstock worker -c /etc/penstock/penstock.ini",
    .run = worker_main,
};

/* penstock worker: one worker process. `serve` starts these; on machines of their own they are started by hand or by
 * systemd.
 *
 * It ends in one of three ways: asked to (finishes what runs within the grace period, gives the rest back uncharged),
 * by a configuration that cannot work, or because a run did not stop or the executor broke: then the process is ended
 * without further ado, since a thread that hangs cannot be joined, and whoever started it starts it afresh. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/log.h"
#include "penstock/loop.h"
#include "penstock/worker.h"

#define ROLE       "worker"
#define EXIT_STUCK 70 /* sysexits' EX_SOFTWARE: start me again */

const char cmd_worker_help[] =
    "Usage: penstock worker [--id ID] [OPTIONS]\n"
    "\n"
    "Runs one worker: loads every model of models.repository, claims jobs from Redis, runs and finishes them.\n"
    "`penstock serve` starts worker.count of them; run more on other machines with the same configuration.\n"
    "SIGTERM finishes what runs within worker.grace_ms and gives the rest back. Exit code 70: a run did not\n"
    "stop, or the executor broke; start it again.\n"
    "\n"
    "      --id ID    the worker's name in records and events (default: host, pid and start time)\n"
    "\n"
    "Examples:\n"
    "  penstock worker -c /etc/penstock/penstock.ini\n";

enum { OPT_ID = CLI_OPT_OWN };

static int step_and_wait(void *self, struct err *err) {
    int done = worker_step(self, err);
    if (done == 0) worker_wait(self);
    return done;
}

/* The stop was requested: what runs may finish within the grace period, the rest goes back. */
static void drain(struct worker *worker, int64_t grace_ms) {
    int64_t deadline = clock_mono_ms(&clock_system) + grace_ms;
    struct err err;
    worker_drain(worker);
    while (!worker_is_idle(worker) && clock_mono_ms(&clock_system) < deadline)
        if (step_and_wait(worker, &err) < 0) break;
    if (!worker_is_idle(worker) && worker_release(worker, &err) != 0) log_err(ROLE, &err);
}

static uint64_t random_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint64_t)clock_mono_us(&clock_system);
    return seed;
}

/* Returns the exit code. With EXIT_STUCK a thread may still be running: the caller must _exit. */
static int run(struct cli_context *ctx, const char *id, struct store *st, struct worker_models *models) {
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
        .seed = random_seed(),
    };
    struct worker_runner *runner = worker_thread_new(&clock_system);
    struct worker *worker = worker_new(&wcfg, st, models, runner, &clock_system);
    struct loop loop = {.role = ROLE, .step = step_and_wait, .self = worker, .clock = &clock_system};
    struct err err;
    int code = CLI_OK;
    log_info(ROLE, "%s serves %zu model versions on %s", id, worker_models_count(models), worker_models_device(models));
    if (loop_run(&loop, &err) != 0)
        code = err.code == ERR_EXECUTION_FAILED ? EXIT_STUCK : cli__exit_code(&err);
    else
        drain(worker, wcfg.grace_ms);
    if (store_worker_unregister(st, id, &err) != 0) log_err(ROLE, &err);
    if (code == EXIT_STUCK || !worker_is_idle(worker)) return EXIT_STUCK; /* a run goes on: it ends with the process */
    runner->free(runner);
    worker_free(worker);
    return code;
}

int cmd_worker(struct cli_context *ctx, int argc, char **argv) {
    static const struct option own[] = {{"id", required_argument, NULL, OPT_ID}, {0}};
    char name[49];
    const char *id = name;
    struct worker_models *models;
    struct store_config store_cfg;
    struct store *st;
    struct err err;
    int opt;
    cli__process_name(name);
    while ((opt = cli__getopt(ctx, argc, argv, "", own)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_ID) id = optarg;
    }
    if (optind < argc) return cli__usage(ctx, "worker takes no arguments, but got '%s'", argv[optind]);
    if (!job_id_is_valid(id, strlen(id)) || strlen(id) > 64)
        return cli__usage(ctx, "--id: 1 to 64 of the characters A-Z a-z 0-9 . _ : -");
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__handle_signals();
    const char *plugin_dir = config_string(ctx->cfg, "worker.plugin_dir");
    struct worker_model_options options = {
        .repository = config_string(ctx->cfg, "models.repository"),
        .onnx_executor = config_string(ctx->cfg, "worker.executor"),
        .plugin_dir = *plugin_dir ? plugin_dir : NULL,
        .device = (int)config_int(ctx->cfg, "worker.device"),
        .threads = (int)config_int(ctx->cfg, "worker.threads"),
    };
    if (worker_models_load(&options, &models, &err) != 0) return cli__fail(ctx, &err);
    cli__store_config(ctx, &store_cfg);
    if (store_open(&store_cfg, &st, &err) != 0) {
        worker_models_free(models);
        return cli__fail(ctx, &err);
    }
    int code = run(ctx, id, st, models);
    if (code == EXIT_STUCK) _exit(loop_stop_requested() ? CLI_OK : EXIT_STUCK);
    store_free(st);
    worker_models_free(models);
    return code;
}

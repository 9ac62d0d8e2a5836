/* The supervisor starts worker processes and sees at once when one dies.
 *
 * A dead worker is reported to the store by the id under which it held its jobs, so that they need not wait for their
 * leases; only then is its place filled again, since a worker that cannot be reported cannot work either. A worker that
 * dies young is started again with growing delay: a broken model must not turn into a fork storm. Every start gets a
 * new id: the old one may still hold jobs. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/log.h"
#include "penstock/loop.h"

#define ROLE         "control"
#define YOUNG_MS     5000 /* a worker that dies before this age is started again later and later */
#define DELAY_MAX_MS 10000
#define HURRY_MS     2000 /* for giving everything back, when asked to hurry */

struct slot {
    pid_t pid; /* 0: none */
    char id[65];
    bool unreported; /* it died, and the store does not know yet */
    bool hopeless;   /* it refused its configuration: it would do so again */
    int64_t started_ms, start_at_ms, delay_ms;
};

struct cli_supervisor {
    struct cli_context *ctx;
    struct store *st;
    struct slot *slots;
    int count;
    unsigned started;
    char name[49];
};

/* --- processes ---------------------------------------------------------------------------------------------------- */

int cli__spawn(const char *path, const char *const argv[], int death_signal, pid_t *ret_pid, struct err *err) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) return err_set_errno(err, ERR_SYSTEM, "fork");
    if (pid == 0) {
        /* Only async-signal-safe calls: other threads may hold locks. Its own process group, so that Ctrl-C reaches the
         * parent alone, which ends its children in order. */
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, death_signal);
        if (getppid() != parent) _exit(127); /* the parent died before the prctl */
        execvp(path, (char *const *)argv);   /* which does not write to it */
        _exit(127);
    }
    *ret_pid = pid;
    return 0;
}

static int start_worker(struct cli_supervisor *sup, struct slot *slot, struct err *err) {
    const struct cli_context *ctx = sup->ctx;
    const char **argv = mem_calloc(8 + 2 * ctx->override_count, sizeof *argv);
    size_t n = 0;
    snprintf(slot->id, sizeof slot->id, "%s-%u", sup->name, ++sup->started);
    argv[n++] = "penstock";
    argv[n++] = "worker";
    argv[n++] = "--id";
    argv[n++] = slot->id;
    if (ctx->config_path) {
        argv[n++] = "-c";
        argv[n++] = ctx->config_path;
    }
    for (size_t i = 0; i < ctx->override_count; i++) {
        argv[n++] = "-s";
        argv[n++] = ctx->overrides[i];
    }
    int rc = cli__spawn("/proc/self/exe", argv, SIGTERM, &slot->pid, err);
    free(argv);
    slot->started_ms = clock_mono_ms(&clock_system);
    if (rc == 0) log_info(ROLE, "started worker %s (pid %d)", slot->id, (int)slot->pid);
    return rc;
}

static void note_death(struct slot *slot, int status) {
    int64_t now = clock_mono_ms(&clock_system);
    bool young = now - slot->started_ms < YOUNG_MS;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (WIFSIGNALED(status))
        log_warn(ROLE, "worker %s (pid %d) was killed by signal %d", slot->id, (int)slot->pid, WTERMSIG(status));
    else if (code != 0)
        log_warn(ROLE, "worker %s (pid %d) ended with exit code %d", slot->id, (int)slot->pid, code);
    else
        log_info(ROLE, "worker %s (pid %d) has ended", slot->id, (int)slot->pid);
    slot->hopeless = code == CLI_USAGE;
    slot->delay_ms = !young ? 0 : slot->delay_ms ? slot->delay_ms * 2 : 100;
    if (slot->delay_ms > DELAY_MAX_MS) slot->delay_ms = DELAY_MAX_MS;
    slot->start_at_ms = now + slot->delay_ms;
    slot->pid = 0;
    slot->unreported = true;
}

static void reap(struct cli_supervisor *sup) {
    for (int i = 0; i < sup->count; i++) {
        int status;
        if (sup->slots[i].pid && waitpid(sup->slots[i].pid, &status, WNOHANG) == sup->slots[i].pid)
            note_death(&sup->slots[i], status);
    }
}

static int report(struct cli_supervisor *sup, struct slot *slot, struct err *err) {
    size_t jobs;
    if (store_worker_lost(sup->st, slot->id, &jobs, err) != 0) return -1;
    if (store_worker_unregister(sup->st, slot->id, err) != 0) return -1;
    if (jobs > 0) log_warn(ROLE, "worker %s is lost: %zu of its jobs were given back", slot->id, jobs);
    slot->unreported = false;
    return 0;
}

int cli__supervisor_step(void *self, struct err *err) {
    struct cli_supervisor *sup = self;
    reap(sup);
    for (int i = 0; i < sup->count; i++) {
        struct slot *slot = &sup->slots[i];
        if (slot->unreported && report(sup, slot, err) != 0) return -1;
        if (slot->hopeless)
            return err_set(err, ERR_CONFIG,
                           "worker %s cannot work with this configuration; its own line above says why", slot->id);
        if (!slot->pid && clock_mono_ms(&clock_system) >= slot->start_at_ms && start_worker(sup, slot, err) != 0)
            return -1;
    }
    return 0;
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static int alive(struct cli_supervisor *sup, int with_signal) {
    int count = 0;
    reap(sup);
    for (int i = 0; i < sup->count; i++) {
        if (!sup->slots[i].pid) continue;
        count++;
        if (with_signal) kill(sup->slots[i].pid, with_signal);
    }
    return count;
}

void cli__pause_ms(int ms) {
    struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)ms * 1000000};
    nanosleep(&ts, NULL);
}

void cli__supervisor_stop(struct cli_supervisor *sup, int64_t ms) {
    int64_t deadline = clock_mono_ms(&clock_system) + ms;
    struct err err;
    bool hurried = false;
    alive(sup, SIGTERM);
    while (alive(sup, 0) > 0 && clock_mono_ms(&clock_system) < deadline) {
        if (cli__hurries() && !hurried) {
            hurried = true;
            alive(sup, SIGQUIT);
            deadline = clock_mono_ms(&clock_system) + HURRY_MS;
        }
        cli__pause_ms(10);
    }
    alive(sup, SIGKILL);
    while (alive(sup, 0) > 0) cli__pause_ms(10);
    for (int i = 0; i < sup->count; i++)
        if (sup->slots[i].unreported && report(sup, &sup->slots[i], &err) != 0) log_err(ROLE, &err);
}

struct cli_supervisor *cli__supervisor_new(struct cli_context *ctx, struct store *st, int count) {
    struct cli_supervisor *sup = mem_calloc(1, sizeof *sup);
    sup->ctx = ctx;
    sup->st = st;
    sup->count = count;
    sup->slots = mem_calloc((size_t)count, sizeof *sup->slots);
    cli__process_name(sup->name);
    return sup;
}

void cli__supervisor_free(struct cli_supervisor *sup) {
    if (!sup) return;
    free(sup->slots);
    free(sup);
}

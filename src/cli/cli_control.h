/* The control process: its roles, each a thread with a connection of its own, and the worker processes that it watches.
 * `serve` is this and nothing more; `dev` puts a Kafka mock and a Redis in front of it.
 *
 *     struct cli_control *control;
 *     if (cli__control_start(ctx, worker_count, &control, &err) != 0) ...
 *     rc = cli__control_run(control, on_tick, self, &err);   // until a stop is requested or a role fails
 */
#ifndef PENSTOCK_CLI_CONTROL_H
#define PENSTOCK_CLI_CONTROL_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "cli_jobs.h"
#include "penstock/store_policy.h"

/* --- control.c -----------------------------------------------------------------------------------------------------
 */

struct cli_control;
/* Starts the threads; connections are made, and made again, by the roles themselves. */
int cli__control_start(struct cli_context *ctx, int worker_count, struct cli_control **ret, struct err *err) MUSTCHECK;

/* Where its HTTP server listens; "off" without one. Valid until cli__control_run ends. */
const char *cli__control_http_url(const struct cli_control *control);

/* Watches the workers until a stop is requested or a role has failed; then stops in the order that loses nothing: no
 * new commands, workers finish, the outbox is published. Frees `control`. -1 with the error of the role that failed. */
int cli__control_run(struct cli_control *control, void (*on_tick)(void *self), void *self, struct err *err) MUSTCHECK;

/* limits.running_by_tenant, read: "name=8 other=2". Lives in the arena. */
int cli__tenant_limits(const struct config *cfg, struct arena *arena, struct store_limit **ret, size_t *ret_count,
                       struct err *err) MUSTCHECK;

/* SIGINT and SIGTERM request a stop. A second one, or SIGQUIT, ends the process at once; where `may_hurry`, it asks for
 * haste (cli__hurries), and the one after it ends the process. SIGPIPE is ignored. */
void cli__handle_signals(bool may_hurry);
bool cli__hurries(void);

/* "<host>-<pid>-<start time>": a name for leases and workers that no other process has. At most 48 bytes. */
void cli__process_name(char ret[static 49]);

/* --- supervisor.c --------------------------------------------------------------------------------------------------
 */

struct cli_supervisor;
struct cli_supervisor *cli__supervisor_new(struct cli_context *ctx, struct store *st, int count); /* borrows */
/* Reaps, reports the dead to the store, starts what is missing. Never blocks for long. */
int cli__supervisor_step(void *supervisor, struct err *err) MUSTCHECK;
/* Asks the workers to end, waits for `ms`, kills what is left, reports it. In a hurry they give everything back at
 * once.
 */
void cli__supervisor_stop(struct cli_supervisor *supervisor, int64_t ms);
void cli__supervisor_free(struct cli_supervisor *supervisor);

/* Starts a program in a process group of its own that gets `death_signal` when we die. -1 with *err. */
int cli__spawn(const char *path, const char *const argv[], int death_signal, pid_t *ret_pid, struct err *err) MUSTCHECK;

/* --- cli_notify.c --------------------------------------------------------------------------------------------------
 */

/* The service manager that started this process, if one did. */
struct cli_notify {
    int fd; /* -1: nobody to tell */
    struct sockaddr_un addr;
    socklen_t addr_len;
    int64_t every_ms, due_ms; /* of the watchdog; 0: it does not watch */
};
void cli__notify_open(struct cli_notify *notify); /* takes what it reads out of the environment */
void cli__notify_say(const struct cli_notify *notify, const char *text); /* "READY=1", "STOPPING=1" */
void cli__notify_alive(struct cli_notify *notify);                       /* tells the watchdog, as often as it wants */
void cli__notify_close(struct cli_notify *notify);

/* --- config_check.c ------------------------------------------------------------------------------------------------
 */

/* Prints whatever is wrong with ctx->cfg; returns the exit code. connect: asks Redis and Kafka, too. */
int cli__config_check(struct cli_context *ctx, bool connect);

/* Sleeps, stop request or not. */
void cli__pause_ms(int ms);

#endif

/* The control process.
 *
 * Beside the HTTP server, which has threads of its own, five roles (ingest of commands, ingest of control commands,
 * sweeper, relay, collector of artifacts) run their step functions in threads of their own, each with its own
 * connection to Redis, so that none waits for another; the main thread watches the workers. The control topic has a
 * consumer group of its own: a cancel neither waits behind a backlog of creates nor for a paused topic, and rebalances
 * of the one group do not touch the other. They share the stop flag and nothing else. Stopping goes with the flow:
 * first no new commands, then the workers finish or give back, then the relay publishes what that wrote. Nothing
 * depends on a graceful stop: whatever kill -9 leaves behind is taken up by the next process. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/artifact.h"
#include "penstock/clock.h"
#include "penstock/http.h"
#include "penstock/ingest.h"
#include "penstock/log.h"
#include "penstock/loop.h"
#include "penstock/registry.h"
#include "penstock/relay.h"
#include "penstock/store_policy.h"
#include "penstock/sweeper.h"

#define ROLE             "control"
#define TICK_MS          50
#define INGEST_WAIT_MS   100
#define POLICY_LOOK_MS   5000
#define COLLECT_BATCH    100
#define COLLECT_PAUSE_MS 5000       /* between one walk through the artifacts and the next */
#define CONTROL_GROUP    "-control" /* after bus.group: the group that reads the control topic */
#define RELAY_WAIT_MS    100
#define RELAY_DRAIN_MS   10000     /* how long the outbox is still published after everything else has stopped */
#define STOP_MARGIN_MS   2000      /* over the workers' own grace */
#define TOPIC_MAX_BYTES  "2097152" /* an event carries a spec of up to 1 MiB; a dead letter the command */
#define SECOND_STOP_US   500000
#define CE_SOURCE        "/penstock"

struct role {
    const char *name;
    loop_step_fn *step;
    struct cli_control *control;
    struct store *st;
    pthread_t thread;
    bool failed;
    struct err err;
};

/* One topic's way into the store. */
struct intake {
    struct role role;
    const char *topic;
    char group[256];
    struct ingest *ingest;
    struct bus_consumer *consumer;
};

struct cli_control {
    struct cli_context *ctx;
    struct bus_kafka_config kafka;
    struct bus_property *relay_props; /* kafka's and ours */
    struct bus_kafka_config relay_kafka;
    struct store *st; /* the main thread's */
    struct cli_supervisor *supervisor;
    struct role sweeper_role, relay_role, collector_role;
    struct artifact_root *artifacts; /* NULL: none */
    struct intake commands, orders;
    int64_t policy_at; /* when the main thread looks next whether the store still has the policy */
    struct sweeper sweeper;
    struct relay *relay;
    struct http *http; /* NULL: none */
    char name[49];
    pthread_mutex_t models_lock; /* of models, which the main thread replaces */
    struct model_list models;
    bool models_seen;
    int64_t models_at;           /* when the main thread looks at the repository next */
    struct err models_complaint; /* about it; told once */
    atomic_bool workers_gone;
};

/* --- signals and names ---------------------------------------------------------------------------------------------
 */

/* The kernel tells a child of its parent's death once for each dying thread of the parent: signals that come together
 * are one request. clock_gettime is async-signal-safe. */
static atomic_bool hurry_allowed, hurried;

static void on_stop_signal(int sig) {
    static _Atomic int64_t last_us;
    int64_t now_us = clock_mono_us(&clock_system), last = atomic_exchange(&last_us, now_us);
    bool again = last && now_us - last > SECOND_STOP_US;
    if ((again || sig == SIGQUIT) && (!atomic_load(&hurry_allowed) || atomic_exchange(&hurried, true)))
        _exit(128 + sig);
    loop_request_stop();
}

bool cli__hurries(void) { return atomic_load(&hurried); }

void cli__handle_signals(bool may_hurry) {
    struct sigaction stop = {.sa_handler = on_stop_signal}, ignore = {.sa_handler = SIG_IGN};
    atomic_store(&hurry_allowed, may_hurry);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGQUIT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

void cli__process_name(char ret[static 49]) {
    char host[65] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) strcpy(host, "host");
    for (char *c = host; *c; c++)
        if (!job_id_is_valid(c, 1)) *c = '-';
    snprintf(ret, 49, "%.20s-%d-%llx", host, (int)getpid(), (unsigned long long)clock_wall_ms(&clock_system));
}

/* --- ingest --------------------------------------------------------------------------------------------------------
 */

/* Of the repository as the main thread saw it last. */
static bool model_policy(void *self, const char *model, const char *version, struct model_policy *ret) {
    struct cli_control *control = self;
    pthread_mutex_lock(&control->models_lock);
    const struct model_entry *entry = registry_model_find(&control->models, model, version);
    if (entry) *ret = entry->policy;
    pthread_mutex_unlock(&control->models_lock);
    return entry;
}

/* A control process that sees the repository refuses unknown models at once; one that does not, because the workers are
 * elsewhere, takes every name. */
static int see_models(struct cli_control *control, bool needed, struct err *err) {
    const char *repository = config_string(control->ctx->cfg, "models.repository");
    struct stat st;
    if (!needed && stat(repository, &st) != 0) {
        log_warn(ROLE, "there is no model repository at %s: commands for any model are taken", repository);
        return 0;
    }
    if (registry_models_scan(repository, &control->models, err) != 0) return -1;
    control->models_seen = true;
    return 0;
}

/* 0: for ever. */
static int64_t longest_retention_ms(const struct cli_control *control) {
    struct store_config cfg;
    int64_t longest = 0;
    cli__store_config(control->ctx, &cfg);
    for (enum job_state state = JOB_STATE_NONE; state < JOB_STATE_COUNT; state++) {
        if (!job_state_is_terminal(state)) continue;
        int64_t ms = store_retention_ms(&cfg, state);
        if (ms == 0) return 0;
        if (ms > longest) longest = ms;
    }
    return longest;
}

static int create_topics(struct cli_control *control, struct err *err) {
    const struct config *cfg = control->ctx->cfg;
    if (!config_bool(cfg, "bus.create_topics")) return 0;
    int partitions = (int)config_int(cfg, "bus.partitions"), replication = (int)config_int(cfg, "bus.replication");
    int64_t keep_ms = longest_retention_ms(control);
    char retention[24] = "-1";
    /* The event log outlives the records, which are a view of it. */
    if (keep_ms > 0) snprintf(retention, sizeof retention, "%lld", (long long)keep_ms * 2);
    struct bus_topic topics[] = {
        {config_string(cfg, "bus.commands_topic"), partitions, replication, NULL, NULL},
        {config_string(cfg, "bus.control_topic"), 1, replication, NULL, NULL},
        {config_string(cfg, "bus.events_topic"), partitions, replication, retention, TOPIC_MAX_BYTES},
        {config_string(cfg, "bus.dlq_topic"), partitions, replication, NULL, TOPIC_MAX_BYTES},
    };
    return bus_kafka_create_topics(&control->kafka, topics, sizeof topics / sizeof topics[0], err);
}

static int open_consumer(struct cli_control *control, struct intake *intake, struct err *err) {
    const char *instance = config_string(control->ctx->cfg, "bus.group_instance_id");
    if (create_topics(control, err) != 0 ||
        bus_kafka_group_consumer(&control->kafka, intake->group, *instance ? instance : NULL, &intake->topic, 1,
                                 ingest_assign_ops(intake->ingest), &intake->consumer, err) != 0)
        return -1;
    ingest_use_consumer(intake->ingest, intake->consumer);
    return 0;
}

static int intake_step(struct cli_control *control, struct intake *intake, struct err *err) {
    if (!intake->consumer && open_consumer(control, intake, err) != 0) return -1;
    return ingest_step(intake->ingest, err);
}

static int commands_role_step(void *self, struct err *err) {
    struct role *role = self;
    return intake_step(role->control, &role->control->commands, err);
}

static int orders_role_step(void *self, struct err *err) {
    struct role *role = self;
    return intake_step(role->control, &role->control->orders, err);
}

/* --- sweeper, relay ------------------------------------------------------------------------------------------------
 */

static int sweeper_role_step(void *self, struct err *err) {
    struct role *role = self;
    int done = sweeper_step(&role->control->sweeper, err);
    if (done >= 0) loop_sleep(role->control->sweeper.wait_ms < TICK_MS ? role->control->sweeper.wait_ms : TICK_MS);
    return done;
}

/* --- collector -----------------------------------------------------------------------------------------------------
 */

/* Who owns a folder of artifacts: asked of the record, and of nothing else. */
static int owner_of(void *self, const char *job_id, char ret_token[64], enum artifact_owner *ret, struct err *err) {
    struct role *role = self;
    struct job_record rec;
    struct arena arena;
    arena_init(&arena);
    int rc = store_job_get(role->st, job_id, &arena, &rec, err);
    if (rc == 0) {
        *ret = rec.state == JOB_STATE_NONE        ? ARTIFACT_OWNER_GONE
               : job_state_is_terminal(rec.state) ? ARTIFACT_OWNER_ENDED
                                                  : ARTIFACT_OWNER_ALIVE;
        snprintf(ret_token, 64, "%s", rec.state != JOB_STATE_NONE && rec.token ? rec.token : "");
    }
    arena_done(&arena);
    return rc;
}

/* A few folders at a time, a look at all of them now and then. */
static int collector_role_step(void *self, struct err *err) {
    struct role *role = self;
    int64_t quiet_ms = config_int(role->control->ctx->cfg, "artifacts.collect_after_ms");
    int looked = artifact_collect(role->control->artifacts, COLLECT_BATCH, quiet_ms, owner_of, role, err);
    if (looked >= 0) loop_sleep(looked == COLLECT_BATCH ? TICK_MS : COLLECT_PAUSE_MS);
    return looked;
}

static int relay_role_step(void *self, struct err *err) {
    struct role *role = self;
    int done = relay_step(role->control->relay, err);
    if (done >= 0) loop_sleep(relay_wait_ms(role->control->relay));
    return done;
}

static int make_producer(void *ctx, bus_delivered_fn *on_delivered, void *self, struct bus_producer **ret,
                         struct err *err) {
    struct cli_control *control = ctx;
    return bus_kafka_producer(&control->relay_kafka, on_delivered, self, ret, err);
}

/* After the stop: publishes until the workers are gone and the outbox is empty, or the time is up. */
static void drain_outbox(struct cli_control *control, struct loop *loop, struct err *err) {
    int64_t deadline = clock_mono_ms(&clock_system) + RELAY_DRAIN_MS;
    for (;;) {
        bool last_words = atomic_load(&control->workers_gone);
        int done = relay_step(control->relay, err);
        if (done < 0) {
            loop_tell(loop, err);
            if (err->class == ERR_CLASS_FATAL) break;
            cli__pause_ms(TICK_MS);
        } else if (last_words && (relay_wait_ms(control->relay) > 0 || (done == 0 && relay_is_idle(control->relay)))) {
            break;
        }
        if (relay_wait_ms(control->relay) > 0) cli__pause_ms(TICK_MS); /* another relay works */
        if (last_words && clock_mono_ms(&clock_system) >= deadline) break;
    }
    if (relay_release(control->relay, err) != 0) loop_tell(loop, err);
}

/* --- roles as threads ----------------------------------------------------------------------------------------------
 */

static void *run_role(void *arg) {
    struct role *role = arg;
    struct loop loop = {.role = role->name, .step = role->step, .self = role, .clock = &clock_system};
    role->failed = loop_run(&loop, &role->err) != 0;
    if (role->failed)
        loop_request_stop();
    else if (role == &role->control->relay_role)
        drain_outbox(role->control, &loop, &role->err);
    return NULL;
}

static int open_role(struct cli_control *control, struct role *role, const char *name, loop_step_fn *step,
                     struct err *err) {
    struct store_config cfg;
    cli__store_config(control->ctx, &cfg);
    cfg.may_recover = true;
    role->name = name;
    role->step = step;
    role->control = control;
    return store_open(&cfg, &role->st, err);
}

static void start_role(struct role *role) {
    /* Signals are for the main thread: it is the one that waits. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    BUG_ON(pthread_create(&role->thread, NULL, run_role, role) != 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void new_intake(struct cli_control *control, struct intake *intake, const char *topic, const char *group_suffix,
                       bool pausable) {
    const struct config *cfg = control->ctx->cfg;
    intake->topic = topic;
    snprintf(intake->group, sizeof intake->group, "%s%s", config_string(cfg, "bus.group"), group_suffix);
    struct ingest_config ingest = {
        .batch = (size_t)config_int(cfg, "ingest.batch"),
        .wait_ms = INGEST_WAIT_MS,
        .max_attempts = (int)config_int(cfg, "jobs.max_attempts"),
        .timeout_ms = config_int(cfg, "jobs.timeout_ms"),
        .queue_timeout_ms = config_int(cfg, "jobs.queue_timeout_ms"),
        .timeout_max_ms = config_int(cfg, "jobs.timeout_max_ms"),
        .queue_timeout_max_ms = config_int(cfg, "jobs.queue_timeout_max_ms"),
        .accept_lost = config_bool(cfg, "bus.accept_lost_commands"),
        .model = control->models_seen ? model_policy : NULL,
        .self = control,
        .pausable_topic = pausable ? topic : NULL,
        .max_queued = config_int(cfg, "ingest.max_queued"),
        .clock = &clock_system,
    };
    intake->ingest = ingest_new(&ingest, intake->role.st);
}

static void new_relay(struct cli_control *control) {
    const struct config *cfg = control->ctx->cfg;
    struct relay_config relay = {
        .id = control->name,
        .events_topic = config_string(cfg, "bus.events_topic"),
        .dlq_topic = config_string(cfg, "bus.dlq_topic"),
        .source = CE_SOURCE,
        .lease_ms = config_int(cfg, "relay.lease_ms"),
        .batch = (size_t)config_int(cfg, "relay.batch"),
        .wait_ms = RELAY_WAIT_MS,
        .make_producer = make_producer,
        .ctx = control,
    };
    control->relay = relay_new(&relay, control->relay_role.st, &clock_system);
}

/* The relay's producer must not let a message overtake one that failed. The gapless guarantee leaves out messages that
 * time out while the broker is away, so none does: the relay waits, or starts afresh with another producer. */
static void set_relay_kafka(struct cli_control *control) {
    static const struct bus_property ours[] = {{"enable.gapless.guarantee", "true"}, {"message.timeout.ms", "0"}};
    size_t count = control->kafka.prop_count, ours_count = sizeof ours / sizeof ours[0];
    control->relay_props = mem_calloc(count + ours_count, sizeof *control->relay_props);
    for (size_t i = 0; i < count; i++) control->relay_props[i] = control->kafka.props[i];
    for (size_t i = 0; i < ours_count; i++) control->relay_props[count + i] = ours[i];
    control->relay_kafka = control->kafka;
    control->relay_kafka.props = control->relay_props;
    control->relay_kafka.prop_count = count + ours_count;
}

static void free_intake(struct intake *intake) {
    ingest_free(intake->ingest); /* first: it may hold a batch, whose bytes are the consumer's */
    bus_consumer_free(intake->consumer);
    store_free(intake->role.st);
}

static void free_control(struct cli_control *control) {
    http_stop(control->http);
    cli__supervisor_free(control->supervisor);
    free_intake(&control->commands);
    free_intake(&control->orders);
    artifact_root_free(control->artifacts);
    store_free(control->collector_role.st);
    relay_free(control->relay);
    store_free(control->sweeper_role.st);
    store_free(control->relay_role.st);
    store_free(control->st);
    registry_models_done(&control->models);
    pthread_mutex_destroy(&control->models_lock);
    free(control->relay_props);
    free(control);
}

/* --- http ----------------------------------------------------------------------------------------------------------
 */

static int start_http(struct cli_control *control, struct err *err) {
    const struct config *cfg = control->ctx->cfg;
    if (!*config_string(cfg, "http.listen")) return 0;
    struct http_config http = {
        .listen = config_string(cfg, "http.listen"),
        .token_file = config_string(cfg, "http.token_file"),
        .tls_cert = config_string(cfg, "http.tls_cert"),
        .tls_key = config_string(cfg, "http.tls_key"),
        .insecure = config_bool(cfg, "http.insecure"),
        .threads = (int)config_int(cfg, "http.threads"),
        .max_connections = (int)config_int(cfg, "http.max_connections"),
        .max_connections_per_ip = (int)config_int(cfg, "http.max_connections_per_ip"),
        .max_header_bytes = (size_t)config_int(cfg, "http.max_header_bytes"),
        .max_body_bytes = (size_t)config_int(cfg, "http.max_body_bytes"),
        .max_upload_bytes = config_int(cfg, "http.max_upload_bytes"),
        .upload_keep_ms = config_int(cfg, "http.upload_keep_ms"),
        .header_timeout_ms = config_int(cfg, "http.header_timeout_ms"),
        .body_timeout_ms = config_int(cfg, "http.body_timeout_ms"),
        .idle_timeout_ms = config_int(cfg, "http.idle_timeout_ms"),
        .artifact_root = config_string(cfg, "artifacts.root"),
        .input_root = config_string(cfg, "artifacts.input_root"),
        .kafka = control->kafka,
        .commands_topic = config_string(cfg, "bus.commands_topic"),
        .control_topic = config_string(cfg, "bus.control_topic"),
        .events_topic = config_string(cfg, "bus.events_topic"),
        .dlq_topic = config_string(cfg, "bus.dlq_topic"),
        .max_queued = config_int(cfg, "ingest.max_queued"),
        .model = control->models_seen ? model_policy : NULL,
        .self = control,
        .version = PENSTOCK_VERSION,
    };
    cli__store_config(control->ctx, &http.store);
    if (http_start(&http, &control->http, err) != 0) return -1;
    log_info(ROLE, "http listens on %s", http_url(control->http));
    return 0;
}

const char *cli__control_http_url(const struct cli_control *control) {
    return control->http ? http_url(control->http) : "off";
}

/* A control process that does not see the folder, because the workers are elsewhere, leaves it to others. */
static int open_artifacts(struct cli_control *control, struct err *err) {
    const char *path = config_string(control->ctx->cfg, "artifacts.root");
    if (!*path) return 0;
    if (access(path, F_OK) != 0) {
        log_warn(ROLE, "there is no folder %s: artifacts are not collected by this process", path);
        return 0;
    }
    return artifact_root_open(path, &control->artifacts, err);
}

int cli__control_start(struct cli_context *ctx, int worker_count, struct cli_control **ret, struct err *err) {
    struct cli_control *control = mem_calloc(1, sizeof *control);
    struct store_config cfg;
    control->ctx = ctx;
    pthread_mutex_init(&control->models_lock, NULL);
    cli__process_name(control->name);
    cli__kafka_config(ctx, &control->kafka);
    set_relay_kafka(control);
    cli__store_config(ctx, &cfg);
    cfg.may_recover = true;
    if (bus_kafka_check_props(&control->relay_kafka, err) != 0 || see_models(control, worker_count > 0, err) != 0 ||
        store_open(&cfg, &control->st, err) != 0 ||
        open_role(control, &control->commands.role, "ingest", commands_role_step, err) != 0 ||
        open_role(control, &control->orders.role, "ingest", orders_role_step, err) != 0 ||
        open_role(control, &control->sweeper_role, "sweeper", sweeper_role_step, err) != 0 ||
        open_role(control, &control->relay_role, "relay", relay_role_step, err) != 0 ||
        open_role(control, &control->collector_role, "collector", collector_role_step, err) != 0 ||
        open_artifacts(control, err) != 0 || start_http(control, err) != 0) {
        free_control(control);
        return -1;
    }
    new_intake(control, &control->commands, config_string(ctx->cfg, "bus.commands_topic"), "", true);
    new_intake(control, &control->orders, config_string(ctx->cfg, "bus.control_topic"), CONTROL_GROUP, false);
    new_relay(control);
    control->sweeper =
        (struct sweeper){.st = control->sweeper_role.st, .limit = (size_t)config_int(ctx->cfg, "sweeper.batch")};
    control->supervisor = cli__supervisor_new(ctx, control->st, worker_count);
    log_info(ROLE, "penstock %s starts as %s", PENSTOCK_VERSION, control->name);
    start_role(&control->commands.role);
    start_role(&control->orders.role);
    start_role(&control->sweeper_role);
    if (control->artifacts) start_role(&control->collector_role);
    start_role(&control->relay_role);
    *ret = control;
    return 0;
}

/* --- the policy in the store ---------------------------------------------------------------------------------------
 */

int cli__tenant_limits(const struct config *cfg, struct arena *arena, struct store_limit **ret, size_t *ret_count,
                       struct err *err) {
    const char *text = config_string(cfg, "limits.running_by_tenant");
    size_t count = 0;
    for (const char *c = text; *c; c++) count += *c == '=';
    *ret = arena_alloc(arena, (count + 1) * sizeof **ret);
    *ret_count = 0;
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " "), name_len = strcspn(at, "= ");
        char *end = NULL;
        long long limit = name_len < len ? strtoll(at + name_len + 1, &end, 10) : 0;
        if (name_len == 0 || end != at + len || limit < 1)
            return err_set(err, ERR_CONFIG, "limits.running_by_tenant: \"%.*s\" is not of the form tenant=number",
                           (int)len, at);
        (*ret)[(*ret_count)++] = (struct store_limit){arena_strndup(arena, at, name_len), limit};
        at += len;
    }
    return 0;
}

/* Writes what the configuration and the models say about limits into the store, where the scripts find it. */
static int write_policy(struct cli_control *control, bool only_if_lost, struct err *err) {
    const struct config *cfg = control->ctx->cfg;
    struct store_limit *tenants, *models;
    struct store_policy policy = {
        .tenant_label = config_string(cfg, "limits.tenant_label"),
        .tenant_max_running = config_int(cfg, "limits.running_per_tenant"),
        .ageing_ms = config_int(cfg, "limits.ageing_ms"),
    };
    struct arena arena;
    arena_init(&arena);
    int rc = cli__tenant_limits(cfg, &arena, &tenants, &policy.tenant_count, err);
    if (rc != 0) goto out;
    models = arena_alloc(&arena, (control->models.count + 1) * sizeof *models);
    for (size_t i = 0; i < control->models.count; i++) {
        const struct model_entry *entry = &control->models.entries[i];
        if (entry->latest && entry->policy.max_running)
            models[policy.model_count++] = (struct store_limit){entry->name, entry->policy.max_running};
    }
    policy.tenants = tenants;
    policy.models = models;
    rc = store_policy_set(control->st, &policy, only_if_lost, err);
out:
    arena_done(&arena);
    return rc;
}

/* The first time it writes the policy, whatever was there: the last control process to start wins. Later only if the
 * store has lost it. */
static int keep_policy(struct cli_control *control, struct err *err) {
    int64_t now = clock_mono_ms(&clock_system);
    if (control->policy_at > now) return 0;
    if (write_policy(control, control->policy_at > 0, err) != 0) return -1;
    control->policy_at = now + POLICY_LOOK_MS;
    return 0;
}

/* Models come and go while we run. A repository that cannot be read, because somebody is writing to it, is left alone
 * until it can be. */
static void follow_models(struct cli_control *control) {
    int64_t now = clock_mono_ms(&clock_system), poll_ms = config_int(control->ctx->cfg, "models.poll_ms");
    struct model_list list;
    struct err err;
    if (!control->models_seen || poll_ms == 0 || now < control->models_at) return;
    control->models_at = now + poll_ms;
    if (registry_models_scan(config_string(control->ctx->cfg, "models.repository"), &list, &err) != 0) {
        if (strcmp(control->models_complaint.msg, err.msg) != 0) log_err(ROLE, &err);
        control->models_complaint = err;
        return;
    }
    control->models_complaint.msg[0] = '\0';
    if (!registry_models_equal(&list, &control->models)) {
        pthread_mutex_lock(&control->models_lock);
        struct model_list before = control->models;
        control->models = list;
        list = before;
        pthread_mutex_unlock(&control->models_lock);
        control->policy_at = 0; /* it has changed, too */
        log_info(ROLE, "the model repository has changed: %zu versions", control->models.count);
    }
    registry_models_done(&list);
}

/* --- running and stopping ------------------------------------------------------------------------------------------
 */

struct watch {
    struct cli_control *control;
    struct cli_notify notify;
    void (*on_tick)(void *self);
    void *self;
};

static int watch_step(void *self, struct err *err) {
    struct watch *watch = self;
    cli__notify_alive(&watch->notify);
    follow_models(watch->control);
    if (cli__supervisor_step(watch->control->supervisor, err) != 0 || keep_policy(watch->control, err) != 0) return -1;
    if (watch->on_tick) watch->on_tick(watch->self);
    loop_sleep(TICK_MS);
    return 0;
}

static int first_failure(const struct cli_control *control, struct err *err) {
    const struct role *roles[] = {&control->commands.role, &control->orders.role, &control->sweeper_role,
                                  &control->relay_role, &control->collector_role};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (roles[i]->failed) {
            *err = roles[i]->err;
            return err_wrap(err, "%s", roles[i]->name);
        }
    return 0;
}

int cli__control_run(struct cli_control *control, void (*on_tick)(void *self), void *self, struct err *err) {
    struct watch watch = {.control = control, .on_tick = on_tick, .self = self};
    struct loop loop = {.role = ROLE, .step = watch_step, .self = &watch, .clock = &clock_system};
    cli__notify_open(&watch.notify);
    cli__notify_say(&watch.notify, "READY=1");
    int rc = loop_run(&loop, err);
    loop_request_stop();
    log_info(ROLE, "stopping");
    cli__notify_say(&watch.notify, "STOPPING=1");
    cli__notify_close(&watch.notify);
    http_stop(control->http);
    control->http = NULL;
    pthread_join(control->commands.role.thread, NULL);
    pthread_join(control->orders.role.thread, NULL);
    const struct config *cfg = control->ctx->cfg;
    cli__supervisor_stop(control->supervisor,
                         config_int(cfg, "worker.shutdown_ms") + config_int(cfg, "worker.grace_ms") + STOP_MARGIN_MS);
    pthread_join(control->sweeper_role.thread, NULL);
    if (control->artifacts) pthread_join(control->collector_role.thread, NULL);
    atomic_store(&control->workers_gone, true);
    pthread_join(control->relay_role.thread, NULL);
    if (rc == 0) rc = first_failure(control, err);
    log_info(ROLE, "stopped");
    free_control(control);
    return rc;
}

/* `penstock config --check`: whatever can be known to be wrong before a process starts with it.
 *
 * Loading has refused unknown names, wrong types and values out of range, and names the first; everything after that is
 * looked at here and told all at once, since whoever corrects a file wants one list. An error is what would end `serve`
 * or one of its workers; a warning is what would work otherwise than its author probably thinks. Nothing is connected
 * to unless asked: a configuration is checked on machines that reach neither Kafka nor Redis. */
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/registry.h"

#define TOPIC_MAX_BYTES 249 /* Kafka's limit */

struct report {
    struct cli_context *ctx;
    const struct config *cfg;
    int errors;
    struct buf warnings; /* with --json: the elements of the array */
};

static void add(struct report *report, const struct err *err) {
    cli__print_err(report->ctx, err);
    report->errors++;
}

/* rc and err as they come from what is checked. */
static void take(struct report *report, int rc, const struct err *err) {
    if (rc != 0) add(report, err);
}

static void warn(struct report *report, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void warn(struct report *report, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (report->ctx->json) {
        if (report->warnings.len > 0) buf_puts(&report->warnings, ",");
        wire_json_string(text, strlen(text), &report->warnings);
    } else if (!report->ctx->quiet) {
        fprintf(stderr, "penstock: warning: %s\n", text);
    }
}

/* Errors stand on standard error already, each as an envelope of its own. */
static void print_json(const struct report *report) {
    const char *path = report->ctx->config_path;
    struct buf file = {0};
    if (path) wire_json_string(path, strlen(path), &file);
    printf("{\"valid\":%s,\"file\":%s,\"errors\":%d,\"warnings\":[%s]}\n", report->errors ? "false" : "true",
           path ? file.data : "null", report->errors, report->warnings.len > 0 ? report->warnings.data : "");
    buf_done(&file);
}

/* --- files and folders -------------------------------------------------------------------------------------------- */

static void check_file(struct report *report, const char *name, const char *path, bool is_private) {
    struct err err;
    struct stat st;
    if (access(path, R_OK) != 0 || stat(path, &st) != 0) {
        err_set_errno(&err, ERR_CONFIG, "%s: %s", name, path);
        add(report, &err);
    } else if (is_private && (st.st_mode & S_IROTH)) {
        warn(report, "%s: others may read the private key in %s: chmod o= %s", name, path, path);
    }
}

static void check_folder(struct report *report, const char *name, int mode) {
    const char *path = config_string(report->cfg, name);
    struct err err;
    struct stat st;
    if (!*path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode) && access(path, mode) == 0)) return;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        err_set(&err, ERR_CONFIG, "%s: %s is no folder", name, path);
    else
        err_set_errno(&err, ERR_CONFIG, "%s: %s", name, path);
    add(report, &err);
}

static bool ends_in(const char *s, const char *end) {
    size_t len = strlen(s), end_len = strlen(end);
    return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* librdkafka opens its files when a client is made, and only then says that one is missing. */
static void check_kafka_files(struct report *report) {
    size_t count;
    const struct config_property *props = config_kafka_properties(report->cfg, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = props[i].name, *path = props[i].value;
        bool is_key = strcmp(name, "ssl.key.location") == 0 || strcmp(name, "ssl.keystore.location") == 0;
        if (!ends_in(name, ".location") || strcmp(path, "probe") == 0) continue;
        struct buf full = {0};
        buf_printf(&full, "kafka.%s", name);
        check_file(report, full.data, path, is_key);
        buf_done(&full);
    }
}

/* --- settings that must go together ------------------------------------------------------------------------------- */

static const char *const topics[] = {"bus.commands_topic", "bus.control_topic", "bus.events_topic", "bus.dlq_topic"};
#define TOPIC_COUNT (sizeof topics / sizeof topics[0])

static bool topic_is_valid(const char *topic) {
    size_t len = strspn(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return len > 0 && !topic[len] && len <= TOPIC_MAX_BYTES && strcmp(topic, ".") != 0 && strcmp(topic, "..") != 0;
}

static void check_topics(struct report *report) {
    struct err err;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const char *topic = config_string(report->cfg, topics[i]);
        if (!topic_is_valid(topic)) {
            err_set(&err, ERR_CONFIG, "%s = '%s' is no name of a topic: 1 to %d of the characters A-Z a-z 0-9 . _ -",
                    topics[i], topic, TOPIC_MAX_BYTES);
            add(report, &err);
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(topic, config_string(report->cfg, topics[j])) == 0) {
                err_set(&err, ERR_CONFIG, "%s and %s are the same topic, '%s'", topics[j], topics[i], topic);
                add(report, &err);
            }
    }
}

/* The cap of 0 is none. */
static void check_cap(struct report *report, const char *name, const char *cap_name) {
    long long value = config_int(report->cfg, name), cap = config_int(report->cfg, cap_name);
    if (cap > 0 && value > cap)
        warn(report, "%s = %lld is over %s = %lld: the lower one holds", name, value, cap_name, cap);
}

static void check_limits(struct report *report) {
    struct store_limit *limits;
    struct arena arena;
    size_t count;
    struct err err;
    check_cap(report, "jobs.timeout_ms", "jobs.timeout_max_ms");
    check_cap(report, "jobs.queue_timeout_ms", "jobs.queue_timeout_max_ms");
    check_cap(report, "jobs.retry_backoff_ms", "jobs.retry_backoff_max_ms");
    arena_init(&arena);
    take(report, cli__tenant_limits(report->cfg, &arena, &limits, &count, &err), &err);
    arena_done(&arena);
}

static void check_models(struct report *report) {
    const struct config *cfg = report->cfg;
    const char *repository = config_string(cfg, "models.repository"), *dir = config_string(cfg, "worker.plugin_dir");
    const struct executor_ops *ops;
    struct model_list list;
    struct err err;
    if (config_int(cfg, "worker.count") == 0 && access(repository, F_OK) != 0) {
        warn(report, "there is no model repository at %s: commands for any model will be taken", repository);
        return;
    }
    int rc = registry_models_scan(repository, &list, &err);
    take(report, rc, &err);
    if (rc == 0) registry_models_done(&list);
    if (config_int(cfg, "worker.count") > 0)
        take(report, registry_executor_find(config_string(cfg, "worker.executor"), *dir ? dir : NULL, &ops, &err),
             &err);
}

/* --- the servers, where asked ------------------------------------------------------------------------------------- */

static void check_redis(struct report *report, struct store *st) {
    struct err err;
    take(report, store_check(st, &err), &err);
}

static void check_kafka(struct report *report, const struct bus_kafka_config *kafka) {
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        struct bus_consumer *reader;
        struct err err;
        int rc =
            bus_kafka_reader(kafka, config_string(report->cfg, topics[i]), BUS_OFFSET_END, &reader, NULL, NULL, &err);
        take(report, rc, &err);
        if (rc == 0) bus_consumer_free(reader);
        if (rc != 0 && (err.code == ERR_BUS_UNAVAILABLE || !strstr(err.msg, config_string(report->cfg, topics[i]))))
            return; /* no broker, or no login: the other topics would say the same */
    }
}

int cli__config_check(struct cli_context *ctx, bool connect) {
    struct report report = {.ctx = ctx, .cfg = ctx->cfg};
    struct bus_kafka_config kafka;
    struct store *st = NULL;
    struct err err;
    size_t count;
    const char *const *warnings = config_warnings(ctx->cfg, &count);
    for (size_t i = 0; i < count; i++) warn(&report, "%s", warnings[i]);
    cli__kafka_config(ctx, &kafka);
    int kafka_rc = bus_kafka_check_props(&kafka, &err);
    take(&report, kafka_rc, &err);
    check_kafka_files(&report);
    check_topics(&report);
    int store_rc = cli__open_store(ctx, &st, &err); /* reads the files of TLS, connects to nothing */
    take(&report, store_rc, &err);
    const char *key = config_string(ctx->cfg, "store.tls_key_file");
    if (*key) check_file(&report, "store.tls_key_file", key, true);
    check_limits(&report);
    check_models(&report);
    check_folder(&report, "worker.plugin_dir", R_OK | X_OK);
    check_folder(&report, "artifacts.root", R_OK | W_OK | X_OK);
    check_folder(&report, "artifacts.input_root", R_OK | X_OK);
    if (connect && store_rc == 0) check_redis(&report, st);
    if (connect && kafka_rc == 0) check_kafka(&report, &kafka);
    store_free(st);
    if (ctx->json)
        print_json(&report);
    else if (!report.errors && !ctx->quiet)
        fprintf(stderr, "the configuration is valid (%s)\n", ctx->config_path ? ctx->config_path : "no file");
    buf_done(&report.warnings);
    return report.errors ? CLI_USAGE : CLI_OK;
}

/* The one table of settings. Everything else follows from it: parsing and ranges, the environment's names, `penstock
 * config`, and docs/configuration.md, which `penstock config --markdown` prints and a test compares. Whoever adds a row
 * regenerates that page. A name once released is not reused for another meaning. The unit of a number is the end of its
 * name: _ms, _bytes; a bare name is a count. */
#include <string.h>

#include "config_internal.h"

#define DAY_MS  86400000LL
#define YEAR_MS (366 * DAY_MS)

#define INT(n, d, lo, hi, text)                                                                                        \
    { .name = n, .type = CONFIG_INT, .def = d, .min = lo, .max = hi, .doc = text }
#define BOOL(n, d, text)                                                                                               \
    { .name = n, .type = CONFIG_BOOL, .def = d, .doc = text }
#define STRING(n, d, text)                                                                                             \
    { .name = n, .type = CONFIG_STRING, .def = d, .doc = text }
#define URL(n, d, text)                                                                                                \
    { .name = n, .type = CONFIG_STRING, .def = d, .is_url = true, .doc = text }
#define SECRET(n, text)                                                                                                \
    { .name = n, .type = CONFIG_STRING, .def = "", .is_secret = true, .doc = text }
#define CHOICE(n, d, all, text)                                                                                        \
    { .name = n, .type = CONFIG_CHOICE, .def = d, .choices = all, .doc = text }

const struct config_section config__sections[] = {
    {"bus", "Kafka topics and the consumer group."},
    {"store", "Redis, which holds the job records and queues."},
    {"jobs", "Limits that a job has when its command does not set its own."},
    {"ingest", "From the command topic into the store."},
    {"limits", "Who may run how much at once, over all workers, and in what order."},
    {"relay", "From the store's outbox to the events topic."},
    {"sweeper", "Deadlines: retries, timeouts, leases, retention."},
    {"models", "What there is to run."},
    {"worker", "The processes that run jobs."},
    {"artifacts", "Files: large outputs, and inputs that jobs name by uri."},
    {"http", "The HTTP server of `penstock serve` and `penstock dev`."},
    {"log", "Lines on standard error."},
};
const size_t config__section_count = sizeof config__sections / sizeof config__sections[0];

const struct config_setting config__table[] = {
    STRING("bus.commands_topic", "penstock.commands", "Topic that job commands are read from."),
    STRING("bus.control_topic", "penstock.control",
           "Topic for what must not wait behind the backlog of the command topic: cancels, pause, resume, drain."),
    STRING("bus.events_topic", "penstock.events", "Topic that every transition of every job is published to."),
    STRING("bus.dlq_topic", "penstock.commands.dlq",
           "Dead-letter topic: refused commands, with the reason and where they stood."),
    STRING("bus.group", "penstock",
           "Consumer group of the control processes; they share the command partitions through it."),
    STRING("bus.group_instance_id", "",
           "Static membership: a name of this control process that outlives restarts, so that a quick restart moves no "
           "partitions. Empty: dynamic membership."),
    INT("bus.partitions", "4", 1, 10000,
        "Partitions of topics that Penstock creates; existing topics stay as they are."),
    INT("bus.replication", "1", 1, 100, "Replication factor of topics that Penstock creates; 3 on a real cluster."),
    BOOL("bus.create_topics", "true", "Create the topics that are missing when a control process starts."),
    BOOL(
        "bus.accept_lost_commands", "false",
        "Go on when Kafka's retention has deleted commands that were never read. Otherwise a control process stops and "
        "names the exact range."),

    URL("store.url", "redis://127.0.0.1:6379",
        "Redis: redis://[user[:password]@]host[:port][/db], rediss:// in its place for TLS, or unix:///path."),
    SECRET("store.password", "Redis's password, in the place of one in store.url."),
    STRING("store.tls_ca_file", "",
           "PEM file of the certificate authorities that may vouch for Redis (rediss://). Empty: the system's."),
    STRING("store.tls_cert_file", "", "PEM file of our own certificate, where Redis asks for one. Empty: none."),
    STRING("store.tls_key_file", "", "PEM file of its private key, without a password; empty: as store.tls_cert_file."),
    STRING("store.prefix", "penstock:", "Put before every key, so that several installations can share one Redis."),
    INT("store.timeout_ms", "5000", 500, 3600000, "Longest wait for a connection or an answer."),
    INT("store.retention_ms", "604800000", 0, YEAR_MS * 100,
        "How long the record of an ended job is kept; 0: for ever."),
    INT("store.retention_completed_ms", "0", 0, YEAR_MS * 100,
        "The same for completed jobs; 0: as store.retention_ms."),
    INT("store.retention_failed_ms", "0", 0, YEAR_MS * 100, "The same for failed jobs; 0: as store.retention_ms."),
    INT("store.retention_cancelled_ms", "0", 0, YEAR_MS * 100,
        "The same for cancelled jobs; 0: as store.retention_ms."),
    INT("store.tombstone_ms", "86400000", 1000, YEAR_MS,
        "How long a cancel that arrived before its create is remembered."),

    INT("jobs.max_attempts", "3", 1, 1000, "Runs that a job gets when they fail in a way that may be retried."),
    INT("jobs.max_crashes", "3", 1, 1000,
        "A job whose worker died this often fails as worker_lost: it may be what kills them."),
    INT("jobs.timeout_ms", "300000", 1, YEAR_MS, "Longest time of one run."),
    INT("jobs.timeout_max_ms", "0", 0, YEAR_MS, "A command that asks for a longer run gets this; 0: no cap."),
    INT("jobs.queue_timeout_ms", "86400000", 1, YEAR_MS,
        "Longest time in the queue before a job fails as queue_timeout."),
    INT("jobs.queue_timeout_max_ms", "0", 0, YEAR_MS,
        "A command that asks for a longer time in the queue gets this; 0: no cap."),
    INT("jobs.retry_backoff_ms", "1000", 0, DAY_MS,
        "Wait before the second attempt; it doubles with each further one, and jitter is added."),
    INT("jobs.retry_backoff_max_ms", "300000", 0, DAY_MS, "The wait between attempts grows no longer than this."),

    INT("ingest.batch", "128", 1, 10000, "Most commands that enter the store in one atomic step."),
    INT("ingest.max_queued", "100000", 0, 1000000000,
        "Jobs of one model that may wait: with so many, the command topic is paused until fewer than four fifths wait, "
        "and Kafka keeps the rest. A model's max_queued goes before. 0: no limit."),

    STRING("limits.tenant_label", "tenant",
           "The label whose value names a job's tenant. Empty: tenants are not told apart."),
    INT("limits.running_per_tenant", "0", 0, 1000000,
        "Jobs of one tenant that run at once, over all workers; 0: no limit. Tenants at their limit take turns."),
    STRING("limits.running_by_tenant", "", "The same for single tenants: tenant=number, separated by spaces."),
    INT("limits.ageing_ms", "0", 0, DAY_MS,
        "A job that has waited this long goes before newer ones of the next higher priority, so that low priorities "
        "cannot starve; 0: priorities are strict."),

    INT("relay.lease_ms", "10000", 1000, 3600000,
        "One relay publishes at a time; when it dies, another takes over after this."),
    INT("relay.batch", "64", 1, 10000, "Most outbox entries that are read in one step."),

    INT("sweeper.batch", "100", 1, 10000, "Most due deadlines that are handled in one atomic step."),

    STRING("models.repository", "models",
           "Folder of models, laid out as Triton's: <name>/<version>/model.onnx, with an optional <name>/config.json."),
    INT("models.poll_ms", "5000", 0, 3600000,
        "How often the repository is looked at for new, changed and removed versions, which are then served without a "
        "restart; a version that cannot be loaded leaves the one before. 0: never."),

    INT("worker.count", "1", 0, 1024, "Worker processes that `penstock serve` starts and watches; 0: none."),
    STRING("worker.executor", "onnx-cpu",
           "Executor that runs models of the backend \"onnx\": onnx-cpu, or a plug-in such as onnx-cuda. Models of the "
           "backend \"fake\" always run in the fake executor."),
    INT("worker.device", "0", 0, 1023, "Ordinal of the GPU that the first worker uses; ignored by CPU executors."),
    INT("worker.threads", "1", 0, 1024, "CPU threads of one run; 0: the executor's choice."),
    INT("worker.lease_ms", "15000", 1000, 3600000,
        "A job whose worker has been silent for this long is given to another one. Leases are renewed at a third of "
        "it."),
    INT("worker.grace_ms", "5000", 0, 3600000,
        "A run that was told to stop (cancel, timeout, lost lease, shutdown) has this long before its process is "
        "ended."),
    CHOICE("worker.shutdown", "drain", "drain|requeue|immediate",
           "What a worker does when it is asked to stop: finish what runs, stop it and give it back, or give it back "
           "without waiting for it."),
    INT("worker.shutdown_ms", "20000", 0, DAY_MS,
        "How long a draining worker may finish what runs; then it gives it back."),
    INT("worker.prefetch_below_ms", "50", 0, 60000,
        "The next batch is claimed ahead when a run usually takes less than this; 0: never ahead."),
    STRING("worker.plugin_dir", "",
           "Folder of executor plug-ins (libpenstock_<name>.so, '-' as '_'). Empty: beside the binary, then where the "
           "installation keeps them, then the library path."),
    INT("worker.max_result_bytes", "65536", 1, 786432,
        "Largest result document; a larger one fails the job as result_too_large. It travels in an event, which has to "
        "fit Kafka's 1 MiB."),

    STRING("artifacts.root", "",
           "Folder that outputs of more than artifacts.inline_bytes are written to, the same for workers and control "
           "processes. Empty: every output goes into the result document."),
    INT("artifacts.inline_bytes", "65536", 0, 1048576, "The largest output that goes into the result document."),
    INT("artifacts.max_bytes", "1073741824", 1, 1099511627776,
        "The most that the outputs of one job may have in all; with more it fails as result_too_large."),
    INT("artifacts.collect_after_ms", "600000", 0, YEAR_MS,
        "Files of a job whose record has gone, and of runs that lost their lease, are deleted when nobody has touched "
        "them for this long."),
    STRING("artifacts.input_root", "",
           "Folder within which files that inputs name by uri must lie. Empty: such inputs are refused."),
    INT("artifacts.max_input_bytes", "1073741824", 1, 1099511627776, "The largest such file."),

    STRING("http.listen", "127.0.0.1:8080",
           "Address and port; port 0: a free one. An address that other machines reach needs http.token_file, or "
           "`serve --insecure`. Empty: no HTTP server."),
    BOOL("http.insecure", "false", "Answer other machines without asking for a token."),
    STRING("http.token_file", "",
           "File of bearer tokens, as `penstock token` writes them; read again when it changes. Empty: no tokens are "
           "asked "
           "for, and only requests from this machine answered."),
    STRING("http.tls_cert", "", "File with the certificate chain, PEM. Empty: no TLS."),
    STRING("http.tls_key", "", "File with its key, PEM."),
    INT("http.threads", "4", 1, 256, "Threads that ask Redis, each with a connection of its own."),
    INT("http.max_connections", "1024", 1, 100000, "Connections at once; more are answered 503."),
    INT("http.max_connections_per_ip", "512", 1, 100000, "The same for one address."),
    INT("http.max_header_bytes", "32768", 4096, 1048576,
        "Memory of one connection, which the request line and the headers have to fit in."),
    INT("http.max_body_bytes", "2097152", 1024, 268435456, "The largest body, uploads aside."),
    INT("http.max_upload_bytes", "1073741824", 1, 1099511627776, "The largest upload."),
    INT("http.upload_keep_ms", "86400000", 1000, YEAR_MS, "How long an upload is kept."),
    INT("http.header_timeout_ms", "10000", 100, 3600000, "A request line and its headers must be there within this."),
    INT("http.body_timeout_ms", "30000", 100, 3600000,
        "A body must be there within this; for uploads, only silence of 30 s ends them."),
    INT("http.idle_timeout_ms", "75000", 100, 3600000, "A connection without a request is closed after this."),

    CHOICE("log.level", "info", "debug|info|warn|error|off", "Least important level that is written."),
    CHOICE("log.format", "text", "text|json", "Lines for people, or one JSON object a line."),
};
const size_t config__table_count = sizeof config__table / sizeof config__table[0];

const struct config_exempt config__exempt[] = {
    {"PENSTOCK_CONFIG", false, "the configuration file, where -c names none"},
    {"PENSTOCK_SOURCE_DIR", false, "tests: the source tree"},
    {"PENSTOCK_BUILD_DIR", false, "tests: the build tree"},
    {"PENSTOCK_KAFKA_HOME", false, "tests and scripts: where Apache Kafka is unpacked"},
    {"PENSTOCK_KAFKA_VERSION", false, "tests and scripts: which Apache Kafka is fetched"},
    {"PENSTOCK_SHARED_MODELS", false, "tests: a folder of further models"},
    {"PENSTOCK_TEST_", true, "tests: switches of single tests"},
};
const size_t config__exempt_count = sizeof config__exempt / sizeof config__exempt[0];

int config__find(const char *name) {
    for (size_t i = 0; i < config__table_count; i++)
        if (strcmp(config__table[i].name, name) == 0) return (int)i;
    return -1;
}

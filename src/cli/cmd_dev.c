/* penstock dev: the embedded default. One command runs a Kafka mock in this process, a private redis-server as a child,
 * the control roles and the workers; it is `serve` with the two servers put in front, on free loopback ports, and a
 * configuration file that the other commands of this user find by themselves.
 *
 * The mock keeps its messages in this process and the state of Redis belongs to them, so an instance always starts
 * empty and leaves nothing behind, not even after kill -9: its children die with it, and the last of them, which does
 * nothing but wait for that, removes the directory. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/clock.h"
#include "penstock/log.h"
#include "penstock/loop.h"

#define ROLE           "dev"
#define REDIS_START_MS 10000
#define REDIS_STOP_MS  5000
#define CLEAR_MS       2000 /* Redis, which dies when we do, may write a file yet */

#define HTTP_DEFAULT "127.0.0.1:8080" /* of http.listen: nobody has chosen */

enum { OPT_REDIS_PORT = CLI_OPT_OWN, OPT_HTTP_PORT };

static const struct cli_option options[] = {
    {"http-port", OPT_HTTP_PORT, "PORT", NULL, "where the HTTP server listens on 127.0.0.1 (default: a free port)"},
    {"redis-port", OPT_REDIS_PORT, "PORT", NULL, "where Redis listens on 127.0.0.1 (default: a free port)"},
    {0}};

struct dev {
    struct cli_context *ctx;
    struct buf dir; /* <runtime dir>/penstock-dev */
    int lock_fd;    /* of its pid file: held while we run */
    pid_t janitor;  /* removes the directory when ... */
    int janitor_fd; /* ... this end of a pipe is closed, by us or by our death */
    struct bus_mock *mock;
    pid_t redis_pid;
    int redis_port, http_port;
    struct store *st;
    const char *http_url; /* of the control process */
    bool announced, redis_died;
};

/* --- its directory -------------------------------------------------------------------------------------------------
 */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void clear_dir(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static const char *in_dir(struct dev *dev, struct arena *arena, const char *name) {
    return arena_printf(arena, "%s/%s", dev->dir.data, name);
}

/* The janitor's life. The lock that it inherited keeps others from moving in before it has swept. */
static void wait_and_clear(const char *path, int fd) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP}; /* meant for our parent, whose end we wait for */
    char byte;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
    while (read(fd, &byte, 1) < 0 && errno == EINTR) continue;
    int64_t deadline = clock_mono_ms(&clock_system) + CLEAR_MS;
    for (clear_dir(path); access(path, F_OK) == 0 && clock_mono_ms(&clock_system) < deadline; clear_dir(path))
        cli__pause_ms(10);
    cli__dev_dir_leave();
}

/* Before there are threads. */
static int start_janitor(struct dev *dev, struct err *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return err_set_errno(err, ERR_SYSTEM, "pipe");
    dev->janitor = fork();
    if (dev->janitor < 0) {
        close(ends[0]);
        close(ends[1]);
        return err_set_errno(err, ERR_SYSTEM, "fork");
    }
    if (dev->janitor == 0) {
        close(ends[1]);
        wait_and_clear(dev->dir.data, ends[0]);
        _exit(0);
    }
    close(ends[0]);
    dev->janitor_fd = ends[1];
    return 0;
}

static void stop_janitor(struct dev *dev) {
    if (dev->janitor <= 0) return;
    close(dev->janitor_fd);
    while (waitpid(dev->janitor, NULL, 0) < 0 && errno == EINTR) continue;
}

/* One instance a user: the lock on the pid file dies with its process. */
static int take_dir(struct dev *dev, struct arena *arena, struct err *err) {
    if (cli__dev_dir(true, &dev->dir, err) != 0) return -1;
    if (mkdir(dev->dir.data, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, ERR_SYSTEM, "mkdir %s", dev->dir.data);
    const char *path = in_dir(dev, arena, "pid");
    dev->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (dev->lock_fd < 0) return err_set_errno(err, ERR_SYSTEM, "open %s", path);
    if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_USAGE, "penstock dev is already running (%s)", dev->dir.data);
    clear_dir(in_dir(dev, arena, "redis"));
    if (mkdir(in_dir(dev, arena, "redis"), 0700) != 0)
        return err_set_errno(err, ERR_SYSTEM, "mkdir %s/redis", dev->dir.data);
    return start_janitor(dev, err);
}

/* The configuration in force, as a file for the other commands and for the workers; then the pid that makes it count.
 */
static int publish_config(struct dev *dev, struct arena *arena, struct err *err) {
    const char *path = in_dir(dev, arena, "penstock.ini");
    FILE *file = fopen(path, "we");
    if (!file) return err_set_errno(err, ERR_SYSTEM, "open %s", path);
    config_print(dev->ctx->cfg, file);
    if (fclose(file) != 0) return err_set_errno(err, ERR_SYSTEM, "write %s", path);
    char pid[16];
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(dev->lock_fd, 0) != 0 || pwrite(dev->lock_fd, pid, (size_t)len, 0) != len)
        return err_set_errno(err, ERR_SYSTEM, "write %s/pid", dev->dir.data);
    free(dev->ctx->config_path);
    dev->ctx->config_path = mem_strdup(path);
    return 0;
}

/* --- redis ---------------------------------------------------------------------------------------------------------
 */

static int free_port(struct err *err) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = -1;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 &&
        getsockname(fd, (struct sockaddr *)&addr, &len) == 0)
        port = ntohs(addr.sin_port);
    else
        err_set_errno(err, ERR_SYSTEM, "no free port on 127.0.0.1");
    if (fd >= 0) close(fd);
    return port;
}

static bool redis_answers(int port) {
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    if (fd >= 0) close(fd);
    return there;
}

/* The last line of Redis's log says why it ended; the log goes with the directory. */
static const char *last_words(struct dev *dev, struct arena *arena) {
    char line[256], last[256] = "it wrote no log: is it installed?";
    FILE *log = fopen(in_dir(dev, arena, "redis/redis.log"), "re");
    while (log && fgets(line, sizeof line, log))
        if (line[0] != '\n') snprintf(last, sizeof last, "%.*s", (int)strcspn(line, "\n"), line);
    if (log) fclose(log);
    return arena_strdup(arena, last);
}

static int start_redis(struct dev *dev, struct arena *arena, struct err *err) {
    if (!dev->redis_port && (dev->redis_port = free_port(err)) < 0) return -1;
    const char *argv[] = {"redis-server",
                          "--port",
                          arena_printf(arena, "%d", dev->redis_port),
                          "--bind",
                          "127.0.0.1",
                          "--dir",
                          in_dir(dev, arena, "redis"),
                          "--appendonly",
                          "yes",
                          "--appendfsync",
                          "everysec",
                          "--save",
                          "",
                          "--maxmemory-policy",
                          "noeviction",
                          "--logfile",
                          "redis.log",
                          "--daemonize",
                          "no",
                          NULL};
    if (cli__spawn("redis-server", argv, SIGKILL, &dev->redis_pid, err) != 0) return -1;
    int64_t deadline = clock_mono_ms(&clock_system) + REDIS_START_MS;
    while (!redis_answers(dev->redis_port)) {
        int status;
        if (waitpid(dev->redis_pid, &status, WNOHANG) == dev->redis_pid) {
            dev->redis_pid = 0;
            return err_set(err, ERR_STORE_UNAVAILABLE, "redis-server did not start on port %d: %s", dev->redis_port,
                           last_words(dev, arena));
        }
        if (loop_stop_requested() || clock_mono_ms(&clock_system) > deadline)
            return err_set(err, ERR_STORE_UNAVAILABLE, "redis-server did not answer on port %d", dev->redis_port);
        cli__pause_ms(10);
    }
    return 0;
}

static void stop_redis(struct dev *dev) {
    if (!dev->redis_pid) return;
    int64_t deadline = clock_mono_ms(&clock_system) + REDIS_STOP_MS;
    kill(dev->redis_pid, SIGTERM);
    while (waitpid(dev->redis_pid, NULL, WNOHANG) == 0) {
        if (clock_mono_ms(&clock_system) > deadline) kill(dev->redis_pid, SIGKILL);
        cli__pause_ms(10);
    }
    dev->redis_pid = 0;
}

/* --- kafka ---------------------------------------------------------------------------------------------------------
 */

static int start_mock(struct dev *dev, struct err *err) {
    const struct config *cfg = dev->ctx->cfg;
    int partitions = (int)config_int(cfg, "bus.partitions");
    struct bus_topic topics[] = {
        {config_string(cfg, "bus.commands_topic"), partitions, 1, NULL, NULL},
        {config_string(cfg, "bus.control_topic"), 1, 1, NULL, NULL},
        {config_string(cfg, "bus.events_topic"), partitions, 1, NULL, NULL},
        {config_string(cfg, "bus.dlq_topic"), partitions, 1, NULL, NULL},
    };
    return bus_mock_start(topics, sizeof topics / sizeof topics[0], &dev->mock, err);
}

/* A free port, unless somebody has chosen. */
static const char *http_listen(struct dev *dev, struct arena *arena) {
    const char *configured = config_string(dev->ctx->cfg, "http.listen");
    struct err err;
    if (!dev->http_port && strcmp(configured, HTTP_DEFAULT) != 0)
        return arena_printf(arena, "http.listen=%s", configured);
    if (!dev->http_port && (dev->http_port = free_port(&err)) < 0) dev->http_port = 0;
    return arena_printf(arena, "http.listen=127.0.0.1:%d", dev->http_port);
}

/* Loads the configuration again with what the servers turned out to be laid over it. */
static int reload_config(struct dev *dev, struct arena *arena, struct err *err) {
    struct cli_context *ctx = dev->ctx;
    char *repository = realpath(config_string(ctx->cfg, "models.repository"), NULL);
    const char *extra[] = {
        arena_printf(arena, "kafka.bootstrap.servers=%s", bus_mock_bootstrap(dev->mock)),
        arena_printf(arena, "store.url=redis://127.0.0.1:%d", dev->redis_port),
        "store.password=", /* of another Redis */
        "store.tls_ca_file=",
        "store.tls_cert_file=",
        "store.tls_key_file=",
        "bus.create_topics=false",
        "worker.shutdown=immediate", /* what runs ends for nobody: all of it goes with the instance */
        arena_printf(arena, "models.repository=%s",
                     repository ? repository : config_string(ctx->cfg, "models.repository")),
        http_listen(dev, arena),
    };
    size_t count = sizeof extra / sizeof extra[0];
    const char **all = arena_alloc(arena, (ctx->override_count + count) * sizeof *all);
    struct config *cfg;
    free(repository);
    for (size_t i = 0; i < ctx->override_count; i++) all[i] = ctx->overrides[i];
    for (size_t i = 0; i < count; i++) all[ctx->override_count + i] = extra[i];
    if (config_load(ctx->config_path, all, ctx->override_count + count, &cfg, err) != 0) return -1;
    config_free(ctx->cfg);
    ctx->cfg = cfg;
    ctx->override_count = 0; /* they are in the file that the workers read */
    return 0;
}

/* --- telling -------------------------------------------------------------------------------------------------------
 */

static void announce(struct dev *dev) {
    const struct config *cfg = dev->ctx->cfg;
    const char *kafka = bus_mock_bootstrap(dev->mock);
    dev->announced = true;
    if (dev->ctx->quiet) return;
    printf("\npenstock dev is ready. Ctrl-C stops it and leaves nothing behind.\n"
           "  Kafka   %s   (a mock: it keeps about 5 MB a partition, the oldest messages go first)\n"
           "  Redis   127.0.0.1:%d\n"
           "  HTTP    %s\n"
           "  config  %s   (the other commands find it by themselves)\n"
           "Try, in another terminal:\n"
           "  penstock models\n"
           "  penstock demo\n"
           "  kcat -b %s -C -t %s -f '%%h %%s\\n'\n"
           "  redis-cli -p %d HGETALL %sjob:<id>\n",
           kafka, dev->redis_port, dev->http_url, dev->ctx->config_path, kafka, config_string(cfg, "bus.events_topic"),
           dev->redis_port, config_string(cfg, "store.prefix"));
    fflush(stdout);
}

/* Called by the control's main loop. Ready is: a worker has registered. */
static void on_tick(void *self) {
    struct dev *dev = self;
    struct store_worker *workers;
    struct arena arena;
    size_t count = 0;
    struct err err;
    if (waitpid(dev->redis_pid, NULL, WNOHANG) == dev->redis_pid) {
        dev->redis_pid = 0;
        dev->redis_died = true;
        loop_request_stop();
        return;
    }
    if (dev->announced) return;
    arena_init(&arena);
    if (store_worker_list(dev->st, &arena, &workers, &count, &err) == 0 &&
        (count > 0 || config_int(dev->ctx->cfg, "worker.count") == 0))
        announce(dev);
    arena_done(&arena);
}

static int run(struct dev *dev, struct arena *arena, struct err *err) {
    struct cli_control *control;
    if (take_dir(dev, arena, err) != 0 || start_mock(dev, err) != 0 || start_redis(dev, arena, err) != 0 ||
        reload_config(dev, arena, err) != 0 || publish_config(dev, arena, err) != 0 ||
        cli__open_store(dev->ctx, &dev->st, err) != 0)
        return -1;
    if (cli__control_start(dev->ctx, (int)config_int(dev->ctx->cfg, "worker.count"), &control, err) != 0) return -1;
    dev->http_url = cli__control_http_url(control);
    if (cli__control_run(control, on_tick, dev, err) != 0) return -1;
    return dev->redis_died ? err_set(err, ERR_STORE_UNAVAILABLE, "redis-server ended unexpectedly") : 0;
}

static int dev_main(struct cli_context *ctx, int argc, char **argv) {
    struct dev dev = {.ctx = ctx, .lock_fd = -1};
    struct arena arena;
    struct err err;
    int64_t port = 0, http_port = 0;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_REDIS_PORT && cli__parse_int(ctx, "--redis-port", optarg, 1, 65535, &port) != 0)
            return ctx->exit_code;
        if (opt == OPT_HTTP_PORT && cli__parse_int(ctx, "--http-port", optarg, 1, 65535, &http_port) != 0)
            return ctx->exit_code;
    }
    if (optind < argc) return cli__usage(ctx, "dev takes no arguments, but got '%s'", argv[optind]);
    if (cli__begin(ctx) != 0) return ctx->exit_code;
    cli__log_warnings(ctx);
    cli__handle_signals(true);
    arena_init(&arena);
    dev.redis_port = (int)port;
    dev.http_port = (int)http_port;
    int rc = run(&dev, &arena, &err);
    store_free(dev.st);
    stop_redis(&dev);
    bus_mock_stop(dev.mock);
    stop_janitor(&dev);
    if (dev.lock_fd >= 0) close(dev.lock_fd);
    buf_done(&dev.dir);
    arena_done(&arena);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_dev = {
    .name = "dev",
    .summary = "Run everything here for trying things out: Kafka mock, Redis, control, workers",
    .usage = "[OPTIONS]",
    .about = "Runs everything on this machine for trying things out: a Kafka (librdkafka's mock cluster, real "
             "TCP, any client may connect), a private redis-server, the control process and the workers. Starts "
             "empty, Ctrl-C leaves nothing behind. The other commands find it by themselves.\n"
             "\n"
             "The mock keeps about 5 MB a partition and forgets the oldest messages beyond that: for real work "
             "use `penstock serve` with a Kafka of your own.",
    .options = options,
    .examples = "penstock dev\n"
                "penstock dev -s worker.count=2 -s models.repository=./models",
    .run = dev_main,
};

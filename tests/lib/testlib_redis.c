/* A private redis-server for one test: on a unix socket, so that no port can be taken from under it, with the settings
 * that Penstock demands of a production one (appendonly, noeviction). It speaks the protocol's inline form over a plain
 * socket, because the library stands outside the module that may use a Redis client. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "penstock/mem.h"
#include "testlib.h"
#include "testlib_internal.h"

#define START_DEADLINE_MS 20000

struct test_redis {
    pid_t pid; /* 0: not running */
    char socket_path[108], data_dir[512], log_path[512], url[128];
};

static int dial(const struct test_redis *redis) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, redis->socket_path, sizeof addr.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* One command, one reply as far as a single read brings it: replies to what tests ask here are short. Returns its
 * length. */
static ssize_t ask(const struct test_redis *redis, const char *command, char *ret, size_t size) {
    int fd = dial(redis);
    if (fd < 0) return -1;
    ssize_t n = dprintf(fd, "%s\r\n", command) < 0 ? -1 : read(fd, ret, size - 1);
    if (n >= 0) ret[n] = '\0';
    close(fd);
    return n;
}

static bool answers(void *arg) {
    struct test_redis *redis = arg;
    char reply[64];
    if (test_has_exited(redis->pid, NULL)) testlib__broken_with_log(redis->log_path, "redis-server ended at start");
    return ask(redis, "PING", reply, sizeof reply) > 0 && strcmp(reply, "+PONG\r\n") == 0;
}

static void launch(struct test_redis *redis) {
    mkdir(redis->data_dir, 0755);
    const char *argv[] = {"redis-server",
                          "--port",
                          "0",
                          "--unixsocket",
                          redis->socket_path,
                          "--dir",
                          redis->data_dir,
                          "--appendonly",
                          "yes",
                          "--appendfsync",
                          "everysec",
                          "--save",
                          "",
                          "--maxmemory-policy",
                          "noeviction",
                          "--enable-debug-command",
                          "yes",
                          NULL};
    redis->pid = test_spawn(argv, redis->log_path);
    if (!test_wait_for(answers, redis, START_DEADLINE_MS))
        testlib__broken_with_log(redis->log_path, "redis-server does not answer");
}

struct test_redis *test_redis_start(void) {
    if (!test_have_program("redis-server")) test_skip("redis-server is missing (Debian package redis-server)");
    struct test_redis *redis = mem_calloc(1, sizeof *redis);
    const char *dir = test_temp_dir();
    int n = snprintf(redis->socket_path, sizeof redis->socket_path, "%s/redis.sock", dir);
    if (n < 0 || (size_t)n >= sizeof redis->socket_path) testlib__broken("%s is too long for a unix socket", dir);
    snprintf(redis->data_dir, sizeof redis->data_dir, "%s/redis", dir);
    snprintf(redis->log_path, sizeof redis->log_path, "%s/redis.log", dir);
    snprintf(redis->url, sizeof redis->url, "unix://%s", redis->socket_path);
    launch(redis);
    return redis;
}

const char *test_redis_url(const struct test_redis *redis) { return redis->url; }

void test_redis_kill9(struct test_redis *redis) {
    if (redis->pid > 0) test_kill9(redis->pid);
    redis->pid = 0;
}

void test_redis_restart(struct test_redis *redis) {
    test_redis_kill9(redis);
    launch(redis);
}

void test_redis_wipe(struct test_redis *redis) {
    test_redis_kill9(redis);
    testlib__remove_tree(redis->data_dir);
}

void test_redis_stop(struct test_redis *redis) {
    if (!redis) return;
    test_redis_kill9(redis);
    free(redis);
}

void test_redis_command(const struct test_redis *redis, const char *command, char *ret, size_t size) {
    if (ask(redis, command, ret, size) < 0) testlib__broken("redis %s: %s", command, strerror(errno));
}

/* A real Kafka for one test program, through scripts/lib/kafka, whose exit code 77 (something is missing) is passed on
 * as a skip. The script runs in the foreground as our child, and the JVM as its child: whoever dies takes the next
 * along. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "penstock/mem.h"
#include "testlib.h"
#include "testlib_internal.h"

#define START_DEADLINE_MS 120000 /* a first start may fetch it */

struct test_kafka {
    pid_t script; /* 0: not running */
    char dir[512], log_path[600], bootstrap[32], port[8], controller_port[8];
    long log_start; /* where this run's lines begin */
};

static bool log_has_ready(const struct test_kafka *kafka) {
    FILE *log = fopen(kafka->log_path, "r");
    if (!log) return false;
    char line[512];
    bool found = false;
    fseek(log, kafka->log_start, SEEK_SET);
    while (!found && fgets(line, sizeof line, log)) found = strncmp(line, "ready ", 6) == 0;
    fclose(log);
    return found;
}

static void print_log(const struct test_kafka *kafka) {
    FILE *log = fopen(kafka->log_path, "r");
    char line[512];
    while (log && fgets(line, sizeof line, log)) fputs(line, stderr);
    if (log) fclose(log);
}

static bool is_ready(void *arg) {
    struct test_kafka *kafka = arg;
    int status;
    if (!test_has_exited(kafka->script, &status)) return log_has_ready(kafka);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != TEST_EXIT_SKIP)
        testlib__broken_with_log(kafka->log_path, "Kafka did not start");
    print_log(kafka);
    test_skip("a real Kafka is not to be had here: the reason stands above");
}

static void launch(struct test_kafka *kafka) {
    const char *source = getenv("PENSTOCK_SOURCE_DIR");
    char script[4096];
    snprintf(script, sizeof script, "%s/scripts/lib/kafka", source ? source : SOURCE_DIR);
    const char *argv[] = {
        script, "start", "--dir", kafka->dir, "--port", kafka->port, "--controller-port", kafka->controller_port, NULL};
    FILE *log = fopen(kafka->log_path, "a");
    if (!log) testlib__broken("%s: %s", kafka->log_path, strerror(errno));
    kafka->log_start = ftell(log);
    fclose(log);
    kafka->script = test_spawn(argv, kafka->log_path);
    if (!test_wait_for(is_ready, kafka, START_DEADLINE_MS))
        testlib__broken_with_log(kafka->log_path, "Kafka is not ready");
}

struct test_kafka *test_kafka_start(void) {
    struct test_kafka *kafka = mem_calloc(1, sizeof *kafka);
    const char *dir = test_temp_dir();
    snprintf(kafka->dir, sizeof kafka->dir, "%s/kafka", dir);
    snprintf(kafka->log_path, sizeof kafka->log_path, "%s/kafka-start.log", dir);
    snprintf(kafka->port, sizeof kafka->port, "%d", test_free_port());
    do snprintf(kafka->controller_port, sizeof kafka->controller_port, "%d", test_free_port());
    while (strcmp(kafka->port, kafka->controller_port) == 0);
    snprintf(kafka->bootstrap, sizeof kafka->bootstrap, "127.0.0.1:%s", kafka->port);
    launch(kafka);
    return kafka;
}

const char *test_kafka_bootstrap(const struct test_kafka *kafka) { return kafka->bootstrap; }

/* Kills the JVM and waits for the script, which waits for the JVM: afterwards its port is free again. */
void test_kafka_kill9(struct test_kafka *kafka) {
    if (kafka->script == 0) return;
    char path[600];
    snprintf(path, sizeof path, "%s/kafka.pid", kafka->dir);
    FILE *file = fopen(path, "r");
    int jvm = 0;
    if (file && fscanf(file, "%d", &jvm) == 1 && jvm > 0) kill(jvm, SIGKILL);
    if (file) fclose(file);
    if (jvm == 0) kill(kafka->script, SIGKILL);
    while (waitpid(kafka->script, NULL, 0) < 0 && errno == EINTR) continue;
    kafka->script = 0;
}

void test_kafka_restart(struct test_kafka *kafka) {
    test_kafka_kill9(kafka);
    launch(kafka);
}

void test_kafka_stop(struct test_kafka *kafka) {
    if (!kafka) return;
    test_kafka_kill9(kafka);
    free(kafka);
}

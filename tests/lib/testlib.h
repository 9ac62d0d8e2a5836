/* testlib: what the C tests share: waiting with a deadline, temporary directories, child processes that cannot outlive
 * the test, a private redis-server and a real Apache Kafka.
 *
 *     struct test_redis *redis = test_redis_start();   // skips the program (77) where redis-server is missing
 *     store_open(&(struct store_config){.url = test_redis_url(redis), ...}, &st, &err);
 *     test_redis_kill9(redis);                         // as a power cut: what fsync had not taken is lost
 *     test_redis_restart(redis);
 *     test_redis_stop(redis);
 *
 * What cannot be started although it is installed ends the program with the reason and 99: that is a failure, no skip.
 * Thread: call everything that starts a process from the main thread; children die with the thread that forked them.
 */
#ifndef PENSTOCK_TESTLIB_H
#define PENSTOCK_TESTLIB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "penstock/err.h"

#define TEST_EXIT_SKIP   77
#define TEST_EXIT_BROKEN 99

/* Ends the program as skipped; the text says what is missing and how to get it. */
void test_skip(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

/* Asks every few ms until `cond(arg)` holds or deadline_ms have passed; returns the last answer. */
bool test_wait_for(bool (*cond)(void *arg), void *arg, int deadline_ms);
int64_t test_mono_ms(void);

/* A fresh directory, removed with all that is in it when the program ends. Owns: the library. */
const char *test_temp_dir(void);

int test_free_port(void); /* a TCP port of 127.0.0.1 that was free a moment ago */

/* Starts argv[0] (by PATH) with standard output and error appended to `log_path`. It is killed when the test ends. */
pid_t test_spawn(const char *const *argv, const char *log_path);
void test_kill9(pid_t pid);                       /* and reaps it */
bool test_has_exited(pid_t pid, int *ret_status); /* reaps it; ret_status is as waitpid's */
bool test_have_program(const char *name);         /* is it on PATH? */

/* A redis-server of its own on a unix socket: appendonly everysec, noeviction, its own directory. */
struct test_redis;
struct test_redis *test_redis_start(void);
const char *test_redis_url(const struct test_redis *redis); /* "unix:///..." */
void test_redis_kill9(struct test_redis *redis);
void test_redis_restart(
    struct test_redis *redis); /* kills it first if it runs; keeps the directory; waits until it answers */
void test_redis_wipe(struct test_redis *redis); /* kills it and deletes its files: the next restart finds nothing */
void test_redis_stop(struct test_redis *redis); /* safe on NULL */
/* Sends one inline command ("SET a 1") and writes the raw reply (RESP, at most size - 1 bytes) into ret. */
void test_redis_command(const struct test_redis *redis, const char *command, char *ret, size_t size);

/* A real Kafka, one node (KRaft), through scripts/lib/kafka. Skips where it, Java 17 or kcat is not to be had. */
struct test_kafka;
struct test_kafka *test_kafka_start(void);
const char *test_kafka_bootstrap(const struct test_kafka *kafka); /* "127.0.0.1:41234" */
void test_kafka_kill9(struct test_kafka *kafka);
void test_kafka_restart(struct test_kafka *kafka); /* same port, same data; waits until it answers */
void test_kafka_stop(struct test_kafka *kafka);    /* safe on NULL */

#endif

/* bench_http: the load of bench_http.py: streams that listen, requests that ask, commands that are sent, at given rates.
 *
 *     bench_http HOST:PORT KAFKA TOPIC SECONDS STREAMS GETS_PER_S JOBS_PER_S      prints one line of JSON
 *
 * The rate of requests is kept whatever the server does, and a latency counts from the moment at which the request was due, so
 * that a server that stands still for a second is not asked less for it. Eight of ten requests ask for the record of a
 * job that was sent before, one for a page of jobs, one for the overview. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "penstock/bus_kafka.h"
#include "penstock/clock.h"
#include "penstock/mem.h"
#include "penstock/uuid.h"

#define CONNECTIONS 64
#define RECENT      4096 /* jobs that are asked for */
#define BEHIND_MS   2000 /* a job this old has its record */

struct job {
    char id[UUID_SIZE];
};
struct conn {
    int fd;
    int64_t due_us; /* of the request that is under way; 0: none */
    char buf[65536];
    size_t len;
};

static struct sockaddr_in address;
static const char *host;
static atomic_bool over;
static struct job jobs[RECENT];
static atomic_llong sent, failed, heard_bytes, ended_streams;
static int64_t job_rate;

static int64_t now_us(void) { return clock_mono_us(&clock_system); }

static void pause_until(int64_t due_us) {
    int64_t left = due_us - now_us();
    if (left > 0) usleep((useconds_t)left);
}

static int open_connection(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void ask(int fd, const char *path) {
    char line[256];
    int len = snprintf(line, sizeof line, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) atomic_fetch_add(&failed, 1);
}

/* --- who listens --------------------------------------------------------------------------------------------------- */

static void *listen_to_streams(void *arg) {
    int count = *(int *)arg, epoll = epoll_create1(EPOLL_CLOEXEC);
    static char bytes[262144];
    for (int i = 0; i < count; i++) {
        int fd = open_connection();
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
        ask(fd, "/events");
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
    }
    while (!atomic_load(&over)) {
        struct epoll_event found[64];
        int n = epoll_wait(epoll, found, 64, 100);
        for (int i = 0; i < n; i++) {
            ssize_t got = recv(found[i].data.fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (got > 0) atomic_fetch_add(&heard_bytes, got);
            if (got != 0) continue;
            atomic_fetch_add(&ended_streams, 1);
            close(found[i].data.fd);
        }
    }
    return NULL;
}

/* --- who sends ----------------------------------------------------------------------------------------------------- */

static void on_delivered(void *self, uint64_t tag, const struct err *err) {
    if (err) atomic_fetch_add(&failed, 1);
}

struct sender {
    const char *kafka, *topic;
};

static void *send_jobs(void *arg) {
    const struct sender *to = arg;
    struct bus_property props[] = {{"bootstrap.servers", to->kafka}};
    struct bus_kafka_config cfg = {.props = props, .prop_count = 1};
    struct bus_producer *prod;
    struct err err;
    if (bus_kafka_producer(&cfg, on_delivered, NULL, &prod, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    int64_t begin = now_us();
    for (long long i = 0; !atomic_load(&over); i++) {
        char value[256];
        struct job *job = &jobs[i % RECENT];
        if (uuid_v7(job->id, &err) != 0) exit(1);
        int len = snprintf(value, sizeof value, "{\"type\":\"create\",\"job_id\":\"%s\",\"model\":\"echo\"}", job->id);
        struct bus_out msg = {.topic = to->topic,
                              .partition = -1,
                              .key = job->id,
                              .key_len = strlen(job->id),
                              .value = value,
                              .value_len = (size_t)len};
        if (bus_produce(prod, &msg, &err) != 0) atomic_fetch_add(&failed, 1);
        atomic_store(&sent, i + 1);
        if (bus_producer_poll(prod, 0, &err) != 0) break;
        pause_until(begin + (i + 1) * 1000000 / job_rate);
    }
    bus_producer_free(prod);
    return NULL;
}

/* --- who asks ------------------------------------------------------------------------------------------------------ */

static void ask_next(struct conn *conn, long long number, int64_t due_us) {
    char path[128];
    long long known = atomic_load(&sent) - job_rate * BEHIND_MS / 1000, back = number % (RECENT / 2);
    conn->due_us = due_us;
    conn->len = 0;
    if (number % 10 == 8)
        ask(conn->fd, "/jobs?limit=20");
    else if (number % 10 == 9 || known <= back)
        ask(conn->fd, "/v1/overview");
    else {
        snprintf(path, sizeof path, "/jobs/%s", jobs[(known - 1 - back) % RECENT].id);
        ask(conn->fd, path);
    }
}

/* Is the answer complete? *ret_ok: and 200. */
static bool take_answer(struct conn *conn, bool *ret_ok) {
    ssize_t got = recv(conn->fd, conn->buf + conn->len, sizeof conn->buf - 1 - conn->len, MSG_DONTWAIT);
    if (got == 0) exit(1);
    if (got < 0) return false;
    conn->len += (size_t)got;
    conn->buf[conn->len] = '\0';
    char *end = strstr(conn->buf, "\r\n\r\n"), *length = strcasestr(conn->buf, "\r\nContent-Length: ");
    *ret_ok = strncmp(conn->buf, "HTTP/1.1 200", 12) == 0;
    return end && length && conn->len >= (size_t)(end + 4 - conn->buf) + strtoull(length + 18, NULL, 10);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Returns how many were answered; their latencies in ms. */
static size_t ask_for(int64_t seconds, int64_t rate, double *latencies, size_t *ret_bad) {
    static struct conn conns[CONNECTIONS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    long long asked = 0, total = seconds * rate;
    size_t done = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        conns[i].fd = open_connection();
        epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &ev);
    }
    int64_t begin = now_us();
    while (done < (size_t)total) {
        struct epoll_event found[CONNECTIONS];
        for (int i = 0; i < CONNECTIONS && asked < total; i++) {
            int64_t due_us = begin + asked * 1000000 / rate;
            if (due_us > now_us()) break;
            if (!conns[i].due_us) ask_next(&conns[i], asked++, due_us);
        }
        int n = epoll_wait(epoll, found, CONNECTIONS, 1);
        for (int i = 0; i < n; i++) {
            struct conn *conn = found[i].data.ptr;
            bool ok;
            if (!take_answer(conn, &ok)) continue;
            *ret_bad += !ok;
            latencies[done++] = (double)(now_us() - conn->due_us) / 1000;
            conn->due_us = 0;
        }
    }
    return done;
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: bench_http HOST:PORT KAFKA TOPIC SECONDS STREAMS GETS_PER_S JOBS_PER_S\n");
        return 2;
    }
    struct sender to = {argv[2], argv[3]};
    int64_t seconds = strtoll(argv[4], NULL, 10), rate = strtoll(argv[6], NULL, 10);
    int streams = (int)strtol(argv[5], NULL, 10);
    size_t bad = 0;
    pthread_t listener, sender;
    job_rate = strtoll(argv[7], NULL, 10);
    host = argv[1];
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)strtol(strchr(host, ':') + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    double *latencies = mem_calloc((size_t)(seconds * rate) + 1, sizeof *latencies);
    pthread_create(&listener, NULL, listen_to_streams, &streams);
    pthread_create(&sender, NULL, send_jobs, &to);
    int64_t begin = now_us();
    size_t count = ask_for(seconds, rate, latencies, &bad);
    double took_s = (double)(now_us() - begin) / 1e6;
    atomic_store(&over, true);
    pthread_join(sender, NULL);
    pthread_join(listener, NULL);
    qsort(latencies, count, sizeof *latencies, compare);
    printf(
        "{\"gets\":%zu,\"not_200\":%zu,\"gets_per_s\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"p999_ms\":%.2f,\"max_ms\":%.2f,"
        "\"jobs\":%lld,\"failed\":%lld,\"ended_streams\":%lld,\"stream_mb_per_s\":%.1f}\n",
        count, bad, (double)count / took_s, latencies[count / 2], latencies[count * 99 / 100],
        latencies[count * 999 / 1000], latencies[count - 1], (long long)sent, (long long)failed,
        (long long)ended_streams, (double)heard_bytes / 1e6 / took_s);
    free(latencies);
    return 0;
}

/* http: the HTTP server, before cli in the flow: it reads the store, publishes commands and never writes a job's state.
 *
 * Hides libmicrohttpd, the threads, and every precaution about what comes from outside. schemas/openapi.yaml is the
 * contract of what it answers.
 *
 *     struct http *http;
 *     if (http_start(&cfg, &http, &err) != 0) ...
 *     log_info("http", "%s", http_url(http));
 *     http_stop(http);
 */
#ifndef PENSTOCK_HTTP_H
#define PENSTOCK_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/bus_kafka.h"
#include "penstock/store.h"

/* Does this installation have the model (version NULL: any)? *ret: what its configuration says about its jobs. */
typedef bool http_model_fn(void *self, const char *model, const char *version, struct model_policy *ret);

/* Strings, kafka's properties included, are borrowed until http_stop; an empty string means "not set". */
struct http_config {
    const char *listen; /* "127.0.0.1:8080", "[::1]:8080"; port 0: a free one */
    const char *token_file, *tls_cert, *tls_key;
    bool insecure; /* other machines may connect without a token */
    int threads;   /* that talk to the store */
    int max_connections, max_connections_per_ip;
    size_t max_header_bytes, max_body_bytes;
    int64_t max_upload_bytes, upload_keep_ms;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
    const char *artifact_root, *input_root;
    struct store_config store;
    struct bus_kafka_config kafka;
    const char *commands_topic, *control_topic, *events_topic, *dlq_topic;
    int64_t max_queued;   /* of a model that says nothing itself; 0: no limit */
    http_model_fn *model; /* NULL: the repository is not seen from here, and every name is taken */
    void *self;
    const char *version; /* of Penstock */
};

struct http;
/* ERR_CONFIG for an address that cannot be listened on, a token file or certificate that cannot be used, and for an
 * address that other machines reach without tokens and without `insecure`. Neither Kafka nor Redis need be there. */
int http_start(const struct http_config *cfg, struct http **ret, struct err *err) MUSTCHECK;
const char *http_url(const struct http *http); /* "http://127.0.0.1:8080" */
/* Takes no new requests, answers those that wait, ends the streams. Safe on NULL. */
void http_stop(struct http *http);

/* A line of a token file for a new token: "name role[,role] sha256". Roles: read, submit, cancel, admin. ERR_USAGE
 * names what is wrong. *ret_token is shown once and stored nowhere. */
int http_token_new(const char *name, const char *roles, struct buf *ret_token, struct buf *ret_line,
                   struct err *err) MUSTCHECK;

#endif

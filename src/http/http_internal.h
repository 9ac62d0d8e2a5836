/* Between the files of http. A request's way:
 *
 *   connection thread (few, by epoll)         server.c           reads it, refuses it, or hands it on and forgets it
 *   worker thread (each with its own Redis)   pool.c             calls the route's handler
 *   publisher, waiter: whoever it waits for   publish.c, wait.c  hand it back to the pool for its next step
 *   connection thread                         server.c           sends what http__answer says
 *
 * A handler is
 *
 *     int http__job_get(struct http_request *req, struct err *err) {
 *         if (store_job_get(req->st, req->params[0], &req->arena, &rec, err) != 0) return -1;   // becomes the envelope
 *         ...
 *         http__json(req, 200, &req->res.body);
 *         return HTTP_DONE;                                   // or HTTP_LATER: somebody else has it now
 *     }
 *
 * and stands in the table of router.c with its method, path, role and query parameters. */
#ifndef PENSTOCK_HTTP_INTERNAL_H
#define PENSTOCK_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "penstock/artifact.h"
#include "penstock/http.h"
#include "penstock/mem.h"
#include "penstock/store_view.h"
#include "penstock/wire.h"

#define HTTP_ROLE           "http"
#define HTTP_SEGMENTS_MAX   8
#define HTTP_PARAMS_MAX     4
#define HTTP_QUERY_MAX      64
#define HTTP_HEADERS_MAX    8
#define HTTP_WAIT_MAX_MS    60000
#define HTTP_TOPICS         4
#define HTTP_STORE_DOWN_MS  500    /* after a failure nobody asks Redis for so long */
#define HTTP_ACK_TIMEOUT_MS "5000" /* how long Kafka may take to acknowledge before the answer is 503 */

/* --- uri.c: what a request asks for (pure) -------------------------------------------------------------------------
 */
struct http_param {
    const char *name, *value;
};
struct http_uri {
    const char *segments[HTTP_SEGMENTS_MAX]; /* decoded; "/" has none */
    size_t segment_count;
    struct http_param *query; /* decoded, in order */
    size_t query_count;
};
/* Everything that is not plainly a path is ERR_INVALID_MEMBER: bad escapes, control characters, "." and "..", empty
 * segments, more of anything than there is room for. */
int http__uri_parse(const char *raw, struct arena *arena, struct http_uri *ret, struct err *err) MUSTCHECK;

/* --- range.c: byte ranges (pure) -----------------------------------------------------------------------------------
 */
enum http_range { HTTP_RANGE_NONE /* none, or none that counts: all of it */, HTTP_RANGE_PART, HTTP_RANGE_OUTSIDE };
enum http_range http__range_parse(const char *header, int64_t size, int64_t *ret_first, int64_t *ret_length);

/* --- router.c ------------------------------------------------------------------------------------------------------
 */
enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_DELETE = 4 };
enum http_role { HTTP_ANYBODY = 0, HTTP_READ = 1, HTTP_SUBMIT = 2, HTTP_CANCEL = 4, HTTP_ADMIN = 8 };
enum http_flags {
    HTTP_INLINE = 1,  /* needs no store and never blocks: runs on the connection's thread */
    HTTP_STREAMED = 2 /* the body does not go into req->body, but to route->on_body as it comes */
};

struct http_request;
enum http_verdict { HTTP_DONE, HTTP_LATER };
typedef int http_handler_fn(struct http_request *req, struct err *err); /* enum http_verdict, or -1 with *err */

struct http_route {
    enum http_method method;
    const char *path; /* "/jobs/{job_id}/result": each {...} becomes one of req->params, in order */
    enum http_role role;
    unsigned flags;
    http_handler_fn *handle;
    const char *query; /* the parameters that it takes, with a space on both sides of each; NULL: none */
    const char *types; /* of a body: the Content-Types, likewise; NULL: no body is looked at */
    int (*on_body)(struct http_request *req, const char *bytes, size_t len, struct err *err);
    void (*on_end)(struct http_request *req); /* the request is over, however it ended */
};
/* The route, with the captured parameters. NULL: ERR_NOT_FOUND, or ERR_METHOD_NOT_ALLOWED with *ret_allowed set.
 * method 0: OPTIONS; then *ret_allowed alone is of interest. */
const struct http_route *http__route_find(enum http_method method, const struct http_uri *uri,
                                          const char *ret_params[HTTP_PARAMS_MAX], unsigned *ret_allowed,
                                          struct err *err);
const struct http_route *http__route_at(size_t index); /* all of them, for checks; NULL behind the last */

/* --- token.c -------------------------------------------------------------------------------------------------------
 */
struct http_tokens;
int http__tokens_parse(const char *text, const char *path, struct http_tokens **ret, struct err *err) MUSTCHECK;
void http__tokens_free(struct http_tokens *tokens);
/* The roles of whoever has this token; -1: nobody has. Takes the same time for every token. */
int http__tokens_roles(const struct http_tokens *tokens, const char *token);

/* --- auth.c: who may ask -------------------------------------------------------------------------------------------
 */
struct http_auth; /* the token file in force, read again when it changes */
int http__auth_new(const struct http_config *cfg, bool loopback, struct http_auth **ret, struct err *err) MUSTCHECK;
void http__auth_free(struct http_auth *auth);
void http__auth_tick(struct http_auth *auth);
int http__auth_check(struct http_auth *auth, const struct http_request *req, struct err *err) MUSTCHECK;

/* --- response.c ----------------------------------------------------------------------------------------------------
 */
struct http_stream;
struct http_response {
    int status;
    const char *type; /* Content-Type; NULL: no body */
    struct buf body;
    const char *fixed; /* in place of `body`: bytes that live as long as the process */
    int64_t length;    /* of `fixed`, or of what is sent of `fd` */
    int fd;            /* -1: none; else a file, from `offset` on */
    int64_t offset;
    struct http_stream *stream; /* an answer without an end of its own */
    struct http_param headers[HTTP_HEADERS_MAX];
    size_t header_count;
    bool close; /* nothing more is read from this connection */
};
void http__header(struct http_request *req, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
void http__json(struct http_request *req, int status); /* what is in res.body */
void http__fail(struct http_request *req, const struct err *err);
/* A member of a JSON object, behind `before`: ",\"name\":". */
void http__put_text(struct buf *out, const char *before, const char *text); /* NULL: "" */
void http__put_int(struct buf *out, const char *before, int64_t number);
void http__put_maybe(struct buf *out, const char *before, int known); /* 1 true, 0 false, -1 null */
enum MHD_Result http__send(struct http_request *req);

/* --- stream.c: answers that go on (server-sent events) -------------------------------------------------------------
 */
struct http_stream *http__stream_new(struct http *http);
/* From any thread. False: the reader has gone or does not keep up, and the stream is over. */
bool http__stream_write(struct http_stream *stream, const char *bytes, size_t len);
/* What was written leaves: once for many pieces, since waking a connection costs more than a piece. Thread: any. */
void http__stream_flush(struct http_stream *stream);
void http__stream_end(struct http_stream *stream);                    /* after what was written */
void http__stream_release(struct http_stream *stream);                /* the writer's reference */
struct MHD_Response *http__stream_response(struct http_request *req); /* takes the connection's */

/* --- request.c -----------------------------------------------------------------------------------------------------
 */
enum http_phase { HTTP_NEW, HTTP_RECEIVING, HTTP_REFUSED, HTTP_PENDING, HTTP_ANSWERED };
struct http_conn;
struct http_request {
    struct http *http;
    struct MHD_Connection *mhd;
    struct http_conn *conn;
    struct arena arena;
    const char *raw_uri;
    enum http_method method;
    struct http_uri uri;
    const char *params[HTTP_PARAMS_MAX];
    const struct http_route *route;
    _Atomic enum http_phase phase;
    struct buf body;
    size_t discarded; /* of the body of a refused request */
    struct http_response res;
    struct store *st;      /* the worker's, while a handler runs */
    http_handler_fn *step; /* what the pool calls next */
    int64_t queued_ms;     /* since when it waits for a worker */
    int64_t began_us;
    struct http_request *next; /* in the pool's queue */
    int64_t wait_ms;           /* of `Prefer: wait` */
    const char *job_id;
    void *own; /* the route's */
};
struct http_request *http__request_new(struct http *http, struct MHD_Connection *mhd, const char *raw_uri);
void http__request_free(struct http_request *req);
const char *http__request_header(const struct http_request *req, const char *name); /* NULL: none */
const char *http__request_query(const struct http_request *req, const char *name);  /* the first; NULL: none */
bool http__media_is(const char *content_type, const char *type);                    /* whatever its parameters */

/* --- pool.c, publish.c, wait.c -------------------------------------------------------------------------------------
 */
struct http_pool;
int http__pool_new(struct http *http, struct http_pool **ret, struct err *err) MUSTCHECK;
void http__pool_stop(struct http_pool *pool); /* does what is queued, then frees */
/* A worker calls `step` soon. Thread: any. The request belongs to the pool until it is answered or handed on. */
void http__continue(struct http_request *req, http_handler_fn *step);

/* A connection of the caller's own, for reading. */
int http__store_open(struct http *http, struct store **ret, struct err *err) MUSTCHECK;
/* Before the first use of req->st: while Redis is known to be away, that at once. */
int http__store(struct http_request *req, struct err *err) MUSTCHECK;

struct http_publisher;
int http__publisher_new(struct http *http, struct http_publisher **ret, struct err *err) MUSTCHECK;
void http__publisher_drain(struct http_publisher *pub); /* waits for what was sent, takes nothing new */
void http__publisher_free(struct http_publisher *pub);
bool http__publisher_probe(struct http_publisher *pub); /* does Kafka answer? May take a second */
int http__publisher_ends(struct http_publisher *pub, const char *topic, struct arena *arena, struct bus_log_end **ret,
                         size_t *ret_count, struct err *err) MUSTCHECK;
/* Asks for the topics of the configuration: commands, control, events, dead letters. */
int http__publisher_durability(struct http_publisher *pub, struct arena *arena, struct bus_durability *ret,
                               struct err *err) MUSTCHECK;
/* Produces; when Kafka has acknowledged, `step` is called; when it does not, the request is answered with why.
 * HTTP_LATER, or -1. */
int http__publish(struct http_request *req, const struct bus_out *msg, http_handler_fn *step,
                  struct err *err) MUSTCHECK;

struct http_waiter;
int http__waiter_new(struct http *http, struct http_waiter **ret, struct err *err) MUSTCHECK;
void http__waiter_stop(struct http_waiter *waiter); /* all go on at once, and so do those that come */
void http__waiter_free(struct http_waiter *waiter);
/* `step` is called when the job req->job_id has ended, or after req->wait_ms. HTTP_LATER. */
int http__wait(struct http_request *req, http_handler_fn *step);
void http__wait_hint(struct http *http, const char *job_id); /* it may have ended: look now */

/* --- monitor.c: what is so at present ------------------------------------------------------------------------------
 */
struct http_monitor;
int http__monitor_new(struct http *http, struct http_monitor **ret, struct err *err) MUSTCHECK;
void http__monitor_stop(struct http_monitor *monitor);
/* ERR_DRAINING, ERR_QUEUE_FULL: a new job of `model` is better not taken. */
int http__monitor_admit(struct http_monitor *monitor, const char *model, struct err *err) MUSTCHECK;
bool http__monitor_kafka(struct http_monitor *monitor);

/* --- hub.c: events to whoever listens ------------------------------------------------------------------------------
 */
struct http_hub;
int http__hub_new(struct http *http, struct http_hub **ret, struct err *err) MUSTCHECK;
void http__hub_stop(struct http_hub *hub); /* ends every stream, takes no more */
void http__hub_free(struct http_hub *hub);
void http__hub_put_tally(struct http_hub *hub, struct buf *out); /* for Prometheus: what was heard so far */
/* The request is answered with a stream of every event, or of those of `model`: from now on, or on behind `last_id`,
 * digits and dots. ERR_BUS_UNAVAILABLE while Kafka has not answered yet. */
int http__hub_follow(struct http_hub *hub, struct http_request *req, const char *model, const char *last_id,
                     struct err *err) MUSTCHECK;
/* Likewise with the events of one job behind that seq, its past ones too, until it ends. */
int http__hub_follow_job(struct http_hub *hub, struct http_request *req, const struct job_record *rec, int64_t after,
                         struct err *err) MUSTCHECK;

/* --- server.c ------------------------------------------------------------------------------------------------------
 */
struct http {
    struct http_config cfg;
    char url[80];
    bool loopback;
    struct MHD_Daemon *daemon;
    pthread_t ticker;
    struct http_auth *auth;
    struct http_pool *pool;
    struct http_publisher *publisher;
    struct http_waiter *waiter;
    struct http_monitor *monitor;
    struct http_hub *hub;
    struct http_guard *guard;
    struct http_metrics *metrics;
    struct artifact_root *artifacts, *inputs; /* NULL: none */
    atomic_bool stopping;
    atomic_int suspended;             /* requests that no connection thread has */
    atomic_size_t body_bytes;         /* of all requests together */
    _Atomic int64_t store_down_until; /* after a failure: nobody else tries before */
};
void http__thread(pthread_t *ret, void *(*run)(void *), void *arg); /* with every signal blocked */
void http__pause_ms(int ms);
/* By its headers, before a byte of the body is taken. 1: go on; 0: the answer stands; -1 with *err. */
int http__judge(struct http_request *req, const char *method_name, struct err *err);
/* The response is complete: the connection's thread sends it. Thread: any but the connection's. */
void http__answer(struct http_request *req);

/* --- guard.c: connections, their limits and their time -------------------------------------------------------------
 */
enum http_stage { HTTP_STAGE_NEW, HTTP_STAGE_HEADERS, HTTP_STAGE_BODY, HTTP_STAGE_BUSY, HTTP_STAGE_IDLE };
struct http_guard *http__guard_new(struct http *http);
void http__guard_free(struct http_guard *guard);
void http__guard_tick(struct http_guard *guard); /* ends what takes too long */
void http__guard_notify(void *guard, struct MHD_Connection *mhd, void **slot, enum MHD_ConnectionNotificationCode code);
void http__conn_stage(struct http_conn *conn, enum http_stage stage);
void http__conn_allow(struct http_conn *conn, int64_t ms); /* for this stage */
bool http__conn_is_over(const struct http_conn *conn);     /* one connection too many */
/* Says why on a connection that libmicrohttpd will not let us answer on any more, and ends it. */
void http__conn_refuse(struct http_conn *conn, const struct err *err);

bool http__guard_is_busy(struct http_guard *guard); /* an answer is being made or sent */

/* --- metrics.c: for Prometheus ------------------------------------------------------------------------------------ */
struct http_metrics *http__metrics_new(void);
void http__metrics_free(struct http_metrics *metrics);
void http__metrics_count(struct http_metrics *metrics, const struct http_request *req); /* when it is over */
http_handler_fn http__metrics_get;
void http__metrics_head(struct buf *out, const char *name, const char *type, const char *help);
void http__metrics_plain(struct buf *out, const char *name, const char *type, const char *help, int64_t value);
void http__metrics_label(struct buf *out, const char *before, const char *value); /* "name{label=": adds the value */

/* --- tally.c: what happened, counted from events (pure) ------------------------------------------------------------
 */
struct http_tally;
struct http_tally *http__tally_new(void);
void http__tally_free(struct http_tally *tally);
/* Which model is the job of? False: it is not known. For jobs whose beginning was not heard. */
typedef bool http_model_of_fn(void *self, const char *job_id, char ret_model[JOB_MODEL_MAX + 1],
                              char ret_version[JOB_MODEL_MAX + 1]);
void http__tally_count(struct http_tally *tally, const struct job_event *ev, http_model_of_fn *model_of, void *self);
void http__tally_put(struct http_tally *tally, struct buf *out); /* Thread: any */

/* --- guarantees.c: what an acknowledgement is worth (pure) ---------------------------------------------------------
 */
struct http_judgement {
    int survives_crash; /* does all that was acknowledged survive the crash of any one machine? -1: not known */
    const char *means;
};
struct http_judgement http__judge_redis(const struct store_durability *redis);
struct http_judgement http__judge_topic(const struct bus_topic_durability *topic, struct arena *arena);

/* --- handlers ------------------------------------------------------------------------------------------------------
 */
/* jobs.c: the record of params[0]; ERR_NOT_FOUND without one. */
int http__job_find(struct http_request *req, struct job_record *ret, struct err *err) MUSTCHECK;
int http__put_record(struct http_request *req, const struct job_record *rec, struct err *err) MUSTCHECK; /* jobs.c */
void http__put_accepted(struct http_request *req, const char *job_id, enum job_state state);
int64_t http__prefer_wait_ms(const struct http_request *req); /* 0: none */
/* create.c: an id for a job whose sender chose none: of the Idempotency-Key, or a fresh one. */
int http__choose_id(struct http_request *req, const char **ret, struct err *err) MUSTCHECK;
/* create.c: checks a create command and publishes it; `step` comes after Kafka's acknowledgement, or at once where the
 * same job is there already. Sets req->job_id. content_type: of the command, NULL: plain JSON. */
int http__submit(struct http_request *req, const char *value, size_t len, const char *content_type,
                 http_handler_fn *step, struct err *err) MUSTCHECK;
http_handler_fn http__job_create, http__job_list, http__job_get, http__job_doc, http__job_cancel; /* jobs.c, create.c */
http_handler_fn http__events_all, http__events_of_job;                                            /* events.c */
http_handler_fn http__artifact_get;                                                               /* artifacts.c */
http_handler_fn http__upload_done;                                                                /* uploads.c */
int http__write_all(int fd, const char *bytes, size_t len, struct err *err) MUSTCHECK;
int http__upload_body(struct http_request *req, const char *bytes, size_t len, struct err *err);
void http__upload_end(struct http_request *req);
void http__uploads_collect(struct http *http);
http_handler_fn http__live, http__ready;                                                       /* monitor.c */
http_handler_fn http__overview, http__queues, http__workers, http__mode_set;                   /* views.c */
http_handler_fn http__guarantees;                                                              /* guarantees.c */
http_handler_fn http__server_metadata;                                                         /* views.c */
http_handler_fn http__models, http__model_metadata, http__model_ready, http__repository_index; /* models.c */
http_handler_fn http__infer;                                                                   /* infer.c */
http_handler_fn http__web_get, http__schema_get;                                               /* web.c */

#endif

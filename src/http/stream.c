/* Answers that go on: one writer, any thread, and one connection that sends what there is and sleeps when there is
 * nothing. A sleeping stream has no thread: its connection is suspended and the writer wakes it.
 *
 * A reader that does not keep up must not fill the memory: what waits for it is bounded, and when it is full the stream
 * ends. The bound is looked at before a piece is taken, so that no piece is too large for everybody. The client comes again with the id of the last event that it got, and misses nothing.
 *
 * The stream has two owners, the writer and the connection; the last one frees it. The lock is held while the
 * connection is suspended and resumed, so that no wake-up falls between looking and sleeping. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"

#define BLOCK_BYTES   ((size_t)16384)
#define WAITING_BYTES ((size_t)2 * 1024 * 1024)

struct http_stream {
    pthread_mutex_t lock;
    struct http *http;
    struct buf waiting;
    size_t sent;                /* of `waiting` */
    struct MHD_Connection *mhd; /* NULL: not connected yet */
    bool sleeping, ended, abandoned;
    int owners;
};

struct http_stream *http__stream_new(struct http *http) {
    struct http_stream *stream = mem_calloc(1, sizeof *stream);
    pthread_mutex_init(&stream->lock, NULL);
    stream->http = http;
    stream->owners = 2; /* the writer, and the request that will be answered with it */
    return stream;
}

void http__stream_release(struct http_stream *stream) {
    pthread_mutex_lock(&stream->lock);
    bool last = --stream->owners == 0;
    pthread_mutex_unlock(&stream->lock);
    if (!last) return;
    buf_done(&stream->waiting);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* Under the lock. */
static void wake(struct http_stream *stream) {
    if (!stream->sleeping) return;
    stream->sleeping = false;
    atomic_fetch_sub(&stream->http->suspended, 1);
    MHD_resume_connection(stream->mhd);
}

/* Under the lock. What was sent makes room before it is more than what waits: a reader that is never quite up to date
 * would else make the buffer grow for as long as it stays. */
static void make_room(struct http_stream *stream) {
    if (stream->sent <= stream->waiting.len / 2) return;
    stream->waiting.len -= stream->sent;
    memmove(stream->waiting.data, stream->waiting.data + stream->sent, stream->waiting.len);
    stream->sent = 0;
}

bool http__stream_write(struct http_stream *stream, const char *bytes, size_t len) {
    pthread_mutex_lock(&stream->lock);
    make_room(stream);
    if (stream->waiting.len - stream->sent > WAITING_BYTES) stream->ended = true;
    bool open = !stream->ended && !stream->abandoned;
    if (open) buf_append(&stream->waiting, bytes, len);
    pthread_mutex_unlock(&stream->lock);
    return open;
}

void http__stream_flush(struct http_stream *stream) {
    pthread_mutex_lock(&stream->lock);
    if (stream->waiting.len > stream->sent) wake(stream);
    pthread_mutex_unlock(&stream->lock);
}

void http__stream_end(struct http_stream *stream) {
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    wake(stream);
    pthread_mutex_unlock(&stream->lock);
}

static ssize_t on_read(void *self, uint64_t pos, char *out, size_t max) {
    struct http_stream *stream = self;
    ssize_t rc = 0;
    pthread_mutex_lock(&stream->lock);
    size_t left = stream->waiting.len - stream->sent;
    if (left > 0) {
        rc = (ssize_t)(left < max ? left : max);
        memcpy(out, stream->waiting.data + stream->sent, (size_t)rc);
        stream->sent += (size_t)rc;
        if (stream->sent == stream->waiting.len) {
            buf_reset(&stream->waiting);
            stream->sent = 0;
        }
    } else if (stream->ended) {
        rc = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->sleeping = true;
        atomic_fetch_add(&stream->http->suspended, 1);
        MHD_suspend_connection(stream->mhd);
    }
    pthread_mutex_unlock(&stream->lock);
    return rc;
}

static void on_gone(void *self) {
    struct http_stream *stream = self;
    pthread_mutex_lock(&stream->lock);
    stream->abandoned = true;
    pthread_mutex_unlock(&stream->lock);
    http__stream_release(stream);
}

struct MHD_Response *http__stream_response(struct http_request *req) {
    struct http_stream *stream = req->res.stream;
    stream->mhd = req->mhd;
    struct MHD_Response *mhd =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream, on_gone);
    if (mhd) req->res.stream = NULL; /* the response's now */
    return mhd;
}

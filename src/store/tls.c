/* TLS to Redis, on OpenSSL.
 *
 * Debian 12 has hiredis 0.14, which is older than hiredis's own TLS. Its parser takes bytes from anywhere, though, and
 * what we send we send ourselves, so a pair of send and recv is all that is missing; here it is. The certificate of the
 * server is always verified, for the host that store.url names: encryption to whoever answers protects nothing, and a
 * switch to turn that off would be found in every second installation. TLS 1.2 at least.
 *
 * The BIO is our own because OpenSSL's for sockets calls write(2), and that ends a process which does not ignore
 * SIGPIPE when the server has gone. It is also what makes reading without waiting possible on a blocking socket: when a
 * record is there only in part, or is one that carries no data (a session ticket), SSL_read would wait for the next. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "store_internal.h"

struct store__tls {
    SSL_CTX *ctx;
    BIO_METHOD *method;
    SSL *ssl; /* NULL: not connected */
    char *host;
    int fd;
    bool no_wait;
    bool lacks_cert; /* the server asks for a certificate, and we have none */
};

/* --- the socket as OpenSSL sees it ---------------------------------------------------------------------------------
 */

static int bio_write(BIO *bio, const char *bytes, int len) {
    const struct store__tls *tls = BIO_get_data(bio);
    ssize_t n = send(tls->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return (int)n;
}

static int bio_read(BIO *bio, char *bytes, int size) {
    const struct store__tls *tls = BIO_get_data(bio);
    ssize_t n = recv(tls->fd, bytes, (size_t)size, tls->no_wait ? MSG_DONTWAIT : 0);
    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p) { return command == BIO_CTRL_FLUSH; }

static BIO_METHOD *new_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "redis");
    BUG_ON(!method || !BIO_meth_set_write(method, bio_write) || !BIO_meth_set_read(method, bio_read) ||
           !BIO_meth_set_ctrl(method, bio_ctrl));
    return method;
}

/* --- configuration -------------------------------------------------------------------------------------------------
 */

const char *store__tls_reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown reason";
}

static int load_files(SSL_CTX *ctx, const struct store_config *cfg, struct err *err) {
    const char *cert = cfg->tls_cert_file, *key = store__is_set(cfg->tls_key_file) ? cfg->tls_key_file : cert;
    ERR_clear_error();
    if (store__is_set(cfg->tls_ca_file) ? !SSL_CTX_load_verify_locations(ctx, cfg->tls_ca_file, NULL)
                                        : !SSL_CTX_set_default_verify_paths(ctx))
        return err_set(err, ERR_CONFIG, "store.tls_ca_file: %s: %s", cfg->tls_ca_file, store__tls_reason());
    if (store__is_set(key) && !store__is_set(cert))
        return err_set(err, ERR_CONFIG, "store.tls_key_file is set, but store.tls_cert_file is not");
    if (!store__is_set(cert)) return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return err_set(err, ERR_CONFIG, "store.tls_cert_file: %s: %s", cert, store__tls_reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return err_set(err, ERR_CONFIG, "store.tls_key_file: %s: %s", key, store__tls_reason());
    return 0;
}

/* Called when the server asks for a certificate. It refuses us only after the handshake (TLS 1.3), by an alert that a
 * reset of the connection may overtake: so we remember that it asked. */
static int on_cert_wanted(SSL *ssl, X509 **ret_cert, EVP_PKEY **ret_key) {
    struct store__tls *tls = BIO_get_data(SSL_get_rbio(ssl));
    tls->lacks_cert = true;
    return 0;
}

struct store__tls *store__tls_new(const struct store_config *cfg, const char *host, struct err *err) {
    struct store__tls *tls = mem_calloc(1, sizeof *tls);
    tls->host = mem_strdup(host);
    tls->fd = -1;
    tls->method = new_method();
    tls->ctx = SSL_CTX_new(TLS_client_method());
    BUG_ON(!tls->ctx || !SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION));
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_client_cert_cb(tls->ctx, on_cert_wanted); /* not called where there is a certificate */
    if (load_files(tls->ctx, cfg, err) == 0) return tls;
    store__tls_free(tls);
    return NULL;
}

void store__tls_free(struct store__tls *tls) {
    if (!tls) return;
    store__tls_close(tls);
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->method);
    free(tls->host);
    free(tls);
}

/* --- one connection ------------------------------------------------------------------------------------------------
 */

static void set_expected_host(struct store__tls *tls) {
    struct in6_addr addr;
    bool is_address = inet_pton(AF_INET, tls->host, &addr) == 1 || inet_pton(AF_INET6, tls->host, &addr) == 1;
    int ok = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), tls->host)
                        : SSL_set1_host(tls->ssl, tls->host) && SSL_set_tlsext_host_name(tls->ssl, tls->host);
    BUG_ON(!ok);
}

int store__tls_open(struct store__tls *tls, int fd, char *why, size_t why_size) {
    store__tls_close(tls);
    tls->fd = fd;
    tls->no_wait = tls->lacks_cert = false;
    tls->ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(tls->method);
    BUG_ON(!tls->ssl || !bio);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio); /* owned by ssl from here */
    set_expected_host(tls);
    ERR_clear_error();
    errno = 0;
    int rc = SSL_connect(tls->ssl);
    if (rc == 1) return 0;
    long verified = SSL_get_verify_result(tls->ssl);
    int kind = SSL_get_error(tls->ssl, rc);
    if (verified != X509_V_OK)
        snprintf(why, why_size, "the certificate of %s is not to be trusted: %s", tls->host,
                 X509_verify_cert_error_string(verified));
    else if (kind == SSL_ERROR_WANT_READ)
        snprintf(why, why_size, "no answer in time: does this port speak TLS?");
    else if (kind == SSL_ERROR_SYSCALL)
        snprintf(why, why_size, "%s", errno ? strerror(errno) : "the server hung up: does this port speak TLS?");
    else
        snprintf(why, why_size, "%s", store__tls_reason());
    return -1;
}

void store__tls_close(struct store__tls *tls) {
    SSL_free(tls->ssl); /* without a farewell: the connection is dropped, not ended */
    tls->ssl = NULL;
    tls->fd = -1;
}

/* Into the terms of send and recv. */
static ssize_t finish(struct store__tls *tls, int n) {
    if (n > 0) return n;
    switch (SSL_get_error(tls->ssl, n)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        if (errno == 0) return 0;
        return -1;
    default: /* a server that refuses our certificate says so in an alert here, not in the handshake (TLS 1.3) */
        errno = EPROTO;
        return -1;
    }
}

ssize_t store__tls_send(struct store__tls *tls, const char *bytes, size_t len) {
    ERR_clear_error();
    errno = 0;
    return finish(tls, SSL_write(tls->ssl, bytes, len > INT32_MAX ? INT32_MAX : (int)len));
}

ssize_t store__tls_recv(struct store__tls *tls, char *bytes, size_t size, bool no_wait) {
    ERR_clear_error();
    errno = 0;
    tls->no_wait = no_wait;
    int n = SSL_read(tls->ssl, bytes, (int)size);
    tls->no_wait = false;
    return finish(tls, n);
}

bool store__tls_pending(const struct store__tls *tls) { return SSL_pending(tls->ssl) > 0; }

bool store__tls_lacks_cert(const struct store__tls *tls) { return tls->lacks_cert; }

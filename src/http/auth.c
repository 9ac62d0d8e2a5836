/* Who may ask for what.
 *
 * With tokens, each route needs its role. Without, only this machine may ask, and then the danger is the browser on it:
 * any web page may make it send requests here, and one whose name is made to point at 127.0.0.1 could read the answers.
 * So a request must name this machine as its Host, and what says it comes from another origin is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http_internal.h"
#include "penstock/log.h"

#define FILE_MAX_BYTES (1024 * 1024)

struct http_auth {
    const char *path; /* "": no tokens */
    bool loopback;
    pthread_rwlock_t lock; /* of tokens */
    struct http_tokens *tokens;
    struct timespec modified;
};

/* --- the file ------------------------------------------------------------------------------------------------------
 */

static int read_file(const char *path, struct buf *out, struct timespec *ret_modified, struct err *err) {
    struct stat st;
    char chunk[4096];
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, ERR_CONFIG, "http.token_file %s", path);
        goto out;
    }
    if (st.st_mode & S_IWOTH) {
        err_set(err, ERR_CONFIG, "http.token_file %s: everybody may write to it", path);
        goto out;
    }
    buf_puts(out, "");
    while (out->len < FILE_MAX_BYTES && (n = read(fd, chunk, sizeof chunk)) > 0) buf_append(out, chunk, (size_t)n);
    if (n != 0) {
        if (n > 0) errno = EFBIG;
        err_set_errno(err, ERR_CONFIG, "http.token_file %s", path);
        goto out;
    }
    *ret_modified = st.st_mtim;
    rc = 0;
out:
    if (fd >= 0) close(fd);
    return rc;
}

static int load(struct http_auth *auth, struct err *err) {
    struct buf text = {0};
    struct http_tokens *tokens, *before;
    struct timespec modified;
    int rc = read_file(auth->path, &text, &modified, err);
    if (rc == 0) rc = http__tokens_parse(text.data, auth->path, &tokens, err);
    buf_done(&text);
    if (rc != 0) return -1;
    pthread_rwlock_wrlock(&auth->lock);
    before = auth->tokens;
    auth->tokens = tokens;
    pthread_rwlock_unlock(&auth->lock);
    auth->modified = modified;
    http__tokens_free(before);
    return 0;
}

int http__auth_new(const struct http_config *cfg, bool loopback, struct http_auth **ret, struct err *err) {
    if (!loopback && !*cfg->token_file && !cfg->insecure)
        return err_set(err, ERR_CONFIG,
                       "http.listen %s can be reached by other machines: set http.token_file (`penstock token` makes "
                       "tokens), or say --insecure",
                       cfg->listen);
    struct http_auth *auth = mem_calloc(1, sizeof *auth);
    auth->path = cfg->token_file;
    auth->loopback = loopback;
    pthread_rwlock_init(&auth->lock, NULL);
    if (*auth->path && load(auth, err) != 0) {
        http__auth_free(auth);
        return -1;
    }
    *ret = auth;
    return 0;
}

void http__auth_free(struct http_auth *auth) {
    if (!auth) return;
    http__tokens_free(auth->tokens);
    pthread_rwlock_destroy(&auth->lock);
    free(auth);
}

/* Tokens come and go without a restart. A file that cannot be read leaves those in force that were. */
void http__auth_tick(struct http_auth *auth) {
    struct stat st;
    struct err err;
    if (!*auth->path || stat(auth->path, &st) != 0) return;
    if (st.st_mtim.tv_sec == auth->modified.tv_sec && st.st_mtim.tv_nsec == auth->modified.tv_nsec) return;
    auth->modified = st.st_mtim; /* a broken file is complained of once */
    if (load(auth, &err) != 0)
        log_warn(HTTP_ROLE, "%s; the tokens from before stay in force", err.msg);
    else
        log_info(HTTP_ROLE, "%s was read again", auth->path);
}

/* --- one request ---------------------------------------------------------------------------------------------------
 */

/* "localhost:8080", "[::1]", "127.0.0.1": this machine by a name that nobody else can take. */
static bool host_is_loopback(const char *host) {
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && (!host[len] || host[len] == ':')) return true;
    }
    return false;
}

static bool origin_is_host(const char *origin, const char *host) {
    const char *authority = strstr(origin, "://");
    return authority && strcasecmp(authority + 3, host) == 0;
}

static int check_origin(const struct http_auth *auth, const struct http_request *req, struct err *err) {
    const char *host = http__request_header(req, "Host"), *origin = http__request_header(req, "Origin");
    if (auth->loopback && !*auth->path && host && !host_is_loopback(host))
        return err_set(err, ERR_FORBIDDEN, "Host %.100s is not this machine: use localhost, or tokens", host);
    if (origin && !origin_is_host(origin, host ? host : ""))
        return err_set(err, ERR_FORBIDDEN, "pages of another origin (%.100s) may not ask here", origin);
    return 0;
}

static int roles_of(struct http_auth *auth, const struct http_request *req, struct err *err) {
    const char *header = http__request_header(req, "Authorization");
    if (!header) return err_set(err, ERR_UNAUTHORIZED, "this needs a token");
    if (strncasecmp(header, "Bearer ", 7) != 0)
        return err_set(err, ERR_UNAUTHORIZED, "Authorization is not of the form: Bearer TOKEN");
    pthread_rwlock_rdlock(&auth->lock);
    int roles = http__tokens_roles(auth->tokens, header + 7 + strspn(header + 7, " "));
    pthread_rwlock_unlock(&auth->lock);
    return roles >= 0 ? roles : err_set(err, ERR_UNAUTHORIZED, "the token is not known");
}

static const char *role_name(enum http_role role) {
    return role == HTTP_READ ? "read" : role == HTTP_SUBMIT ? "submit" : role == HTTP_CANCEL ? "cancel" : "admin";
}

int http__auth_check(struct http_auth *auth, const struct http_request *req, struct err *err) {
    enum http_role needed = req->route->role;
    if (check_origin(auth, req, err) != 0) return -1;
    if (needed == HTTP_ANYBODY || !*auth->path) return 0;
    int roles = roles_of(auth, req, err);
    if (roles < 0) return -1;
    if (roles & ((int)needed | HTTP_ADMIN)) return 0;
    return err_set(err, ERR_FORBIDDEN, "the token has not the role %s", role_name(needed));
}

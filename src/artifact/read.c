/* Reading an input that a job names by uri. The job's own words about the tensor stand: a file only has the elements,
 * and one that says otherwise (.npy) is refused. */
#include "artifact_internal.h"
#include "penstock/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int hex(char c) {
    const char *digits = "0123456789abcdefABCDEF", *at = c ? strchr(digits, c) : NULL;
    return !at ? -1 : (int)(at - digits) > 15 ? (int)(at - digits) - 6 : (int)(at - digits);
}

/* The path of a file uri, or NULL. */
static char *path_of(const char *uri, struct arena *arena) {
    static const char scheme[] = "file://";
    if (strncmp(uri, scheme, sizeof scheme - 1) != 0 || uri[sizeof scheme - 1] != '/') return NULL;
    const char *from = uri + sizeof scheme - 1;
    char *path = arena_alloc(arena, strlen(from) + 1), *to = path;
    for (; *from; from++) {
        int c = (unsigned char)*from;
        if (c == '%') {
            int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || high + low == 0) return NULL;
            c = high * 16 + low;
            from += 2;
        }
        *to++ = (char)c;
    }
    *to = '\0';
    return path;
}

/* The part of the path below the root, or NULL. */
static const char *below(const struct artifact_root *root, const char *path) {
    size_t len = strlen(root->path);
    if (strcmp(root->path, "/") == 0) return path[1] ? path + 1 : NULL;
    if (strncmp(path, root->path, len) != 0 || path[len] != '/') return NULL;
    return path[len + 1] ? path + len + 1 : NULL;
}

static int read_all(int fd, char *to, size_t len) {
    while (len > 0) {
        ssize_t n = read(fd, to, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

static int open_input(struct artifact_root *root, const char *uri, size_t max_bytes, struct arena *arena,
                      size_t *ret_size, struct err *err) {
    const char *path = path_of(uri, arena), *rest = path ? below(root, path) : NULL;
    struct stat st;
    if (!rest) return err_set(err, ERR_INVALID_INPUT, "%.200s is not a file:// uri within the input root", uri);
    /* O_NONBLOCK: a pipe without a writer would hold us up for ever. */
    int fd = beneath_open(root->fd, rest, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return err_set(err, ERR_INVALID_INPUT, "%.200s leads out of the input root, or over a symbolic link", uri);
    if (fd < 0) return err_set_errno(err, ERR_INVALID_INPUT, "%.200s", uri);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err_set(err, ERR_INVALID_INPUT, "%.200s is not a regular file", uri);
    else if ((uint64_t)st.st_size > max_bytes)
        err_set(err, ERR_INVALID_INPUT, "%.200s has %lld bytes, artifacts.max_input_bytes is %zu", uri,
                (long long)st.st_size, max_bytes);
    else {
        *ret_size = (size_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

/* Elements of BYTES: each a uint32 length and so many bytes. */
static bool are_strings(const char *bytes, size_t len, int64_t count) {
    for (; count > 0 && len >= sizeof(uint32_t); count--) {
        uint32_t size;
        memcpy(&size, bytes, sizeof size);
        if (len - sizeof size < size) return false;
        bytes += sizeof size + size;
        len -= sizeof size + size;
    }
    return count == 0 && len == 0;
}

static int take_npy(char *bytes, size_t len, struct tensor *tensor, struct err *err) {
    struct artifact_npy head;
    if (artifact_npy_head(bytes, len, &head, err) != 0) return -1;
    if (head.datatype != tensor->datatype || head.rank != tensor->rank ||
        memcmp(head.shape, tensor->shape, (size_t)head.rank * sizeof head.shape[0]) != 0)
        return err_set(err, ERR_INVALID_INPUT, "its datatype or shape is not what the job says: it is %s of rank %d",
                       datatype_name(head.datatype), head.rank);
    tensor->size_bytes = len - head.data_at;
    memmove(bytes, bytes + head.data_at, tensor->size_bytes); /* to where it is aligned, whatever the file says */
    return 0;
}

static int take(char *bytes, size_t len, struct tensor *tensor, struct err *err) {
    int64_t count = tensor_element_count(tensor->shape, tensor->rank);
    bool is_npy = len >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
    tensor->data = bytes;
    tensor->size_bytes = len;
    if (is_npy && take_npy(bytes, len, tensor, err) != 0) return -1;
    bool fits = tensor->datatype == DATATYPE_BYTES
                    ? !is_npy && are_strings(bytes, len, count)
                    : count >= 0 && (uint64_t)count * datatype_size(tensor->datatype) == tensor->size_bytes;
    if (fits) return 0;
    return err_set(err, ERR_INVALID_INPUT, "it has %zu bytes of elements, which is not what datatype and shape need",
                   tensor->size_bytes);
}

int artifact_read(struct artifact_root *root, const char *uri, size_t max_bytes, struct tensor *tensor,
                  struct arena *arena, struct err *err) {
    size_t size = 0;
    int fd = open_input(root, uri, max_bytes, arena, &size, err);
    if (fd < 0) return -1;
    char *bytes = arena_alloc(arena, size + 1);
    int rc = read_all(fd, bytes, size);
    close(fd);
    if (rc != 0) return err_set(err, ERR_INVALID_INPUT, "%.200s became shorter while it was read", uri);
    return take(bytes, size, tensor, err) == 0 ? 0 : err_wrap(err, "%.200s", uri);
}

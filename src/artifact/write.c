/* Writing an output. A reader sees the whole file or none: it gets its name when its bytes are on the disk, and the
 * result that names it is told to the store later still. */
#include "artifact_internal.h"
#include "penstock/beneath.h"
#include "penstock/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_BYTES 200
#define FILE_MODE      0640

static int fail(struct err *err, const char *what, const char *name) {
    return err_set_errno(err, ERR_EXECUTION_FAILED, "artifact %s: %s", name, what);
}

static int write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_file(int dir, const char *name, const struct tensor *tensor, struct err *err) {
    static const char temp[] = ".new";
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return fail(err, "create", name);
    int rc = write_all(fd, tensor->data, tensor->size_bytes) != 0 ? fail(err, "write", name) : 0;
    if (rc == 0 && fsync(fd) != 0) rc = fail(err, "fsync", name);
    if (close(fd) != 0 && rc == 0) rc = fail(err, "close", name);
    if (rc == 0 && renameat(dir, temp, dir, name) != 0) rc = fail(err, "rename", name);
    if (rc != 0) unlinkat(dir, temp, 0);
    return rc;
}

static void put_sum(const struct tensor *tensor, char ret[static ARTIFACT_SHA256_SIZE]) {
    unsigned char sum[SHA256_BYTES];
    sha256_of(tensor->data, tensor->size_bytes, sum);
    sha256_hex(sum, ret);
}

int artifact_write(struct artifact_root *root, const char *job_id, const char *token, const struct tensor *tensor,
                   struct arena *arena, struct artifact *ret, struct err *err) {
    const char *job = artifact__file_name(arena, job_id), *run = artifact__file_name(arena, token);
    const char *name = artifact__file_name(arena, tensor->name);
    int job_fd = -1, run_fd = -1, rc = -1;
    if (strlen(name) > NAME_MAX_BYTES)
        return err_set(err, ERR_EXECUTION_FAILED, "output \"%.60s\": its name is too long for a file", tensor->name);
    if ((job_fd = artifact__folder(root->fd, job)) < 0 || (run_fd = artifact__folder(job_fd, run)) < 0) {
        fail(err, "make its folder", name);
        goto out;
    }
    if (write_file(run_fd, name, tensor, err) != 0) goto out;
    if (fsync(run_fd) != 0 || fsync(job_fd) != 0 || fsync(root->fd) != 0) {
        fail(err, "fsync of its folder", name);
        goto out;
    }
    ret->uri = artifact__uri(root->path, arena_printf(arena, "/%s/%s/%s", job, run, name), arena);
    ret->size_bytes = tensor->size_bytes;
    put_sum(tensor, ret->sha256);
    rc = 0;
out:
    if (run_fd >= 0) close(run_fd);
    if (job_fd >= 0) close(job_fd);
    return rc;
}

/* Files for HTTP: outputs to be sent, and uploads that become inputs. An upload stands at <root>/uploads/<id>, under
 * another name until it is complete; nobody owns it, so it goes by its age. */
#include "artifact_internal.h"
#include "penstock/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UPLOADS        "uploads"
#define UNFINISHED     ".new-"
#define FILE_MODE      0640
#define NAME_MAX_BYTES 200

int artifact_open(struct artifact_root *root, const char *job_id, const char *token, const char *name, int *ret_fd,
                  int64_t *ret_size, struct err *err) {
    struct arena arena;
    struct stat st;
    arena_init(&arena);
    int fd = beneath_open(root->fd,
                          arena_printf(&arena, "%s/%s/%s", artifact__file_name(&arena, job_id),
                                       artifact__file_name(&arena, token), artifact__file_name(&arena, name)),
                          O_RDONLY | O_NONBLOCK);
    arena_done(&arena);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0) close(fd);
        return err_set(err, ERR_NOT_FOUND, "job %s has no artifact '%.100s'", job_id, name);
    }
    *ret_fd = fd;
    *ret_size = st.st_size;
    return 0;
}

static int fail(struct err *err, const char *what) { return err_set_errno(err, ERR_SYSTEM, "upload: %s", what); }

static const char *unfinished(struct arena *arena, const char *id) {
    return arena_printf(arena, UNFINISHED "%.*s", NAME_MAX_BYTES, id);
}

int artifact_upload_begin(struct artifact_root *root, const char *id, int *ret_fd, struct err *err) {
    struct arena arena;
    int dir = artifact__folder(root->fd, UPLOADS);
    if (dir < 0) return fail(err, "make its folder");
    arena_init(&arena);
    int fd = openat(dir, unfinished(&arena, id), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    int rc = fd < 0 ? fail(err, "create") : 0;
    arena_done(&arena);
    close(dir);
    if (rc == 0) *ret_fd = fd;
    return rc;
}

int artifact_upload_end(struct artifact_root *root, const char *id, int fd, struct arena *arena, const char **ret_uri,
                        struct err *err) {
    int dir = beneath_open(root->fd, UPLOADS, O_RDONLY | O_DIRECTORY), rc = -1;
    if (dir < 0)
        fail(err, "open its folder");
    else if (fsync(fd) != 0)
        fail(err, "fsync");
    else if (renameat(dir, unfinished(arena, id), dir, id) != 0 || fsync(dir) != 0)
        fail(err, "rename");
    else
        rc = 0;
    if (rc == 0) *ret_uri = artifact__uri(root->path, arena_printf(arena, "/" UPLOADS "/%s", id), arena);
    if (rc != 0 && dir >= 0) unlinkat(dir, unfinished(arena, id), 0);
    if (dir >= 0) close(dir);
    close(fd);
    return rc;
}

void artifact_upload_abort(struct artifact_root *root, const char *id, int fd) {
    struct arena arena;
    int dir = beneath_open(root->fd, UPLOADS, O_RDONLY | O_DIRECTORY);
    arena_init(&arena);
    if (dir >= 0) unlinkat(dir, unfinished(&arena, id), 0);
    if (dir >= 0) close(dir);
    arena_done(&arena);
    close(fd);
}

void artifact_upload_collect(struct artifact_root *root, int64_t keep_ms) {
    int fd = beneath_open(root->fd, UPLOADS, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct timespec now;
    struct stat st;
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
        if ((int64_t)(now.tv_sec - st.st_mtim.tv_sec) * 1000 >= keep_ms) unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

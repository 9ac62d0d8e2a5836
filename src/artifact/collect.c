/* Deleting what nobody owns any more.
 *
 * A job's record goes by its retention, inside Redis, where nobody can delete files. So the folders are walked, a few
 * at a time, and each is asked after: whoever has no record has no artifacts. Young folders are left alone: their job
 * may be about to be finished, and an id that is used again begins with a fresh one. Nothing depends on this being done
 * soon or at all, and doing it twice does no harm. */
#include "artifact_internal.h"
#include "penstock/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

static bool is_quiet(int dir, const char *name, int64_t quiet_ms) {
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) return false;
    return (int64_t)(now.tv_sec - st.st_mtim.tv_sec) * 1000 + (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000 >= quiet_ms;
}

/* The folder of one run: files only. */
static void delete_run(int job_fd, const char *name) {
    int fd = beneath_open(job_fd, name, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!is_dot(entry->d_name)) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    unlinkat(job_fd, name, AT_REMOVEDIR);
}

/* The runs of one job, but for the one to keep (NULL: none). */
static void delete_runs(int root_fd, const char *job, const char *keep, int64_t quiet_ms) {
    int fd = beneath_open(root_fd, job, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (is_dot(entry->d_name) || (keep && strcmp(entry->d_name, keep) == 0)) continue;
        if (is_quiet(dirfd(dir), entry->d_name, quiet_ms)) delete_run(dirfd(dir), entry->d_name);
    }
    closedir(dir);
    if (!keep) unlinkat(root_fd, job, AT_REMOVEDIR); /* fails, rightly, while a run is left */
}

/* "%2Ejob" is ".job"; false: no name of ours. */
static bool job_of(const char *name, char ret[256]) {
    char hex[3] = "";
    size_t len = 0;
    for (const char *c = name; *c; c++) {
        bool coded = *c == '%' && c[1] && c[2];
        if (*c == '%' && !coded) return false;
        ret[len++] = coded ? (char)strtol(memcpy(hex, c + 1, 2), NULL, 16) : *c;
        if (coded) c += 2;
        if (len == 255) return false;
    }
    ret[len] = '\0';
    return len > 0 && ret[0];
}

static int look_at(struct artifact_root *root, const char *name, int64_t quiet_ms, artifact_owner_fn *owner, void *self,
                   struct err *err) {
    enum artifact_owner found;
    char job_id[256], token[64] = "";
    if (!is_quiet(root->fd, name, quiet_ms) || !job_of(name, job_id)) return 0;
    if (owner(self, job_id, token, &found, err) != 0) return -1;
    if (found != ARTIFACT_OWNER_ALIVE)
        delete_runs(root->fd, name, found == ARTIFACT_OWNER_ENDED ? token : NULL, quiet_ms);
    return 0;
}

int artifact_collect(struct artifact_root *root, int max, int64_t quiet_ms, artifact_owner_fn *owner, void *self,
                     struct err *err) {
    if (!root->walk) {
        int fd = beneath_open(root->fd, ".", O_RDONLY | O_DIRECTORY);
        if (fd >= 0 && !(root->walk = fdopendir(fd))) close(fd);
        if (!root->walk) return err_set_errno(err, ERR_SYSTEM, "%s", root->path);
    }
    for (int looked = 0; looked < max;) {
        struct dirent *entry = readdir(root->walk);
        if (!entry) {
            closedir(root->walk);
            root->walk = NULL;
            return looked;
        }
        if (is_dot(entry->d_name)) continue;
        looked++;
        if (look_at(root, entry->d_name, quiet_ms, owner, self, err) != 0) return -1;
    }
    return max;
}

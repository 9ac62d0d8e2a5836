/* Roots, names, and opening beneath them.
 *
 * Who can name a path to a service can try "..", links and devices. openat2(2) with RESOLVE_BENEATH and
 * RESOLVE_NO_SYMLINKS makes the kernel itself refuse to leave the root, whatever happens to the folders meanwhile; a
 * check of the text before an ordinary open would not. */
#include "artifact_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int artifact_root_open(const char *path, struct artifact_root **ret, struct err *err) {
    char *real = realpath(path, NULL);
    int fd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) {
        free(real);
        return err_set_errno(err, ERR_CONFIG, "%s", path);
    }
    struct artifact_root *root = mem_calloc(1, sizeof *root);
    root->path = real;
    root->fd = fd;
    *ret = root;
    return 0;
}

void artifact_root_free(struct artifact_root *root) {
    if (!root) return;
    if (root->walk) closedir(root->walk);
    close(root->fd);
    free(root->path);
    free(root);
}

const char *artifact__file_name(struct arena *arena, const char *name) {
    char *out = arena_alloc(arena, 3 * strlen(name) + 2), *to = out;
    for (const char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     strchr("_:-", *c) || (*c == '.' && c > name);
        if (plain)
            *to++ = *c;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*c);
    }
    if (to == out) *to++ = '%'; /* an output without a name */
    *to = '\0';
    return out;
}

int artifact__open_beneath(int dir, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd;
    do fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* a rename came in between */
    return fd;
}

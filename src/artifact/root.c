/* Roots, and names of files in them. */
#include "artifact_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "penstock/beneath.h"

#define FOLDER_MODE 0750

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

int artifact__folder(int dir, const char *name) {
    if (mkdirat(dir, name, FOLDER_MODE) != 0 && errno != EEXIST) return -1;
    return beneath_open(dir, name, O_RDONLY | O_DIRECTORY);
}

const char *artifact__uri(const char *root, const char *rest, struct arena *arena) {
    struct buf out = {0};
    buf_puts(&out, "file://");
    for (const char *c = root; *c; c++) {
        bool plain =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("/._:-~", *c);
        buf_printf(&out, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    for (const char *c = rest; *c; c++) buf_printf(&out, *c == '%' ? "%%25" : "%c", *c);
    const char *uri = arena_strdup(arena, out.data);
    buf_done(&out);
    return uri;
}

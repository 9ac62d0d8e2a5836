/* Weights in files beside the model, as exporters write them for models over protobuf's 2 GiB.
 *
 * The names of these files stand in the model, which comes from outside: they are opened beneath the model's own folder
 * (beneath.h), and nothing that a name can say leads elsewhere. Each file is mapped once, whole, however many tensors
 * lie in it, and stays mapped as long as the model; so weights are shared between workers and read when they are used.
 * A file that is shorter than a tensor says is refused at loading; one that is truncated later kills its readers, as
 * with the model itself: replace versions, do not write into them. */
#include "onnx_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "penstock/beneath.h"

#define FILES_MAX 4096 /* mapped for one model */

struct onnx__file {
    char *name;
    void *map;
    size_t len;
};

int onnx__external_open(struct onnx__external *ext, const char *model_path, struct err *err) {
    char *folder = mem_strdup(model_path), *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    ext->folder = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return ext->folder >= 0 ? 0 : err_set_errno(err, ERR_MODEL_LOAD_FAILED, "the folder of %s", model_path);
}

/* What has been mapped stays; nothing further can be. */
void onnx__external_close(struct onnx__external *ext) {
    if (ext->folder >= 0) close(ext->folder);
    ext->folder = -1;
}

void onnx__external_done(struct onnx__external *ext) {
    onnx__external_close(ext);
    for (size_t i = 0; i < ext->count; i++) {
        if (ext->files[i].len) munmap(ext->files[i].map, ext->files[i].len);
        free(ext->files[i].name);
    }
    free(ext->files);
}

static int map_file(int folder, const char *name, struct onnx__file *ret, struct err *err) {
    struct stat st;
    int rc = -1, fd = beneath_open(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set_errno(err, ERR_MODEL_LOAD_FAILED, "external data '%.200s', looked for in the model's folder",
                             name);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        err_set(err, ERR_MODEL_LOAD_FAILED, "external data '%.200s': not a regular file", name);
        goto out;
    }
    ret->len = (size_t)st.st_size;
    ret->map = ret->len ? mmap(NULL, ret->len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (ret->map == MAP_FAILED) {
        err_set_errno(err, ERR_MODEL_LOAD_FAILED, "external data '%.200s': cannot be mapped", name);
        goto out;
    }
    rc = 0;
out:
    close(fd);
    return rc;
}

static const struct onnx__file *find_file(struct onnx__external *ext, const char *name, struct err *err) {
    for (size_t i = 0; i < ext->count; i++)
        if (strcmp(ext->files[i].name, name) == 0) return &ext->files[i];
    struct onnx__file file = {0};
    if (ext->count == FILES_MAX) {
        err_set(err, ERR_UNSUPPORTED_MODEL, "external data in more than %d files", FILES_MAX);
        return NULL;
    }
    if (map_file(ext->folder, name, &file, err) != 0) return NULL;
    file.name = mem_strdup(name);
    ext->files = mem_realloc(ext->files, (ext->count + 1) * sizeof *ext->files);
    ext->files[ext->count] = file;
    return &ext->files[ext->count++];
}

int onnx__external_find(struct onnx__external *ext, const struct onnx__place *place, size_t size, struct proto *ret,
                        struct err *err) {
    if (!ext || ext->folder < 0)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "data in an external file, and no folder to look for it");
    if (!place->location || !*place->location)
        return err_set(err, ERR_MODEL_LOAD_FAILED, "external data without a location");
    if (place->has_length && place->length != size)
        return err_set(err, ERR_MODEL_LOAD_FAILED, "%" PRIu64 " bytes of external data where %zu belong", place->length,
                       size);
    const struct onnx__file *file = find_file(ext, place->location, err);
    if (!file) return -1;
    if (place->offset > file->len || size > file->len - place->offset)
        return err_set(err, ERR_MODEL_LOAD_FAILED,
                       "external data '%.200s' has %zu bytes, %zu at %" PRIu64 " are asked for", place->location,
                       file->len, size, place->offset);
    const uint8_t *base = file->map;
    *ret = (struct proto){.base = base, .at = base + place->offset, .end = base + place->offset + size};
    return 0;
}

/* artifact: tensors in files: large outputs, and inputs that a job names by uri.
 *
 * Hides the layout of the two roots, NumPy's format and every precaution about paths: what lies outside a root, or can
 * only be reached by a symbolic link, does not exist. Outputs stand at <root>/<job_id>/<token>/<name>, raw and
 * little-endian as tensor.h has them; a run that lost its lease writes beside its successor, never over it.
 *
 *     struct artifact_root *root;
 *     if (artifact_root_open("/var/lib/penstock/artifacts", &root, &err) != 0) ...
 *     if (artifact_write(root, "j1", "1-7", &tensor, &arena, &written, &err) != 0) ...
 *     if (artifact_read(inputs, "file:///srv/in/x.npy", max, &tensor, &arena, &err) != 0) ...
 *
 * Thread: a root may be shared.
 */
#ifndef PENSTOCK_ARTIFACT_H
#define PENSTOCK_ARTIFACT_H

#include <stdbool.h>

#include "penstock/mem.h"
#include "penstock/tensor.h"

struct artifact_root;
/* `path` must be an existing folder. ERR_CONFIG if it is not. Owns: caller frees. */
int artifact_root_open(const char *path, struct artifact_root **ret, struct err *err) MUSTCHECK;
void artifact_root_free(struct artifact_root *root); /* safe on NULL */

#define ARTIFACT_SHA256_SIZE 65
struct artifact {
    const char *uri; /* file:///... */
    size_t size_bytes;
    char sha256[ARTIFACT_SHA256_SIZE]; /* hex */
};
/* Writes the tensor's bytes, durable when it returns: a file under another name, fsync, rename, fsync of the folders.
 * ERR_EXECUTION_FAILED with the system's reason (a full disk, say). The uri is in `arena`. */
int artifact_write(struct artifact_root *root, const char *job_id, const char *token, const struct tensor *tensor,
                   struct arena *arena, struct artifact *ret, struct err *err) MUSTCHECK;

/* Reads what `uri` names into tensor->data, as the tensor's datatype and shape say it must be: NumPy's .npy (by its
 * first bytes), or raw elements. ERR_INVALID_INPUT: nothing regular within the root, too large, or not that tensor. The
 * data are in `arena`. */
int artifact_read(struct artifact_root *root, const char *uri, size_t max_bytes, struct tensor *tensor,
                  struct arena *arena, struct err *err) MUSTCHECK;

/* The head of a .npy file: where its data begin, and what they are. ERR_INVALID_INPUT: not NumPy's format 1 to 3, or of
 * a kind that no tensor here is (big-endian, Fortran order, structured). Source: NumPy's "numpy.lib.format". */
struct artifact_npy {
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    size_t data_at;
};
int artifact_npy_head(const void *bytes, size_t len, struct artifact_npy *ret, struct err *err) MUSTCHECK;

/* --- serve.c: for HTTP -------------------------------------------------------------------------------------------- */
/* Opens an output for reading. ERR_NOT_FOUND: there is no such file. Owns: the caller closes *ret_fd. */
int artifact_open(struct artifact_root *root, const char *job_id, const char *token, const char *name, int *ret_fd,
                  int64_t *ret_size, struct err *err) MUSTCHECK;

/* A file that comes in pieces: begin, write(2) to *ret_fd, then end (durable, under its name, its uri in `arena`;
 * closes the descriptor) or abort. `id`: a name of the caller's that nobody else takes. ERR_SYSTEM with the system's
 * reason. */
int artifact_upload_begin(struct artifact_root *root, const char *id, int *ret_fd, struct err *err) MUSTCHECK;
int artifact_upload_end(struct artifact_root *root, const char *id, int fd, struct arena *arena, const char **ret_uri,
                        struct err *err) MUSTCHECK;
void artifact_upload_abort(struct artifact_root *root, const char *id, int fd);
/* Deletes uploads, complete or not, that nobody has touched for `keep_ms`. */
void artifact_upload_collect(struct artifact_root *root, int64_t keep_ms);

/* What a job's record says about its artifacts. */
enum artifact_owner {
    ARTIFACT_OWNER_GONE,  /* no record: everything goes */
    ARTIFACT_OWNER_ENDED, /* keep those of `token`; others were written by runs that lost their lease */
    ARTIFACT_OWNER_ALIVE  /* it may still run */
};
typedef int artifact_owner_fn(void *self, const char *job_id, char ret_token[64], enum artifact_owner *ret,
                              struct err *err);

/* Looks at up to `max` jobs' folders, going on where the last call ended, and deletes what nobody owns and nobody has
 * touched for `quiet_ms`. Returns how many it looked at (0: it is through, and begins again), or -1 with *err. */
int artifact_collect(struct artifact_root *root, int max, int64_t quiet_ms, artifact_owner_fn *owner, void *self,
                     struct err *err) MUSTCHECK;

#endif

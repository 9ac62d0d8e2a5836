/* Between the files of the artifact module. */
#ifndef PENSTOCK_ARTIFACT_INTERNAL_H
#define PENSTOCK_ARTIFACT_INTERNAL_H

#include <dirent.h>

#include "penstock/artifact.h"

struct artifact_root {
    char *path; /* absolute, without symbolic links */
    int fd;
    DIR *walk; /* artifact_collect's; NULL: at the beginning */
};

/* A name that any file system takes and that leads nowhere: what is not a letter, a digit or one of . _ : - becomes
 * %XX, and so does a leading dot. */
const char *artifact__file_name(struct arena *arena, const char *name);

/* The folder `name` in `dir`, made if it is not there. -1 with errno. */
int artifact__folder(int dir, const char *name);

/* A path as a file uri: the root's own path may have any characters. */
const char *artifact__uri(const char *root, const char *rest, struct arena *arena);

#endif

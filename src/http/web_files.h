/* The files that are part of the binary; written by cmake/EmbedWebRun.cmake. */
#ifndef PENSTOCK_HTTP_WEB_FILES_H
#define PENSTOCK_HTTP_WEB_FILES_H

#include <stddef.h>

struct http_web_file {
    const char *folder, *name, *tag;
    const unsigned char *bytes;
    size_t len;
};
extern const struct http_web_file http__web_files[]; /* the last one's name is NULL */

#endif

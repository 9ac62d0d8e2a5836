/* The dashboard's files and the schemas, out of the binary: cmake/EmbedWeb.cmake puts them there, with a digest of each
 * as its ETag. They may be kept by the browser but are asked after each time, which costs one 304: so that nobody sees
 * the page of an older version. */
#include <string.h>

#include "http_internal.h"
#include "web_files.h"

static const char *type_of(const char *name) {
    static const struct {
        const char *end, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".svg", "image/svg+xml"},
                 {".png", "image/png"},
                 {".ico", "image/x-icon"},
                 {".webmanifest", "application/manifest+json"},
                 {".woff2", "font/woff2"},
                 {".json", "application/json"},
                 {".yaml", "application/yaml"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dot, types[i].end) == 0) return types[i].type;
    return "application/octet-stream";
}

static int answer(struct http_request *req, const char *folder, const char *name, struct err *err) {
    const char *none_match = http__request_header(req, "If-None-Match");
    for (const struct http_web_file *file = http__web_files; file->name; file++) {
        if (strcmp(file->folder, folder) != 0 || strcmp(file->name, name) != 0) continue;
        http__header(req, "ETag", "\"%s\"", file->tag);
        http__header(req, "Cache-Control", "no-cache");
        if (none_match && strstr(none_match, file->tag)) {
            req->res.status = 304;
            return HTTP_DONE;
        }
        req->res.status = 200;
        req->res.type = type_of(name);
        req->res.fixed = (const char *)file->bytes;
        req->res.length = (int64_t)file->len;
        return HTTP_DONE;
    }
    return err_set(err, ERR_NOT_FOUND, "there is no file '%.100s' here", name);
}

int http__web_get(struct http_request *req, struct err *err) {
    return answer(req, "web", req->params[0] ? req->params[0] : "index.html", err);
}

int http__schema_get(struct http_request *req, struct err *err) { return answer(req, "schemas", req->params[0], err); }

/* Small services for the edges, which have no JSON library of their own: the command line and HTTP. */
#include "wire_internal.h"

#include <string.h>

static int lay_over(const char *json, size_t len, const struct wire_member *members, size_t count, bool only_absent,
                    struct buf *out, struct err *err) {
    json_t *root = wire__json_load(json, len, &wire__limits_document, err);
    if (!root) return -1;
    int rc = -1;
    for (size_t i = 0; i < count; i++) {
        if (only_absent && json_object_get(root, members[i].name)) continue;
        json_error_t error;
        json_t *value = json_loads(members[i].json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (!value || json_object_set_new(root, members[i].name, value) != 0) {
            err_set(err, ERR_MALFORMED_JSON, "%.100s: %s", members[i].name, value ? "not a name in UTF-8" : error.text);
            goto out;
        }
    }
    wire__put_json(out, root);
    rc = 0;
out:
    json_decref(root);
    return rc;
}

int wire_object_merge(const char *json, size_t len, const struct wire_member *members, size_t count, struct buf *out,
                      struct err *err) {
    return lay_over(json, len, members, count, false, out, err);
}

int wire_object_defaults(const char *json, size_t len, const struct wire_member *members, size_t count, struct buf *out,
                         struct err *err) {
    return lay_over(json, len, members, count, true, out, err);
}

const char *wire_error_message(const char *envelope, size_t len, struct arena *arena) {
    struct err ignored;
    json_t *root = wire__json_load(envelope, len, &wire__limits_document, &ignored);
    const char *message = root ? json_string_value(json_object_get(root, "message")) : NULL;
    const char *copy = arena_strdup(arena, message ? message : "");
    json_decref(root);
    return copy;
}

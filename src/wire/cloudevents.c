/* Finding the command within a message: plain JSON, or CloudEvents 1.0 in structured or binary mode.
 *
 * Structured: the content type says so, or the value is an object with "specversion"; the command is its "data".
 * Binary: the attributes stand in ce_* headers and the value is the command. The envelope may carry what the command
 * leaves out: its type (penstock.job.create, penstock.job.cancel, penstock.pause ...) and, as subject of the first two,
 * the job_id. Where both speak they must agree.
 *
 * Extension attributes are nobody's business but the producer's and are let through; traceparent is kept (the
 * Distributed Tracing extension), though a header of that name goes first, since brokers and proxies renew the header.
 *
 * Source: CloudEvents 1.0.2, its JSON format and Kafka protocol binding. */
#include "wire_internal.h"

#include <string.h>
#include <strings.h>

#include "penstock/clock.h"

static const char structured_type[] = "application/cloudevents+json";
static const char any_cloudevents_type[] = "application/cloudevents";

static bool text_equals(struct wire__text text, const char *s) {
    return text.s && text.len == strlen(s) && memcmp(text.s, s, text.len) == 0;
}

static bool text_starts(struct wire__text text, const char *prefix) {
    size_t len = strlen(prefix);
    return text.s && text.len >= len && strncasecmp(text.s, prefix, len) == 0;
}

struct wire__text wire__header_find(const struct wire_message *in, const char *name) {
    for (size_t i = 0; i < in->header_count; i++)
        if (strcasecmp(in->headers[i].name, name) == 0) {
            const char *value = in->headers[i].value;
            return (struct wire__text){value ? value : "", value ? in->headers[i].value_len : 0};
        }
    return (struct wire__text){0};
}

/* "application/json", or any "...+json"; parameters such as charset may follow. */
static bool is_json_type(struct wire__text type) {
    size_t len = 0;
    while (len < type.len && type.s[len] != ';' && type.s[len] != ' ') len++;
    struct wire__text bare = {type.s, len};
    static const char json[] = "application/json", suffix[] = "+json";
    if (len == sizeof json - 1 && text_starts(bare, json)) return true;
    return len >= sizeof suffix && strncasecmp(type.s + len - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0;
}

/* --- attributes, wherever they stand ------------------------------------------------------------------------------ */

struct attributes {
    struct wire__text specversion, id, source, type, subject, time, datacontenttype, traceparent;
};

static int check_required(const char *name, struct wire__text value, struct err *err) {
    if (value.s && value.len > 0) return 0;
    return err_set(err, ERR_INVALID_CLOUDEVENT, "%s: %s", name, value.s ? "empty" : "missing");
}

static int check_time(struct wire__text time, struct err *err) {
    if (!time.s) return 0;
    char text[64];
    int64_t ms;
    if (time.len < sizeof text && !memchr(time.s, '\0', time.len)) {
        memcpy(text, time.s, time.len);
        text[time.len] = '\0';
        if (clock_parse_rfc3339(text, &ms) == 0) return 0;
    }
    return err_set(err, ERR_INVALID_CLOUDEVENT, "time: \"%.*s\" is not RFC 3339", (int)(time.len < 64 ? time.len : 64),
                   time.s);
}

static int take_attributes(const struct attributes *attr, struct wire__envelope *ret, struct err *err) {
    static const char *const types[][2] = {{"penstock.job.create", "create"},
                                           {"penstock.job.cancel", "cancel"},
                                           {"penstock.pause", "pause"},
                                           {"penstock.resume", "resume"},
                                           {"penstock.drain", "drain"}};
    if (check_required("specversion", attr->specversion, err) != 0 || check_required("id", attr->id, err) != 0 ||
        check_required("source", attr->source, err) != 0 || check_required("type", attr->type, err) != 0)
        return -1;
    if (!text_equals(attr->specversion, "1.0"))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "specversion: \"%.*s\" is not \"1.0\"", (int)attr->specversion.len,
                       attr->specversion.s);
    if (attr->datacontenttype.s && !is_json_type(attr->datacontenttype))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "datacontenttype: \"%.*s\" is not JSON",
                       (int)attr->datacontenttype.len, attr->datacontenttype.s);
    if (attr->subject.s && check_required("subject", attr->subject, err) != 0) return -1;
    if (check_time(attr->time, err) != 0) return -1;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (text_equals(attr->type, types[i][0])) ret->type = types[i][1];
    if (!ret->type)
        return err_set(err, ERR_UNKNOWN_TYPE, "CloudEvents type \"%.*s\": not the type of a command",
                       (int)(attr->type.len < 200 ? attr->type.len : 200), attr->type.s);
    ret->subject = attr->subject;
    if (!ret->traceparent.s) ret->traceparent = attr->traceparent;
    return 0;
}

/* --- the two modes ------------------------------------------------------------------------------------------------ */

static int string_attribute(const json_t *root, const char *name, struct wire__text *ret, struct err *err) {
    const json_t *json = json_object_get(root, name);
    if (!json) return 0;
    if (!json_is_string(json))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "%s: %s, not a string", name, wire__json_kind(json));
    *ret = (struct wire__text){json_string_value(json), json_string_length(json)};
    return 0;
}

static int open_structured(json_t *root, struct wire__envelope *ret, struct err *err) {
    struct attributes attr = {0};
    const struct {
        const char *name;
        struct wire__text *value;
    } names[] = {{"specversion", &attr.specversion},
                 {"id", &attr.id},
                 {"source", &attr.source},
                 {"type", &attr.type},
                 {"subject", &attr.subject},
                 {"time", &attr.time},
                 {"datacontenttype", &attr.datacontenttype},
                 {"traceparent", &attr.traceparent}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (string_attribute(root, names[i].name, names[i].value, err) != 0) return -1;
    if (take_attributes(&attr, ret, err) != 0) return -1;
    ret->body = json_object_get(root, "data");
    if (!ret->body)
        return err_set(err, ERR_INVALID_CLOUDEVENT, "data: missing%s",
                       json_object_get(root, "data_base64") ? " (data_base64 is not read: the command is JSON)" : "");
    if (!json_is_object(ret->body))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "data: %s, not an object", wire__json_kind(ret->body));
    return 0;
}

static int open_binary(const struct wire_message *in, json_t *root, struct wire__text content_type,
                       struct wire__envelope *ret, struct err *err) {
    struct attributes attr = {
        .specversion = wire__header_find(in, "ce_specversion"),
        .id = wire__header_find(in, "ce_id"),
        .source = wire__header_find(in, "ce_source"),
        .type = wire__header_find(in, "ce_type"),
        .subject = wire__header_find(in, "ce_subject"),
        .time = wire__header_find(in, "ce_time"),
        .datacontenttype = content_type,
        .traceparent = wire__header_find(in, "ce_traceparent"),
    };
    ret->body = root;
    return take_attributes(&attr, ret, err);
}

int wire__envelope_open(const struct wire_message *in, json_t *root, struct wire__envelope *ret, struct err *err) {
    struct wire__text content_type = wire__header_find(in, "content-type");
    *ret = (struct wire__envelope){.body = root, .traceparent = wire__header_find(in, "traceparent")};
    if (text_starts(content_type, structured_type)) return open_structured(root, ret, err);
    if (text_starts(content_type, any_cloudevents_type))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "content-type: \"%.*s\" is not %s",
                       (int)(content_type.len < 100 ? content_type.len : 100), content_type.s, structured_type);
    if (wire__header_find(in, "ce_specversion").s || wire__header_find(in, "ce_type").s)
        return open_binary(in, root, content_type, ret, err);
    if (json_object_get(root, "specversion")) return open_structured(root, ret, err);
    return 0;
}

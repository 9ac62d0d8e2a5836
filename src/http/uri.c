/* Reading what a request asks for. libmicrohttpd hands over the target as it came; it is split first and decoded then,
 * so that an escaped slash is a character of a name and never a boundary, and so that nothing decodes twice. What a
 * well-meaning client would not send is refused, not repaired: repairs are what traversal lives on. */
#include <string.h>

#include "http_internal.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode(const char *s, size_t len, bool plus_is_space, struct arena *arena, const char **ret,
                  struct err *err) {
    char *out = arena_alloc(arena, len + 1), *to = out;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = len - i > 2 ? hex(s[i + 1]) : -1, low = len - i > 2 ? hex(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(err, ERR_INVALID_MEMBER, "the URL has a %% that no two hexadecimal digits follow");
            c = high << 4 | low;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f) return err_set(err, ERR_INVALID_MEMBER, "the URL has a control character");
        *to++ = (char)c;
    }
    *ret = out;
    return 0;
}

static int add_segment(const char *s, size_t len, struct arena *arena, struct http_uri *ret, struct err *err) {
    const char *segment = NULL;
    if (ret->segment_count == HTTP_SEGMENTS_MAX)
        return err_set(err, ERR_NOT_FOUND, "the path has more than %d parts", HTTP_SEGMENTS_MAX);
    if (decode(s, len, false, arena, &segment, err) != 0) return -1;
    if (!*segment || strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return err_set(err, ERR_INVALID_MEMBER, "a part of the path is empty, \".\" or \"..\"");
    ret->segments[ret->segment_count++] = segment;
    return 0;
}

static int add_pair(const char *s, size_t len, struct arena *arena, struct http_uri *ret, struct err *err) {
    const char *equals = memchr(s, '=', len);
    size_t name_len = equals ? (size_t)(equals - s) : len;
    struct http_param *param = &ret->query[ret->query_count];
    if (len == 0) return 0;
    if (ret->query_count == HTTP_QUERY_MAX)
        return err_set(err, ERR_INVALID_MEMBER, "the query has more than %d parameters", HTTP_QUERY_MAX);
    if (decode(s, name_len, true, arena, &param->name, err) != 0) return -1;
    if (decode(equals ? equals + 1 : "", equals ? len - name_len - 1 : 0, true, arena, &param->value, err) != 0)
        return -1;
    ret->query_count++;
    return 0;
}

int http__uri_parse(const char *raw, struct arena *arena, struct http_uri *ret, struct err *err) {
    struct http_uri uri = {0};
    size_t path_len = strcspn(raw, "?");
    if (raw[0] != '/') return err_set(err, ERR_INVALID_MEMBER, "the request's target is no path that begins with /");
    for (const char *at = raw + 1, *end = raw + path_len; path_len > 1 && at <= end;) {
        size_t len = strcspn(at, "/?");
        if (add_segment(at, len, arena, &uri, err) != 0) return -1;
        at += len + 1;
    }
    if (raw[path_len] == '?') {
        uri.query = arena_alloc(arena, (HTTP_QUERY_MAX + 1) * sizeof *uri.query);
        for (const char *at = raw + path_len + 1;;) {
            size_t len = strcspn(at, "&");
            if (add_pair(at, len, arena, &uri, err) != 0) return -1;
            if (!at[len]) break;
            at += len + 1;
        }
    }
    *ret = uri;
    return 0;
}

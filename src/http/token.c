/* Bearer tokens. A token is 32 random bytes, so a plain SHA-256 of it keeps it as safe at rest as any slow hash would,
 * and checking one costs a microsecond. Every hash of the file is compared, each in constant time: how long a refusal
 * takes tells nothing. Two tokens may bear one name, so that a new one can be handed out before the old one goes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "http_internal.h"
#include "penstock/sha256.h"

#define TOKEN_PREFIX   "pst_" /* so that scanners of source code recognise one that was leaked */
#define TOKEN_BYTES    32
#define TOKEN_MAX      256
#define TOKENS_MAX     1000
#define NAME_MAX_BYTES 64
#define LIVE_AT_ONCE   2

struct entry {
    char name[NAME_MAX_BYTES + 1];
    int roles;
    unsigned char sum[SHA256_BYTES];
};
struct http_tokens {
    struct entry *entries;
    size_t count;
};

static const struct {
    const char *name;
    int role;
} roles[] = {{"read", HTTP_READ}, {"submit", HTTP_SUBMIT}, {"cancel", HTTP_CANCEL}, {"admin", HTTP_ADMIN}};

/* "read,submit". -1 with what is wrong. */
static int parse_roles(const char *text, size_t len, int *ret, struct err *err) {
    *ret = 0;
    for (size_t at = 0; at <= len;) {
        const char *comma = memchr(text + at, ',', len - at);
        size_t word = comma ? (size_t)(comma - text) - at : len - at, i = 0;
        for (; i < sizeof roles / sizeof roles[0]; i++)
            if (strlen(roles[i].name) == word && memcmp(roles[i].name, text + at, word) == 0) break;
        if (i == sizeof roles / sizeof roles[0])
            return err_set(err, ERR_USAGE, "'%.*s' is none of the roles read, submit, cancel, admin", (int)word,
                           text + at);
        *ret |= roles[i].role;
        at += word + 1;
    }
    return 0;
}

static bool name_is_valid(const char *name, size_t len) {
    if (len == 0 || len > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-@", name[i])) return false;
    return true;
}

static bool parse_sum(const char *hex, size_t len, unsigned char ret[SHA256_BYTES]) {
    if (len != 2 * SHA256_BYTES) return false;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'}, *end;
        if (!isxdigit((unsigned char)pair[0])) return false;
        ret[i] = (unsigned char)strtol(pair, &end, 16);
        if (*end) return false;
    }
    return true;
}

static int add_line(struct http_tokens *tokens, const char *line, size_t len, struct err *err) {
    const char *fields[4];
    size_t lens[4], count = 0;
    for (size_t at = 0; at < len && count < 4;) {
        while (at < len && (line[at] == ' ' || line[at] == '\t')) at++;
        size_t start = at;
        while (at < len && line[at] != ' ' && line[at] != '\t') at++;
        if (at == start) break;
        fields[count] = line + start;
        lens[count++] = at - start;
    }
    if (count == 0 || fields[0][0] == '#') return 0;
    struct entry entry = {0};
    if (count != 3) return err_set(err, ERR_CONFIG, "not of the form: name role[,role] sha256");
    if (!name_is_valid(fields[0], lens[0]))
        return err_set(err, ERR_CONFIG, "'%.*s' is no name: up to %d of A-Z a-z 0-9 . _ - @", (int)lens[0], fields[0],
                       NAME_MAX_BYTES);
    memcpy(entry.name, fields[0], lens[0]);
    if (parse_roles(fields[1], lens[1], &entry.roles, err) != 0) return -1;
    if (!parse_sum(fields[2], lens[2], entry.sum))
        return err_set(err, ERR_CONFIG, "the last field is not the 64 hexadecimal digits of a SHA-256");
    size_t same = 0;
    for (size_t i = 0; i < tokens->count; i++) same += strcmp(tokens->entries[i].name, entry.name) == 0;
    if (same == LIVE_AT_ONCE) return err_set(err, ERR_CONFIG, "%s has more than %d tokens", entry.name, LIVE_AT_ONCE);
    if (tokens->count == TOKENS_MAX) return err_set(err, ERR_CONFIG, "more than %d tokens", TOKENS_MAX);
    tokens->entries = mem_realloc(tokens->entries, (tokens->count + 1) * sizeof entry);
    tokens->entries[tokens->count++] = entry;
    return 0;
}

int http__tokens_parse(const char *text, const char *path, struct http_tokens **ret, struct err *err) {
    struct http_tokens *tokens = mem_calloc(1, sizeof *tokens);
    int line = 1;
    for (const char *at = text; *at; line++) {
        size_t len = strcspn(at, "\n");
        size_t used = len > 0 && at[len - 1] == '\r' ? len - 1 : len;
        if (add_line(tokens, at, used, err) != 0) {
            char why[sizeof err->msg];
            memcpy(why, err->msg, sizeof why);
            err_set(err, ERR_CONFIG, "%s:%d: %s", path, line, why);
            http__tokens_free(tokens);
            return -1;
        }
        at += len + (at[len] == '\n');
    }
    *ret = tokens;
    return 0;
}

void http__tokens_free(struct http_tokens *tokens) {
    if (!tokens) return;
    free(tokens->entries);
    free(tokens);
}

int http__tokens_roles(const struct http_tokens *tokens, const char *token) {
    unsigned char sum[SHA256_BYTES];
    int found = -1;
    size_t len = strnlen(token, TOKEN_MAX + 1);
    sha256_of(token, len, sum);
    for (size_t i = 0; i < tokens->count; i++) {
        volatile unsigned char differs = 0; /* volatile: no compiler ends the loop early */
        for (size_t b = 0; b < SHA256_BYTES; b++) differs |= (unsigned char)(sum[b] ^ tokens->entries[i].sum[b]);
        if (!differs) found = tokens->entries[i].roles;
    }
    return found;
}

int http_token_new(const char *name, const char *role_names, struct buf *ret_token, struct buf *ret_line,
                   struct err *err) {
    unsigned char bytes[TOKEN_BYTES], sum[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE];
    int ignored;
    if (!name_is_valid(name, strlen(name)))
        return err_set(err, ERR_USAGE, "'%s' is no name: up to %d of A-Z a-z 0-9 . _ - @", name, NAME_MAX_BYTES);
    if (parse_roles(role_names, strlen(role_names), &ignored, err) != 0) return -1;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return err_set_errno(err, ERR_SYSTEM, "getrandom");
    sha256_hex(bytes, hex);
    buf_printf(ret_token, TOKEN_PREFIX "%s", hex);
    sha256_of(ret_token->data, ret_token->len, sum);
    sha256_hex(sum, hex);
    buf_printf(ret_line, "%s %s %s\n", name, role_names, hex);
    return 0;
}

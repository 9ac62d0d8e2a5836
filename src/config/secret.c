/* Secrets: which settings are one, and reading them from files.
 *
 * A password in the configuration file is in every backup and every ticket that the file is pasted into; one in the
 * environment or in a flag is visible to whoever may list processes. So each secret NAME can also be given as
 * NAME_file = PATH, in the place of NAME and with the same precedence. What a file may look like is what systemd
 * credentials, Docker and Kubernetes make of it: the bytes of the secret, perhaps with a newline at the end.
 *
 * A file that others may write to is refused: it is no secret but a way in. One that others may read is a warning and
 * no error, because containers mount theirs with mode 0444 into a namespace in which nobody else lives. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_internal.h"

#define FILE_SUFFIX      "_file"
#define SECRET_MAX_BYTES ((size_t)64 * 1024) /* a PEM key with its chain is some 10 KiB */

static bool kafka_is_secret(const char *property) {
    static const char *const words[] = {"password", "secret", "key.pem", "token", "credentials"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(property, words[i])) return true;
    return strncmp(property, "sasl.", 5) == 0 && strcmp(property, "sasl.mechanisms") != 0 &&
           strcmp(property, "sasl.mechanism") != 0;
}

bool config__is_secret(const char *name) {
    size_t prefix_len = strlen(CONFIG_KAFKA_PREFIX);
    if (strncmp(name, CONFIG_KAFKA_PREFIX, prefix_len) == 0) return kafka_is_secret(name + prefix_len);
    int index = config__find(name);
    return index >= 0 && config__table[index].is_secret;
}

char *config__secret_of_file_name(const char *name) {
    size_t len = strlen(name), suffix_len = strlen(FILE_SUFFIX);
    if (len <= suffix_len || strcmp(name + len - suffix_len, FILE_SUFFIX) != 0) return NULL;
    char *base = mem_strdup(name);
    base[len - suffix_len] = '\0';
    if (config__is_secret(base)) return base;
    free(base);
    return NULL;
}

void config__warn(struct config *cfg, char *text_take) {
    cfg->warnings = mem_realloc(cfg->warnings, (cfg->warning_count + 1) * sizeof *cfg->warnings);
    cfg->warnings[cfg->warning_count++] = text_take;
}

/* --- reading a file ----------------------------------------------------------------------------------------------- */

static int check_file(struct config *cfg, int fd, const char *path, const char *what, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return err_set_errno(err, ERR_CONFIG, "%s: %s", what, path);
    if (!S_ISREG(st.st_mode)) return err_set(err, ERR_CONFIG, "%s: %s is no regular file", what, path);
    if (st.st_mode & S_IWOTH)
        return err_set(err, ERR_CONFIG, "%s: others may write to %s (mode %04o): chmod o= %s", what, path,
                       (unsigned)st.st_mode & 07777U, path);
    if (st.st_mode & S_IROTH) {
        struct buf text = {0};
        buf_printf(&text, "%s: others may read the secret in %s (mode %04o): chmod o= %s", what, path,
                   (unsigned)st.st_mode & 07777U, path);
        config__warn(cfg, text.data);
    }
    return 0;
}

static int slurp(int fd, const char *path, const char *what, struct buf *out, struct err *err) {
    char chunk[4096];
    ssize_t n;
    while (out->len <= SECRET_MAX_BYTES && (n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(err, ERR_CONFIG, "%s: %s", what, path);
        buf_append(out, chunk, (size_t)n);
    }
    explicit_bzero(chunk, sizeof chunk);
    while (out->len > 0 && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->data[--out->len] = '\0';
    if (out->len == 0) return err_set(err, ERR_CONFIG, "%s: %s is empty", what, path);
    if (out->len > SECRET_MAX_BYTES)
        return err_set(err, ERR_CONFIG, "%s: %s is larger than %zu KiB, which no secret is", what, path,
                       SECRET_MAX_BYTES / 1024);
    if (memchr(out->data, '\0', out->len))
        return err_set(err, ERR_CONFIG, "%s: %s holds a NUL byte: this is no text", what, path);
    return 0;
}

int config__read_secret(struct config *cfg, const char *path, const char *what, struct buf *ret, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us up */
    if (fd < 0) return err_set_errno(err, ERR_CONFIG, "%s: %s", what, path);
    int rc = check_file(cfg, fd, path, what, err);
    if (rc == 0) rc = slurp(fd, path, what, ret, err);
    close(fd);
    return rc;
}

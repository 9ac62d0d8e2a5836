/* Which configuration file holds, and where a running `penstock dev` keeps its files.
 *
 * A dev instance publishes its configuration at a path that every other command of the same user looks at, so that
 * `penstock submit` works in a second terminal without options. That path must be one that no other user can prepare:
 * $XDG_RUNTIME_DIR, else /tmp/penstock-<uid>, and either only if it is a directory of ours that nobody else may enter;
 * otherwise a stranger's penstock.ini could send our jobs to his Kafka. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_internal.h"

#define SYSTEM_CONFIG "/etc/penstock/penstock.ini"

static bool is_private_dir(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() && (st.st_mode & 077) == 0;
}

/* NULL: there is none that will do. */
static const char *xdg_dir(void) {
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    return xdg && *xdg == '/' && is_private_dir(xdg) ? xdg : NULL;
}

static void fallback_dir(char ret[static 64]) { snprintf(ret, 64, "/tmp/penstock-%lu", (unsigned long)getuid()); }

static int runtime_dir(bool create, struct buf *ret, struct err *err) {
    const char *xdg = xdg_dir();
    if (xdg) {
        buf_puts(ret, xdg);
        return 0;
    }
    char path[64];
    fallback_dir(path);
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST) return err_set_errno(err, ERR_SYSTEM, "mkdir %s", path);
    if (!is_private_dir(path))
        return err_set(err, ERR_SYSTEM, "%s is not a directory of ours with mode 0700; set XDG_RUNTIME_DIR to one",
                       path);
    buf_puts(ret, path);
    return 0;
}

int cli__dev_dir(bool create, struct buf *ret, struct err *err) {
    if (runtime_dir(create, ret, err) != 0) return -1;
    buf_puts(ret, "/penstock-dev");
    return 0;
}

void cli__dev_dir_leave(void) {
    char path[64];
    fallback_dir(path);
    if (!xdg_dir()) rmdir(path);
}

/* The process in `path` is alive, and ours to signal. */
static bool pid_file_is_live(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char line[32] = "";
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    long pid = read ? strtol(line, NULL, 10) : 0;
    return pid > 0 && kill((pid_t)pid, 0) == 0;
}

bool cli__dev_config(struct buf *ret) {
    struct buf dir = {0}, pid = {0}, ini = {0};
    bool live = false;
    if (cli__dev_dir(false, &dir, NULL) == 0 && is_private_dir(dir.data)) {
        buf_printf(&pid, "%s/pid", dir.data);
        buf_printf(&ini, "%s/penstock.ini", dir.data);
        live = pid_file_is_live(pid.data) && access(ini.data, R_OK) == 0;
        if (live) buf_puts(ret, ini.data);
    }
    buf_done(&dir);
    buf_done(&pid);
    buf_done(&ini);
    return live;
}

char *cli__find_config(const char *flag, bool *ret_is_dev) {
    *ret_is_dev = false;
    if (flag) return mem_strdup(flag);
    const char *env = getenv("PENSTOCK_CONFIG");
    if (env && *env) return mem_strdup(env);
    struct buf dev = {0};
    if (cli__dev_config(&dev)) {
        *ret_is_dev = true;
        return dev.data; /* the buffer's memory is the caller's now */
    }
    buf_done(&dev);
    return access(SYSTEM_CONFIG, F_OK) == 0 ? mem_strdup(SYSTEM_CONFIG) : NULL;
}

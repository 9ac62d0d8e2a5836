/* Waiting, temporary directories and child processes for the tests.
 *
 * A test that is killed (by ctest's timeout, by a sanitizer, by hand) must leave nothing behind that the next one could
 * meet. So every child asks the kernel for SIGKILL on its parent's death before it execs, and directories carry the
 * name of the program: an ordinary exit removes them, and a killed test's are recognisable. */
#include "testlib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "penstock/clock.h"
#include "penstock/mem.h"
#include "testlib_internal.h"

#define POLL_MS       5
#define MAX_TEMP_DIRS 64

static char *temp_dirs[MAX_TEMP_DIRS];
static int temp_dir_count;
static pid_t temp_dir_owner; /* a forked child that exits must not remove its parent's directories */

void testlib__broken(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("BROKEN: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(TEST_EXIT_BROKEN);
}

void test_skip(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("SKIP: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(TEST_EXIT_SKIP);
}

int64_t test_mono_ms(void) { return clock_mono_ms(&clock_system); }

bool test_wait_for(bool (*cond)(void *arg), void *arg, int deadline_ms) {
    int64_t deadline = test_mono_ms() + deadline_ms;
    while (!cond(arg)) {
        if (test_mono_ms() >= deadline) return false;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    return true;
}

/* --- temporary directories ---------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) { return remove(path); }

void testlib__remove_tree(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static void remove_temp_dirs(void) {
    if (getpid() != temp_dir_owner) return;
    for (int i = 0; i < temp_dir_count; i++) {
        testlib__remove_tree(temp_dirs[i]);
        free(temp_dirs[i]);
    }
    temp_dir_count = 0;
}

const char *test_temp_dir(void) {
    if (temp_dir_count == MAX_TEMP_DIRS) testlib__broken("more than %d temporary directories", MAX_TEMP_DIRS);
    if (temp_dir_count == 0) {
        temp_dir_owner = getpid();
        atexit(remove_temp_dirs);
    }
    const char *base = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/%.32s-XXXXXX", base ? base : "/tmp", program_invocation_short_name);
    if (!mkdtemp(path)) testlib__broken("mkdtemp %s: %s", path, strerror(errno));
    temp_dirs[temp_dir_count] = mem_strdup(path);
    return temp_dirs[temp_dir_count++];
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

int test_free_port(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) != 0 || getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        testlib__broken("no free port: %s", strerror(errno));
    close(fd);
    return ntohs(addr.sin_port);
}

bool test_have_program(const char *name) {
    const char *path = getenv("PATH");
    char *dirs = mem_strdup(path ? path : "/usr/bin:/bin"), *save = NULL;
    bool found = false;
    for (char *dir = strtok_r(dirs, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", dir, name);
        found = access(file, X_OK) == 0;
    }
    free(dirs);
    return found;
}

pid_t test_spawn(const char *const *argv, const char *log_path) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) testlib__broken("fork: %s", strerror(errno));
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(TEST_EXIT_BROKEN); /* it died before prctl could see to it */
    int in = open("/dev/null", O_RDONLY), out = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0) _exit(TEST_EXIT_BROKEN);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv);
    _exit(TEST_EXIT_BROKEN);
}

void test_kill9(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

bool test_has_exited(pid_t pid, int *ret_status) { return waitpid(pid, ret_status, WNOHANG) == pid; }

void testlib__broken_with_log(const char *log_path, const char *what) {
    FILE *log = fopen(log_path, "r");
    char line[1024];
    while (log && fgets(line, sizeof line, log)) fputs(line, stderr);
    if (log) fclose(log);
    testlib__broken("%s; its log stands above", what);
}

/* The whole terminal, for a view that is drawn again and again.
 *
 * No ncurses: a page is lines, drawn from the top with each line's rest erased, in one write, so that nothing flickers
 * and no screen's contents need to be remembered. What matters is that the terminal is given back however we end. So
 * everything that changes it is undone by one function that a signal handler may call (tcsetattr and write are
 * async-signal-safe): the first signal to end is told to the loop by a byte in a pipe, which poll sees wherever it comes;
 * the second one, when the loop hangs in a call to Redis, gives the terminal back and ends the process from the handler.
 *
 * There is one terminal and signal handlers have no argument, so the state is the file's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli_view.h"
#include "penstock/clock.h"

#define ENTER          "\033[?1049h\033[?25l" /* the other page; no cursor */
#define LEAVE          "\033[0m\033[?25h\033[?1049l"
#define COLUMNS_UNTOLD 80
#define ROWS_UNTOLD    24

static struct {
    struct termios before;
    bool keys; /* standard input is a terminal, too: `before` is its state */
    int pipe[2];
    struct sigaction old[NSIG];
} screen;
static atomic_bool taken; /* the terminal is changed */
static volatile sig_atomic_t end_requested, suspend_requested, change_noticed;

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define ENDING_COUNT (sizeof ending / sizeof ending[0])

/* --- what a signal handler may do ----------------------------------------------------------------------------------
 */

static void put_bytes(const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* the terminal has gone, which poll will tell */
        bytes += n;
        len -= (size_t)n;
    }
}

static void give_back(void) {
    if (!atomic_exchange(&taken, false)) return;
    put_bytes(LEAVE, sizeof LEAVE - 1);
    if (screen.keys) tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

static void take(void) {
    struct termios raw = screen.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z are signals */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (screen.keys) tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    put_bytes(ENTER, sizeof ENTER - 1);
    atomic_store(&taken, true);
}

static void on_signal(int sig) {
    int saved = errno;
    if (sig == SIGWINCH) {
        change_noticed = 1;
    } else if (sig == SIGTSTP) {
        suspend_requested = 1;
    } else {
        if (end_requested) {
            give_back();
            _exit(128 + sig);
        }
        end_requested = 1;
    }
    ssize_t ignored = write(screen.pipe[1], "", 1); /* full: there is something to see already */
    (void)ignored;
    errno = saved;
}

/* --- taking and giving back ----------------------------------------------------------------------------------------
 */

static void handle(int sig) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(sig, &action, &screen.old[sig]);
}

int cli__screen_open(struct err *err) {
    if (pipe2(screen.pipe, O_CLOEXEC | O_NONBLOCK) != 0) return err_set_errno(err, ERR_SYSTEM, "pipe");
    screen.keys = tcgetattr(STDIN_FILENO, &screen.before) == 0;
    for (size_t i = 0; i < ENDING_COUNT; i++) handle(ending[i]);
    handle(SIGWINCH);
    handle(SIGTSTP);
    take();
    return 0;
}

void cli__screen_close(void) {
    give_back();
    for (size_t i = 0; i < ENDING_COUNT; i++) sigaction(ending[i], &screen.old[ending[i]], NULL);
    sigaction(SIGWINCH, &screen.old[SIGWINCH], NULL);
    sigaction(SIGTSTP, &screen.old[SIGTSTP], NULL);
    close(screen.pipe[0]);
    close(screen.pipe[1]);
}

/* Ctrl-Z: the shell gets its terminal as it was; after `fg` it is ours again. */
static void suspend(void) {
    suspend_requested = 0;
    give_back();
    raise(SIGSTOP);
    take();
}

/* --- drawing -------------------------------------------------------------------------------------------------------
 */

void cli__screen_size(size_t *ret_columns, size_t *ret_rows) {
    struct winsize size = {0};
    bool told = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *ret_columns = told && size.ws_col ? size.ws_col : COLUMNS_UNTOLD;
    *ret_rows = told && size.ws_row ? size.ws_row : ROWS_UNTOLD;
}

/* How many bytes of a line stand in the first `columns` columns; colours take none. */
static size_t visible(const char *line, size_t len, size_t columns) {
    size_t at = 0;
    while (at < len) {
        if (line[at] == '\033') {
            while (at < len && line[at] != 'm') at++;
            at += at < len;
            continue;
        }
        if (((unsigned char)line[at] & 0xc0) != 0x80 && columns-- == 0) break;
        at++;
    }
    return at;
}

void cli__screen_show(const char *text) {
    struct buf out = {0};
    size_t columns, rows;
    cli__screen_size(&columns, &rows);
    buf_puts(&out, "\033[H");
    for (size_t row = 0; row < rows && *text; row++) {
        size_t len = strcspn(text, "\n");
        buf_puts(&out, row ? "\r\n" : "");
        buf_append(&out, text, visible(text, len, columns));
        buf_puts(&out, "\033[0m\033[K");
        text += len + (text[len] == '\n');
    }
    buf_puts(&out, "\033[J");
    put_bytes(out.data, out.len);
    buf_done(&out);
}

/* --- waiting -------------------------------------------------------------------------------------------------------
 */

static void drain_pipe(void) {
    char bytes[64];
    while (read(screen.pipe[0], bytes, sizeof bytes) > 0) continue;
}

/* The last key of `len` bytes; what a terminal sends in several (arrows and the like: ESC [ ... letter) is none. */
static int key_of(const unsigned char *bytes, size_t len) {
    int key = CLI_SCREEN_CHANGED;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\033') {
            key = bytes[i];
            continue;
        }
        i++; /* '[' or 'O'; alone it is the key ESC */
        if (i < len) i++;
        while (i < len && (bytes[i] < '@' || bytes[i] > '~')) i++;
    }
    return key;
}

/* _END: the terminal has gone. */
static int read_key(void) {
    unsigned char bytes[64];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) return CLI_SCREEN_CHANGED;
    return n <= 0 ? CLI_SCREEN_END : key_of(bytes, (size_t)n);
}

int cli__screen_wait(int64_t ms) {
    int64_t until = clock_mono_ms(&clock_system) + ms;
    for (;;) {
        if (end_requested) return CLI_SCREEN_END;
        if (suspend_requested) {
            suspend();
            return CLI_SCREEN_CHANGED;
        }
        if (change_noticed) {
            change_noticed = 0;
            return CLI_SCREEN_CHANGED;
        }
        int64_t left = until - clock_mono_ms(&clock_system);
        if (left <= 0) return CLI_SCREEN_TIME;
        struct pollfd fds[2] = {{.fd = screen.pipe[0], .events = POLLIN},
                                {.fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN}};
        if (poll(fds, 2, left > 60000 ? 60000 : (int)left) <= 0) continue;
        if (fds[0].revents) drain_pipe();
        if (fds[1].revents) return read_key();
    }
}

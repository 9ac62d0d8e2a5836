/* What a service manager wants to know, in sd_notify's protocol: a datagram of NAME=value lines to the socket that
 * NOTIFY_SOCKET names. It is so little that libsystemd would be a dependency for a dozen lines.
 *
 * Ready is a process that has accepted its configuration and runs: whether Redis and Kafka are there is not waited for,
 * because being without them is a state that we live through, and not one that a restart mends. The environment is
 * taken away once it is read, so that workers which `serve` starts do not speak in its name. Where nobody listens, and
 * where sending fails, nothing happens: the service manager draws its own conclusions from silence. */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli_control.h"
#include "penstock/clock.h"

/* Twice in the time that the service manager gives us; 0 where it does not watch, or watches another process. */
static int64_t watchdog_every_ms(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtoll(pid, NULL, 10) != getpid())) return 0;
    return strtoll(usec, NULL, 10) / 2000;
}

void cli__notify_open(struct cli_notify *notify) {
    const char *path = getenv("NOTIFY_SOCKET");
    *notify = (struct cli_notify){.fd = -1, .addr.sun_family = AF_UNIX, .every_ms = watchdog_every_ms()};
    size_t len = path ? strlen(path) : 0;
    if (len > 1 && len < sizeof notify->addr.sun_path) {
        memcpy(notify->addr.sun_path, path, len);
        if (*path == '@') notify->addr.sun_path[0] = '\0'; /* an abstract one */
        notify->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void cli__notify_say(const struct cli_notify *notify, const char *text) {
    if (notify->fd < 0) return;
    sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&notify->addr,
           notify->addr_len);
}

void cli__notify_alive(struct cli_notify *notify) {
    int64_t now = clock_mono_ms(&clock_system);
    if (notify->every_ms == 0 || now < notify->due_ms) return;
    notify->due_ms = now + notify->every_ms;
    cli__notify_say(notify, "WATCHDOG=1");
}

void cli__notify_close(struct cli_notify *notify) {
    if (notify->fd >= 0) close(notify->fd);
    notify->fd = -1;
}

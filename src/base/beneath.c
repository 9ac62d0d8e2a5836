/* Opening beneath a folder.
 *
 * Who can name a path to a service can try "..", links and devices. openat2(2) with RESOLVE_BENEATH and
 * RESOLVE_NO_SYMLINKS makes the kernel itself refuse to leave the folder, whatever happens to it meanwhile; a check of
 * the text before an ordinary open would not. */
#include "penstock/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

int beneath_open(int dir, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd;
    do fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* a rename came in between */
    return fd;
}

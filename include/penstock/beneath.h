/* beneath: opening files by names that come from outside.
 *
 *     int fd = beneath_open(folder, "weights/part-1.bin", O_RDONLY);   // never /etc/passwd, whatever the name says
 */
#ifndef PENSTOCK_BENEATH_H
#define PENSTOCK_BENEATH_H

/* Opens `path` (relative, no "..", no symbolic link on the way) beneath the open folder `dir`, with O_CLOEXEC beside
 * `flags`. The descriptor, or -1 with errno: EXDEV or ELOOP where the path leads out or over a link. Source:
 * openat2(2). */
int beneath_open(int dir, const char *path, int flags);

#endif

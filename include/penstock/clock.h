/* clock: the time, injected, so that step functions can be driven by a simulation.
 *
 * Local clocks pace things (when to renew, how long to back off); they never decide what is true: leases and deadlines
 * are judged by Redis TIME inside the scripts.
 *
 *     int64_t now = clock_mono_ms(clock);
 */
#ifndef PENSTOCK_CLOCK_H
#define PENSTOCK_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*mono_us)(const struct clock *clock); /* monotonic, microseconds */
    int64_t (*wall_ms)(const struct clock *clock); /* since the epoch, for people only */
};

extern const struct clock clock_system;

static inline int64_t clock_mono_us(const struct clock *clock) { return clock->mono_us(clock); }
static inline int64_t clock_mono_ms(const struct clock *clock) { return clock->mono_us(clock) / 1000; }
static inline int64_t clock_wall_ms(const struct clock *clock) { return clock->wall_ms(clock); }

/* Writes `ms` since the epoch as RFC 3339 in UTC, "2026-11-24T10:00:00.123Z", into ret[25]. */
void clock_format_rfc3339(int64_t ms, char ret[static 25]);

/* Reads RFC 3339 ("Z" or a numeric offset, optional fraction). Returns 0 and *ret_ms since the epoch, or -1. */
int clock_parse_rfc3339(const char *s, int64_t *ret_ms);

/* RFC 3339, or "90s", "10m", "3h", "7d" before `now_ms`. Returns 0, or -1. */
int clock_parse_when(const char *s, int64_t now_ms, int64_t *ret_ms);

#endif

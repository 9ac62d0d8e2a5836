/* UUID version 7 (RFC 9562): 48 bits of wall clock in ms, then a counter in the 12 bits of rand_a (method 1 of section
 * 6.2), then random bits. The counter keeps the ids of one process sorted in the order they were made; a clock that
 * steps back, or a counter that runs over, goes on from the last millisecond used. */
#include "penstock/uuid.h"

#include <pthread.h>
#include <sys/random.h>

#include "penstock/clock.h"

#define COUNTER_MAX 0xfff

/* The next pair of millisecond and counter. `start` is where a new millisecond's counter begins. */
static int64_t draw(unsigned start, unsigned *ret_counter) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int64_t last_ms;
    static unsigned counter;
    int64_t ms = clock_wall_ms(&clock_system);
    pthread_mutex_lock(&lock);
    if (ms > last_ms) {
        last_ms = ms;
        counter = start;
    } else if (++counter > COUNTER_MAX) {
        last_ms++;
        counter = 0;
    }
    ms = last_ms;
    *ret_counter = counter;
    pthread_mutex_unlock(&lock);
    return ms;
}

int uuid_v7(char ret[static UUID_SIZE], struct err *err) {
    unsigned char b[16];
    unsigned counter;
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b) return err_set_errno(err, ERR_SYSTEM, "getrandom");
    int64_t ms = draw(b[7], &counter); /* a byte leaves most of the counter's range */
    for (int i = 0; i < 6; i++) b[i] = (unsigned char)(ms >> (40 - 8 * i));
    b[6] = (unsigned char)(0x70 | counter >> 8);
    b[7] = (unsigned char)counter;
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    char *p = ret;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
        *p++ = "0123456789abcdef"[b[i] >> 4];
        *p++ = "0123456789abcdef"[b[i] & 15];
    }
    *p = '\0';
    return 0;
}

/* The system's clocks, and RFC 3339. */
#include "penstock/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t system_mono_us(const struct clock *clock) {
    (void)clock;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t system_wall_ms(const struct clock *clock) {
    (void)clock;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const struct clock clock_system = {system_mono_us, system_wall_ms};

void clock_format_rfc3339(int64_t ms, char ret[static 25]) {
    time_t sec = (time_t)(ms / 1000);
    int frac = (int)(ms % 1000);
    if (frac < 0) {
        frac += 1000;
        sec--;
    }
    struct tm tm;
    if (!gmtime_r(&sec, &tm) || tm.tm_year + 1900 > 9999 || tm.tm_year + 1900 < 0) {
        strcpy(ret, "0000-00-00T00:00:00.000Z"); /* not a time that RFC 3339 can say */
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, frac);
    memcpy(ret, text, 24);
    ret[24] = '\0';
}

/* Reads exactly `count` digits; -1 if there are others. */
static int digits(const char **s, int count) {
    int value = 0;
    for (int i = 0; i < count; i++, (*s)++) {
        if (!isdigit((unsigned char)**s)) return -1;
        value = value * 10 + (**s - '0');
    }
    return value;
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month != 2) return days[month - 1];
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
}

/* The fraction in ms (further digits are cut) after a '.', 0 without; -1 if malformed. */
static int parse_fraction(const char **s) {
    if (**s != '.') return 0;
    (*s)++;
    if (!isdigit((unsigned char)**s)) return -1;
    int ms = 0;
    for (int scale = 100; isdigit((unsigned char)**s); (*s)++, scale /= 10) ms += (**s - '0') * scale;
    return ms;
}

/* The offset from UTC in minutes; sets *ok to 0 if malformed or followed by anything. */
static int parse_offset(const char *s, int *ok) {
    *ok = 0;
    if (*s == 'Z' || *s == 'z') {
        *ok = s[1] == '\0';
        return 0;
    }
    if (*s != '+' && *s != '-') return 0;
    int sign = *s++ == '-' ? -1 : 1;
    int hour = digits(&s, 2);
    if (hour < 0 || hour > 23 || *s++ != ':') return 0;
    int min = digits(&s, 2);
    *ok = min >= 0 && min <= 59 && *s == '\0';
    return sign * (hour * 60 + min);
}

int clock_parse_rfc3339(const char *s, int64_t *ret_ms) {
    struct tm tm = {0};
    int year = digits(&s, 4);
    if (year < 0 || *s++ != '-') return -1;
    int month = digits(&s, 2);
    if (month < 1 || month > 12 || *s++ != '-') return -1;
    int day = digits(&s, 2);
    if (day < 1 || day > days_in_month(year, month) || (*s != 'T' && *s != 't')) return -1;
    s++;
    int hour = digits(&s, 2);
    if (hour < 0 || hour > 23 || *s++ != ':') return -1;
    int min = digits(&s, 2);
    if (min < 0 || min > 59 || *s++ != ':') return -1;
    int sec = digits(&s, 2);
    if (sec < 0 || sec > 60) return -1; /* 60: a leap second */
    int ms = parse_fraction(&s);
    if (ms < 0) return -1;
    int ok, offset_min = parse_offset(s, &ok);
    if (!ok) return -1;
    tm = (struct tm){
        .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = min, .tm_sec = sec};
    *ret_ms = ((int64_t)timegm(&tm) - (int64_t)offset_min * 60) * 1000 + ms;
    return 0;
}

int clock_parse_when(const char *s, int64_t now_ms, int64_t *ret_ms) {
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digit_count = strspn(s, "0123456789");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (digit_count == 0 || digit_count > 9 || s[digit_count] != units[i].unit || s[digit_count + 1]) continue;
        *ret_ms = now_ms - strtoll(s, NULL, 10) * units[i].ms;
        return 0;
    }
    return clock_parse_rfc3339(s, ret_ms);
}

/* log: one line per happening on standard error, as text for people or JSON lines for machines.
 *
 * Only role loops and commands log; modules return a struct err. Fields are printf-formatted as key=value pairs in the
 * message's tail by the caller where they matter. Thread: any.
 *
 *     log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
 *     log_info("ingest", "assigned %s[%d] at offset %" PRId64, topic, partition, offset);
 */
#ifndef PENSTOCK_LOG_H
#define PENSTOCK_LOG_H

#include <stdbool.h>

#include "penstock/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* `role` names who speaks: "ingest", "relay", "worker" ... */
void log_write(enum log_level level, const char *role, const char *fmt, ...) PRINTF_LIKE(3, 4);
void log_err(const char *role, const struct err *err); /* level by class: RETRY warns, the rest are errors; with hint */

#define log_debug(role, ...) (log_enabled(LOG_LEVEL_DEBUG) ? log_write(LOG_LEVEL_DEBUG, role, __VA_ARGS__) : (void)0)
#define log_info(role, ...)  log_write(LOG_LEVEL_INFO, role, __VA_ARGS__)
#define log_warn(role, ...)  log_write(LOG_LEVEL_WARN, role, __VA_ARGS__)
#define log_error(role, ...) log_write(LOG_LEVEL_ERROR, role, __VA_ARGS__)

#endif

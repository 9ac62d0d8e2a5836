/* config: every setting, from one table: file (INI) < environment (PENSTOCK_SECTION_KEY) < flags (-s
 * section.key=value).
 *
 * Hides inih and the table. The table (src/config/table.c) carries name, type, default, range and a sentence of
 * documentation for each setting; docs/configuration.md is generated from it, and `penstock config` prints it. The
 * section [kafka] passes librdkafka properties through (environment: PENSTOCK_KAFKA_BOOTSTRAP_SERVERS =
 * kafka.bootstrap.servers).
 *
 * A secret NAME (a password, a token) may be given as NAME_file = PATH in its place, wherever it may be given.
 *
 *     struct config *cfg;
 *     if (config_load(path, overrides, override_count, &cfg, &err) != 0) ...
 *     int64_t lease_ms = config_int(cfg, "worker.lease_ms");
 */
#ifndef PENSTOCK_CONFIG_H
#define PENSTOCK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "penstock/err.h"

struct config;

/* Reads `path` (NULL: no file), then the environment, then `overrides` ("section.key=value"). Unknown names, wrong
 * types and values out of range are ERR_CONFIG with file, line, name, the value and what is allowed. */
int config_load(const char *path, const char *const *overrides, size_t override_count, struct config **ret,
                struct err *err) MUSTCHECK;
void config_free(struct config *cfg);

/* What is in force but should be looked at: secrets that others may read. A line each; they live as long as cfg. */
const char *const *config_warnings(const struct config *cfg, size_t *ret_count);

/* Typed access; a name that the table does not have, or of another type, is a bug and aborts. Strings live as long as
 * cfg; an empty string means "not set". Durations are int, in the unit that the name ends in. */
int64_t config_int(const struct config *cfg, const char *name);
bool config_bool(const struct config *cfg, const char *name);
const char *config_string(const struct config *cfg, const char *name);

/* The pass-through properties of [kafka], without the prefix. */
struct config_property {
    const char *name, *value;
};
const struct config_property *config_kafka_properties(const struct config *cfg, size_t *ret_count);

/* Prints the effective settings as INI with their source (default, file:line, environment, flag) as comments, secrets
 * masked. */
void config_print(const struct config *cfg, FILE *out);
void config_print_json(const struct config *cfg, FILE *out);
/* One setting's value alone, masked if it is a secret, as text or as JSON; false: there is no such setting. */
bool config_print_value(const struct config *cfg, const char *name, bool json, FILE *out);
void config_print_markdown(FILE *out); /* docs/configuration.md */
void config_print_man(FILE *out);      /* penstock.conf(5), as man(7) */

/* The table's settings one by one, from index 0; false: there are no more. */
struct config_info {
    const char *name, *doc, *choices; /* "section.key"; "a|b", or NULL: not one of a few words */
};
bool config_info_at(size_t index, struct config_info *ret);

#endif

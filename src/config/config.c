/* Values: setting, checking and reading them.
 *
 * Each value remembers where it came from, so that an error and `penstock config` can say it. The order of precedence
 * is nothing but the order of the calls in config_load: the last one to set a name wins. A name is checked where it
 * enters and nowhere else; after config_load has returned 0 every value is of its type and in its range, so the
 * accessors treat a wrong name as a mistake of ours.
 *
 * [kafka] is not in the table: its properties belong to librdkafka, which knows their names, types and ranges better
 * than any copy of ours would. bus_kafka_check_props refuses what is unknown or locked. */
#include "penstock/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "penstock/nearest.h"

#define KAFKA_DEFAULT_NAME  "bootstrap.servers"
#define KAFKA_DEFAULT_VALUE "127.0.0.1:9092"

/* --- checking ----------------------------------------------------------------------------------------------------- */

static int parse_int(const struct config_setting *setting, const char *value, const char *source, int64_t *ret,
                     struct err *err) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno == ERANGE)
        return err_set(err, ERR_CONFIG, "%s: %s = '%s' is not a whole number from %" PRId64 " to %" PRId64, source,
                       setting->name, value, setting->min, setting->max);
    if (number < setting->min || number > setting->max)
        return err_set(err, ERR_CONFIG, "%s: %s = %s is outside the range %" PRId64 " to %" PRId64, source,
                       setting->name, value, setting->min, setting->max);
    *ret = number;
    return 0;
}

static int parse_bool(const struct config_setting *setting, const char *value, const char *source, int64_t *ret,
                      struct err *err) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(value, words[i]) == 0) {
            *ret = (int64_t)(i % 2);
            return 0;
        }
    return err_set(err, ERR_CONFIG, "%s: %s = '%s' is neither true nor false", source, setting->name, value);
}

static int check_choice(const struct config_setting *setting, const char *value, const char *source, struct err *err) {
    size_t len = strlen(value);
    for (const char *word = setting->choices; len > 0 && *word;) {
        size_t word_len = strcspn(word, "|");
        if (word_len == len && memcmp(word, value, len) == 0) return 0;
        word += word_len + (word[word_len] == '|');
    }
    return err_set(err, ERR_CONFIG, "%s: %s = '%s' is none of %s", source, setting->name, value, setting->choices);
}

static int unknown_name(const char *name, const char *source, struct err *err) {
    const char **names = mem_calloc(config__table_count, sizeof *names);
    for (size_t i = 0; i < config__table_count; i++) names[i] = config__table[i].name;
    const char *meant = nearest_word(name, names, config__table_count);
    free(names);
    if (meant) return err_set(err, ERR_CONFIG, "%s: unknown setting '%s'; did you mean '%s'?", source, name, meant);
    return err_set(err, ERR_CONFIG, "%s: unknown setting '%s'", source, name);
}

/* --- setting ------------------------------------------------------------------------------------------------------ */

static void replace(char **text, const char *by) {
    char *copy = mem_strdup(by); /* `by` may be the old text */
    free(*text);
    *text = copy;
}

static int refuse_twice(const struct config_value *old, const char *name, const char *source, struct err *err) {
    return err_set(err, ERR_CONFIG,
                   "%s: '%s' is set a second time, after %s (an indented line continues the one above it)", source,
                   name, old->source);
}

static int set_kafka(struct config *cfg, const char *name, const char *value, const char *source, bool in_file,
                     struct err *err) {
    if (!*name) return err_set(err, ERR_CONFIG, "%s: a property name is missing after 'kafka.'", source);
    size_t i = 0;
    while (i < cfg->kafka_count && strcmp(cfg->kafka_names[i], name) != 0) i++;
    if (i == cfg->kafka_count) {
        size_t count = ++cfg->kafka_count;
        cfg->kafka = mem_realloc(cfg->kafka, count * sizeof *cfg->kafka);
        cfg->kafka_values = mem_realloc(cfg->kafka_values, count * sizeof *cfg->kafka_values);
        cfg->kafka_names = mem_realloc(cfg->kafka_names, count * sizeof *cfg->kafka_names);
        cfg->kafka_values[i] = (struct config_value){0};
        cfg->kafka_names[i] = mem_strdup(name);
    }
    struct config_value *slot = &cfg->kafka_values[i];
    if (in_file && slot->in_file) return refuse_twice(slot, name, source, err);
    replace(&slot->text, value);
    replace(&slot->source, source);
    slot->in_file |= in_file;
    cfg->kafka[i] = (struct config_property){cfg->kafka_names[i], slot->text};
    return 0;
}

/* NAME_file = path: NAME gets what stands in the file. Where it came from names both places. */
static int set_from_file(struct config *cfg, const char *name, const char *file_name, const char *path,
                         const char *source, bool in_file, struct err *err) {
    struct buf what = {0}, secret = {0}, origin = {0};
    buf_printf(&what, "%s: %s", source, file_name);
    buf_printf(&origin, "%s (%s)", path, source);
    int rc = config__read_secret(cfg, path, what.data, &secret, err);
    if (rc == 0) rc = config__set(cfg, name, secret.data, origin.data, in_file, err);
    if (secret.data) explicit_bzero(secret.data, secret.len);
    buf_done(&what);
    buf_done(&secret);
    buf_done(&origin);
    return rc;
}

int config__set(struct config *cfg, const char *name, const char *value, const char *source, bool in_file,
                struct err *err) {
    char *secret = config__secret_of_file_name(name);
    if (secret) {
        int rc = set_from_file(cfg, secret, name, value, source, in_file, err);
        free(secret);
        return rc;
    }
    size_t prefix_len = strlen(CONFIG_KAFKA_PREFIX);
    if (strncmp(name, CONFIG_KAFKA_PREFIX, prefix_len) == 0)
        return set_kafka(cfg, name + prefix_len, value, source, in_file, err);
    int index = config__find(name);
    if (index < 0) return unknown_name(name, source, err);
    const struct config_setting *setting = &config__table[index];
    struct config_value *slot = &cfg->values[index];
    if (in_file && slot->in_file) return refuse_twice(slot, name, source, err);
    int64_t number = 0;
    int rc = 0;
    switch (setting->type) {
    case CONFIG_INT:
        rc = parse_int(setting, value, source, &number, err);
        break;
    case CONFIG_BOOL:
        rc = parse_bool(setting, value, source, &number, err);
        break;
    case CONFIG_CHOICE:
        rc = check_choice(setting, value, source, err);
        break;
    case CONFIG_STRING:
        break;
    }
    if (rc != 0) return -1;
    replace(&slot->text, setting->type == CONFIG_BOOL ? (number ? "true" : "false") : value);
    replace(&slot->source, source);
    slot->number = number;
    slot->in_file |= in_file;
    return 0;
}

static int set_defaults(struct config *cfg, struct err *err) {
    if (set_kafka(cfg, KAFKA_DEFAULT_NAME, KAFKA_DEFAULT_VALUE, "default", false, err) != 0) return -1;
    for (size_t i = 0; i < config__table_count; i++)
        if (config__set(cfg, config__table[i].name, config__table[i].def, "default", false, err) != 0) return -1;
    return 0;
}

static int set_override(struct config *cfg, const char *override, struct err *err) {
    const char *equals = strchr(override, '=');
    if (!equals || equals == override)
        return err_set(err, ERR_CONFIG, "flag -s '%s': expected section.key=value", override);
    char *name = mem_strdup(override);
    name[equals - override] = '\0';
    int rc = config__set(cfg, name, equals + 1, "flag", false, err);
    free(name);
    return rc;
}

/* --- public ------------------------------------------------------------------------------------------------------- */

int config_load(const char *path, const char *const *overrides, size_t override_count, struct config **ret,
                struct err *err) {
    struct config *cfg = mem_calloc(1, sizeof *cfg);
    cfg->values = mem_calloc(config__table_count, sizeof *cfg->values);
    if (set_defaults(cfg, err) != 0) goto fail;
    if (path && config__read_file(cfg, path, err) != 0) goto fail;
    if (config__read_environment(cfg, err) != 0) goto fail;
    for (size_t i = 0; i < override_count; i++)
        if (set_override(cfg, overrides[i], err) != 0) goto fail;
    *ret = cfg;
    return 0;
fail:
    config_free(cfg);
    return -1;
}

static void free_value(struct config_value *slot) {
    free(slot->text);
    free(slot->source);
}

void config_free(struct config *cfg) {
    if (!cfg) return;
    for (size_t i = 0; i < config__table_count; i++) free_value(&cfg->values[i]);
    for (size_t i = 0; i < cfg->kafka_count; i++) {
        free_value(&cfg->kafka_values[i]);
        free(cfg->kafka_names[i]);
    }
    for (size_t i = 0; i < cfg->warning_count; i++) free(cfg->warnings[i]);
    free(cfg->warnings);
    free(cfg->values);
    free(cfg->kafka);
    free(cfg->kafka_values);
    free(cfg->kafka_names);
    free(cfg);
}

static const struct config_value *value_of(const struct config *cfg, const char *name, enum config_type type) {
    int index = config__find(name);
    BUG_ON(index < 0);
    enum config_type actual = config__table[index].type;
    BUG_ON(actual != type && !(type == CONFIG_STRING && actual == CONFIG_CHOICE));
    return &cfg->values[index];
}

int64_t config_int(const struct config *cfg, const char *name) { return value_of(cfg, name, CONFIG_INT)->number; }
bool config_bool(const struct config *cfg, const char *name) { return value_of(cfg, name, CONFIG_BOOL)->number != 0; }
const char *config_string(const struct config *cfg, const char *name) {
    return value_of(cfg, name, CONFIG_STRING)->text;
}

const struct config_property *config_kafka_properties(const struct config *cfg, size_t *ret_count) {
    *ret_count = cfg->kafka_count;
    return cfg->kafka;
}

const char *const *config_warnings(const struct config *cfg, size_t *ret_count) {
    *ret_count = cfg->warning_count;
    return (const char *const *)cfg->warnings;
}

/* The environment: PENSTOCK_<SECTION>_<KEY> for a setting of the table, PENSTOCK_KAFKA_<PROPERTY> for the pass-through
 * section. A name that begins with PENSTOCK_ and means nothing is refused: a setting with a typing slip that is
 * silently ignored costs an evening. An underscore in a Kafka property's environment name stands for a dot; no property
 * of librdkafka that can be set as text has an underscore in its own name, nor ends in ".file": _FILE at the end is
 * that of a secret's file. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_internal.h"
#include "penstock/nearest.h"

#define PREFIX         "PENSTOCK_"
#define KAFKA_PREFIX   "PENSTOCK_KAFKA_"
#define FILE_SUFFIX    "_FILE"
#define NAME_MAX_BYTES 96

void config__environment_name(const char *name, char *ret, size_t ret_size) {
    size_t n = strlen(PREFIX);
    BUG_ON(n + strlen(name) + 1 > ret_size);
    memcpy(ret, PREFIX, n);
    for (; *name; name++) ret[n++] = *name == '.' ? '_' : (char)toupper((unsigned char)*name);
    ret[n] = '\0';
}

static bool is_exempt(const char *name) {
    for (size_t i = 0; i < config__exempt_count; i++) {
        const struct config_exempt *ex = &config__exempt[i];
        if (ex->prefix ? strncmp(name, ex->name, strlen(ex->name)) == 0 : strcmp(name, ex->name) == 0) return true;
    }
    return false;
}

static int refuse_unknown(const char *name, struct err *err) {
    char(*names)[NAME_MAX_BYTES] = mem_calloc(config__table_count, sizeof *names);
    const char **candidates = mem_calloc(config__table_count, sizeof *candidates);
    for (size_t i = 0; i < config__table_count; i++) {
        config__environment_name(config__table[i].name, names[i], sizeof names[i]);
        candidates[i] = names[i];
    }
    const char *meant = nearest_word(name, candidates, config__table_count);
    if (meant)
        err_set(err, ERR_CONFIG, "environment: unknown name %s; did you mean %s?", name, meant);
    else
        err_set(err, ERR_CONFIG, "environment: unknown name %s (names that begin with " PREFIX " are settings)", name);
    free(candidates);
    free(names);
    return -1;
}

static int set_kafka(struct config *cfg, const char *property, const char *value, struct err *err) {
    struct buf name = {0};
    buf_puts(&name, CONFIG_KAFKA_PREFIX);
    size_t len = strlen(property), suffix_len = strlen(FILE_SUFFIX);
    bool names_file = len > suffix_len && strcmp(property + len - suffix_len, FILE_SUFFIX) == 0;
    for (const char *p = property; *p; p++) {
        bool suffix = names_file && p == property + len - suffix_len;
        char c = *p == '_' && !suffix ? '.' : (char)tolower((unsigned char)*p);
        buf_append(&name, &c, 1);
    }
    int rc = config__set(cfg, name.data, value, "environment", false, err);
    buf_done(&name);
    return rc;
}

static int set_one(struct config *cfg, const char *name, const char *value, struct err *err) {
    if (is_exempt(name)) return 0;
    if (strncmp(name, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) == 0)
        return set_kafka(cfg, name + strlen(KAFKA_PREFIX), value, err);
    for (size_t i = 0; i < config__table_count; i++) {
        char env_name[NAME_MAX_BYTES];
        config__environment_name(config__table[i].name, env_name, sizeof env_name);
        size_t len = strlen(env_name);
        if (strncmp(env_name, name, len) != 0) continue;
        bool names_file = config__table[i].is_secret && strcmp(name + len, FILE_SUFFIX) == 0;
        if (name[len] != '\0' && !names_file) continue;
        struct buf setting = {0};
        buf_printf(&setting, "%s%s", config__table[i].name, names_file ? "_file" : "");
        int rc = config__set(cfg, setting.data, value, "environment", false, err);
        buf_done(&setting);
        return rc;
    }
    return refuse_unknown(name, err);
}

int config__read_environment(struct config *cfg, struct err *err) {
    for (char **entry = environ; entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        if (!equals || strncmp(*entry, PREFIX, strlen(PREFIX)) != 0) continue;
        char *name = mem_strdup(*entry);
        name[equals - *entry] = '\0';
        int rc = set_one(cfg, name, equals + 1, err);
        free(name);
        if (rc != 0) return -1;
    }
    return 0;
}

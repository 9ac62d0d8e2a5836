/* Between the files of config: the table and the values. */
#ifndef PENSTOCK_CONFIG_INTERNAL_H
#define PENSTOCK_CONFIG_INTERNAL_H

#include "penstock/config.h"
#include "penstock/mem.h"

enum config_type { CONFIG_INT, CONFIG_BOOL, CONFIG_STRING, CONFIG_CHOICE };

struct config_setting {
    const char *name; /* "section.key" */
    enum config_type type;
    const char *def;
    int64_t min, max;    /* of CONFIG_INT */
    const char *choices; /* of CONFIG_CHOICE: "a|b|c" */
    bool is_url;         /* a password in it is masked when printed */
    bool is_secret;      /* never printed; may be given as NAME_file */
    const char *doc;
};
extern const struct config_setting config__table[];
extern const size_t config__table_count;

struct config_section {
    const char *name, *doc;
};
extern const struct config_section config__sections[];
extern const size_t config__section_count;

/* Environment names that begin with PENSTOCK_ and are no settings: exact, or with `prefix` whatever follows. */
struct config_exempt {
    const char *name;
    bool prefix;
    const char *doc;
};
extern const struct config_exempt config__exempt[];
extern const size_t config__exempt_count;

struct config_value {
    char *text;
    int64_t number; /* INT; BOOL as 0 or 1 */
    char *source;   /* "default", "penstock.ini:12", "environment", "flag" */
    bool in_file;   /* seen in the file already: twice is a mistake */
};

struct config {
    struct config_value *values;       /* by the table's index */
    struct config_property *kafka;     /* sorted by nothing: in the order set */
    struct config_value *kafka_values; /* beside kafka[i]: text = kafka[i].value, and the source */
    char **kafka_names;
    size_t kafka_count;
    char **warnings;
    size_t warning_count;
};

#define CONFIG_KAFKA_PREFIX "kafka."

/* The index of `name` in the table, or -1. */
int config__find(const char *name);

/* Sets "section.key" from `source`, which also begins the message of an error. in_file: refuse a second time. */
int config__set(struct config *cfg, const char *name, const char *value, const char *source, bool in_file,
                struct err *err) MUSTCHECK;
int config__read_file(struct config *cfg, const char *path, struct err *err) MUSTCHECK;
int config__read_environment(struct config *cfg, struct err *err) MUSTCHECK;

/* Writes the environment's name for a setting ("PENSTOCK_BUS_GROUP") into ret. */
void config__environment_name(const char *name, char *ret, size_t ret_size);

/* --- secret.c ----------------------------------------------------------------------------------------------------- */

bool config__is_secret(const char *name);
/* "store.password" for "store.password_file", NULL where that is no secret's file. Owns: caller frees. */
char *config__secret_of_file_name(const char *name);
/* Reads the secret in `path`; `what` begins the message of an error. The end of its last line is no part of it. */
int config__read_secret(struct config *cfg, const char *path, const char *what, struct buf *ret,
                        struct err *err) MUSTCHECK;
void config__warn(struct config *cfg, char *text_take);

/* The value as it may be shown: secrets replaced by "***". */
void config__masked(const char *name, const char *value, struct buf *out);

#endif

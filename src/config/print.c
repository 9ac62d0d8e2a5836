/* Printing: the effective settings as INI and JSON, and the reference page as Markdown. What is printed is meant to be
 * pasted into a ticket, so secrets are masked here, at the only place that shows values: passwords inside URLs, and
 * every Kafka property that can carry a credential. When in doubt a property is masked; a name too many costs nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

#define MASK "***"

/* --- masking ------------------------------------------------------------------------------------------------------ */

/* scheme://user:password@host: from the first ':' behind "://" to the last '@' before the path. */
static void mask_url(const char *url, struct buf *out) {
    const char *authority = strstr(url, "://");
    const char *slash = authority ? strchr(authority + 3, '/') : NULL;
    size_t len = authority ? (slash ? (size_t)(slash - authority) : strlen(authority)) : 0;
    const char *at = authority ? memrchr(authority, '@', len) : NULL;
    const char *colon = at ? memchr(authority + 3, ':', (size_t)(at - authority - 3)) : NULL;
    if (!colon) {
        buf_puts(out, url);
        return;
    }
    buf_append(out, url, (size_t)(colon - url) + 1);
    buf_puts(out, MASK);
    buf_puts(out, at);
}

void config__masked(const char *name, const char *value, struct buf *out) {
    int index = config__find(name);
    if (index >= 0 && config__table[index].is_url)
        mask_url(value, out);
    else if (*value && config__is_secret(name))
        buf_puts(out, MASK);
    else
        buf_puts(out, value);
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

/* One setting on its way to the printer. */
struct shown {
    const char *section, *key, *source;
    const char *value; /* masked */
    enum config_type type;
};
typedef void shown_fn(void *self, const struct shown *shown);

static void show(const char *section, const char *key, enum config_type type, const struct config_value *slot,
                 shown_fn *fn, void *self) {
    struct buf name = {0}, value = {0};
    buf_printf(&name, "%s.%s", section, key);
    buf_puts(&value, ""); /* so that an empty value is a string, too */
    config__masked(name.data, slot->text, &value);
    fn(self,
       &(struct shown){.section = section, .key = key, .source = slot->source, .value = value.data, .type = type});
    buf_done(&name);
    buf_done(&value);
}

/* [kafka] first, then the table's order, which keeps a section together. */
static void walk(const struct config *cfg, shown_fn *fn, void *self) {
    for (size_t i = 0; i < cfg->kafka_count; i++)
        show("kafka", cfg->kafka_names[i], CONFIG_STRING, &cfg->kafka_values[i], fn, self);
    for (size_t i = 0; i < config__table_count; i++) {
        const struct config_setting *setting = &config__table[i];
        const char *dot = strchr(setting->name, '.');
        char section[32];
        snprintf(section, sizeof section, "%.*s", (int)(dot - setting->name), setting->name);
        show(section, dot + 1, setting->type, &cfg->values[i], fn, self);
    }
}

struct printer {
    FILE *out;
    char section[32]; /* the open one; "" before the first */
};

/* True when `shown` opens a section. */
static bool enter_section(struct printer *printer, const struct shown *shown) {
    if (strcmp(printer->section, shown->section) == 0) return false;
    snprintf(printer->section, sizeof printer->section, "%s", shown->section);
    return true;
}

/* --- INI and JSON ------------------------------------------------------------------------------------------------- */

static void print_ini(void *self, const struct shown *shown) {
    struct printer *printer = self;
    bool first = !*printer->section;
    if (enter_section(printer, shown)) fprintf(printer->out, "%s[%s]\n", first ? "" : "\n", shown->section);
    int width = fprintf(printer->out, "%s = %s", shown->key, shown->value);
    fprintf(printer->out, "%*s ; %s\n", width < 48 ? 48 - width : 0, "", shown->source);
}

void config_print(const struct config *cfg, FILE *out) {
    struct printer printer = {.out = out};
    walk(cfg, print_ini, &printer);
}

static void print_json_string(const char *s, FILE *out) {
    fputc('"', out);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_json_value(const struct shown *shown, FILE *out) {
    if (shown->type == CONFIG_INT || shown->type == CONFIG_BOOL)
        fputs(shown->value, out);
    else
        print_json_string(shown->value, out);
}

static void print_json(void *self, const struct shown *shown) {
    struct printer *printer = self;
    bool first = !*printer->section;
    if (enter_section(printer, shown))
        fprintf(printer->out, "%s\"%s\":{", first ? "" : "},", shown->section);
    else
        fputc(',', printer->out);
    print_json_string(shown->key, printer->out);
    fputs(":{\"value\":", printer->out);
    print_json_value(shown, printer->out);
    fputs(",\"source\":", printer->out);
    print_json_string(shown->source, printer->out);
    fputc('}', printer->out);
}

void config_print_json(const struct config *cfg, FILE *out) {
    struct printer printer = {.out = out};
    fputc('{', out);
    walk(cfg, print_json, &printer);
    fputs("}}\n", out);
}

struct asked {
    FILE *out;
    const char *name;
    bool json, found;
};

static void print_if_asked(void *self, const struct shown *shown) {
    struct asked *asked = self;
    size_t section = strlen(shown->section);
    if (strncmp(asked->name, shown->section, section) != 0 || asked->name[section] != '.' ||
        strcmp(asked->name + section + 1, shown->key) != 0)
        return;
    if (asked->json)
        print_json_value(shown, asked->out);
    else
        fputs(shown->value, asked->out);
    fputc('\n', asked->out);
    asked->found = true;
}

bool config_print_value(const struct config *cfg, const char *name, bool json, FILE *out) {
    struct asked asked = {.out = out, .name = name, .json = json};
    walk(cfg, print_if_asked, &asked);
    return asked.found;
}

/* --- Markdown ----------------------------------------------------------------------------------------------------- */

static const char markdown_intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Generated from src/config/table.c by `penstock config --markdown`; do not edit. -->\n"
    "\n"
    "A setting comes from, the later winning over the earlier:\n"
    "\n"
    "1. its default,\n"
    "2. the file (INI): `-c FILE`, else `$PENSTOCK_CONFIG`, else that of your running `penstock dev`, else\n"
    "   `/etc/penstock/penstock.ini` if it exists,\n"
    "3. the environment: `PENSTOCK_<SECTION>_<KEY>`, for example `PENSTOCK_STORE_URL`,\n"
    "4. flags: `-s section.key=value`.\n"
    "\n"
    "An unknown name, a value of the wrong type and a value out of range are refused at the start, with the place and "
    "with\n"
    "what is allowed; that holds for environment names that begin with `PENSTOCK_`, too. `penstock config` prints the\n"
    "effective settings, each with its source, secrets masked; `penstock config --check` only checks them. In the "
    "file, `;`\n"
    "and `#` at the start of a line, and `;` behind white space, begin a comment. Numbers carry their unit in the "
    "name.\n"
    "\n"
    "```ini\n"
    "[kafka]\n"
    "bootstrap.servers = kafka-1:9092,kafka-2:9092\n"
    "\n"
    "[store]\n"
    "url = redis://redis:6379\n"
    "\n"
    "[worker]\n"
    "count = 2\n"
    "```\n"
    "\n"
    "## [kafka]\n"
    "\n"
    "Every property of librdkafka passes through under its own name (`security.protocol`, `sasl.mechanisms`, "
    "`ssl.ca.location`\n"
    "...); the default of `bootstrap.servers` is `127.0.0.1:9092`. In the environment, `PENSTOCK_KAFKA_` is followed "
    "by the\n"
    "property in capitals with `_` for each `.`: `PENSTOCK_KAFKA_BOOTSTRAP_SERVERS`. What the promises rest on "
    "(`acks`,\n"
    "`enable.idempotence`, `isolation.level`, `enable.auto.commit` ...) is locked: setting it is an error.\n"
    "\n"
    "## Secrets\n"
    "\n"
    "`store.password`, other settings marked so below, and Kafka properties that carry a credential (`sasl.password`,\n"
    "`ssl.key.password`, `ssl.key.pem` ...) are never printed. Each `NAME` may be given as `NAME_file = PATH` in its "
    "place\n"
    "(`store.password_file`, `kafka.sasl.password_file`; `PENSTOCK_STORE_PASSWORD_FILE`): the file's content without "
    "the end of\n"
    "its last line, at most 64 KiB, read at the start. A file that others may write to is refused; one that others may "
    "read,\n"
    "and a configuration file with a secret in it that others may read, is warned of at the start and by `--check`. "
    "Prefer\n"
    "files to the environment and to flags, which whoever may list processes can see.\n";

/* A '|' would end the table's cell. */
static void print_cell(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_allowed(const struct config_setting *setting, FILE *out) {
    switch (setting->type) {
    case CONFIG_INT:
        fprintf(out, "%" PRId64 " to %" PRId64, setting->min, setting->max);
        break;
    case CONFIG_BOOL:
        fputs("true, false", out);
        break;
    case CONFIG_STRING:
        fputs(setting->is_secret ? "text, [secret](#secrets)" : "text", out);
        break;
    case CONFIG_CHOICE:
        for (const char *p = setting->choices; *p; p++) fputs(*p == '|' ? ", " : (char[]){*p, '\0'}, out);
        break;
    }
}

static void print_row(const struct config_setting *setting, FILE *out) {
    fprintf(out, "| `%s` | %s%s%s | ", strchr(setting->name, '.') + 1, *setting->def ? "`" : "", setting->def,
            *setting->def ? "`" : "");
    print_allowed(setting, out);
    fputs(" | ", out);
    print_cell(setting->doc, out);
    fputs(" |\n", out);
}

void config_print_markdown(FILE *out) {
    fputs(markdown_intro, out);
    for (size_t s = 0; s < config__section_count; s++) {
        const struct config_section *section = &config__sections[s];
        size_t len = strlen(section->name);
        fprintf(out, "\n## [%s]\n\n%s\n\n| key | default | allowed | |\n|---|---|---|---|\n", section->name,
                section->doc);
        for (size_t i = 0; i < config__table_count; i++)
            if (strncmp(config__table[i].name, section->name, len) == 0 && config__table[i].name[len] == '.')
                print_row(&config__table[i], out);
    }
    fputs("\n## Environment names that are no settings\n\n| name | |\n|---|---|\n", out);
    for (size_t i = 0; i < config__exempt_count; i++)
        fprintf(out, "| `%s%s` | %s |\n", config__exempt[i].name, config__exempt[i].prefix ? "*" : "",
                config__exempt[i].doc);
}

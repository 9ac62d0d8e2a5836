/* penstock.conf(5), as man(7): the table once more, for those who have a terminal and no browser. */
#include <inttypes.h>
#include <string.h>

#include "config_internal.h"

static const char head[] =
    ".\\\" Made by `penstock config --man`; do not edit.\n"
    ".TH \"penstock.conf\" \"5\" \"\" \"Penstock\" \"Penstock\"\n"
    ".SH NAME\npenstock.conf \\- settings of Penstock\n"
    ".SH DESCRIPTION\n"
    "A setting comes from, the later winning over the earlier: its default; the configuration file, which is that of\n"
    ".BR \\-c ,\nelse of\n.BR PENSTOCK_CONFIG ,\nelse of a running\n.BR \"penstock dev\" ,\nelse\n"
    ".IR /etc/penstock/penstock.ini ;\n"
    "the environment,\n.BI PENSTOCK_ SECTION _ KEY\nin capitals, with _ for each dot;\n"
    "and the option\n.BI \"\\-s \" section . key = value\\fR.\\&\n"
    ".PP\n"
    "An unknown name, a value of the wrong type and a value out of range are refused at the start, with the place and "
    "with\nwhat is allowed.\n"
    ".B penstock config\nprints the effective settings, each with its source.\n"
    ".SH FORMAT\n"
    "Sections in brackets, and lines of the form key = value. A line that begins with ; or # is a comment, and so is "
    "what "
    "follows\na ; behind white space.\n"
    ".PP\n.EX\n"
    "[kafka]\nbootstrap.servers = kafka\\-1:9092,kafka\\-2:9092\n\n[store]\nurl = "
    "redis://redis:6379\n\n[worker]\ncount = "
    "2\n.EE\n"
    ".SH SECTION kafka\n"
    "Every property of librdkafka passes through under its own name; the default of bootstrap.servers is "
    "127.0.0.1:9092. What\nthe promises rest on (acks, enable.idempotence, isolation.level, enable.auto.commit ...) is "
    "locked: setting it is an error.\n";

/* No request at the start of a line, no escape, and a '-' and a '\'' that can be copied. */
static void put_text(const char *text, FILE *out) {
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '\'')
            fputs("\\(aq", out);
        else if (*text != '`')
            fputc(*text, out);
    }
}

static void put_setting(const struct config_setting *setting, FILE *out) {
    fputs(".TP\n.B ", out);
    put_text(strchr(setting->name, '.') + 1, out);
    fputc('\n', out);
    put_text(setting->doc, out);
    fputs("\n.br\n", out);
    if (setting->type == CONFIG_INT)
        fprintf(out, "A whole number from %" PRId64 " to %" PRId64, setting->min, setting->max);
    else if (setting->type == CONFIG_BOOL)
        fputs("true or false", out);
    else if (setting->type == CONFIG_CHOICE)
        for (const char *c = setting->choices; *c; c++) fputs(*c == '|' ? ", " : (char[]){*c, '\0'}, out);
    else
        fputs("Text", out);
    fputs("; default: ", out);
    put_text(*setting->def ? setting->def : "empty", out);
    fputs(".\n", out);
}

void config_print_man(FILE *out) {
    fputs(head, out);
    for (size_t s = 0; s < config__section_count; s++) {
        const struct config_section *section = &config__sections[s];
        size_t len = strlen(section->name);
        fprintf(out, ".SH SECTION %s\n", section->name);
        put_text(section->doc, out);
        fputc('\n', out);
        for (size_t i = 0; i < config__table_count; i++)
            if (strncmp(config__table[i].name, section->name, len) == 0 && config__table[i].name[len] == '.')
                put_setting(&config__table[i], out);
    }
    fputs(".SH FILES\n.I /etc/penstock/penstock.ini\n.SH SEE ALSO\n.BR penstock (1),\n.BR penstock\\-config (1)\n",
          out);
}

bool config_info_at(size_t index, struct config_info *ret) {
    if (index >= config__table_count) return false;
    const struct config_setting *setting = &config__table[index];
    *ret = (struct config_info){
        .name = setting->name,
        .doc = setting->doc,
        .choices = setting->type == CONFIG_CHOICE ? setting->choices
                   : setting->type == CONFIG_BOOL ? "true|false"
                                                  : NULL,
    };
    return true;
}

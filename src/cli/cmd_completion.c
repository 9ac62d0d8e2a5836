/* penstock completion: what a shell asks when the person presses Tab.
 *
 * The shells' scripts know nothing about penstock's options: they send the words up to the cursor and get, a line each,
 * what may stand there, with a tab and a description behind it; ":files" or ":folders" ask the shell for its own
 * completion of paths. So a script that was installed once stays right, the three shells agree, and what may stand
 * where is decided here, from the table that --help and getopt use.
 *
 * What must be looked up (models, jobs) is: within a short time, and nothing is offered when it cannot be. */
#include <stdlib.h>
#include <string.h>

#include "cli_completion.h"
#include "cli_jobs.h"
#include "penstock/registry.h"

enum { OPT_WORDS = CLI_OPT_OWN };
enum { JOBS_SHOWN = 50 };
#define LOOKUP_TIMEOUT "store.timeout_ms=500"

static const struct cli_option options[] = {
    {"words", OPT_WORDS, NULL, NULL, NULL}, /* what the scripts use */
    {0},
};

/* The word under the cursor: candidates begin with head + prefix, where head is an option with its '='. */
struct cursor {
    struct cli_context *ctx;
    const char *word; /* all of it */
    size_t head_len;
    bool begun; /* the configuration is loaded */
};

static void offer(const struct cursor *cursor, const char *candidate, const char *doc) {
    const char *prefix = cursor->word + cursor->head_len;
    if (strncmp(candidate, prefix, strlen(prefix)) != 0) return;
    printf("%.*s%s\t%.*s\n", (int)cursor->head_len, cursor->word, candidate, (int)strcspn(doc, "\n"), doc);
}

/* "a|b|c" */
static void offer_words(const struct cursor *cursor, const char *words) {
    char word[64];
    while (*words) {
        size_t len = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)len, words);
        offer(cursor, word, "");
        words += len + (words[len] == '|');
    }
}

static void offer_commands(const struct cursor *cursor) {
    for (const struct cli_command *const *command = cli__commands; *command; command++)
        offer(cursor, (*command)->name, (*command)->summary);
}

static void offer_options(const struct cursor *cursor, const struct cli_option *option) {
    char name[64];
    for (; option && option->name; option++) {
        if (!option->doc) continue;
        snprintf(name, sizeof name, "--%s", option->name);
        offer(cursor, name, option->doc);
    }
}

/* Names, and behind a name's '=' its values. */
static void offer_settings(struct cursor *cursor) {
    const char *equals = strchr(cursor->word + cursor->head_len, '=');
    struct config_info info;
    char name[80];
    for (size_t i = 0; config_info_at(i, &info); i++) {
        snprintf(name, sizeof name, "%s=", info.name);
        if (!equals)
            offer(cursor, name, info.doc);
        else if (info.choices && strncmp(name, cursor->word + cursor->head_len, strlen(name)) == 0) {
            struct cursor value = *cursor;
            value.head_len += strlen(name);
            offer_words(&value, info.choices);
            return;
        }
    }
}

/* --- what must be looked up ----------------------------------------------------------------------------------------
 */

static bool begin(struct cursor *cursor) {
    if (!cursor->begun) {
        cursor->ctx->quiet = true;
        cli__override(cursor->ctx, LOOKUP_TIMEOUT);
    }
    cursor->begun = true;
    return cursor->ctx->cfg || cli__begin(cursor->ctx) == 0;
}

static bool offer_repository(const struct cursor *cursor) {
    struct model_list list;
    struct err err;
    if (registry_models_scan(config_string(cursor->ctx->cfg, "models.repository"), &list, &err) != 0) return false;
    for (size_t i = 0; i < list.count; i++)
        if (list.entries[i].latest) offer(cursor, list.entries[i].name, "");
    registry_models_done(&list);
    return true;
}

static void offer_names(const struct cursor *cursor, struct wire_slice models) {
    struct wire_slice model, name;
    while (wire_json_element(&models, &model)) {
        struct buf text = {0};
        if (!wire_json_member(model, "name", &name)) continue;
        wire_json_text(name, &text);
        offer(cursor, text.data, "");
        buf_done(&text);
    }
}

/* The repository's models; where there is none, those that workers have. */
static void offer_models(struct cursor *cursor) {
    struct store *st = NULL;
    struct store_worker *workers;
    struct arena arena;
    struct err err;
    size_t count = 0;
    if (!begin(cursor) || offer_repository(cursor)) return;
    arena_init(&arena);
    if (cli__open_store(cursor->ctx, &st, &err) == 0 && store_worker_list(st, &arena, &workers, &count, &err) == 0)
        for (size_t i = 0; i < count; i++)
            if (workers[i].models)
                offer_names(cursor, (struct wire_slice){workers[i].models, strlen(workers[i].models)});
    store_free(st);
    arena_done(&arena);
}

static void offer_jobs(struct cursor *cursor) {
    struct store_list query = {.limit = JOBS_SHOWN};
    struct store *st = NULL;
    struct job_record *jobs;
    struct arena arena;
    struct err err;
    size_t count = 0;
    if (!begin(cursor)) return;
    arena_init(&arena);
    if (cli__open_store(cursor->ctx, &st, &err) == 0 &&
        store_job_list(st, &query, &arena, &jobs, &count, &query.cursor, &err) == 0)
        for (size_t i = 0; i < count; i++)
            offer(cursor, jobs[i].job_id,
                  arena_printf(&arena, "%s %s", jobs[i].model ? jobs[i].model : "", job_state_name(jobs[i].state)));
    store_free(st);
    arena_done(&arena);
}

static void offer_values(struct cursor *cursor, const char *what) {
    if (!what) return;
    if (strcmp(what, CLI_FILES) == 0 || strcmp(what, CLI_FOLDERS) == 0)
        printf(":%s\n", what + 1);
    else if (strcmp(what, CLI_MODELS) == 0)
        offer_models(cursor);
    else if (strcmp(what, CLI_JOBS) == 0)
        offer_jobs(cursor);
    else if (strcmp(what, CLI_SETTINGS) == 0)
        offer_settings(cursor);
    else if (strcmp(what, CLI_COMMANDS) == 0)
        offer_commands(cursor);
    else
        offer_words(cursor, what);
}

/* --- where the cursor stands ---------------------------------------------------------------------------------------
 */

static const struct cli_option *in_list(const struct cli_option *option, const char *name, size_t len, int letter) {
    for (; option && option->name; option++) {
        if (letter ? option->val == letter : strlen(option->name) == len && memcmp(option->name, name, len) == 0)
            return option;
    }
    return NULL;
}

/* By its long name, or by its letter. */
static const struct cli_option *option_of(const struct cli_command *command, const char *name, size_t len, int letter) {
    const struct cli_option *own = in_list(command->options, name, len, letter);
    return own ? own : in_list(cli__common_options, name, len, letter);
}

/* The option whose value the next word is, after `word`; NULL: none. */
static const struct cli_option *opened_by(const struct cli_command *command, const char *word) {
    const struct cli_option *option = NULL;
    if (word[0] != '-' || !word[1]) return NULL;
    if (word[1] == '-') {
        if (!strchr(word, '=')) option = option_of(command, word + 2, strlen(word + 2), 0);
    } else {
        option = option_of(command, NULL, 0, word[strlen(word) - 1]);
    }
    return option && option->value ? option : NULL;
}

/* words[0] is the command, words[count - 1] the one under the cursor. */
static void complete_in(struct cursor *cursor, const struct cli_command *command, char *const *words, int count) {
    const struct cli_option *opened = NULL;
    bool only_arguments = false;
    for (int i = 1; i + 1 < count; i++) {
        if (opened && opened->val == 'c') cursor->ctx->config_flag = words[i];
        if (opened && opened->val == 's') cli__override(cursor->ctx, words[i]);
        bool is_value = opened != NULL;
        if (!is_value && strcmp(words[i], "--") == 0) only_arguments = true;
        opened = is_value || only_arguments ? NULL : opened_by(command, words[i]);
    }
    const char *equals = strchr(cursor->word, '=');
    if (opened) {
        offer_values(cursor, opened->complete);
    } else if (!only_arguments && strncmp(cursor->word, "--", 2) == 0 && equals) {
        const struct cli_option *option = option_of(command, cursor->word + 2, (size_t)(equals - cursor->word) - 2, 0);
        cursor->head_len = (size_t)(equals - cursor->word) + 1;
        if (option && option->value) offer_values(cursor, option->complete);
    } else if (!only_arguments && cursor->word[0] == '-') {
        offer_options(cursor, command->options);
        offer_options(cursor, cli__common_options);
    } else {
        offer_values(cursor, command->arguments);
    }
}

static int complete(struct cli_context *ctx, char *const *words, int count) {
    struct cursor cursor = {.ctx = ctx, .word = words[count - 1]};
    if (count == 1) {
        offer_commands(&cursor);
        if (cursor.word[0] == '-') offer_words(&cursor, "--help|--version");
        return CLI_OK;
    }
    const struct cli_command *command = cli__command_find(words[0]);
    if (command) complete_in(&cursor, command, words, count);
    return CLI_OK;
}

static int completion_main(struct cli_context *ctx, int argc, char **argv) {
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", cli__penstock_bash}, {"zsh", cli__penstock_zsh}, {"fish", cli__penstock_fish}};
    bool words = false;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        words = true;
    }
    if (words && optind < argc) return complete(ctx, argv + optind, argc - optind);
    if (optind + 1 != argc) return cli__usage(ctx, "for which shell? bash, zsh or fish");
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strcmp(scripts[i].shell, argv[optind]) != 0) continue;
        fputs(scripts[i].script, stdout);
        return CLI_OK;
    }
    return cli__usage(ctx, "'%s' is none of bash, zsh, fish", argv[optind]);
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "Print the completion of bash, zsh or fish",
    .usage = "bash|zsh|fish [OPTIONS]",
    .about = "Prints a script that completes commands, options and their values in the shell: states, settings, paths, "
             "names of models, ids of the newest jobs. A package installs it; from a build of your own, put one of the "
             "examples into the shell's start-up file.",
    .options = options,
    .examples = "source <(penstock completion bash)\n"
                "source <(penstock completion zsh)\n"
                "penstock completion fish | source",
    .arguments = "bash|zsh|fish",
    .run = completion_main,
};

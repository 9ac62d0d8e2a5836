/* penstock token: a bearer token for the HTTP server. The token itself is shown once; the file gets its hash. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_jobs.h"
#include "penstock/http.h"

enum { OPT_ROLES = CLI_OPT_OWN, OPT_FILE };

static const struct cli_option options[] = {
    {"roles", OPT_ROLES, "ROLE,ROLE", "read|submit|cancel|admin", "what it may do (default: read)"},
    {"file", OPT_FILE, "FILE", CLI_FILES, "append to this file, made with mode 0600 if it is not there"},
    {0},
};

static int append(const char *path, const struct buf *line, struct err *err) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_set_errno(err, ERR_SYSTEM, "%s", path);
    int rc = write(fd, line->data, line->len) == (ssize_t)line->len && fsync(fd) == 0
                 ? 0
                 : err_set_errno(err, ERR_SYSTEM, "%s", path);
    close(fd);
    return rc;
}

static void print(const struct cli_context *ctx, const struct buf *token, const struct buf *line, bool with_line) {
    int line_len = (int)line->len - 1; /* without its end */
    if (ctx->json) {
        printf("{\"token\":\"%s\",\"line\":\"%.*s\"}\n", token->data, line_len, line->data);
        return;
    }
    printf("%s\n", token->data);
    if (with_line && !ctx->quiet) fprintf(stderr, "for http.token_file:\n%.*s\n", line_len, line->data);
}

static int token_main(struct cli_context *ctx, int argc, char **argv) {
    const char *roles = "read", *file = NULL;
    struct buf token = {0}, line = {0};
    struct err err;
    int opt;
    while ((opt = cli__getopt(ctx, argc, argv)) != CLI_OPT_END) {
        if (opt == CLI_OPT_EXIT) return ctx->exit_code;
        if (opt == OPT_ROLES) roles = optarg;
        if (opt == OPT_FILE) file = optarg;
    }
    if (argc - optind != 1) return cli__usage(ctx, "one name: whose token is it?");
    int rc = http_token_new(argv[optind], roles, &token, &line, &err);
    if (rc == 0 && file) rc = append(file, &line, &err);
    if (rc == 0) print(ctx, &token, &line, !file);
    buf_done(&token);
    buf_done(&line);
    return rc == 0 ? CLI_OK : cli__fail(ctx, &err);
}

const struct cli_command cmd_token = {
    .name = "token",
    .summary = "Make a token for the HTTP server",
    .usage = "NAME [OPTIONS]",
    .about =
        "Makes a bearer token and prints it, this once. Its hash goes into the file that http.token_file names; "
        "without --file, the line to put there is printed beside it. A running server reads the file again by "
        "itself. Roles: read, submit, cancel, admin (all of them, and modes).\n"
        "\n"
        "To rotate, make a second token of the same NAME (two may be live), hand it out, and delete the older line.",
    .options = options,
    .examples = "penstock token dashboard --roles read,cancel --file /etc/penstock/tokens",
    .run = token_main,
};

/* cli: the command line, `penstock <command> [options]`. See src/cli/cli.c for the table of commands. */
#ifndef PENSTOCK_CLI_H
#define PENSTOCK_CLI_H

/* Runs the command that argv[1] names and returns the process's exit code:
 * 0 done; 1 the job (or what was asked for) failed; 2 usage or configuration; 3 a server is unreachable; 4 not found; 5
 * timed out. */
int cli_main(int argc, char **argv);

#endif

/* The entry point: everything is in src/cli/. */
#include "penstock/cli.h"

int main(int argc, char **argv) { return cli_main(argc, argv); }

#include "penstock/cli.h"
int cli_main(int argc, char **argv) { (void)argv; return argc > 99; }

/* The texts of src/cli/completion, as the build embeds them. */
#ifndef PENSTOCK_CLI_COMPLETION_H
#define PENSTOCK_CLI_COMPLETION_H

extern const char cli__penstock_bash[], cli__penstock_zsh[], cli__penstock_fish[];

#endif

/* nearest: "did you mean ...?" for settings, environment names and commands.
 *
 *     const char *meant = nearest_word("submti", names, count);   // "submit"
 */
#ifndef PENSTOCK_NEAREST_H
#define PENSTOCK_NEAREST_H

#include <stddef.h>

/* The candidate with the smallest edit distance to `word`, or NULL when none is near enough to be what was meant (more
 * than a third of the longer word would have to change). Letters compare without regard to case. */
const char *nearest_word(const char *word, const char *const *candidates, size_t count);

#endif

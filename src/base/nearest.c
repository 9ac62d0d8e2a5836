/* The nearest word, by Damerau's edit distance (insert, delete, replace, swap two neighbours: the slips of a typing
 * hand), in its restricted form. Words are names of settings and commands, so rows of a fixed width do; what is longer
 * than that is no typing slip of ours and gets no suggestion. */
#include "penstock/nearest.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 95

static size_t min3(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static int fold_case(char c) { return tolower((unsigned char)c); }

/* Edit distance of two words of at most WORD_MAX letters; three rows of the usual matrix are enough for swaps. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t same = fold_case(a[i - 1]) == fold_case(b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + !same);
            if (i > 1 && j > 1 && fold_case(a[i - 1]) == fold_case(b[j - 2]) &&
                fold_case(a[i - 2]) == fold_case(b[j - 1]) && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *nearest_word(const char *word, const char *const *candidates, size_t count) {
    const char *best = NULL;
    size_t best_distance = WORD_MAX, word_len = strlen(word);
    if (word_len == 0 || word_len > WORD_MAX) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(candidates[i]), longer = len > word_len ? len : word_len;
        if (len > WORD_MAX) continue;
        size_t d = distance(word, word_len, candidates[i], len);
        if (d < best_distance && d * 3 <= longer) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}

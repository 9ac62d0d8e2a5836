/* Another size. Each element of the new row or column is a weighted mean of old ones around its place, the weights a
 * triangle; where the picture shrinks the triangle is as wide as what one new pixel covers, so that no old pixel is
 * skipped (what "antialias" means elsewhere). At the same size the weights are 1 and 0, and nothing changes.
 *
 * A new row needs the old rows within its triangle. They are made narrow or wide first, one at a time, and added with
 * their weight: each old row twice at most, and no second picture in memory. */
#include <math.h>
#include <string.h>

#include "image_internal.h"

/* Which old places a new one is made of. */
struct taps {
    int first, count;
    float *weights; /* their sum is 1 */
};

static struct taps *taps_new(int from, int to, struct arena *arena) {
    double ratio = (double)from / to, reach = ratio > 1 ? ratio : 1;
    struct taps *taps = arena_alloc(arena, (size_t)to * sizeof *taps);
    for (int i = 0; i < to; i++) {
        double center = (i + 0.5) * ratio - 0.5, sum = 0;
        int first = (int)ceil(center - reach), last = (int)floor(center + reach);
        if (first < 0) first = 0;
        if (last >= from) last = from - 1;
        taps[i] =
            (struct taps){first, last - first + 1, arena_alloc(arena, (size_t)(last - first + 1) * sizeof(float))};
        for (int k = 0; k < taps[i].count; k++) {
            double weight = 1 - fabs(first + k - center) / reach;
            taps[i].weights[k] = (float)(weight > 0 ? weight : 0);
            sum += taps[i].weights[k];
        }
        for (int k = 0; k < taps[i].count; k++) taps[i].weights[k] = (float)(taps[i].weights[k] / sum);
    }
    return taps;
}

/* One old row in the channels asked for. */
static void spread_row(const struct image *image, int y, int channels, float *row) {
    const uint8_t *p = image->pixels + (size_t)y * (size_t)image->width * (size_t)image->channels;
    for (int x = 0; x < image->width; x++, p += image->channels) {
        if (image->channels == channels)
            for (int c = 0; c < channels; c++) *row++ = p[c];
        else if (channels == 1)
            *row++ = 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
        else
            for (int c = 0; c < channels; c++) *row++ = p[0];
    }
}

float *image__resample(const struct image *image, int width, int height, int channels, struct arena *arena) {
    size_t row_len = (size_t)width * (size_t)channels;
    struct taps *across = taps_new(image->width, width, arena), *down = taps_new(image->height, height, arena);
    float *old = arena_alloc(arena, (size_t)image->width * (size_t)channels * sizeof *old);
    float *out = arena_alloc(arena, row_len * (size_t)height * sizeof *out);
    for (int y = 0; y < height; y++) {
        float *row = out + (size_t)y * row_len; /* zeroed */
        for (int k = 0; k < down[y].count; k++) {
            spread_row(image, down[y].first + k, channels, old);
            for (int x = 0; x < width; x++)
                for (int t = 0; t < across[x].count; t++) {
                    float weight = down[y].weights[k] * across[x].weights[t];
                    const float *from = old + (size_t)(across[x].first + t) * (size_t)channels;
                    for (int c = 0; c < channels; c++)
                        row[(size_t)x * (size_t)channels + (size_t)c] += weight * from[c];
                }
        }
    }
    return out;
}

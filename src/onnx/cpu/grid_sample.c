/* GridSample: each output position has the coordinates of a place in the image, from -1 to 1, and shows what lies
 * there. Images of two dimensions are seen as three with a leading 1. Places outside are zeros, the edge, or the image
 * reflected. The elements and weights that make one position are found once and used for every channel.
 * Source: ONNX operators GridSample 16, 20, 22; rounding to even in mode nearest, as PyTorch. */
#include "cpu_internal.h"

#include <math.h>

enum sample_mode { SAMPLE_NEAREST, SAMPLE_LINEAR, SAMPLE_CUBIC };
enum sample_padding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION };

struct sampler {
    enum sample_mode mode;
    enum sample_padding padding;
    bool align_corners;
    int spatial;
    int64_t in[3];
};

/* Along one dimension: elements, -1 for a zero, and their weights. */
struct taps {
    int count;
    int64_t at[4];
    float weight[4];
};

static int find_name(const char *name, const char *const *names, int count) {
    int i = 0;
    while (i < count && strcmp(name, names[i]) != 0) i++;
    return i;
}

static int sampler_read(const struct onnx__step *step, struct sampler *ret, struct err *err) {
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear", "bicubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    const struct tensor *x = step->in[0], *grid = step->in[1];
    const char *mode = onnx__step_string(step, "mode", "linear");
    const char *padding = onnx__step_string(step, "padding_mode", "zeros");
    int m = find_name(mode, modes, 5), p = find_name(padding, paddings, 3);
    if (m == 5) return onnx__step_refuse(step, err, "mode '%.40s' is not known", mode);
    if (p == 3) return onnx__step_refuse(step, err, "padding_mode '%.40s' is not known", padding);
    *ret = (struct sampler){.mode = (enum sample_mode)(m > 2 ? m - 2 : m), .padding = (enum sample_padding)p};
    ret->align_corners = onnx__step_int(step, "align_corners", 0) != 0;
    ret->spatial = x->rank - 2;
    if (ret->spatial < 2 || ret->spatial > 3)
        return onnx__step_refuse(step, err, "input with %d dimensions; 4 and 5 are supported", x->rank);
    if (grid->datatype != DATATYPE_FP32 || grid->rank != x->rank || grid->shape[0] != x->shape[0] ||
        grid->shape[grid->rank - 1] != ret->spatial)
        return onnx__step_refuse(step, err, "the grid is not %d FP32 for each position", ret->spatial);
    ret->in[0] = 1;
    for (int i = 0; i < ret->spatial; i++) {
        ret->in[3 - ret->spatial + i] = x->shape[2 + i];
        if (x->shape[2 + i] < 1) return onnx__step_refuse(step, err, "an image without elements");
    }
    return 0;
}

OP_INFER(grid_sample) {
    struct sampler sampler;
    if (sampler_read(step, &sampler, err) != 0) return -1;
    onnx__shape_like(step->out[0], step->in[0]);
    for (int i = 0; i < sampler.spatial; i++) step->out[0]->shape[2 + i] = step->in[1]->shape[1 + i];
    return 0;
}

/* --- one place --------------------------------------------------------------------------------------------------- */

/* Back and forth between the borders. */
static float reflect(float x, float low, float high) {
    float range = high - low;
    if (!(range > 0)) return low;
    float past = fmodf(fabsf(x - low), 2 * range);
    return past <= range ? low + past : high - (past - range);
}

static void borders(const struct sampler *sampler, int64_t dim, float *ret_low, float *ret_high) {
    *ret_low = sampler->align_corners ? 0 : -0.5f;
    *ret_high = (float)dim - (sampler->align_corners ? 1 : 0.5f);
}

/* From -1 ... 1 to elements, brought inside where the padding says how. */
static float place_of(const struct sampler *sampler, int64_t dim, float given) {
    float low, high,
        x = sampler->align_corners ? (given + 1) / 2 * ((float)dim - 1) : ((given + 1) * (float)dim - 1) / 2;
    borders(sampler, dim, &low, &high);
    if (sampler->mode == SAMPLE_NEAREST) x = rintf(x);
    if (x < low || x > high) {
        if (sampler->padding == PADDING_BORDER) x = fminf(fmaxf(x, 0), (float)dim - 1);
        if (sampler->padding == PADDING_REFLECTION) x = reflect(x, low, high);
    }
    return x > -1e6f && x < 1e9f ? x : -1e6f; /* no number, or too far: outside */
}

static int64_t element_of(const struct sampler *sampler, int64_t dim, int64_t at) {
    float low, high;
    if (at >= 0 && at < dim) return at;
    if (sampler->padding == PADDING_ZEROS) return -1;
    if (sampler->padding == PADDING_REFLECTION) {
        borders(sampler, dim, &low, &high);
        at = (int64_t)reflect((float)at, low, high);
    }
    return at < 0 ? 0 : at < dim ? at : dim - 1;
}

static float cubic(float distance) {
    const float a = -0.75f;
    float x = fabsf(distance);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static struct taps find_taps(const struct sampler *sampler, int64_t dim, float x) {
    float base = floorf(x);
    int64_t first = (int64_t)base;
    struct taps taps = {.count = 1, .weight = {1}};
    if (sampler->mode == SAMPLE_LINEAR) {
        taps = (struct taps){.count = 2, .weight = {1 - (x - base), x - base}};
    } else if (sampler->mode == SAMPLE_CUBIC) {
        taps.count = 4;
        first--;
        for (int i = 0; i < 4; i++) taps.weight[i] = cubic(x - base + 1 - (float)i);
    }
    for (int i = 0; i < taps.count; i++) taps.at[i] = element_of(sampler, dim, first + i);
    return taps;
}

static float blend(const struct sampler *sampler, const struct taps taps[3], const float *image) {
    float sum = 0;
    for (int d = 0; d < taps[0].count; d++)
        for (int h = 0; h < taps[1].count; h++)
            for (int w = 0; w < taps[2].count; w++) {
                if (taps[0].at[d] < 0 || taps[1].at[h] < 0 || taps[2].at[w] < 0) continue;
                sum += taps[0].weight[d] * taps[1].weight[h] * taps[2].weight[w] *
                       image[(taps[0].at[d] * sampler->in[1] + taps[1].at[h]) * sampler->in[2] + taps[2].at[w]];
            }
    return sum;
}

/* The grid names the last dimension first. */
OP_RUN(grid_sample) {
    const struct tensor *x = step->in[0], *grid = step->in[1];
    struct sampler sampler;
    if (sampler_read(step, &sampler, err) != 0) return -1;
    int64_t positions = onnx__shape_product(grid, 1, grid->rank - 1), plane = onnx__volume(sampler.in);
    const float *place = grid->data;
    for (int64_t n = 0; n < x->shape[0]; n++)
        for (int64_t i = 0; i < positions; i++, place += sampler.spatial) {
            struct taps taps[3] = {{.count = 1, .weight = {1}}};
            for (int j = 0; j < sampler.spatial; j++) {
                int64_t dim = sampler.in[2 - j];
                taps[2 - j] = find_taps(&sampler, dim, place_of(&sampler, dim, place[j]));
            }
            for (int64_t c = n * x->shape[1]; c < (n + 1) * x->shape[1]; c++)
                onnx__out_floats(step)[c * positions + i] = blend(&sampler, taps, onnx__floats(step, 0) + c * plane);
        }
    return 0;
}

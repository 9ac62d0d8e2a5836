/* RoiAlign: each region of an image is divided into a fixed number of bins; a bin is the mean, or the largest, of the
 * points sampled in it, each interpolated between its four neighbours.
 * Source: ONNX operators RoiAlign 10, 16, 22. The largest is that of the neighbours' weighted parts, which is how ONNX
 * defines it. */
#include "cpu_internal.h"

#include <math.h>

#define MAX_BINS    ((int64_t)1 << 20)
#define MAX_SAMPLES 65536.0f /* in one direction of a bin: a larger region has no sense and would take for ever */

struct regions {
    int64_t count, channels, in[2], out[2]; /* height, width */
    int64_t samples;                        /* per bin and direction; 0: as many as elements */
    float scale, offset;
    bool max;
};

static int regions_read(const struct onnx__step *step, struct regions *ret, struct err *err) {
    const struct tensor *x = step->in[0], *rois = step->in[1], *batch = step->in[2];
    const char *mode = onnx__step_string(step, "mode", "avg");
    const char *rule = onnx__step_string(step, "coordinate_transformation_mode", "half_pixel");
    bool half = step->opset >= 16 && strcmp(rule, "half_pixel") == 0;
    if (x->rank != 4 || rois->rank != 2 || rois->shape[1] != 4 || rois->datatype != x->datatype)
        return onnx__step_refuse(step, err, "the regions are not four FP32 each, of an image with four dimensions");
    if (batch->rank != 1 || batch->datatype != DATATYPE_INT64 || batch->shape[0] != rois->shape[0])
        return onnx__step_refuse(step, err, "batch_indices is not one INT64 for each region");
    if (strcmp(mode, "avg") != 0 && strcmp(mode, "max") != 0)
        return onnx__step_refuse(step, err, "mode '%.40s' is not known", mode);
    *ret = (struct regions){.count = rois->shape[0],
                            .channels = x->shape[1],
                            .in = {x->shape[2], x->shape[3]},
                            .out = {onnx__step_int(step, "output_height", 1), onnx__step_int(step, "output_width", 1)},
                            .samples = onnx__step_int(step, "sampling_ratio", 0),
                            .scale = onnx__step_float(step, "spatial_scale", 1),
                            .offset = half ? 0.5f : 0,
                            .max = mode[0] == 'm'};
    if (ret->in[0] < 1 || ret->in[1] < 1 || ret->out[0] < 1 || ret->out[0] > MAX_BINS || ret->out[1] < 1 ||
        ret->out[1] > MAX_BINS || ret->samples < 0 || ret->samples > (int64_t)MAX_SAMPLES)
        return onnx__step_refuse(step, err, "a size is out of range");
    return 0;
}

OP_INFER(roi_align) {
    struct regions regions;
    if (regions_read(step, &regions, err) != 0) return -1;
    onnx__shape_set(step->out[0], DATATYPE_FP32, 4,
                    (int64_t[]){regions.count, regions.channels, regions.out[0], regions.out[1]});
    return 0;
}

/* --- one region -------------------------------------------------------------------------------------------------- */

struct region {
    float start[2], bin[2]; /* down, across */
    int64_t samples[2];
};

static int region_read(const struct onnx__step *step, const struct regions *regions, const float *roi,
                       struct region *ret, struct err *err) {
    for (int i = 0; i < 2; i++) { /* x comes before y */
        float from = roi[1 - i] * regions->scale - regions->offset, to = roi[3 - i] * regions->scale - regions->offset;
        float size = regions->offset > 0 ? to - from : fmaxf(to - from, 1);
        ret->start[i] = from;
        ret->bin[i] = size / (float)regions->out[i];
        float samples = regions->samples ? (float)regions->samples : ceilf(ret->bin[i]);
        if (!(samples < MAX_SAMPLES) || !isfinite(from))
            return onnx__step_fail(step, err, "a region from %g to %g", (double)from, (double)to);
        ret->samples[i] = samples > 0 ? (int64_t)samples : 0;
    }
    return 0;
}

/* The two elements around `at` along one dimension and the weight of the second; false outside. */
static bool neighbours(float at, int64_t dim, int64_t *ret_low, int64_t *ret_high, float *ret_weight) {
    if (!(at >= -1 && at <= (float)dim)) return false;
    at = fmaxf(at, 0);
    *ret_low = (int64_t)at;
    *ret_high = *ret_low + 1;
    *ret_weight = at - (float)*ret_low;
    if (*ret_low >= dim - 1) {
        *ret_low = *ret_high = dim - 1;
        *ret_weight = 0;
    }
    return true;
}

static float sample(const struct regions *regions, const float *image, float y, float x) {
    int64_t top, bottom, left, right, width = regions->in[1];
    float down, across;
    if (!neighbours(y, regions->in[0], &top, &bottom, &down) || !neighbours(x, width, &left, &right, &across)) return 0;
    float a = (1 - down) * (1 - across) * image[top * width + left];
    float b = (1 - down) * across * image[top * width + right];
    float c = down * (1 - across) * image[bottom * width + left];
    float d = down * across * image[bottom * width + right];
    return regions->max ? fmaxf(fmaxf(a, b), fmaxf(c, d)) : a + b + c + d;
}

static float pool_bin(const struct regions *regions, const struct region *region, const float *image, int64_t row,
                      int64_t column) {
    int64_t count = region->samples[0] * region->samples[1];
    float result = 0;
    for (int64_t i = 0; i < region->samples[0]; i++) {
        float y = region->start[0] + region->bin[0] * ((float)row + ((float)i + 0.5f) / (float)region->samples[0]);
        for (int64_t j = 0; j < region->samples[1]; j++) {
            float x =
                region->start[1] + region->bin[1] * ((float)column + ((float)j + 0.5f) / (float)region->samples[1]);
            float value = sample(regions, image, y, x);
            if (!regions->max)
                result += value;
            else if ((i == 0 && j == 0) || value > result)
                result = value;
        }
    }
    return regions->max || count == 0 ? result : result / (float)count;
}

OP_RUN(roi_align) {
    const struct tensor *x = step->in[0];
    const int64_t *batch = step->in[2]->data;
    struct regions regions;
    if (regions_read(step, &regions, err) != 0) return -1;
    float *y = onnx__out_floats(step);
    for (int64_t n = 0; n < regions.count; n++) {
        struct region region;
        if (region_read(step, &regions, onnx__floats(step, 1) + n * 4, &region, err) != 0) return -1;
        if (batch[n] < 0 || batch[n] >= x->shape[0])
            return onnx__step_fail(step, err, "region %lld is of image %lld", (long long)n, (long long)batch[n]);
        const float *image = onnx__floats(step, 0) + batch[n] * regions.channels * regions.in[0] * regions.in[1];
        for (int64_t c = 0; c < regions.channels; c++, image += regions.in[0] * regions.in[1])
            for (int64_t i = 0; i < regions.out[0]; i++)
                for (int64_t j = 0; j < regions.out[1]; j++) *y++ = pool_bin(&regions, &region, image, i, j);
    }
    return 0;
}

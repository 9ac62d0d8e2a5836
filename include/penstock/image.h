/* image: pictures from files as tensors.
 *
 * Hides the PNG and JPEG decoders, resampling and the order of channels. Files come from outside: any bytes give a
 * picture or an error that says what is wrong with them.
 *
 *     struct image_options how = {.scale = 1};
 *     struct tensor tensor = {.name = "image", .datatype = DATATYPE_FP32, .rank = 4, .shape = {-1, 3, 224, 224}};
 *     if (image_decode(bytes, len, &arena, &image, &err) != 0) ...
 *     if (image_to_tensor(&image, &how, &tensor, &arena, &err) != 0) ...      // shape {1, 3, 224, 224}, data
 */
#ifndef PENSTOCK_IMAGE_H
#define PENSTOCK_IMAGE_H

#include <stdbool.h>

#include "penstock/mem.h"
#include "penstock/tensor.h"

#define IMAGE_MAX_SIDE     16384
#define IMAGE_MAX_PIXELS   (64 * 1024 * 1024)
#define IMAGE_MAX_CHANNELS 4

struct image {
    int width, height, channels; /* 1 grey, 3 RGB */
    uint8_t *pixels;             /* sRGB, row by row, the channels of a pixel together; arena */
};

/* PNG or JPEG, by its first bytes. What is transparent lies on white. ERR_INVALID_INPUT: neither, damaged, larger than
 * the limits, or of a kind that is not read here (CMYK). The orientation that cameras note is not looked at. */
int image_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret, struct err *err) MUSTCHECK;

enum image_layout { IMAGE_LAYOUT_AUTO, IMAGE_LAYOUT_NCHW, IMAGE_LAYOUT_NHWC };

/* An element is ((invert ? 255 - p : p) / 255 * scale - mean[c]) / std[c] of the pixel's p, 0 to 255. */
struct image_options {
    enum image_layout layout; /* AUTO: where 1 or 3 stands in the shape; NCHW if both or neither */
    double scale;             /* 0: 1, for a tensor of whole numbers 255 */
    double mean[IMAGE_MAX_CHANNELS], std[IMAGE_MAX_CHANNELS];
    int mean_count, std_count; /* 0: none; 1: of every channel */
    bool invert;               /* ink for paper */
};

/* Fills the tensor whose name, datatype and declared shape are given: rank 4 with the batch first, 3 without it, or 2
 * (height, width; grey); a dimension of -1 is the picture's own, a batch of -1 is 1. The picture is resized to it
 * (triangle filter, over the area when it shrinks), and made grey (Rec. 601) or grey in all channels. Whole numbers are
 * rounded and kept within their range. ERR_INVALID_INPUT: the shape is not a picture's. The data are in `arena`. */
int image_to_tensor(const struct image *image, const struct image_options *options, struct tensor *tensor,
                    struct arena *arena, struct err *err) MUSTCHECK;

#endif

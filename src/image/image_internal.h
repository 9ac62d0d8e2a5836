/* Between the files of the image module. */
#ifndef PENSTOCK_IMAGE_INTERNAL_H
#define PENSTOCK_IMAGE_INTERNAL_H

#include "penstock/image.h"

/* Within the limits? ERR_INVALID_INPUT otherwise. */
int image__check_size(uint64_t width, uint64_t height, struct err *err) MUSTCHECK;

int image__png_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret, struct err *err) MUSTCHECK;
int image__jpeg_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret,
                       struct err *err) MUSTCHECK;

/* The picture as floats 0 to 255 of the size and channels asked for, the channels of a pixel together; arena. */
float *image__resample(const struct image *image, int width, int height, int channels, struct arena *arena);

#endif

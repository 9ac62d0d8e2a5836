/* PNG, by libpng's simplified interface, which knows every kind of PNG and gives 8 bits of sRGB.
 *
 * A file of a few bytes may claim to be 16384 pixels wide and high. zlib shrinks nothing by more than 1032 to 1, and a
 * pixel has at least a bit, so such a claim is seen through before memory is taken for it. */
#include <png.h>
#include <string.h>

#include "image_internal.h"

#define DEFLATE_MAX_RATIO 1032

static int fail(png_image *png, struct err *err) {
    err_set(err, ERR_INVALID_INPUT, "not a PNG that can be read: %s", png->message);
    png_image_free(png);
    return -1;
}

int image__png_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret, struct err *err) {
    static const png_color white = {255, 255, 255};
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&png, bytes, len)) return fail(&png, err);
    int rc = image__check_size(png.width, png.height, err);
    if (rc == 0 && (uint64_t)png.width * png.height / 8 > (uint64_t)len * DEFLATE_MAX_RATIO)
        rc = err_set(err, ERR_INVALID_INPUT, "a PNG of %zu bytes cannot hold %u x %u pixels", len, png.width,
                     png.height);
    if (rc != 0) {
        png_image_free(&png);
        return -1;
    }
    bool color = png.format & PNG_FORMAT_FLAG_COLOR;
    png.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    uint8_t *pixels = arena_alloc(arena, PNG_IMAGE_SIZE(png));
    if (!png_image_finish_read(&png, &white, pixels, 0, NULL)) return fail(&png, err);
    *ret = (struct image){(int)png.width, (int)png.height, color ? 3 : 1, pixels};
    return 0;
}

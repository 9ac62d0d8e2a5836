/* JPEG, by libjpeg-turbo's own interface. What it calls a warning (a file that ends early, a broken segment) would be a
 * picture that is partly grey; a model would give an answer for it all the same, so it is an error here. */
#include <turbojpeg.h>

#include "image_internal.h"

static int decode(tjhandle turbo, const void *bytes, size_t len, struct arena *arena, struct image *ret,
                  struct err *err) {
    int width = 0, height = 0, sampling, space;
    int rc = tjDecompressHeader3(turbo, bytes, len, &width, &height, &sampling, &space);
    if (rc != 0 || width < 1 || height < 1)
        return err_set(err, ERR_INVALID_INPUT, "not a JPEG that can be read: %s",
                       rc != 0 ? tjGetErrorStr2(turbo) : "it ends in its head");
    if (space == TJCS_CMYK || space == TJCS_YCCK)
        return err_set(err, ERR_INVALID_INPUT, "a JPEG of CMYK colours, for printing: save it as RGB");
    if (image__check_size((uint64_t)width, (uint64_t)height, err) != 0) return -1;
    int channels = space == TJCS_GRAY ? 1 : 3;
    uint8_t *pixels = arena_alloc(arena, (size_t)width * (size_t)height * (size_t)channels);
    int format = channels == 1 ? TJPF_GRAY : TJPF_RGB;
    if (tjDecompress2(turbo, bytes, len, pixels, width, 0, height, format, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0)
        return err_set(err, ERR_INVALID_INPUT, "a JPEG that is damaged: %s", tjGetErrorStr2(turbo));
    *ret = (struct image){width, height, channels, pixels};
    return 0;
}

int image__jpeg_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret, struct err *err) {
    tjhandle turbo = tjInitDecompress();
    if (!turbo) return err_set(err, ERR_SYSTEM, "libjpeg-turbo does not start: %s", tjGetErrorStr2(NULL));
    int rc = decode(turbo, bytes, len, arena, ret, err);
    tjDestroy(turbo);
    return rc;
}

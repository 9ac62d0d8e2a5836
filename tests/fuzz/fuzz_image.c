/* Any bytes as a PNG or JPEG. What is accepted is a picture within the limits, all of it there to be read, and can be
 * made a model's input. */
#include "fuzz.h"
#include "penstock/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {-1, 3, 7, 5}};
    struct image_options how = {.scale = 1};
    struct arena arena;
    struct image image;
    struct err err;
    arena_init(&arena);
    if (image_decode(data, size, &arena, &image, &err) != 0) {
        BUG_ON(err.code != ERR_INVALID_INPUT || err.msg[0] == '\0');
    } else {
        BUG_ON(image.width < 1 || image.height < 1 || image.width > IMAGE_MAX_SIDE || image.height > IMAGE_MAX_SIDE);
        BUG_ON(image.channels != 1 && image.channels != 3);
        BUG_ON(image_to_tensor(&image, &how, &tensor, &arena, &err) != 0);
        const float *element = tensor.data;
        for (int i = 0; i < 3 * 7 * 5; i++) BUG_ON(!(element[i] >= -1e-3f && element[i] <= 1.001f));
    }
    arena_done(&arena);
    return 0;
}

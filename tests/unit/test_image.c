/* image: pictures as a model's input. The files are made here, by the libraries' own writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>
#include <turbojpeg.h>

#include "penstock/image.h"

static struct arena arena;

static int set_up(void **state) {
    arena_init(&arena);
    return 0;
}

static int tear_down(void **state) {
    arena_done(&arena);
    return 0;
}

static struct image decoded(const void *bytes, size_t len) {
    struct image image;
    struct err err;
    if (image_decode(bytes, len, &arena, &image, &err) != 0) fail_msg("%s", err.msg);
    return image;
}

/* format: PNG_FORMAT_GRAY, _RGB, _RGBA. */
static void *png_of(uint32_t width, uint32_t height, uint32_t format, const void *pixels, size_t *ret_len) {
    png_image png = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = format};
    png_alloc_size_t size = 0;
    assert_true(png_image_write_to_memory(&png, NULL, &size, 0, pixels, 0, NULL));
    void *bytes = arena_alloc(&arena, size);
    assert_true(png_image_write_to_memory(&png, bytes, &size, 0, pixels, 0, NULL));
    *ret_len = size;
    return bytes;
}

static struct image png_image_of(uint32_t width, uint32_t height, uint32_t format, const void *pixels) {
    size_t len;
    void *bytes = png_of(width, height, format, pixels, &len);
    return decoded(bytes, len);
}

static const float *tensor_of(const struct image *image, const struct image_options *options, struct tensor *tensor) {
    struct err err;
    if (image_to_tensor(image, options, tensor, &arena, &err) != 0) fail_msg("%s", err.msg);
    return tensor->data;
}

static void refused(const void *bytes, size_t len, const char *word) {
    struct image image;
    struct err err;
    assert_int_equal(image_decode(bytes, len, &arena, &image, &err), -1);
    assert_int_equal(err.code, ERR_INVALID_INPUT);
    if (!strstr(err.msg, word)) fail_msg("'%s' does not say '%s'", err.msg, word);
}

static const struct image_options plain;

/* --- files ---------------------------------------------------------------------------------------------------------
 */

static void test_png_pixels_come_out_as_they_went_in(void **state) {
    static const uint8_t grey[] = {0, 1, 128, 255, 16, 7}, rgb[] = {1, 2, 3, 250, 251, 252};
    struct image image = png_image_of(3, 2, PNG_FORMAT_GRAY, grey);
    assert_int_equal(image.width * 100 + image.height * 10 + image.channels, 321);
    assert_memory_equal(image.pixels, grey, sizeof grey);
    image = png_image_of(2, 1, PNG_FORMAT_RGB, rgb);
    assert_int_equal(image.channels, 3);
    assert_memory_equal(image.pixels, rgb, sizeof rgb);
}

static void test_png_transparency_lies_on_white(void **state) {
    static const uint8_t rgba[] = {10, 20, 30, 255, 10, 20, 30, 0};
    struct image image = png_image_of(2, 1, PNG_FORMAT_RGBA, rgba);
    assert_memory_equal(image.pixels, ((const uint8_t[]){10, 20, 30, 255, 255, 255}), 6);
}

static void test_jpeg_is_read_and_one_that_ends_early_is_refused(void **state) {
    uint8_t rgb[32 * 32 * 3], *jpeg = NULL;
    unsigned long len = 0;
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * 37);
    memset(rgb, 200, 16 * 32 * 3);
    tjhandle turbo = tjInitCompress();
    assert_int_equal(tjCompress2(turbo, rgb, 32, 0, 32, TJPF_RGB, &jpeg, &len, TJSAMP_444, 95, 0), 0);
    struct image image = decoded(jpeg, len);
    assert_int_equal(image.width, 32);
    assert_int_equal(image.channels, 3);
    assert_in_range(image.pixels[0], 198, 202);
    refused(jpeg, len / 2, "damaged");
    tjFree(jpeg);
    tjDestroy(turbo);
}

static void test_what_is_no_picture_or_a_damaged_one_is_refused(void **state) {
    uint8_t grey[64] = {1};
    size_t len;
    char *png = png_of(8, 8, PNG_FORMAT_GRAY, grey, &len);
    refused("GIF89a....", 10, "neither a PNG nor a JPEG");
    refused("", 0, "neither");
    refused(png, len - 20, "PNG");
    refused("\xff\xd8\xff\xe0", 4, "JPEG");
    png[len - 20] ^= 1; /* in the pixels: a checksum tells */
    refused(png, len, "PNG");
}

static void test_sizes_that_cannot_be_are_refused_before_memory_is_taken(void **state) {
    /* heads with right checksums, of 16384 x 4096 pixels in 70 bytes, and of 2^31-1 a side */
    static const uint8_t many[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d,
                                   0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x10, 0x00,
                                   0x08, 0x00, 0x00, 0x00, 0x00, 0xaf, 0x76, 0xa6, 0xef, 0x00, 0x00, 0x00,
                                   0x09, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x00};
    static const uint8_t more[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d,
                                   0x49, 0x48, 0x44, 0x52, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
                                   0x10, 0x06, 0x00, 0x00, 0x00, 0x44, 0x59, 0xd7, 0x25, 0x00, 0x00, 0x00,
                                   0x09, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x00};
    refused(many, sizeof many, "cannot hold");
    refused(more, sizeof more, "PNG");
    assert_true(arena.used_bytes < 4096);
}

/* --- tensors -------------------------------------------------------------------------------------------------------
 */

static void test_grey_becomes_nchw_scaled(void **state) {
    static const uint8_t grey[] = {0, 255, 51, 102};
    struct image image = png_image_of(2, 2, PNG_FORMAT_GRAY, grey);
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {-1, 1, 2, 2}};
    const float *data = tensor_of(&image, &(struct image_options){.scale = 16}, &tensor);
    static const float expected[] = {0, 16, 3.2f, 6.4f};
    assert_int_equal(tensor.shape[0], 1);
    assert_int_equal(tensor.size_bytes, sizeof expected);
    for (int i = 0; i < 4; i++) assert_float_equal(data[i], expected[i], 1e-5);
    data = tensor_of(&image, &(struct image_options){.invert = true}, &tensor);
    assert_float_equal(data[0], 1, 1e-6);
    assert_float_equal(data[1], 0, 1e-6);
}

static void test_colours_follow_the_layout_of_the_shape(void **state) {
    static const uint8_t rgb[] = {10, 20, 30, 40, 50, 60};
    struct image image = png_image_of(2, 1, PNG_FORMAT_RGB, rgb);
    struct tensor first = {.name = "x", .datatype = DATATYPE_UINT8, .rank = 4, .shape = {1, 3, 1, 2}};
    struct tensor last = {.name = "x", .datatype = DATATYPE_UINT8, .rank = 4, .shape = {-1, -1, -1, 3}};
    struct tensor free_shape = {.name = "x", .datatype = DATATYPE_UINT8, .rank = 3, .shape = {-1, -1, -1}};
    tensor_of(&image, &plain, &first);
    assert_memory_equal(first.data, ((const uint8_t[]){10, 40, 20, 50, 30, 60}), 6);
    tensor_of(&image, &plain, &last);
    assert_memory_equal(last.data, rgb, 6);
    assert_memory_equal(last.shape, ((const int64_t[]){1, 1, 2, 3}), 4 * sizeof(int64_t));
    tensor_of(&image, &(struct image_options){.layout = IMAGE_LAYOUT_NHWC}, &free_shape);
    assert_memory_equal(free_shape.data, rgb, 6);
}

static void test_mean_and_deviation_are_of_each_channel(void **state) {
    static const uint8_t rgb[] = {255, 0, 51};
    struct image image = png_image_of(1, 1, PNG_FORMAT_RGB, rgb);
    struct image_options how = {.mean = {0.5, 0.25, 0.2}, .std = {0.5, 0.5, 2}, .mean_count = 3, .std_count = 3};
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {1, 3, 1, 1}};
    const float *data = tensor_of(&image, &how, &tensor);
    assert_float_equal(data[0], 1, 1e-6);
    assert_float_equal(data[1], -0.5, 1e-6);
    assert_float_equal(data[2], 0, 1e-6);
    how.mean_count = 2;
    struct err err;
    assert_int_equal(image_to_tensor(&image, &how, &tensor, &arena, &err), -1);
    assert_int_equal(err.code, ERR_INVALID_INPUT);
}

static void test_colour_becomes_grey_by_rec_601_and_grey_stands_in_every_channel(void **state) {
    static const uint8_t rgb[] = {255, 0, 0}, grey[] = {77};
    struct image color = png_image_of(1, 1, PNG_FORMAT_RGB, rgb), one = png_image_of(1, 1, PNG_FORMAT_GRAY, grey);
    struct tensor flat = {.name = "x", .datatype = DATATYPE_FP32, .rank = 2, .shape = {1, 1}};
    struct tensor three = {.name = "x", .datatype = DATATYPE_UINT8, .rank = 3, .shape = {3, 1, 1}};
    assert_float_equal(*tensor_of(&color, &plain, &flat), 0.299, 1e-5);
    tensor_of(&one, &plain, &three);
    assert_memory_equal(three.data, ((const uint8_t[]){77, 77, 77}), 3);
}

static void test_shrinking_takes_every_pixel_into_account(void **state) {
    uint8_t stripes[64];
    for (int i = 0; i < 64; i++) stripes[i] = i % 2 ? 200 : 100;
    struct image image = png_image_of(64, 1, PNG_FORMAT_GRAY, stripes);
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_FP32, .rank = 2, .shape = {1, 4}};
    const float *data = tensor_of(&image, &(struct image_options){.scale = 255}, &tensor);
    for (int i = 0; i < 4; i++) assert_float_equal(data[i], 150, 2); /* a filter that skips would give 100 or 200 */
}

static void test_growing_goes_evenly_from_pixel_to_pixel(void **state) {
    static const uint8_t two[] = {0, 100};
    struct image image = png_image_of(2, 1, PNG_FORMAT_GRAY, two);
    struct tensor tensor = {.name = "x", .datatype = DATATYPE_FP32, .rank = 2, .shape = {1, 4}};
    const float *data = tensor_of(&image, &(struct image_options){.scale = 255}, &tensor);
    static const float expected[] = {0, 25, 75, 100};
    for (int i = 0; i < 4; i++) assert_float_equal(data[i], expected[i], 1e-3);
}

static void test_shapes_and_datatypes_that_no_picture_has_are_refused(void **state) {
    static const uint8_t grey[] = {1};
    static const struct tensor wrong[] = {
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 1, .shape = {-1}},
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 5, .shape = {1, 1, 1, 1, 1}},
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {2, 1, 1, 1}},
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {1, 7, 8, 8}},
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {1, 3, 0, 8}},
        {.name = "x", .datatype = DATATYPE_FP32, .rank = 4, .shape = {1, 3, 1 << 20, 8}},
        {.name = "x", .datatype = DATATYPE_BYTES, .rank = 4, .shape = {1, 1, 1, 1}},
    };
    struct image image = png_image_of(1, 1, PNG_FORMAT_GRAY, grey);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct tensor tensor = wrong[i];
        struct err err;
        assert_int_equal(image_to_tensor(&image, &plain, &tensor, &arena, &err), -1);
        assert_int_equal(err.code, ERR_INVALID_INPUT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_png_pixels_come_out_as_they_went_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_png_transparency_lies_on_white, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jpeg_is_read_and_one_that_ends_early_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_picture_or_a_damaged_one_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sizes_that_cannot_be_are_refused_before_memory_is_taken, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_grey_becomes_nchw_scaled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_colours_follow_the_layout_of_the_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mean_and_deviation_are_of_each_channel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_colour_becomes_grey_by_rec_601_and_grey_stands_in_every_channel, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_shrinking_takes_every_pixel_into_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_growing_goes_evenly_from_pixel_to_pixel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shapes_and_datatypes_that_no_picture_has_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}

/* From a file's bytes to a model's input. What the tensor must look like stands in the shape that the model declares; a
 * picture has two sizes and a number of channels, so of the dimensions one is found by being 1 or 3, two are the sizes,
 * and what is left is the batch. */
#include "penstock/image.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "image_internal.h"

#define TENSOR_MAX_ELEMENTS ((int64_t)256 * 1024 * 1024)

int image__check_size(uint64_t width, uint64_t height, struct err *err) {
    if (width == 0 || height == 0) return err_set(err, ERR_INVALID_INPUT, "an image without pixels");
    if (width <= IMAGE_MAX_SIDE && height <= IMAGE_MAX_SIDE && width * height <= IMAGE_MAX_PIXELS) return 0;
    return err_set(err, ERR_INVALID_INPUT,
                   "an image of %" PRIu64 " x %" PRIu64 " pixels; at most %d a side and %d million in all are read",
                   width, height, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS >> 20);
}

int image_decode(const void *bytes, size_t len, struct arena *arena, struct image *ret, struct err *err) {
    if (len >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) return image__png_decode(bytes, len, arena, ret, err);
    if (len >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) return image__jpeg_decode(bytes, len, arena, ret, err);
    return err_set(err, ERR_INVALID_INPUT, "neither a PNG nor a JPEG, by its first bytes");
}

/* --- the shape -----------------------------------------------------------------------------------------------------
 */

struct plan {
    int width, height, channels;
    bool channels_first;
};

static bool is_channels(int64_t dim) { return dim == 1 || dim == 3; }

/* Where the sizes and the channels stand among the last dimensions. */
static int find_places(const struct image_options *options, const struct tensor *tensor, int *ret_channels,
                       int *ret_height, struct err *err) {
    int rank = tensor->rank, first = rank - 3, last = rank - 1;
    *ret_channels = -1;
    *ret_height = 0;
    if (rank == 2) return 0;
    if (rank != 3 && rank != 4)
        return err_set(err, ERR_INVALID_INPUT, "input %s has %d dimensions: not an image's", tensor->name, rank);
    bool nhwc = options->layout == IMAGE_LAYOUT_NHWC ||
                (options->layout == IMAGE_LAYOUT_AUTO && is_channels(tensor->shape[last]) &&
                 !is_channels(tensor->shape[first]));
    *ret_channels = nhwc ? last : first;
    *ret_height = nhwc ? first : first + 1;
    return 0;
}

static int plan_shape(const struct image *image, const struct image_options *options, struct tensor *tensor,
                      struct plan *ret, struct err *err) {
    int channels, height;
    if (find_places(options, tensor, &channels, &height, err) != 0) return -1;
    if (tensor->rank == 4 && tensor->shape[0] < 0) tensor->shape[0] = 1;
    if (channels >= 0 && tensor->shape[channels] < 0) tensor->shape[channels] = image->channels;
    if (tensor->shape[height] < 0) tensor->shape[height] = image->height;
    if (tensor->shape[height + 1] < 0) tensor->shape[height + 1] = image->width;
    int64_t count = tensor_element_count(tensor->shape, tensor->rank);
    bool fits = count > 0 && count <= TENSOR_MAX_ELEMENTS && (tensor->rank < 4 || tensor->shape[0] == 1) &&
                (channels < 0 || is_channels(tensor->shape[channels])) && tensor->shape[height] <= IMAGE_MAX_SIDE &&
                tensor->shape[height + 1] <= IMAGE_MAX_SIDE;
    if (!fits)
        return err_set(err, ERR_INVALID_INPUT, "input %s is not of one image of 1 or 3 channels and at most %d a side",
                       tensor->name, IMAGE_MAX_SIDE);
    *ret = (struct plan){.width = (int)tensor->shape[height + 1],
                         .height = (int)tensor->shape[height],
                         .channels = channels < 0 ? 1 : (int)tensor->shape[channels],
                         .channels_first = channels < height};
    return 0;
}

/* --- the elements --------------------------------------------------------------------------------------------------
 */

/* What one channel's pixels become: p * factor + shift. */
struct ramp {
    float factor, shift;
};

static int make_ramps(const struct image_options *options, const struct plan *plan, bool whole,
                      struct ramp ret[static IMAGE_MAX_CHANNELS], struct err *err) {
    double scale = options->scale != 0 ? options->scale : whole ? 255 : 1;
    if (options->mean_count > 1 && options->mean_count != plan->channels)
        return err_set(err, ERR_INVALID_INPUT, "%d means for %d channels", options->mean_count, plan->channels);
    if (options->std_count > 1 && options->std_count != plan->channels)
        return err_set(err, ERR_INVALID_INPUT, "%d deviations for %d channels", options->std_count, plan->channels);
    for (int c = 0; c < plan->channels; c++) {
        double mean = options->mean_count == 0 ? 0 : options->mean[options->mean_count == 1 ? 0 : c];
        double std = options->std_count == 0 ? 1 : options->std[options->std_count == 1 ? 0 : c];
        double factor = scale / 255 / std;
        ret[c] = options->invert ? (struct ramp){(float)-factor, (float)((scale - mean) / std)}
                                 : (struct ramp){(float)factor, (float)(-mean / std)};
    }
    return 0;
}

static void put_whole(const struct tensor *tensor, size_t at, float value, double max) {
    double whole = rint(value);
    uint8_t *to = (uint8_t *)tensor->data + at * datatype_size(tensor->datatype);
    whole = whole < 0 ? 0 : whole > max ? max : whole;
    if (tensor->datatype == DATATYPE_UINT8 || tensor->datatype == DATATYPE_INT8)
        *to = (uint8_t)whole;
    else if (tensor->datatype == DATATYPE_INT32)
        memcpy(to, &(int32_t){(int32_t)whole}, sizeof(int32_t));
    else
        memcpy(to, &(int64_t){(int64_t)whole}, sizeof(int64_t));
}

static void put_element(const struct tensor *tensor, size_t at, float value) {
    switch (tensor->datatype) {
    case DATATYPE_FP32:
        ((float *)tensor->data)[at] = value;
        break;
    case DATATYPE_FP64:
        ((double *)tensor->data)[at] = value;
        break;
    default:
        put_whole(tensor, at, value,
                  tensor->datatype == DATATYPE_INT8    ? 127
                  : tensor->datatype == DATATYPE_UINT8 ? 255
                                                       : INT32_MAX);
    }
}

int image_to_tensor(const struct image *image, const struct image_options *options, struct tensor *tensor,
                    struct arena *arena, struct err *err) {
    struct plan plan = {0};
    struct ramp ramps[IMAGE_MAX_CHANNELS];
    bool real = tensor->datatype == DATATYPE_FP32 || tensor->datatype == DATATYPE_FP64;
    bool whole = tensor->datatype == DATATYPE_UINT8 || tensor->datatype == DATATYPE_INT8 ||
                 tensor->datatype == DATATYPE_INT32 || tensor->datatype == DATATYPE_INT64;
    if (!real && !whole)
        return err_set(err, ERR_INVALID_INPUT, "input %s is of %s, which no image is made into here", tensor->name,
                       datatype_name(tensor->datatype));
    if (plan_shape(image, options, tensor, &plan, err) != 0 || make_ramps(options, &plan, whole, ramps, err) != 0)
        return -1;
    const float *pixels = image__resample(image, plan.width, plan.height, plan.channels, arena);
    size_t count = (size_t)plan.width * (size_t)plan.height, channels = (size_t)plan.channels;
    tensor->size_bytes = count * channels * datatype_size(tensor->datatype);
    tensor->data = arena_alloc(arena, tensor->size_bytes);
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < channels; c++)
            put_element(tensor, plan.channels_first ? c * count + i : i * channels + c,
                        pixels[i * channels + c] * ramps[c].factor + ramps[c].shift);
    return 0;
}

/* Resize and Upsample.
 *
 * Interpolation is separable: each axis that changes is resized on its own, from one buffer to the next, and the last
 * pass writes the output. For an axis there is a table that says which elements of the input make each of the output
 * and with what weight (one for nearest, two for linear, four for cubic, more when antialiasing stretches the filter);
 * what falls outside shows the edge. Nearest copies, so that it takes any datatype; the others take FP32.
 *
 * Coordinates follow ONNX's reference: where scales are given, the resized length in them is the fraction scale x
 * length and not its floor. Before opset 11, and in Upsample, there is one rule, "asymmetric", and nearest means the
 * element below when enlarging and above when shrinking.
 * Source: ONNX operators Resize 10, 11, 13, 18, 19; Upsample 7, 9.
 */
#include "cpu_internal.h"

#include <math.h>

enum mode { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC };
enum nearest { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, NEAREST_FLOOR, NEAREST_CEIL, NEAREST_SIMPLE };
enum coordinates {
    HALF_PIXEL,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_HALF_PIXEL_FOR_NN,
    TF_CROP_AND_RESIZE,
    HALF_PIXEL_SYMMETRIC
};

struct axis {
    int64_t in, out;
    double scale, roi_start, roi_end;
    int64_t taps; /* elements that make one of the output */
};

struct resize {
    enum mode mode;
    enum nearest nearest;
    enum coordinates coordinates;
    bool antialias, exclude_outside;
    float cubic_a, outside;
    int rank;
    struct axis axes[TENSOR_MAX_RANK];
};

/* --- attributes -------------------------------------------------------------------------------------------------- */

static int read_choice(const struct onnx__step *step, const char *attr, const char *const *names, int count,
                       int fallback, int *ret, struct err *err) {
    const char *name = onnx__step_string(step, attr, names[fallback]);
    for (*ret = 0; *ret < count; ++*ret)
        if (strcmp(name, names[*ret]) == 0) return 0;
    return onnx__step_refuse(step, err, "%s '%.40s' is not known", attr, name);
}

static bool is_simple(const struct onnx__step *step) {
    return step->opset < 11 || strcmp(step->node->op_type, "Upsample") == 0;
}

static int read_modes(const struct onnx__step *step, struct resize *rs, struct err *err) {
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    static const char *const coordinates[] = {"half_pixel",          "pytorch_half_pixel",   "align_corners",
                                              "asymmetric",          "tf_half_pixel_for_nn", "tf_crop_and_resize",
                                              "half_pixel_symmetric"};
    int mode, near = NEAREST_SIMPLE, rule = ASYMMETRIC;
    if (read_choice(step, "mode", modes, 3, MODE_NEAREST, &mode, err) != 0) return -1;
    if (!is_simple(step) &&
        (read_choice(step, "nearest_mode", nearest, 4, ROUND_PREFER_FLOOR, &near, err) != 0 ||
         read_choice(step, "coordinate_transformation_mode", coordinates, 7, HALF_PIXEL, &rule, err) != 0))
        return -1;
    rs->mode = (enum mode)mode;
    rs->nearest = (enum nearest)near;
    rs->coordinates = (enum coordinates)rule;
    rs->antialias = onnx__step_int(step, "antialias", 0) != 0 && rs->mode != MODE_NEAREST;
    rs->exclude_outside = onnx__step_int(step, "exclude_outside", 0) != 0 && rs->mode != MODE_NEAREST;
    rs->cubic_a = onnx__step_float(step, "cubic_coeff_a", -0.75f);
    rs->outside = onnx__step_float(step, "extrapolation_value", 0);
    if ((rs->mode != MODE_NEAREST || rs->coordinates == TF_CROP_AND_RESIZE) && step->in[0]->datatype != DATATYPE_FP32)
        return onnx__step_refuse(step, err, "mode %s of %s is not supported", modes[mode],
                                 datatype_name(step->in[0]->datatype));
    return 0;
}

/* --- sizes ------------------------------------------------------------------------------------------------------- */

struct floats {
    size_t count;
    const float *at;
};

/* An input that is empty is one left out. */
static int read_floats(const struct onnx__step *step, int index, struct floats *ret, struct err *err) {
    const struct tensor *input = index < 0 ? NULL : onnx__step_in(step, (size_t)index);
    *ret = (struct floats){0};
    if (!input || onnx__count(input) == 0) return 0;
    if (input->datatype != DATATYPE_FP32 || input->rank != 1)
        return onnx__step_refuse(step, err, "input '%s' is not a list of FP32", input->name);
    *ret = (struct floats){.count = (size_t)input->shape[0], .at = input->data};
    return 0;
}

static int read_scales(const struct onnx__step *step, struct floats *ret, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, "scales", ATTR_FLOATS);
    if (!is_simple(step)) return read_floats(step, 2, ret, err);
    if (step->opset >= 9 || !attr) return read_floats(step, 1, ret, err);
    *ret = (struct floats){.count = attr->count, .at = attr->floats};
    return 0;
}

/* Which axes the lists speak of: all, or from opset 18 those of an attribute. */
static int read_axes(const struct onnx__step *step, int *axes, size_t *ret_count, struct err *err) {
    const struct onnx__attr *attr = step->opset < 18 ? NULL : onnx__step_attr(step, "axes", ATTR_INTS);
    int rank = step->in[0]->rank;
    unsigned seen = 0;
    *ret_count = attr ? attr->count : (size_t)rank;
    for (size_t i = 0; i < *ret_count; i++) {
        int axis = (int)i;
        if (attr && onnx__step_axis(step, attr->ints[i], rank, &axis, err) != 0) return -1;
        if (seen >> axis & 1) return onnx__step_refuse(step, err, "axis %d is named twice", axis);
        seen |= 1u << axis;
        axes[i] = axis;
    }
    return 0;
}

static int apply_scales(const struct onnx__step *step, struct resize *rs, const int *axes, const struct floats *scales,
                        struct err *err) {
    for (size_t i = 0; i < scales->count; i++) {
        struct axis *axis = &rs->axes[axes[i]];
        float length = floorf((float)axis->in * scales->at[i]);
        if (!(scales->at[i] > 0) || !(length < 1e12f))
            return onnx__step_refuse(step, err, "scale %g of dimension %d is out of range", (double)scales->at[i],
                                     axes[i]);
        axis->scale = (double)scales->at[i];
        axis->out = (int64_t)length;
    }
    return 0;
}

static int apply_sizes(const struct onnx__step *step, struct resize *rs, const int *axes,
                       const struct onnx__ints *sizes, struct err *err) {
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    int policy;
    double common = 0;
    if (read_choice(step, "keep_aspect_ratio_policy", policies, 3, 0, &policy, err) != 0) return -1;
    for (size_t i = 0; i < sizes->count; i++) {
        struct axis *axis = &rs->axes[axes[i]];
        axis->out = onnx__ints_at(sizes, i);
        if (axis->out < 0 || axis->out > (int64_t)1 << 40 || (axis->in == 0 && axis->out > 0))
            return onnx__step_refuse(step, err, "size %lld of dimension %d is out of range", (long long)axis->out,
                                     axes[i]);
        axis->scale = axis->in ? (double)axis->out / (double)axis->in : 1;
        if (i == 0 || (policy == 1 ? axis->scale < common : axis->scale > common)) common = axis->scale;
    }
    for (size_t i = 0; i < sizes->count && policy != 0; i++) {
        struct axis *axis = &rs->axes[axes[i]];
        axis->scale = common;
        double length = floor(common * (double)axis->in + 0.5);
        if (!(length < 1e12)) return onnx__step_refuse(step, err, "dimension %d would be too large", axes[i]);
        axis->out = (int64_t)length;
    }
    return 0;
}

static int read_sizes(const struct onnx__step *step, struct resize *rs, struct err *err) {
    int axes[TENSOR_MAX_RANK];
    size_t count;
    struct floats scales, roi;
    struct onnx__ints sizes;
    bool simple = is_simple(step);
    if (read_axes(step, axes, &count, err) != 0 || read_scales(step, &scales, err) != 0 ||
        read_floats(step, simple ? -1 : 1, &roi, err) != 0 ||
        onnx__step_ints(step, NULL, simple ? -1 : 3, &sizes, err) != 0)
        return -1;
    if (scales.count && sizes.count) return onnx__step_refuse(step, err, "it has both scales and sizes");
    if (scales.count + sizes.count != count)
        return onnx__step_refuse(step, err, "scales or sizes are not one number for each of %zu axes", count);
    if (rs->coordinates == TF_CROP_AND_RESIZE && roi.count != 2 * count)
        return onnx__step_refuse(step, err, "the roi is not two numbers for each of %zu axes", count);
    for (size_t i = 0; i < count && rs->coordinates == TF_CROP_AND_RESIZE; i++) {
        rs->axes[axes[i]].roi_start = (double)roi.at[i];
        rs->axes[axes[i]].roi_end = (double)roi.at[i + count];
    }
    return scales.count ? apply_scales(step, rs, axes, &scales, err) : apply_sizes(step, rs, axes, &sizes, err);
}

/* The filter of a mode reaches `reach` elements to each side, when shrinking with antialiasing that many of the
 * output's. */
static double stretch_of(const struct resize *rs, const struct axis *axis) {
    return rs->antialias && axis->scale < 1 ? axis->scale : 1;
}

static int64_t first_tap(const struct resize *rs, const struct axis *axis) {
    if (rs->mode == MODE_NEAREST) return 0;
    return (int64_t)floor((rs->mode == MODE_CUBIC ? -2 : -1) / stretch_of(rs, axis)) + 1;
}

static int resize_read(const struct onnx__step *step, struct resize *rs, struct err *err) {
    const struct tensor *x = step->in[0];
    *rs = (struct resize){.rank = x->rank};
    for (int i = 0; i < x->rank; i++)
        rs->axes[i] = (struct axis){.in = x->shape[i], .out = x->shape[i], .scale = 1, .roi_end = 1};
    if (read_modes(step, rs, err) != 0 || read_sizes(step, rs, err) != 0) return -1;
    for (int i = 0; i < x->rank; i++) {
        struct axis *axis = &rs->axes[i];
        if (axis->out > 0 && stretch_of(rs, axis) < 1e-9)
            return onnx__step_refuse(step, err, "dimension %d shrinks too far", i);
        axis->taps = rs->mode == MODE_NEAREST || axis->out == 0 ? 1 : 2 - 2 * first_tap(rs, axis);
    }
    return 0;
}

/* An axis that nothing happens to needs no pass. */
static bool is_kept(const struct resize *rs, const struct axis *axis) {
    return axis->in == axis->out && axis->scale == 1 &&
           (rs->coordinates != TF_CROP_AND_RESIZE || (axis->roi_start == 0 && axis->roi_end == 1));
}

/* Elements of the largest buffer between passes, and taps of the largest table. */
static bool measure(const struct resize *rs, int64_t *ret_elements, int64_t *ret_taps) {
    struct tensor shape = {.datatype = DATATYPE_UINT8, .rank = rs->rank};
    size_t bytes;
    *ret_elements = *ret_taps = 0;
    for (int i = 0; i < rs->rank; i++) shape.shape[i] = rs->axes[i].in;
    for (int i = 0; i < rs->rank; i++) {
        int64_t taps;
        shape.shape[i] = rs->axes[i].out;
        if (!onnx__shape_fits(&shape, &bytes) || __builtin_mul_overflow(rs->axes[i].out, rs->axes[i].taps, &taps))
            return false;
        if ((int64_t)bytes > *ret_elements) *ret_elements = (int64_t)bytes;
        if (taps > *ret_taps) *ret_taps = taps;
    }
    return *ret_taps < (int64_t)1 << 40;
}

OP_INFER(resize) {
    const struct tensor *x = step->in[0];
    struct resize rs;
    int64_t elements, taps;
    if (resize_read(step, &rs, err) != 0) return -1;
    onnx__shape_like(step->out[0], x);
    for (int i = 0; i < x->rank; i++) step->out[0]->shape[i] = rs.axes[i].out;
    if (!measure(&rs, &elements, &taps)) return onnx__step_refuse(step, err, "the output is too large");
    step->scratch_bytes = (size_t)taps * sizeof(struct onnx__tap) + 2 * (size_t)elements * datatype_size(x->datatype);
    return 0;
}

/* --- one axis ---------------------------------------------------------------------------------------------------- */

/* Where output element x lies in the input. */
static double source_of(const struct resize *rs, const struct axis *axis, int64_t number) {
    double x = (double)number, in = (double)axis->in, resized = axis->scale * in;
    switch (rs->coordinates) {
    case PYTORCH_HALF_PIXEL:
        return axis->out > 1 ? (x + 0.5) / axis->scale - 0.5 : 0;
    case ALIGN_CORNERS:
        return resized == 1 ? 0 : x * (in - 1) / (resized - 1);
    case ASYMMETRIC:
        return x / axis->scale;
    case TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5) / axis->scale;
    case TF_CROP_AND_RESIZE: {
        double extent = (axis->roi_end - axis->roi_start) * (in - 1);
        return axis->roi_start * (in - 1) + (resized == 1 ? extent / 2 : x * extent / (resized - 1));
    }
    case HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - (double)axis->out / resized) + (x + 0.5) / axis->scale - 0.5;
    default:
        return (x + 0.5) / axis->scale - 0.5;
    }
}

static double nearest_of(const struct resize *rs, const struct axis *axis, double x) {
    switch (rs->nearest) {
    case ROUND_PREFER_FLOOR:
        return ceil(x - 0.5);
    case ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case NEAREST_CEIL:
        return ceil(x);
    case NEAREST_SIMPLE:
        return axis->scale < 1 ? ceil(x) : floor(x);
    default:
        return floor(x);
    }
}

/* The weight of an element at distance x. */
static double filter(const struct resize *rs, double x) {
    double a = (double)rs->cubic_a;
    x = fabs(x);
    if (rs->mode == MODE_LINEAR) return x < 1 ? 1 - x : 0;
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t clamp(double index, int64_t dim) {
    if (!(index > 0)) return 0; /* no number counts as the first */
    return index < (double)dim ? (int64_t)index : dim - 1;
}

static void weigh(const struct resize *rs, const struct axis *axis, double x, struct onnx__tap *taps) {
    double stretch = stretch_of(rs, axis), sum = 0, base = floor(x);
    int64_t first = first_tap(rs, axis);
    for (int64_t i = 0; i < axis->taps; i++) {
        double at = base + (double)(first + i);
        double weight = filter(rs, (at - x) * stretch);
        if (rs->exclude_outside && (at < 0 || at > (double)(axis->in - 1))) weight = 0;
        taps[i] = (struct onnx__tap){.at = clamp(at, axis->in), .weight = (float)weight};
        sum += weight;
    }
    for (int64_t i = 0; i < axis->taps && sum != 0; i++) taps[i].weight = (float)((double)taps[i].weight / sum);
}

static void fill_table(const struct resize *rs, const struct axis *axis, struct onnx__tap *taps) {
    for (int64_t i = 0; i < axis->out; i++, taps += axis->taps) {
        double x = source_of(rs, axis, i);
        if (rs->coordinates == TF_CROP_AND_RESIZE && !(x >= 0 && x <= (double)(axis->in - 1)))
            for (int64_t j = 0; j < axis->taps; j++) taps[j] = (struct onnx__tap){.at = -1};
        else if (rs->mode == MODE_NEAREST)
            taps[0] = (struct onnx__tap){.at = clamp(nearest_of(rs, axis, x), axis->in), .weight = 1};
        else
            weigh(rs, axis, x, taps);
    }
}

int64_t onnx__resize_taps(const struct onnx__step *step, int dim) {
    struct resize rs;
    struct err err;
    BUG_ON(resize_read(step, &rs, &err) != 0);
    return is_kept(&rs, &rs.axes[dim]) ? 0 : rs.axes[dim].taps;
}

void onnx__resize_fill(const struct onnx__step *step, int dim, struct onnx__tap *taps) {
    struct resize rs;
    struct err err;
    BUG_ON(resize_read(step, &rs, &err) != 0);
    fill_table(&rs, &rs.axes[dim], taps);
}

/* --- a pass ------------------------------------------------------------------------------------------------------ */

static void blend_row(const struct axis *axis, const struct onnx__tap *taps, const float *from, int64_t row,
                      float *to) {
    for (int64_t j = 0; j < row; j++) to[j] = taps[0].weight * from[taps[0].at * row + j];
    for (int64_t i = 1; i < axis->taps; i++)
        for (int64_t j = 0; j < row; j++) to[j] += taps[i].weight * from[taps[i].at * row + j];
}

/* One axis: each of `outer` blocks has axis->in rows of `row` elements and gets axis->out of them. */
static void pass(const struct resize *rs, const struct axis *axis, const struct onnx__tap *taps,
                 const struct tensor *shape, int64_t outer, int64_t row, const char *from, char *to) {
    size_t row_bytes = (size_t)row * datatype_size(shape->datatype);
    for (int64_t i = 0; i < outer; i++, from += (size_t)axis->in * row_bytes)
        for (int64_t o = 0; o < axis->out; o++, to += row_bytes) {
            const struct onnx__tap *own = taps + o * axis->taps;
            if (own->at < 0)
                for (int64_t j = 0; j < row; j++) ((float *)(void *)to)[j] = rs->outside;
            else if (rs->mode == MODE_NEAREST)
                memcpy(to, from + (size_t)own->at * row_bytes, row_bytes);
            else
                blend_row(axis, own, (const float *)(const void *)from, row, (float *)(void *)to);
        }
}

OP_RUN(resize) {
    struct tensor shape = *step->in[0];
    struct resize rs;
    int64_t elements, taps;
    if (resize_read(step, &rs, err) != 0) return -1;
    if (onnx__count(step->out[0]) == 0 || !measure(&rs, &elements, &taps)) return 0;
    struct onnx__tap *table = step->scratch;
    char *buffers[2] = {(char *)(table + taps), NULL};
    buffers[1] = buffers[0] + (size_t)elements * datatype_size(shape.datatype);
    const char *from = shape.data;
    int last = rs.rank - 1, turn = 0;
    while (last >= 0 && is_kept(&rs, &rs.axes[last])) last--;
    for (int i = 0; i <= last; i++) {
        if (is_kept(&rs, &rs.axes[i])) continue;
        char *to = i == last ? step->out[0]->data : buffers[turn];
        fill_table(&rs, &rs.axes[i], table);
        pass(&rs, &rs.axes[i], table, &shape, onnx__shape_product(&shape, 0, i),
             onnx__shape_product(&shape, i + 1, shape.rank), from, to);
        shape.shape[i] = rs.axes[i].out;
        from = to;
        turn = !turn;
    }
    if (last < 0) memcpy(step->out[0]->data, from, step->out[0]->size_bytes);
    return 0;
}

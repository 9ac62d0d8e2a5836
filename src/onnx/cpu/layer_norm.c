/* Normalising by what is measured on the input itself: LayerNormalization, InstanceNormalization, GroupNormalization,
 * and LRN. (BatchNormalization, which has measured before, is in norm.c.)
 *
 * The first three bring stretches of elements that follow each other to mean 0 and variance 1: everything from an axis
 * on, one channel of one image, or a group of channels. Mean and variance are taken in FP64 in two passes, since the
 * difference of two large sums would lose the variance.
 */
#include "cpu_internal.h"

#include <math.h>

struct spread {
    double mean, inverse; /* inverse: 1 / sqrt(variance + epsilon) */
};

static struct spread measure(const float *x, int64_t count, float epsilon) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i];
    double mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    return (struct spread){mean, 1 / sqrt(squares / (double)count + (double)epsilon)};
}

/* --- LayerNormalization ------------------------------------------------------------------------------------------ */

static int layer_axis(const struct onnx__step *step, int *ret, struct err *err) {
    return onnx__step_axis(step, onnx__step_int(step, "axis", -1), step->in[0]->rank, ret, err);
}

/* One number for each element from the axis on, or one for all. */
static bool covers(const struct tensor *factor, const struct tensor *x, int axis) {
    if (factor->datatype != x->datatype) return false;
    if (onnx__count(factor) == 1) return true;
    bool same = factor->rank >= x->rank - axis && factor->rank <= x->rank;
    for (int i = 0; same && i < factor->rank; i++) {
        int at = i + x->rank - factor->rank;
        same = factor->shape[i] == (at < axis ? 1 : x->shape[at]);
    }
    return same;
}

OP_INFER(layer_norm) {
    const struct tensor *x = step->in[0];
    int axis;
    if (layer_axis(step, &axis, err) != 0) return -1;
    if (onnx__shape_product(x, axis, x->rank) == 0)
        return onnx__step_refuse(step, err, "nothing lies between axis %d and the end", axis);
    for (size_t i = 1; i < step->in_count; i++)
        if (step->in[i] && !covers(step->in[i], x, axis))
            return onnx__step_refuse(step, err, "input '%s' is not one number per normalised element",
                                     step->in[i]->name);
    for (size_t i = 0; i < step->out_count; i++) {
        if (!step->out[i]) continue;
        onnx__shape_like(step->out[i], x);
        for (int dim = axis; i > 0 && dim < x->rank; dim++) step->out[i]->shape[dim] = 1;
    }
    return 0;
}

OP_RUN(layer_norm) {
    const struct tensor *x = step->in[0], *scale = step->in[1], *bias = onnx__step_in(step, 2);
    const float *in = x->data, *factor = scale->data, *offset = bias ? bias->data : NULL;
    float *out = step->out[0]->data, epsilon = onnx__step_float(step, "epsilon", 1e-5f);
    int axis;
    if (layer_axis(step, &axis, err) != 0) return -1;
    int64_t outer = onnx__shape_product(x, 0, axis), count = onnx__shape_product(x, axis, x->rank);
    int64_t factor_step = onnx__count(scale) > 1, offset_step = bias && onnx__count(bias) > 1;
    for (int64_t i = 0; i < outer; i++, in += count, out += count) {
        struct spread spread = measure(in, count, epsilon);
        float mean = (float)spread.mean, inverse = (float)spread.inverse;
        for (int64_t j = 0; j < count; j++)
            out[j] = (in[j] - mean) * inverse * factor[j * factor_step] + (offset ? offset[j * offset_step] : 0);
        if (step->out_count > 1 && step->out[1]) ((float *)step->out[1]->data)[i] = mean;
        if (step->out_count > 2 && step->out[2]) ((float *)step->out[2]->data)[i] = inverse;
    }
    return 0;
}

/* --- InstanceNormalization and GroupNormalization ---------------------------------------------------------------- */

/* Scale and bias: `count` numbers each. */
static int check_factors(const struct onnx__step *step, int64_t count, struct err *err) {
    for (size_t i = 1; i < 3; i++) {
        const struct tensor *factor = step->in[i];
        if (factor->datatype != step->in[0]->datatype || factor->rank != 1 || factor->shape[0] != count)
            return onnx__step_refuse(step, err, "input '%s' is not a list of %lld numbers", factor->name,
                                     (long long)count);
    }
    return 0;
}

OP_INFER(instance_norm) {
    if (step->in[0]->rank < 2) return onnx__step_refuse(step, err, "the input has no channels");
    if (check_factors(step, step->in[0]->shape[1], err) != 0) return -1;
    return onnx__same_infer(step, err);
}

/* Until opset 20 a group has one scale and one bias, then each channel. */
OP_INFER(group_norm) {
    const struct tensor *x = step->in[0];
    int64_t groups = onnx__step_int(step, "num_groups", 0);
    if (x->rank < 2) return onnx__step_refuse(step, err, "the input has no channels");
    if (groups < 1 || x->shape[1] % groups != 0)
        return onnx__step_refuse(step, err, "%lld channels are not divided by %lld groups", (long long)x->shape[1],
                                 (long long)groups);
    if (check_factors(step, step->opset < 21 ? groups : x->shape[1], err) != 0) return -1;
    return onnx__same_infer(step, err);
}

/* `per_group` channels are measured together; `per_factor` of them share a scale and a bias. */
static void run_groups(const struct onnx__step *step, int64_t per_group, int64_t per_factor) {
    const struct tensor *x = step->in[0];
    const float *in = x->data, *scale = onnx__floats(step, 1), *bias = onnx__floats(step, 2);
    float *out = onnx__out_floats(step), epsilon = onnx__step_float(step, "epsilon", 1e-5f);
    int64_t channels = x->shape[1], plane = onnx__shape_product(x, 2, x->rank);
    if (onnx__count(x) == 0) return;
    for (int64_t i = 0; i < x->shape[0] * channels; i += per_group) {
        struct spread spread = measure(in, per_group * plane, epsilon);
        for (int64_t c = i; c < i + per_group; c++, in += plane, out += plane) {
            int64_t which = c % channels / per_factor;
            float factor = (float)spread.inverse * scale[which], mean = (float)spread.mean;
            for (int64_t j = 0; j < plane; j++) out[j] = (in[j] - mean) * factor + bias[which];
        }
    }
}

OP_RUN(instance_norm) {
    run_groups(step, 1, 1);
    return 0;
}

OP_RUN(group_norm) {
    int64_t per_group = step->in[0]->shape[1] / onnx__step_int(step, "num_groups", 1);
    run_groups(step, per_group, step->opset < 21 ? per_group : 1);
    return 0;
}

/* --- LRN --------------------------------------------------------------------------------------------------------- */

OP_INFER(lrn) {
    int64_t size = onnx__step_int(step, "size", 0);
    if (step->in[0]->rank < 2) return onnx__step_refuse(step, err, "the input has no channels");
    if (size < 1) return onnx__step_refuse(step, err, "attribute size is not positive");
    return onnx__same_infer(step, err);
}

/* Each element by the squares around it: `size` channels, of which an even number has one more behind. */
OP_RUN(lrn) {
    const struct tensor *x = step->in[0];
    float alpha = onnx__step_float(step, "alpha", 1e-4f), beta = onnx__step_float(step, "beta", 0.75f);
    float bias = onnx__step_float(step, "bias", 1), *out = onnx__out_floats(step);
    int64_t size = onnx__step_int(step, "size", 1), channels = x->shape[1], plane = onnx__shape_product(x, 2, x->rank);
    const float *image = x->data;
    if (onnx__count(x) == 0) return 0;
    for (int64_t n = 0; n < x->shape[0]; n++, image += channels * plane)
        for (int64_t c = 0; c < channels; c++, out += plane) {
            int64_t before = (size - 1) / 2, behind = size / 2;
            int64_t first = c > before ? c - before : 0, last = behind < channels - c ? c + behind : channels - 1;
            memset(out, 0, (size_t)plane * sizeof *out);
            for (int64_t k = first; k <= last; k++)
                for (int64_t j = 0; j < plane; j++) out[j] += image[k * plane + j] * image[k * plane + j];
            for (int64_t j = 0; j < plane; j++)
                out[j] = image[c * plane + j] / powf(bias + alpha / (float)size * out[j], beta);
        }
    return 0;
}

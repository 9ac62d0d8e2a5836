/* BatchNormalization (as used for inference), Softmax and LogSoftmax. */
#include "cpu_internal.h"

#include <math.h>

/* --- BatchNormalization ------------------------------------------------------------------------------------------ */

OP_INFER(batch_norm) {
    const struct tensor *x = step->in[0];
    if (x->rank < 2) return onnx__step_refuse(step, err, "the input has no channels");
    bool training = onnx__step_int(step, "training_mode", 0) != 0;
    if (step->opset < 7) training = onnx__step_int(step, "is_test", 0) == 0;
    if (training || onnx__step_int(step, "spatial", 1) != 1)
        return onnx__step_refuse(step, err, "training and spatial=0 are not supported");
    for (size_t i = 1; i < 5; i++)
        if (step->in[i]->datatype != x->datatype || step->in[i]->rank != 1 || step->in[i]->shape[0] != x->shape[1])
            return onnx__step_refuse(step, err, "input '%s' is not one number per channel", step->in[i]->name);
    return onnx__same_infer(step, err);
}

OP_RUN(batch_norm) {
    const struct tensor *x = step->in[0];
    const float *scale = onnx__floats(step, 1), *bias = onnx__floats(step, 2);
    const float *mean = onnx__floats(step, 3), *variance = onnx__floats(step, 4), *in = x->data;
    float *out = onnx__out_floats(step), epsilon = onnx__step_float(step, "epsilon", 1e-5f);
    int64_t channels = x->shape[1], plane = onnx__shape_product(x, 2, x->rank);
    for (int64_t i = 0; i < x->shape[0] * channels; i++, in += plane, out += plane) {
        int64_t channel = i % channels;
        float factor = scale[channel] / sqrtf(variance[channel] + epsilon);
        for (int64_t j = 0; j < plane; j++) out[j] = (in[j] - mean[channel]) * factor + bias[channel];
    }
    return 0;
}

/* --- Softmax ----------------------------------------------------------------------------------------------------- */

int onnx__lanes_read(const struct onnx__step *step, struct onnx__lanes *ret, struct err *err) {
    bool flat = step->opset < 13;
    if (onnx__lanes_along(step, onnx__step_int(step, "axis", flat ? 1 : -1), ret, err) != 0) return -1;
    if (!flat) return 0;
    ret->length *= ret->inner;
    ret->inner = 1;
    return 0;
}

OP_INFER(softmax) {
    struct onnx__lanes lanes;
    if (onnx__lanes_read(step, &lanes, err) != 0) return -1;
    return onnx__same_infer(step, err);
}

/* The largest element is subtracted first, so that no exponential overflows. */
static void normalise(const float *x, float *y, int64_t length, int64_t stride, bool logarithm) {
    float largest = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < length; i++) largest = x[i * stride] > largest ? x[i * stride] : largest;
    for (int64_t i = 0; i < length; i++) {
        float shifted = x[i * stride] - largest, power = expf(shifted);
        sum += power;
        y[i * stride] = logarithm ? shifted : power;
    }
    float whole = logarithm ? (float)log(sum) : (float)(1.0 / sum);
    for (int64_t i = 0; i < length; i++) y[i * stride] = logarithm ? y[i * stride] - whole : y[i * stride] * whole;
}

static int run_softmax(const struct onnx__step *step, bool logarithm, struct err *err) {
    struct onnx__lanes lanes;
    if (onnx__lanes_read(step, &lanes, err) != 0) return -1;
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    for (int64_t i = 0; i < lanes.outer; i++)
        for (int64_t j = 0; j < lanes.inner; j++) {
            int64_t at = i * lanes.length * lanes.inner + j;
            normalise(x + at, y + at, lanes.length, lanes.inner, logarithm);
        }
    return 0;
}

OP_RUN(softmax) { return run_softmax(step, false, err); }
OP_RUN(log_softmax) { return run_softmax(step, true, err); }

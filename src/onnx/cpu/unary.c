/* Element by element: Relu, Sigmoid, Tanh, Clip. */
#include "cpu_internal.h"

#include <float.h>
#include <math.h>

OP_RUN(relu) {
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    int64_t count = onnx__count(step->out[0]);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i]; /* a NaN stays one */
    return 0;
}

OP_RUN(sigmoid) {
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    int64_t count = onnx__count(step->out[0]);
    for (int64_t i = 0; i < count; i++) y[i] = 1.0f / (1.0f + expf(-x[i]));
    return 0;
}

OP_RUN(tanh) {
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    int64_t count = onnx__count(step->out[0]);
    for (int64_t i = 0; i < count; i++) y[i] = tanhf(x[i]);
    return 0;
}

/* Until opset 10 the bounds are attributes, then optional scalar inputs. */
OP_INFER(clip) {
    for (size_t i = 1; i < 3; i++) {
        const struct tensor *bound = onnx__step_in(step, i);
        if (bound && (bound->datatype != DATATYPE_FP32 || onnx__count(bound) != 1))
            return onnx__step_refuse(step, err, "bound '%s' is not one FP32 number", bound->name);
    }
    return onnx__same_infer(step, err);
}

static float clip_bound(const struct onnx__step *step, size_t index, const char *attr, float fallback) {
    if (step->opset < 11) return onnx__step_float(step, attr, fallback);
    const struct tensor *bound = onnx__step_in(step, index);
    return bound ? *(const float *)bound->data : fallback;
}

OP_RUN(clip) {
    const float *x = onnx__floats(step, 0);
    float *y = onnx__out_floats(step);
    float low = clip_bound(step, 1, "min", -FLT_MAX), high = clip_bound(step, 2, "max", FLT_MAX);
    int64_t count = onnx__count(step->out[0]);
    for (int64_t i = 0; i < count; i++) {
        float value = x[i] < low ? low : x[i];
        y[i] = value > high ? high : value; /* of crossed bounds the upper wins, as in NumPy */
    }
    return 0;
}

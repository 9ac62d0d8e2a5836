/* The functions inside recurrent cells, and the attributes that choose them. Alphas and betas are given for those
 * functions alone that take one, in the order of the functions; where the lists end, defaults follow. */
#include "cpu_internal.h"

#include <math.h>
#include <strings.h>

static float sigmoid(float x, float alpha, float beta) { return 1 / (1 + expf(-x)); }
static float hyperbolic(float x, float alpha, float beta) { return tanhf(x); }
static float relu(float x, float alpha, float beta) { return x < 0 ? 0 : x; }
static float affine(float x, float alpha, float beta) { return alpha * x + beta; }
static float leaky_relu(float x, float alpha, float beta) { return x < 0 ? alpha * x : x; }
static float thresholded_relu(float x, float alpha, float beta) { return x > alpha ? x : 0; }
static float scaled_tanh(float x, float alpha, float beta) { return alpha * tanhf(beta * x); }
static float hard_sigmoid(float x, float alpha, float beta) { return fminf(fmaxf(alpha * x + beta, 0), 1); }
static float elu(float x, float alpha, float beta) { return x < 0 ? alpha * expm1f(x) : x; }
static float softsign(float x, float alpha, float beta) { return x / (1 + fabsf(x)); }
static float softplus(float x, float alpha, float beta) { return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

static const struct {
    const char *name;
    float (*call)(float x, float alpha, float beta);
    float alpha, beta; /* unless the node says otherwise */
    bool takes_alpha, takes_beta;
} functions[] = {
    [CELL_SIGMOID] = {"Sigmoid", sigmoid, 0, 0, false, false},
    [CELL_TANH] = {"Tanh", hyperbolic, 0, 0, false, false},
    [CELL_RELU] = {"Relu", relu, 0, 0, false, false},
    [CELL_AFFINE] = {"Affine", affine, 1, 0, true, true},
    [CELL_LEAKY_RELU] = {"LeakyRelu", leaky_relu, 0.01f, 0, true, false},
    [CELL_THRESHOLDED_RELU] = {"ThresholdedRelu", thresholded_relu, 1, 0, true, false},
    [CELL_SCALED_TANH] = {"ScaledTanh", scaled_tanh, 1, 1, true, true},
    [CELL_HARD_SIGMOID] = {"HardSigmoid", hard_sigmoid, 0.2f, 0.5f, true, true},
    [CELL_ELU] = {"Elu", elu, 1, 0, true, false},
    [CELL_SOFTSIGN] = {"Softsign", softsign, 0, 0, false, false},
    [CELL_SOFTPLUS] = {"Softplus", softplus, 0, 0, false, false},
};
#define FUNCTION_COUNT (sizeof functions / sizeof functions[0])

int onnx__activation_read(const struct onnx__step *step, const char *const *fallback, int period, int count,
                          struct onnx__activation ret[MAX_ACTIVATIONS], struct err *err) {
    const struct onnx__attr *names = onnx__step_attr(step, "activations", ATTR_STRINGS);
    const struct onnx__attr *alphas = onnx__step_attr(step, "activation_alpha", ATTR_FLOATS);
    const struct onnx__attr *betas = onnx__step_attr(step, "activation_beta", ATTR_FLOATS);
    size_t next_alpha = 0, next_beta = 0;
    if (names && names->count != (size_t)count)
        return onnx__step_refuse(step, err, "%zu activations, not %d", names->count, count);
    for (int i = 0; i < count; i++) {
        const char *name = names ? names->strings[i] : fallback[i % period];
        size_t f = 0;
        while (f < FUNCTION_COUNT && strcasecmp(name, functions[f].name) != 0) f++;
        if (f == FUNCTION_COUNT) return onnx__step_refuse(step, err, "activation '%.40s' is not known", name);
        ret[i] = (struct onnx__activation){(enum onnx__cell_function)f, functions[f].alpha, functions[f].beta};
        if (functions[f].takes_alpha && alphas && next_alpha < alphas->count)
            ret[i].alpha = alphas->floats[next_alpha++];
        if (functions[f].takes_beta && betas && next_beta < betas->count) ret[i].beta = betas->floats[next_beta++];
    }
    return 0;
}

float onnx__activate(const struct onnx__activation *activation, float x) {
    return functions[activation->function].call(x, activation->alpha, activation->beta);
}

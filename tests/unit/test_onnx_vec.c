/* The vector loops, in every form that this processor can run, against libm and plain sums. Lengths are odd on purpose:
 * the ends of rows are where vectors go wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/onnx/cpu/vec.h"
#include "testlib.h"

#define POINTS 4096
#define ODD    53 /* three vectors of 16 and a bit */

static const struct onnx__vec *forms[4];
static size_t form_count;

static void find_forms(void) {
    forms[form_count++] = &onnx__vec_plain;
#if defined(__x86_64__)
    if (onnx__vec() != &onnx__vec_plain) forms[form_count++] = &onnx__vec_avx2;
    if (onnx__vec() == &onnx__vec_avx512) forms[form_count++] = &onnx__vec_avx512;
#endif
    for (size_t i = 0; i < form_count; i++) print_message("form: %s\n", forms[i]->name);
}

static float draw(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(*seed >> 33) / (float)(1u << 30) - 1;
}

static void fill(float *to, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) to[i] = draw(&seed);
}

static double exact_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double exact_gelu(double x) { return x == -INFINITY ? NAN : x * (1 + erf(x * M_SQRT1_2)) / 2; }
static double exact_gelu_tanh(double x) {
    return x == -INFINITY ? NAN : x * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x))) / 2;
}

/* A part in a million: the polynomials are good to one in ten million, and float32 rounds a few times after them; of
 * functions that cancel (`absolute`) that much of their largest term. Below the smallest normal number 0 will do. */
static void must_follow(enum onnx__function function, double (*exact)(double), bool absolute) {
    static float x[POINTS], y[POINTS];
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        for (int i = 0; i < POINTS; i++, bits += 100003) {
            uint32_t word = (uint32_t)bits;
            memcpy(&x[i], &word, sizeof word);
        }
        for (size_t f = 0; f < form_count; f++) {
            forms[f]->map(function, 0, 0, POINTS, x, y);
            for (int i = 0; i < POINTS; i++) {
                double want = exact((double)x[i]), have = (double)y[i];
                double size = absolute ? fabs((double)x[i]) + 1 : fabs(want);
                if (have == (double)(float)want || (isnan(want) && isnan(have)) ||
                    fabs(have - want) <= 1e-6 * size + 1.2e-38)
                    continue;
                fail_msg("%s, function %d of %.9g: %.9g, exactly %.9g", forms[f]->name, (int)function, (double)x[i],
                         have, want);
            }
        }
    }
}

static void test_functions_of_all_sorts_of_numbers_are_those_of_libm(void **state) {
    must_follow(FUNCTION_EXP, exp, false);
    must_follow(FUNCTION_SIGMOID, exact_sigmoid, false);
    must_follow(FUNCTION_TANH, tanh, false);
    must_follow(FUNCTION_ERF, erf, false);
    must_follow(FUNCTION_GELU, exact_gelu, true);
    must_follow(FUNCTION_GELU_TANH, exact_gelu_tanh, true);
}

static void test_simple_functions_are_exact(void **state) {
    const float x[] = {-INFINITY, -3, -0.25f, 0, 0.25f, 3, 7, INFINITY, NAN};
    float y[9];
    for (size_t f = 0; f < form_count; f++) {
        forms[f]->map(FUNCTION_RELU, 0, 0, 9, x, y);
        for (int i = 0; i < 8; i++) assert_true(y[i] == (x[i] < 0 ? 0 : x[i]));
        assert_true(isnan(y[8]));
        forms[f]->map(FUNCTION_CLIP, -1, 6, 9, x, y);
        for (int i = 0; i < 8; i++) assert_true(y[i] == fminf(fmaxf(x[i], -1), 6));
        assert_true(isnan(y[8]));
        forms[f]->map(FUNCTION_LEAKY_RELU, 0.5f, 0, 9, x, y);
        for (int i = 0; i < 8; i++) assert_true(y[i] == (x[i] < 0 ? 0.5f * x[i] : x[i]));
        forms[f]->map(FUNCTION_HARD_SIGMOID, 0.25f, 0.5f, 9, x, y);
        for (int i = 0; i < 8; i++) assert_true(y[i] == fminf(fmaxf(0.25f * x[i] + 0.5f, 0), 1));
        assert_true(isnan(y[8]));
        forms[f]->map(FUNCTION_HARD_SWISH, 0, 0, 7, x + 1, y);
        for (int i = 0; i < 6; i++)
            assert_true(fabsf(y[i] - x[i + 1] * fminf(fmaxf(x[i + 1] / 6 + 0.5f, 0), 1)) <= 1e-6f * fabsf(x[i + 1]));
        forms[f]->map(FUNCTION_NONE, 0, 0, 8, x, y);
        assert_memory_equal(x, y, 8 * sizeof *x);
    }
}

static void near(double have, double want, const char *what) {
    if (!(fabs(have - want) <= 1e-5 * (1 + fabs(want)))) fail_msg("%s: %.9g, not %.9g", what, have, want);
}

static void test_a_tile_is_the_sum_of_weights_times_what_lies_at_the_offsets(void **state) {
    enum { K = 37 };
    float w[K * TILE_ROWS], x[K * 5 + 2 * TILE_COLUMNS], out[TILE_ROWS * TILE_COLUMNS];
    int32_t offsets[K];
    fill(w, sizeof w / sizeof *w, 1);
    fill(x, sizeof x / sizeof *x, 2);
    for (int p = 0; p < K; p++) offsets[p] = p * 5 + p % 3;
    for (size_t f = 0; f < form_count; f++)
        for (int narrow = 0; narrow < 2; narrow++) {
            int columns = narrow ? forms[f]->lanes : TILE_VECTORS * forms[f]->lanes;
            assert_true(columns <= TILE_COLUMNS);
            forms[f]->tile(K, w, x, offsets, narrow, out);
            for (int row = 0; row < TILE_ROWS; row++)
                for (int column = 0; column < columns; column++) {
                    double want = 0;
                    for (int p = 0; p < K; p++) want += (double)w[p * TILE_ROWS + row] * (double)x[offsets[p] + column];
                    near((double)out[row * columns + column], want, forms[f]->name);
                }
        }
}

static void test_tails_add_and_then_take_the_function(void **state) {
    float bias[ODD], rest[ODD], c[ODD], was[ODD];
    const struct onnx__tail relu = {.function = FUNCTION_RELU};
    fill(bias, ODD, 3);
    fill(rest, ODD, 4);
    fill(was, ODD, 5);
    for (size_t f = 0; f < form_count; f++)
        for (int kind = 0; kind < 8; kind++) {
            bool by_column = kind & 1, with_rest = kind & 2, with_relu = kind & 4;
            memcpy(c, was, sizeof c);
            forms[f]->tail(with_relu ? &relu : NULL, ODD, bias, by_column, with_rest ? rest : NULL, c);
            for (int i = 0; i < ODD; i++) {
                float want = was[i] + bias[by_column ? i : 0] + (with_rest ? rest[i] : 0);
                near((double)c[i], (double)(with_relu && want < 0 ? 0 : want), forms[f]->name);
            }
        }
}

static void test_softmax_of_a_row_sums_to_one_and_a_masked_key_counts_nothing(void **state) {
    float x[ODD], y[ODD], mask[ODD] = {0};
    fill(x, ODD, 6);
    x[7] = 90; /* alone it would overflow */
    mask[3] = -INFINITY;
    for (size_t f = 0; f < form_count; f++) {
        double total = 0, sum = 0;
        forms[f]->softmax(ODD, 0.5f, x, mask, y);
        for (int i = 0; i < ODD; i++) total += i == 3 ? 0 : exp(0.5 * (double)x[i] - 45);
        for (int i = 0; i < ODD; i++) {
            near((double)y[i], i == 3 ? 0 : exp(0.5 * (double)x[i] - 45) / total, forms[f]->name);
            sum += (double)y[i];
        }
        near(sum, 1, forms[f]->name);
    }
}

static void test_layer_norm_of_a_row_far_from_zero_keeps_its_digits(void **state) {
    float x[ODD], scale[ODD], bias[ODD], y[ODD], mean, inverse;
    fill(x, ODD, 7);
    fill(scale, ODD, 8);
    fill(bias, ODD, 9);
    double sum = 0, squares = 0;
    for (int i = 0; i < ODD; i++) sum += (double)(x[i] += 100);
    for (int i = 0; i < ODD; i++) squares += ((double)x[i] - sum / ODD) * ((double)x[i] - sum / ODD);
    for (size_t f = 0; f < form_count; f++) {
        forms[f]->layer_norm(ODD, x, scale, bias, 1e-5f, y, &mean, &inverse);
        near((double)mean, sum / ODD, forms[f]->name);
        for (int i = 0; i < ODD; i++) /* 1e-4: the mean, about 100, is good to 1e-5 */
            assert_true(
                fabs((double)y[i] - (((double)x[i] - sum / ODD) / sqrt(squares / ODD + 1e-5) * (double)scale[i] +
                                     (double)bias[i])) <= 1e-4);
    }
}

static void test_sums_maxima_and_products_of_rows(void **state) {
    float a[3 * ODD], x[ODD], y[ODD], strided[5 * ODD];
    fill(a, 3 * ODD, 10);
    fill(x, ODD, 11);
    fill(strided, 5 * ODD, 12);
    for (size_t f = 0; f < form_count; f++) {
        double sum = 0;
        float most = -2;
        for (int i = 0; i < ODD; i++) {
            sum += (double)x[i];
            most = fmaxf(most, x[i]);
        }
        near((double)forms[f]->sum(ODD, x), sum, forms[f]->name);
        assert_true(forms[f]->largest(ODD, x) == most);
        for (int adds = 0; adds < 2; adds++) {
            float product[3] = {1, 2, 3};
            forms[f]->times_vector(3, ODD, a, x, adds, product);
            for (int row = 0; row < 3; row++) {
                double want = adds ? row + 1 : 0;
                for (int i = 0; i < ODD; i++) want += (double)a[row * ODD + i] * (double)x[i];
                near((double)product[row], want, forms[f]->name);
            }
        }
        for (int stride = 1; stride <= 5; stride++) {
            for (int i = 0; i < ODD; i++) y[i] = i == 9 ? NAN : 0;
            forms[f]->larger(ODD, strided, stride, y);
            for (int i = 0; i < ODD; i++) assert_true(i == 9 ? isnan(y[i]) : y[i] == fmaxf(strided[i * stride], 0));
        }
    }
}

static void test_what_is_no_number_wins_every_maximum(void **state) {
    float x[ODD] = {0}, y[ODD] = {0};
    x[40] = NAN;
    for (size_t f = 0; f < form_count; f++) {
        assert_true(isnan(forms[f]->largest(ODD, x)));
        memset(y, 0, sizeof y);
        forms[f]->larger(ODD, x, 1, y);
        assert_true(isnan(y[40]));
        assert_true(forms[f]->largest(0, x) == -INFINITY);
    }
}

static void test_a_step_of_lstm_is_its_formula(void **state) {
    enum { N = 19 };
    float x[4 * N], s[4 * N], h[N], c[N], before[N];
    fill(x, 4 * N, 13);
    fill(s, 4 * N, 14);
    fill(before, N, 15);
    for (size_t f = 0; f < form_count; f++) {
        memcpy(c, before, sizeof c);
        forms[f]->lstm(N, x, s, h, c);
        for (int j = 0; j < N; j++) {
            double gate[4];
            for (int g = 0; g < 4; g++) gate[g] = (double)x[g * N + j] + (double)s[g * N + j];
            double cell = exact_sigmoid(gate[2]) * (double)before[j] + exact_sigmoid(gate[0]) * tanh(gate[3]);
            near((double)c[j], cell, forms[f]->name);
            near((double)h[j], exact_sigmoid(gate[1]) * tanh(cell), forms[f]->name);
        }
    }
}

int main(void) {
    find_forms();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions_of_all_sorts_of_numbers_are_those_of_libm),
        cmocka_unit_test(test_simple_functions_are_exact),
        cmocka_unit_test(test_a_tile_is_the_sum_of_weights_times_what_lies_at_the_offsets),
        cmocka_unit_test(test_tails_add_and_then_take_the_function),
        cmocka_unit_test(test_softmax_of_a_row_sums_to_one_and_a_masked_key_counts_nothing),
        cmocka_unit_test(test_layer_norm_of_a_row_far_from_zero_keeps_its_digits),
        cmocka_unit_test(test_sums_maxima_and_products_of_rows),
        cmocka_unit_test(test_what_is_no_number_wins_every_maximum),
        cmocka_unit_test(test_a_step_of_lstm_is_its_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is done to one row of float32 numbers; lengths are multiples of 16. */
#pragma once
#include "intrinsics.h"
#include <stdint.h>

typedef __m256 f8;

/* Inputs are scaled to integers in groups, the last of a row perhaps shorter. */
enum { GROUP = 64, ROW_STEP = 6 };
#define GROUPS(length) (((length) + GROUP - 1) / GROUP)

/* A row and a column of at most this norm have a product below 2^31, whatever
 * their length (Cauchy and Schwarz), rounding to integers included. */
#define MOST_NORM 46000.0f
#define MOST_VALUE 32767.0f

static inline f8 f8_all(float value) { return _mm256_set1_ps(value); }
static inline f8 f8_load(const float *from) { return _mm256_loadu_ps(from); }
static inline void f8_store(float *to, f8 values) { _mm256_storeu_ps(to, values); }

static inline float f8_sum(f8 v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

static inline float f8_most(f8 v) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/* 2^x to 2e-7, relative, for x <= 127; 0 below -126. What is not a number stays none, for max returns its second
 * operand then. Adding `shifter` rounds: the integer is in the lowest bits after, ready to be an exponent. */
static inline f8 f8_power_of_2(f8 x) {
    const f8 shifter = f8_all(12582912.0f + 127.0f);
    x = _mm256_max_ps(f8_all(-127.0f), x);
    f8 shifted = _mm256_add_ps(x, shifter);
    f8 r = _mm256_sub_ps(x, _mm256_sub_ps(shifted, shifter));
    f8 p = f8_all(1.540353e-4f); /* ln(2)^k / k! */
    p = _mm256_fmadd_ps(p, r, f8_all(1.3333558e-3f));
    p = _mm256_fmadd_ps(p, r, f8_all(9.6181291e-3f));
    p = _mm256_fmadd_ps(p, r, f8_all(5.5504109e-2f));
    p = _mm256_fmadd_ps(p, r, f8_all(2.4022651e-1f));
    p = _mm256_fmadd_ps(p, r, f8_all(6.9314718e-1f));
    p = _mm256_fmadd_ps(p, r, f8_all(1.0f));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
}

/* e^x, 0 below -87, no more than e^88. */
static inline f8 f8_exp(f8 x) {
    return f8_power_of_2(_mm256_min_ps(f8_all(127.0f), _mm256_mul_ps(x, f8_all(1.44269504f))));
}

/* The error function to 4e-7, absolute: a quotient of polynomials in x * x, fitted by least squares on [-4, 4]. */
static inline f8 f8_erf(f8 x) {
    x = _mm256_min_ps(f8_all(4.0f), _mm256_max_ps(f8_all(-4.0f), x));
    f8 t = _mm256_mul_ps(x, x);
    f8 p = f8_all(1.927177893340382e-08f);
    p = _mm256_fmadd_ps(p, t, f8_all(-1.966564513602954e-06f));
    p = _mm256_fmadd_ps(p, t, f8_all(1.5023912023940405e-04f));
    p = _mm256_fmadd_ps(p, t, f8_all(4.082756128867727e-03f));
    p = _mm256_fmadd_ps(p, t, f8_all(5.1777766675734964e-02f));
    p = _mm256_fmadd_ps(p, t, f8_all(2.0909167467679973e-01f));
    p = _mm256_fmadd_ps(p, t, f8_all(1.1283788223456166f));
    f8 q = f8_all(1.0462052567673215e-03f);
    q = _mm256_fmadd_ps(q, t, f8_all(1.512862042405333e-02f));
    q = _mm256_fmadd_ps(q, t, f8_all(1.1878070215836552e-01f));
    q = _mm256_fmadd_ps(q, t, f8_all(5.186317761012996e-01f));
    q = _mm256_fmadd_ps(q, t, f8_all(1.0f));
    return _mm256_div_ps(_mm256_mul_ps(x, p), q);
}

typedef enum { LINEAR, GELU, GELU_TANH, RELU, SILU } activation;

static inline f8 f8_activate(f8 x, activation kind) {
    const f8 one = f8_all(1.0f), half = f8_all(0.5f);
    switch (kind) {
    case GELU:
        return _mm256_mul_ps(_mm256_mul_ps(x, half), _mm256_add_ps(f8_erf(_mm256_mul_ps(x, f8_all(0.70710678f))), one));
    case GELU_TANH: { /* x / (1 + e^-2u) */
        f8 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);
        f8 u = _mm256_mul_ps(f8_all(-1.5957691216f), _mm256_fmadd_ps(cube, f8_all(0.044715f), x));
        return _mm256_div_ps(x, _mm256_add_ps(one, f8_exp(u)));
    }
    case SILU:
        return _mm256_div_ps(x, _mm256_add_ps(one, f8_exp(_mm256_sub_ps(_mm256_setzero_ps(), x))));
    case RELU: /* the second operand is returned for what is not a number */
        return _mm256_max_ps(_mm256_setzero_ps(), x);
    default:
        return x;
    }
}

/* Round numbers to integers of a scale of their own; return what an integer stands for. Numbers that are not finite
 * get a scale that is not finite. */
static inline float quantise(const float *from, int length, int16_t *to) {
    const f8 sign = f8_all(-0.0f);
    f8 squares = _mm256_setzero_ps(), most = squares;
    for (int i = 0; i < length; i += 8) {
        f8 v = f8_load(from + i);
        squares = _mm256_fmadd_ps(v, v, squares);
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, v));
    }
    float sum = f8_sum(squares), largest = f8_most(most), scale = 1.0f;
    if (!(sum == 0.0f && largest == 0.0f)) {
        scale = MOST_NORM / __builtin_sqrtf(sum);
        if (scale * largest > MOST_VALUE)
            scale = MOST_VALUE / largest;
    }
    const f8 by = f8_all(scale);
    for (int i = 0; i < length; i += 16) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(f8_load(from + i), by));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(f8_load(from + i + 8), by));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8));
    }
    return 1.0f / scale;
}

/* Round a row by groups; `scales` is that of its first group, those of the others lie `ROW_STEP` apart. */
static inline void row_quantise(const float *row, int length, int16_t *to, float *scales) {
    for (int i = 0; i < length; i += GROUP, scales += ROW_STEP)
        *scales = quantise(row + i, length - i < GROUP ? length - i : GROUP, to + i);
}

/* Layer normalisation of a row, in place. */
static inline void row_normalise(float *row, int length, const float *weight, const float *bias, float epsilon) {
    f8 sum = _mm256_setzero_ps();
    for (int i = 0; i < length; i += 8)
        sum = _mm256_add_ps(sum, f8_load(row + i));
    f8 mean = f8_all(f8_sum(sum) / (float)length), squares = _mm256_setzero_ps();
    for (int i = 0; i < length; i += 8) {
        f8 centred = _mm256_sub_ps(f8_load(row + i), mean);
        squares = _mm256_fmadd_ps(centred, centred, squares);
    }
    f8 by = f8_all(1.0f / __builtin_sqrtf(f8_sum(squares) / (float)length + epsilon));
    for (int i = 0; i < length; i += 8) {
        f8 unit = _mm256_mul_ps(_mm256_sub_ps(f8_load(row + i), mean), by);
        f8_store(row + i, _mm256_fmadd_ps(unit, f8_load(weight + i), f8_load(bias + i)));
    }
}

/* Attention within each text, in float32: a tenth of the work of short texts, a third of long ones. */
#pragma once
#include "rows.h"

typedef struct {
    /* [tokens][3][heads][size]: queries, keys, values; scaled so that scores are logarithms to base 2 */
    const float *parts;
    float *out;          /* [tokens][heads][size] */
    const int32_t *ends; /* of each text, in tokens */
    int heads, size;
    /* Learnt bias by distance, [heads][2 * reach - 1] with distance 0 in the middle; NULL where there is none. */
    const float *relative;
    int reach;
    float *scratch; /* scratch_size numbers for each worker */
    long scratch_size;
} attention;

enum { QUERIES = 6, STEP = 16 };

static long padded(long length) { return (length + STEP - 1) / STEP * STEP; }

/* Numbers that a worker needs for texts of at most `longest` tokens. */
static long attention_scratch(int size, int longest) { return (2 * size + QUERIES) * padded(longest); }

/* out[6][16] = a[6][depth] times b[depth][16]; strides in numbers from row to row. */
static inline __attribute__((always_inline)) void block(const float *const a[QUERIES], const float *b, long stride,
                                                        int depth, float *const out[QUERIES]) {
    f8 left[QUERIES], right[QUERIES];
#pragma GCC unroll 6
    for (int row = 0; row < QUERIES; row++)
        left[row] = right[row] = _mm256_setzero_ps();
    for (int k = 0; k < depth; k++, b += stride) {
        f8 low = f8_load(b), high = f8_load(b + 8);
#pragma GCC unroll 6
        for (int row = 0; row < QUERIES; row++) {
            f8 value = _mm256_broadcast_ss(a[row] + k);
            left[row] = _mm256_fmadd_ps(value, low, left[row]);
            right[row] = _mm256_fmadd_ps(value, high, right[row]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < QUERIES; row++) {
        f8_store(out[row], left[row]);
        f8_store(out[row] + 8, right[row]);
    }
}

/* Scores to 2^(score - most); returns what all should be divided by. */
static inline float soften(float *scores, long length, const float *bias) {
    const long width = padded(length);
    f8 most = f8_all(-1e30f), sum = _mm256_setzero_ps();
    if (bias)
        for (long j = 0; j < length; j++)
            scores[j] += bias[j];
    for (long j = length; j < width; j++)
        scores[j] = -1e30f;
    for (long j = 0; j < width; j += 8)
        most = _mm256_max_ps(most, f8_load(scores + j));
    most = f8_all(f8_most(most));
    for (long j = 0; j < width; j += 8) {
        f8 value = f8_power_of_2(_mm256_sub_ps(f8_load(scores + j), most));
        f8_store(scores + j, value);
        sum = _mm256_add_ps(sum, value);
    }
    return f8_sum(sum);
}

/* Eight rows of eight, `from` and `to` apart in memory by their strides, as columns. */
static inline void transpose_8(const float *from, long stride, float *to, long width) {
    f8 r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = f8_load(from + i * stride);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; i++) {
        f8_store(to + i * width, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        f8_store(to + (i + 4) * width, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* Bring a head together: rows lie far apart, in a page each. Keys to [size][padded length], values to [length][size]. */
static inline void collect(const float *keys, const float *values, long stride, long length, int size, float *to_keys,
                           float *to_values) {
    const long width = padded(length);
    for (int c = 0; c < size; c += 8) {
        for (long j = 0; j + 8 <= length; j += 8)
            transpose_8(keys + j * stride + c, stride, to_keys + c * width + j, width);
        for (int i = c; i < c + 8; i++)
            for (long j = length / 8 * 8; j < width; j++)
                to_keys[i * width + j] = j < length ? keys[j * stride + i] : 0.0f;
    }
    for (long j = 0; j < length; j++)
        for (int c = 0; c < size; c += 8)
            f8_store(to_values + j * size + c, f8_load(values + j * stride + c));
}

/* Task: one head of one text. */
static void attention_task(void *given, int task, int worker) {
    const attention *job = given;
    const int text = task / job->heads, head = task % job->heads, size = job->size;
    const long start = text ? job->ends[text - 1] : 0, length = job->ends[text] - start, width = padded(length);
    const long hidden = (long)job->heads * size, stride = 3 * hidden;
    const float *queries = job->parts + start * stride + (long)head * size;
    float *keys = job->scratch + worker * job->scratch_size, *values = keys + size * width;
    float *scores = values + size * width;
    collect(queries + hidden, queries + 2 * hidden, stride, length, size, keys, values);
    for (long first = 0; first < length; first += QUERIES) {
        const int count = length - first < QUERIES ? (int)(length - first) : QUERIES;
        const float *rows[QUERIES], *weights[QUERIES];
        float *out[QUERIES], spare[STEP];
        for (int row = 0; row < QUERIES; row++) /* the last one again where the text ends */
            rows[row] = queries + (first + (row < count ? row : count - 1)) * stride;
        for (long j = 0; j < width; j += STEP) {
            for (int row = 0; row < QUERIES; row++)
                out[row] = scores + row * width + j;
            block(rows, keys + j, width, size, out);
        }
        float by[QUERIES];
        for (int row = 0; row < QUERIES; row++) {
            long query = first + (row < count ? row : count - 1);
            const float *bias = job->relative ? job->relative + (2L * job->reach - 1) * head + job->reach - 1 - query : NULL;
            by[row] = 1.0f / soften(scores + row * width, length, bias);
            weights[row] = scores + row * width;
        }
        for (int c = 0; c < size; c += STEP) {
            for (int row = 0; row < QUERIES; row++)
                out[row] = row < count ? job->out + (start + first + row) * hidden + (long)head * size + c : spare;
            block(weights, values + c, size, (int)length, out);
            for (int row = 0; row < count; row++)
                for (int half = 0; half < STEP; half += 8)
                    f8_store(out[row] + half, _mm256_mul_ps(f8_load(out[row] + half), f8_all(by[row])));
        }
    }
}

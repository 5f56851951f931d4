/* Matrix products of 16-bit integers with sums in 32 bits, exact.
 *
 * On processors with AVX2 `vpmaddwd` multiplies sixteen pairs in the time in
 * which an FMA multiplies eight floats. Inputs are taken in groups of 128: within
 * one, rows and columns are scaled so that no sum can leave 32 bits (rows.h; sums
 * on the way may, and wrap back). The groups' sums are added as floats.
 */
#pragma once
#include "rows.h"

enum {
    ROWS = ROW_STEP,   /* of a tile: with 16 columns, sums take 12 of the 16 registers */
    COLUMNS = 16,      /* of a panel */
    DEPTH = 384,       /* inputs at once: a panel (12 KB) and a tile's rows (5 KB) stay in the first cache */
    PANELS = 4,        /* of a task: the rows are read from the second cache once for all of them */
    ROWS_AT_ONCE = 264 /* of a task: their sums (68 KB) and 384 inputs (203 KB) stay in the second cache */
};

/* A linear layer. Weights lie in panels: 16 columns, and of these pairs of inputs, [outputs / 16][inputs / 2][16][2]. */
typedef struct {
    const int16_t *weights;
    const float *scale; /* what an integer stands for, [outputs / 16][groups][16] */
    const float *bias;  /* [outputs] */
    int inputs, outputs;
} linear;

typedef struct {
    const linear *by;
    const int16_t *rows;    /* [count rounded up to 6][inputs] */
    const float *row_scale; /* [tiles][groups][6] */
    int count;
    float *out;            /* [count][outputs] */
    const float *residual; /* added where given, shaped as `out` */
    activation activate;
    float *sums; /* ROWS_AT_ONCE * PANELS * COLUMNS for each worker */
} product;

/* Two sums of eight += eight pairs each of a row, in ymm12, and of a panel, in ymm14 and ymm15. */
#define SUM(left, right)                                                                                             \
    "vpmaddwd %%ymm14, %%ymm12, %%ymm13\n\t"                                                                         \
    "vpmaddwd %%ymm15, %%ymm12, %%ymm12\n\t"                                                                         \
    "vpaddd %%ymm13, %%ymm" #left ", %%ymm" #left "\n\t"                                                             \
    "vpaddd %%ymm12, %%ymm" #right ", %%ymm" #right "\n\t"

#define PAIR(at, panel)                                                                                              \
    "vmovdqu " #panel "(%[b]), %%ymm14\n\t"                                                                          \
    "vmovdqu " #panel "+32(%[b]), %%ymm15\n\t"                                                                       \
    "vpbroadcastd " #at "(%[a]), %%ymm12\n\t" SUM(0, 1)                                                              \
    "vpbroadcastd " #at "(%[a],%[s]), %%ymm12\n\t" SUM(2, 3)                                                         \
    "vpbroadcastd " #at "(%[a],%[s],2), %%ymm12\n\t" SUM(4, 5)                                                       \
    "vpbroadcastd " #at "(%[d]), %%ymm12\n\t" SUM(6, 7)                                                              \
    "vpbroadcastd " #at "(%[d],%[s]), %%ymm12\n\t" SUM(8, 9)                                                         \
    "vpbroadcastd " #at "(%[d],%[s],2), %%ymm12\n\t" SUM(10, 11)

#define CLEAR(number) "vpxor %%ymm" #number ", %%ymm" #number ", %%ymm" #number "\n\t"

/* Add what a row's sums stand for to the floats before. */
#define KEEP(row, left, right)                                                                                       \
    "vbroadcastss 4*" #row "(%[r]), %%ymm12\n\t"                                                                     \
    "vcvtdq2ps %%ymm" #left ", %%ymm" #left "\n\t"                                                                   \
    "vcvtdq2ps %%ymm" #right ", %%ymm" #right "\n\t"                                                                 \
    "vmulps %%ymm14, %%ymm" #left ", %%ymm" #left "\n\t"                                                             \
    "vmulps %%ymm15, %%ymm" #right ", %%ymm" #right "\n\t"                                                           \
    "vfmadd213ps 64*" #row "(%[from]), %%ymm12, %%ymm" #left "\n\t"                                                  \
    "vfmadd213ps 64*" #row "+32(%[from]), %%ymm12, %%ymm" #right "\n\t"                                              \
    "vmovups %%ymm" #left ", 64*" #row "(%[to])\n\t"                                                                 \
    "vmovups %%ymm" #right ", 64*" #row "+32(%[to])\n\t"

/* to[6][16] = from[6][16] + six rows times a panel, over `pairs` pairs of inputs, a multiple of 4, of one group.
 * `stride`: bytes from row to row. In assembly, for compilers keep some of the sums in memory. */
static inline void tile(const int16_t *rows, long stride, const float *row_scale, const int16_t *panel,
                        const float *scale, long pairs, const float *from, float *to) {
    const char *a = (const char *)rows, *d = a + 3 * stride, *b = (const char *)panel;
    __asm__ volatile(CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(6) CLEAR(7) CLEAR(8) CLEAR(9)
                         CLEAR(10) CLEAR(11)
                     ".p2align 5\n"
                     "1:\n\t" PAIR(0, 0) PAIR(4, 64) PAIR(8, 128) PAIR(12, 192)
                     "add $16, %[a]\n\t"
                     "add $16, %[d]\n\t"
                     "add $256, %[b]\n\t"
                     "sub $4, %[n]\n\t"
                     "jnz 1b\n\t"
                     "vmovups (%[w]), %%ymm14\n\t"
                     "vmovups 32(%[w]), %%ymm15\n\t" KEEP(0, 0, 1) KEEP(1, 2, 3) KEEP(2, 4, 5) KEEP(3, 6, 7)
                         KEEP(4, 8, 9) KEEP(5, 10, 11)
                     : [a] "+r"(a), [d] "+r"(d), [b] "+r"(b), [n] "+r"(pairs)
                     : [s] "r"(stride), [r] "r"(row_scale), [w] "r"(scale), [from] "r"(from), [to] "r"(to)
                     : "memory", "cc", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9",
                       "ymm10", "ymm11", "ymm12", "ymm13", "ymm14", "ymm15");
}

static const float NOTHING[ROWS * COLUMNS];

static int product_tasks(const linear *by) {
    return (by->outputs + PANELS * COLUMNS - 1) / (PANELS * COLUMNS);
}

static inline long least(long a, long b) { return a < b ? a : b; }

/* Sums of rows `first` to `last` with `panels` panels from `panel` on: [panels][tiles][6][16]. */
static inline void product_sums(const product *job, int first, int last, int panel, int panels, float *sums) {
    const long inputs = job->by->inputs, groups = GROUPS(inputs);
    const int tiles = (last - first + ROWS - 1) / ROWS;
    for (long chunk = 0; chunk < inputs; chunk += DEPTH) {
        const long end = least(inputs, chunk + DEPTH);
        for (int p = 0; p < panels; p++) {
            const int16_t *weights = job->by->weights + (long)(panel + p) * inputs * COLUMNS;
            const float *scale = job->by->scale + (panel + p) * groups * COLUMNS;
            /* What comes next is fetched meanwhile: this chunk of the next panel, or the next chunk of the first. */
            const int16_t *next = weights + (p + 1 < panels ? inputs + chunk : end - p * inputs) * COLUMNS;
            const char *ahead = (const char *)next;
            const long lines = (end - chunk) * COLUMNS * (long)sizeof *weights / 64;
            for (int t = 0; t < tiles; t++) {
                for (long line = lines * t / tiles; line < lines * (t + 1) / tiles; line++)
                    __builtin_prefetch(ahead + 64 * line, 0, 2);
                float *at = sums + (long)(p * tiles + t) * ROWS * COLUMNS;
                const int16_t *rows = job->rows + (long)(first + t * ROWS) * inputs;
                const float *row_scale = job->row_scale + (first / ROWS + t) * groups * ROWS;
                for (long input = chunk; input < end; input += GROUP)
                    tile(rows + input, inputs * (long)sizeof *rows, row_scale + input / GROUP * ROWS,
                         weights + input * COLUMNS, scale + input / GROUP * COLUMNS, least(GROUP, end - input) / 2,
                         input ? at : NOTHING, at);
            }
        }
    }
}

static inline __attribute__((always_inline)) void product_finish(const product *job, int first, int last, int panel,
                                                                 int panels, const float *sums, activation kind) {
    const int tiles = (last - first + ROWS - 1) / ROWS, outputs = job->by->outputs;
    for (int row = first; row < last; row++) {
        const float *from = sums + (long)(row - first) * COLUMNS;
        for (int p = 0; p < panels; p++, from += (long)tiles * ROWS * COLUMNS) {
            for (int half = 0; half < COLUMNS; half += 8) {
                const int column = (panel + p) * COLUMNS + half;
                f8 value = f8_activate(_mm256_add_ps(f8_load(from + half), f8_load(job->by->bias + column)), kind);
                if (job->residual)
                    value = _mm256_add_ps(value, f8_load(job->residual + (long)row * outputs + column));
                f8_store(job->out + (long)row * outputs + column, value);
            }
        }
    }
}

/* Task: up to 64 outputs of all rows. */
static void product_task(void *given, int task, int worker) {
    const product *job = given;
    const int panel = task * PANELS, all = job->by->outputs / COLUMNS;
    const int panels = all - panel < PANELS ? all - panel : PANELS;
    float *sums = job->sums + (long)worker * ROWS_AT_ONCE * PANELS * COLUMNS;
    for (int first = 0; first < job->count; first += ROWS_AT_ONCE) {
        int last = job->count - first < ROWS_AT_ONCE ? job->count : first + ROWS_AT_ONCE;
        product_sums(job, first, last, panel, panels, sums);
        switch (job->activate) { /* a constant in each, so that none is looked up by number */
        case GELU: product_finish(job, first, last, panel, panels, sums, GELU); break;
        case GELU_TANH: product_finish(job, first, last, panel, panels, sums, GELU_TANH); break;
        case RELU: product_finish(job, first, last, panel, panels, sums, RELU); break;
        case SILU: product_finish(job, first, last, panel, panels, sums, SILU); break;
        default: product_finish(job, first, last, panel, panels, sums, LINEAR);
        }
    }
}

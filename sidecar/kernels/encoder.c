/* Post-norm transformer layers over packed tokens: all texts of a micro-batch behind one another, no padding.
 *
 * Linear layers in 16-bit integers with exact sums (product.h), everything else in float32. What a text's
 * vectors are does not depend on what else is in the micro-batch, nor on the number of threads. */
#include "attention.h"
#include "product.h"
#include "team.h"
#include <errno.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

typedef struct {
    const float *weight, *bias;
} norm;

typedef struct {
    linear attention_in; /* queries, keys, values */
    linear attention_out, feed_in, feed_out;
    norm attention_norm, output_norm;
} layer;

typedef struct {
    int hidden, inner, heads, activation;
    float epsilon;
    const float *relative; /* attention.h */
    int reach;
} shape;

/* Rows of words in a file: [rows][hidden] numbers from `offset` on. */
typedef enum { FLOAT32, FLOAT16, BFLOAT16 } number;
typedef struct {
    int file;
    int kind; /* number */
    int64_t offset;
    int rows;
} table;

typedef struct {
    team team;
    shape shape;
    const layer *layers;
    void *memory; /* of everything below, for `tokens` tokens in texts of at most `longest` */
    int tokens, longest;
    float *parts, *context, *states, *inner, *scratch, *row_scale, *sums;
    int16_t *rows;
} encoder;

enum { CHUNK = 12 /* rows of a task */ };

typedef struct {
    float *rows;
    int count, length;
    const norm *norm; /* applied first, in place, where given */
    float epsilon;
    int16_t *quantised; /* where given */
    float *row_scale;
} row_work;

static void row_task(void *given, int task, int worker) {
    const row_work *job = given;
    (void)worker;
    for (int row = task * CHUNK; row < job->count && row < (task + 1) * CHUNK; row++) {
        const long at = (long)row * job->length;
        if (job->norm)
            row_normalise(job->rows + at, job->length, job->norm->weight, job->norm->bias, job->epsilon);
        if (job->quantised)
            row_quantise(job->rows + at, job->length, job->quantised + at,
                         job->row_scale + (long)(row / ROWS) * GROUPS(job->length) * ROWS + row % ROWS);
    }
}

static void rows_do(encoder *e, float *rows, int count, int length, const norm *norm, int quantise) {
    row_work job = {rows, count, length, norm, e->shape.epsilon, quantise ? e->rows : NULL, e->row_scale};
    team_do(&e->team, (count + CHUNK - 1) / CHUNK, row_task, &job);
}

static void multiply(encoder *e, const linear *by, int count, float *out, const float *residual, activation activate) {
    product job = {by, e->rows, e->row_scale, count, out, residual, activate, e->sums};
    team_do(&e->team, product_tasks(by), product_task, &job);
}

static void run_layer(encoder *e, const layer *l, float *x, int count, const int32_t *ends, int texts) {
    const int hidden = e->shape.hidden, heads = e->shape.heads;
    multiply(e, &l->attention_in, count, e->parts, NULL, LINEAR);
    attention job = {e->parts,          e->context,     ends,       heads,
                     hidden / heads,    e->shape.relative, e->shape.reach, e->scratch,
                     attention_scratch(hidden / heads, e->longest)};
    team_do(&e->team, texts * heads, attention_task, &job);
    rows_do(e, e->context, count, hidden, NULL, 1);
    multiply(e, &l->attention_out, count, e->states, x, LINEAR);
    rows_do(e, e->states, count, hidden, &l->attention_norm, 1);
    multiply(e, &l->feed_in, count, e->inner, NULL, (activation)e->shape.activation);
    rows_do(e, e->inner, count, e->shape.inner, NULL, 1);
    multiply(e, &l->feed_out, count, x, e->states, LINEAR);
    rows_do(e, x, count, hidden, &l->output_norm, 1);
}

/* Let `at` begin at a cache line, and move on behind `bytes`. */
static void *part(char **at, size_t bytes) {
    char *begin = *at;
    *at += (bytes + 63) / 64 * 64;
    return begin;
}

/* Lay out all buffers from `at` on; return the bytes that they take. */
static size_t lay_out(encoder *e, char *at, int tokens, int longest) {
    const size_t rows = (size_t)(tokens + ROWS - 1) / ROWS * ROWS, hidden = e->shape.hidden, inner = e->shape.inner;
    const size_t widest = hidden > inner ? hidden : inner, threads = e->team.threads;
    char *begin = at;
    e->parts = part(&at, rows * 3 * hidden * sizeof(float));
    e->context = part(&at, rows * hidden * sizeof(float));
    e->states = part(&at, rows * hidden * sizeof(float));
    e->inner = part(&at, rows * inner * sizeof(float));
    e->row_scale = part(&at, rows * GROUPS(widest) * sizeof(float));
    e->rows = part(&at, rows * widest * sizeof(int16_t));
    e->scratch = part(&at, threads * attention_scratch((int)hidden / e->shape.heads, longest) * sizeof(float));
    e->sums = part(&at, threads * ROWS_AT_ONCE * PANELS * COLUMNS * sizeof(float));
    return (size_t)(at - begin);
}

/* Have room for a micro-batch. Returns 0, or -1 where there is no memory. */
static int make_room(encoder *e, int tokens, int longest) {
    if (tokens <= e->tokens && longest <= e->longest)
        return 0;
    tokens = tokens > e->tokens ? tokens : e->tokens;
    longest = longest > e->longest ? longest : e->longest;
    free(e->memory);
    e->tokens = e->longest = 0;
    size_t bytes = lay_out(e, NULL, tokens, longest);
    if (!(e->memory = aligned_alloc(64, bytes)))
        return -1;
    lay_out(e, e->memory, tokens, longest);
    e->tokens = tokens;
    e->longest = longest;
    return 0;
}

/* An encoder with `threads` threads, the caller's among them; NULL where the system gives none. `layers` stay the caller's. */
PUBLIC encoder *encoder_open(int threads, const shape *shape, const layer *layers) {
    encoder *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->shape = *shape;
    e->layers = layers;
    if (!team_open(&e->team, threads))
        return e;
    free(e);
    return NULL;
}

PUBLIC void encoder_close(encoder *e) {
    team_close(&e->team);
    free(e->memory);
    free(e);
}

typedef struct {
    const table *words;
    const float *positions; /* [positions][hidden] */
    const norm *norm;
    const int32_t *ids, *places; /* of each token: its word, its row of `positions` */
    float *x;
    int count, hidden;
    float epsilon;
    int failed;
} embedding;

/* Read some numbers of the word table as float32. Through a mapping, each row would bring the 64 KB around it into this
 * process's memory. Returns 0, or -1 where the file has no such row. */
static int read_row(const table *from, int id, int length, float *to) {
    const size_t bytes = (size_t)length * (from->kind == FLOAT32 ? 4 : 2);
    char *at = (char *)to + (size_t)length * 4 - bytes; /* widened in place, from the front */
    if (id < 0 || id >= from->rows)
        return -1;
    for (size_t done = 0; done < bytes;) {
        ssize_t read = pread(from->file, at + done, bytes - done, from->offset + (off_t)(id * (long)bytes + done));
        if (read <= 0 && !(read < 0 && errno == EINTR))
            return -1;
        done += read > 0 ? (size_t)read : 0;
    }
    for (int i = 0; from->kind != FLOAT32 && i < length; i += 8) {
        __m128i halves = _mm_loadu_si128((const __m128i *)(at + 2 * i));
        f8 wide = from->kind == FLOAT16 ? _mm256_cvtph_ps(halves)
                                        : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
        f8_store(to + i, wide);
    }
    return 0;
}

static void embedding_task(void *given, int task, int worker) {
    embedding *job = given;
    (void)worker;
    for (int token = task * CHUNK; token < job->count && token < (task + 1) * CHUNK; token++) {
        float *row = job->x + (long)token * job->hidden;
        const float *position = job->positions + (long)job->places[token] * job->hidden;
        if (read_row(job->words, job->ids[token], job->hidden, row)) {
            __atomic_store_n(&job->failed, 1, __ATOMIC_RELAXED);
            return;
        }
        for (int i = 0; i < job->hidden; i += 8)
            f8_store(row + i, _mm256_add_ps(f8_load(row + i), f8_load(position + i)));
        row_normalise(row, job->hidden, job->norm->weight, job->norm->bias, job->epsilon);
    }
}

/* Put the embedded tokens into x[count][hidden]. Returns 0, or -1 where a word cannot be read. */
PUBLIC int encoder_embed(encoder *e, const table *words, const float *positions, const norm *norm, const int32_t *ids,
                         const int32_t *places, float *x, int count) {
    embedding job = {words, positions, norm, ids, places, x, count, e->shape.hidden, e->shape.epsilon, 0};
    team_set(&e->team, &e->team.active, 1);
    team_do(&e->team, (count + CHUNK - 1) / CHUNK, embedding_task, &job);
    team_set(&e->team, &e->team.active, 0);
    return job.failed ? -1 : 0;
}

/* Put x, in place, through the layers from `first` to before `last`. Returns 0, or -1 where there is no memory. */
PUBLIC int encoder_run(encoder *e, int first, int last, float *x, const int32_t *ends, int texts) {
    int longest = 0;
    for (int text = 0; text < texts; text++) {
        int length = ends[text] - (text ? ends[text - 1] : 0);
        longest = length > longest ? length : longest;
    }
    const int count = ends[texts - 1];
    if (make_room(e, count, longest))
        return -1;
    team_set(&e->team, &e->team.active, 1);
    rows_do(e, x, count, e->shape.hidden, NULL, 1);
    for (int number = first; number < last; number++)
        run_layer(e, e->layers + number, x, count, ends, texts);
    team_set(&e->team, &e->team.active, 0);
    return 0;
}

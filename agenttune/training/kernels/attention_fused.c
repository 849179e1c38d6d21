/* Tree attention, forward and backward, in one pass over the keys of each block of rows. Compiled with -DHALF: bfloat16 by a CPU's
 * matrix tiles (AMX). Without: float32 by whatever vectors the CPU has.
 *
 * Scores are held as [keys, rows]: a row's sums and maxima then lie along lanes, and no score is turned between products. A block's
 * scores live in the second-level cache, and are never written to memory. Row q sees key k exactly when k <= q < ends[k].
 *
 * Forward: the running maximum of "Online normalizer calculation for softmax" (arXiv 1805.02867). Backward: "FlashAttention-2"
 * (arXiv 2307.08691), algorithm 2, with keys in the inner loop and a sum of key gradients of its own for each part of the blocks.
 */

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "vectors.h"

#define HIDDEN (-1e35f) /* a score that no maximum is as low as */
#define LOWEST (-1e30f) /* a maximum of nothing */
#define SLACK 8.0f      /* a maximum may be outgrown by 2^8 before sums are scaled again */

enum { SQUARE = 32, SIDES = SQUARE / LANES }; /* a product makes a square of 32 by 32 numbers; vectors in a line of it */

static inline int any(wide_int mask) { int found = 0; for (int lane = 0; lane < LANES; lane++) found |= mask[lane]; return found; }

#ifdef HALF
/* ---- bfloat16: the second factor of a product lies in pairs of lines, [0 of a, 0 of b, 1 of a, …] ------------------------------- */

#include <sys/syscall.h>
#include <unistd.h>

enum { PACK = 2, KEYS = 128, ROWS = 384, PERMISSION = 0x1023, TILE_DATA = 18 };
typedef struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } Before;

static void begin(Before *before) {
    Before now = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) now.bytes[tile] = 64, now.rows[tile] = 16;
    _tile_storeconfig(before); /* other libraries of the process may rely on theirs */
    _tile_loadconfig(&now);
}

static void end(const Before *before) {
    if (before->palette) _tile_loadconfig(before);
    else _tile_release();
}

/* Asks the system for the tiles. 0 when they may be used. */
int permission(void) { return (int)syscall(SYS_arch_prctl, PERMISSION, TILE_DATA); }

static inline void paired(__m512i a, __m512i b, number *to) {
    __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, order, b));
    _mm512_storeu_si512(to + SQUARE, _mm512_permutex2var_epi16(a, _mm512_add_epi16(order, _mm512_set1_epi16(16)), b));
}

/* Two lines of a square as lines, as pairs, or as both. */
static inline void keep(number *lines, number *pairs, const wide *one, const wide *two) {
    __m512i a = (__m512i)_mm512_cvtne2ps_pbh((__m512)one[1], (__m512)one[0]), b = (__m512i)_mm512_cvtne2ps_pbh((__m512)two[1], (__m512)two[0]);
    if (lines) _mm512_storeu_si512(lines, a), _mm512_storeu_si512(lines + ROWS, b);
    if (pairs) paired(a, b, pairs);
}

/* A square of c = or += a b, with depth in steps of 32; a_line and b_line are numbers from one line (or pair) to the next. */
static inline __attribute__((always_inline)) void product(float *c, int64_t c_line, const number *a, int64_t a_line, const number *b, int64_t b_line, int64_t depth, int add) {
    if (add) {
        _tile_loadd(0, c, c_line * 4); _tile_loadd(1, c + 16, c_line * 4);
        _tile_loadd(2, c + 16 * c_line, c_line * 4); _tile_loadd(3, c + 16 * c_line + 16, c_line * 4);
    } else {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    }
    for (int64_t step = 0; step < depth; step++, a += 32, b += 16 * b_line) {
        _tile_loadd(4, a, a_line * 2); _tile_loadd(6, b, b_line * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + 32, b_line * 2);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 16 * a_line, a_line * 2);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_line * 4); _tile_stored(1, c + 16, c_line * 4);
    _tile_stored(2, c + 16 * c_line, c_line * 4); _tile_stored(3, c + 16 * c_line + 16, c_line * 4);
}

/* Two rows as columns `at` and `at + 1` of `turned`, and as a pair. */
static inline void turn(number *turned, number *pairs, const number *one, const number *two, int64_t at, int64_t width) {
    uint32_t *to = (uint32_t *)turned;
    for (int64_t d = 0; d < width / 2; d++) memcpy(to + d * ROWS + at, one + 2 * d, 4), memcpy(to + d * ROWS + at + 1, two + 2 * d, 4);
    if (pairs)
        for (int64_t d = 0; d < width; d += SQUARE) paired(_mm512_loadu_si512(one + d), _mm512_loadu_si512(two + d), pairs + at * width + 2 * d);
}

#else
/* ---- float32: both factors lie in lines ------------------------------------------------------------------------------------------ */

enum { PACK = 1, KEYS = 64, ROWS = 192 };
typedef int Before;

static void begin(Before *before) { *before = 0; }
static void end(const Before *before) { (void)before; }
int permission(void) { return 0; }

static inline void keep(number *lines, number *pairs, const wide *one, const wide *two) {
    number *to = lines ? lines : pairs;
    for (int side = 0; side < SIDES; side++) store(to + side * LANES, one[side]), store(to + ROWS + side * LANES, two[side]);
}

enum { HIGH = LANES / 2, BROAD = 2 }; /* lines and vectors of a piece of a square: what the registers hold */

/* A square of c = or += a b, with depth in steps of 32; a_line and b_line are numbers from one line to the next. */
static void product(float *c, int64_t c_line, const number *a, int64_t a_line, const number *b, int64_t b_line, int64_t depth, int add) {
    for (int64_t top = 0; top < SQUARE; top += HIGH)
        for (int64_t left = 0; left < SQUARE; left += BROAD * LANES) {
            wide sum[HIGH][BROAD];
            for (int i = 0; i < HIGH; i++)
                for (int j = 0; j < BROAD; j++) sum[i][j] = all(0); /* what is there is added last: sums of sums are nearer than one long sum */
            const float *one = a + top * a_line, *two = b + left;
            for (int64_t step = 0; step < depth * SQUARE; step++, one++, two += b_line) {
                wide factor[BROAD];
                for (int j = 0; j < BROAD; j++) factor[j] = load(two + j * LANES);
                for (int i = 0; i < HIGH; i++)
                    for (int j = 0; j < BROAD; j++) sum[i][j] += one[i * a_line] * factor[j];
            }
            for (int i = 0; i < HIGH; i++)
                for (int j = 0; j < BROAD; j++) {
                    float *to = c + (top + i) * c_line + left + j * LANES;
                    store(to, add ? load(to) + sum[i][j] : sum[i][j]);
                }
        }
}

/* Two rows as columns `at` and `at + 1` of `turned`, and as lines. */
static inline void turn(number *turned, number *pairs, const number *one, const number *two, int64_t at, int64_t width) {
    for (int64_t d = 0; d < width; d++) turned[d * ROWS + at] = one[d], turned[d * ROWS + at + 1] = two[d];
    if (pairs) memcpy(pairs + at * width, one, (size_t)width * sizeof(number)), memcpy(pairs + (at + 1) * width, two, (size_t)width * sizeof(number));
}
#endif

/* ---- what both have in common ----------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t heads, groups, size, width;             /* query heads, key heads, tokens, numbers a head */
    const int32_t *ends;                            /* [size] */
    int64_t blocks;
    const int32_t *starts, *stops, *firsts;         /* [blocks], [blocks], [blocks + 1]: rows of a block, and its first range */
    const int32_t *lows, *highs;                    /* ranges of keys */
    int64_t parts;                                  /* sums of key gradients a key head */
    const int32_t *part;                            /* [blocks]: which of them a block adds to */
    float scale;
    int32_t threads;
    const number *query, *key, *value, *out, *grad; /* [heads, size, width], in steps of: */
    int64_t query_head, query_row, key_head, key_row, value_head, value_row, out_head, out_row, grad_head, grad_row;
    float *lse;                                     /* [heads, size], close together */
    number *to_out, *to_query, *to_key, *to_value;  /* [size, heads, width], close together */
} Call;

/* Rows of one pass: those of a block's query heads of one key head, one head after the other, from `first` on; at most ROWS of them. */
typedef struct { int64_t group, block, first, filled, count; } Chunk; /* count: filled, up to a multiple of 32 */

static int64_t padded(int64_t size) { return (size + KEYS + 63) / 64 * 64; }

static void *memory(int64_t bytes) { return aligned_alloc(64, (size_t)((bytes + 63) / 64 * 64)); }

static int64_t rows_of(const Call *call, int64_t block) { return call->stops[block] - call->starts[block]; }

static int64_t chunks_of(const Call *call, int64_t block) { return (rows_of(call, block) * (call->heads / call->groups) + ROWS - 1) / ROWS; }

static Chunk chunk_of(const Call *call, int64_t group, int64_t block, int64_t index) {
    int64_t first = index * ROWS, left = rows_of(call, block) * (call->heads / call->groups) - first, filled = left < ROWS ? left : ROWS;
    return (Chunk){group, block, first, filled, (filled + SQUARE - 1) / SQUARE * SQUARE};
}

/* The head and the token of a chunk's row. */
static inline void place(const Call *call, const Chunk *chunk, int64_t at, int64_t *head, int64_t *token) {
    int64_t rows = rows_of(call, chunk->block);
    *head = chunk->group * (call->heads / call->groups) + (chunk->first + at) / rows;
    *token = call->starts[chunk->block] + (chunk->first + at) % rows;
}

/* Some tokens of one key head's keys or values as lines close together, and turned: [width, line]. Zeros behind the end. */
static void copied(number *lines, number *turned, const number *from, int64_t step, int64_t size, int64_t width, int64_t first, int64_t last) {
    int64_t line = padded(size), there = last < size ? last : size;
    if (lines)
        for (int64_t at = first; at < last; at++) {
            if (at < size) memcpy(lines + at * width, from + at * step, (size_t)width * sizeof(number));
            else memset(lines + at * width, 0, (size_t)width * sizeof(number));
        }
    if (turned)
        for (int64_t d = 0; d < width; d++) {
            for (int64_t at = first; at < there; at++) turned[d * line + at] = from[at * step + d];
            for (int64_t at = first > size ? first : size; at < last; at++) turned[d * line + at] = 0;
        }
}

/* A row of an output: every step-th number, scaled. */
static inline void row_out(number *to, const float *from, int64_t step, int64_t width, float scale) {
    for (int64_t d = 0; d < width; d += LANES) {
        wide found;
        for (int lane = 0; lane < LANES; lane++) found[lane] = from[(d + lane) * step];
        write_numbers(to + d, found * scale);
    }
}

static void rows_in(number *turned, number *pairs, const number *base, int64_t head_step, int64_t row_step, const Call *call, const Chunk *chunk) {
    static const number nothing[1024];
    for (int64_t at = 0; at < chunk->count; at += 2) {
        const number *rows[2] = {nothing, nothing};
        for (int64_t one = 0; one < 2; one++)
            if (at + one < chunk->filled) {
                int64_t head, token;
                place(call, chunk, at + one, &head, &token);
                rows[one] = base + head * head_step + token * row_step;
            }
        turn(turned, pairs, rows[0], rows[1], at, call->width);
    }
}

static void tokens_in(int32_t *tokens, const Call *call, const Chunk *chunk) {
    int64_t head, token;
    for (int64_t at = 0; at < chunk->count; at++) {
        place(call, chunk, at, &head, &token);
        tokens[at] = at < chunk->filled ? (int32_t)token : -1;
    }
}

/* Whether every row of a block sees all of some keys. */
static int all_seen(const Call *call, int64_t block, int64_t low, int64_t high) {
    if ((high - low) % SQUARE || high > call->starts[block]) return 0;
    for (int64_t at = low; at < high; at++)
        if (call->ends[at] < call->stops[block]) return 0;
    return 1;
}

static inline wide_int seen(const Call *call, const int32_t *tokens, int64_t at, int64_t high) {
    wide_int token = load_int(tokens);
    if (at >= high) return token ^ token;
    return (token >= (int32_t)at) & (token < call->ends[at]);
}

typedef struct { number *query, *shares; float *scores, *sum, *most, *total; int32_t *tokens; } Ahead;

static void forward_rows(const Call *call, Chunk chunk, const number *keys, const number *values, Ahead *my) {
    int64_t width = call->width, line = padded(call->size), block = chunk.block;
    const float factor = call->scale * LOG2E;
    rows_in(my->query, NULL, call->query, call->query_head, call->query_row, call, &chunk);
    tokens_in(my->tokens, call, &chunk);
    for (int64_t at = 0; at < chunk.count; at++) my->most[at] = LOWEST, my->total[at] = 0;
    memset(my->sum, 0, (size_t)(chunk.count * width) * sizeof(float));
    for (int range = call->firsts[block]; range < call->firsts[block + 1]; range++)
        for (int64_t low = call->lows[range]; low < call->highs[range]; low += KEYS) {
            int64_t high = low + KEYS < call->highs[range] ? low + KEYS : call->highs[range], deep = (high - low + SQUARE - 1) / SQUARE;
            int whole = all_seen(call, block, low, high);
            for (int64_t r = 0; r < chunk.count; r += SQUARE) {
                for (int64_t k = 0; k < deep; k++)
                    product(my->scores + k * SQUARE * SQUARE, SQUARE, keys + (low + k * SQUARE) * width, width, my->query + PACK * r, PACK * ROWS, width / SQUARE, 0);
                wide top[SIDES], most[SIDES], total[SIDES];
                for (int side = 0; side < SIDES; side++) top[side] = all(HIDDEN);
                for (int64_t k = 0; k < deep * SQUARE; k++)
                    for (int side = 0; side < SIDES; side++) {
                        float *at = my->scores + k * SQUARE + side * LANES;
                        wide score = load(at);
                        if (!whole) {
                            score = pick(seen(call, my->tokens + r + side * LANES, low + k, high), score, all(HIDDEN));
                            store(at, score);
                        }
                        top[side] = pick(top[side] > score, top[side], score);
                    }
                for (int side = 0; side < SIDES; side++) {
                    wide before = load(my->most + r + side * LANES), now = top[side] * factor;
                    wide_int grown = now > before + SLACK;
                    most[side] = pick(grown, now, before); /* each row by itself: what others see changes no bit of it */
                    total[side] = load(my->total + r + side * LANES);
                    if (any(grown)) {
                        wide less = pick(grown, exp2v(before - now), all(1));
                        total[side] *= less;
                        for (int64_t d = 0; d < width; d++) {
                            float *part = my->sum + r * width + d * SQUARE + side * LANES;
                            store(part, load(part) * less);
                        }
                        store(my->most + r + side * LANES, most[side]);
                    }
                }
                for (int64_t k = 0; k < deep * SQUARE; k += 2) {
                    wide one[SIDES], two[SIDES]; /* of two keys */
                    for (int side = 0; side < SIDES; side++) {
                        const float *at = my->scores + k * SQUARE + side * LANES;
                        one[side] = exp2v(load(at) * factor - most[side]), two[side] = exp2v(load(at + SQUARE) * factor - most[side]);
                        total[side] += one[side] + two[side];
                    }
                    keep(NULL, my->shares + k * ROWS + PACK * r, one, two);
                }
                for (int side = 0; side < SIDES; side++) store(my->total + r + side * LANES, total[side]);
            }
            for (int64_t r = 0; r < chunk.count; r += SQUARE)
                for (int64_t d = 0; d < width; d += SQUARE)
                    product(my->sum + r * width + d * SQUARE, SQUARE, values + d * line + low, line, my->shares + PACK * r, PACK * ROWS, deep, 1);
        }
    for (int64_t at = 0; at < chunk.filled; at++) {
        int64_t head, token;
        place(call, &chunk, at, &head, &token);
        const float *sum = my->sum + at / SQUARE * SQUARE * width + at % SQUARE;
        row_out(call->to_out + (token * call->heads + head) * width, sum, SQUARE, width, 1.0f / my->total[at]);
        call->lse[head * call->size + token] = (my->most[at] + log2f(my->total[at])) * LN2;
    }
}

/* to_out and lse of a call. 0, or 1 where memory ran out. */
int fused_forward(const Call *call) {
    int64_t width = call->width, line = padded(call->size), whole = line * width, pieces = line / 64, word = sizeof(number);
    number *keys = memory(call->groups * whole * word), *values = memory(call->groups * whole * word);
    int bad = !keys || !values;
    if (bad) goto done;
#pragma omp parallel num_threads(call->threads) reduction(| : bad)
    {
        Before before;
        begin(&before);
        Ahead my = {memory(ROWS * width * word), memory(KEYS * ROWS * word), memory(KEYS * SQUARE * 4), memory(ROWS * width * 4), memory(ROWS * 4), memory(ROWS * 4), memory(ROWS * 4)};
        bad = !my.query || !my.shares || !my.scores || !my.sum || !my.most || !my.total || !my.tokens;
#pragma omp for schedule(static)
        for (int64_t job = 0; job < call->groups * pieces; job++) {
            int64_t group = job / pieces, first = job % pieces * 64;
            copied(keys + group * whole, NULL, call->key + group * call->key_head, call->key_row, call->size, width, first, first + 64);
            copied(NULL, values + group * whole, call->value + group * call->value_head, call->value_row, call->size, width, first, first + 64);
        }
#pragma omp for schedule(dynamic)
        for (int64_t job = call->blocks * call->groups - 1; job >= 0; job--) { /* the last rows look at most keys */
            int64_t block = job / call->groups, group = job % call->groups;
            for (int64_t index = 0; !bad && index < chunks_of(call, block); index++)
                forward_rows(call, chunk_of(call, group, block, index), keys + group * whole, values + group * whole, &my);
        }
        free(my.query), free(my.shares), free(my.scores), free(my.sum), free(my.most), free(my.total), free(my.tokens);
        end(&before);
    }
done:
    free(keys), free(values);
    return bad;
}

typedef struct { number *query, *query_pairs, *grad, *grad_pairs, *shares, *slopes, *slope_pairs; float *scores, *gains, *sum, *lse, *along; int32_t *tokens; } Back;

static void backward_rows(const Call *call, Chunk chunk, const number *keys, const number *turned, const number *values, float *key_sum, float *value_sum, Back *my) {
    int64_t width = call->width, line = padded(call->size), block = chunk.block, head, token;
    const float factor = call->scale * LOG2E;
    rows_in(my->query, my->query_pairs, call->query, call->query_head, call->query_row, call, &chunk);
    rows_in(my->grad, my->grad_pairs, call->grad, call->grad_head, call->grad_row, call, &chunk);
    tokens_in(my->tokens, call, &chunk);
    for (int64_t at = 0; at < chunk.count; at++) {
        my->lse[at] = -LOWEST, my->along[at] = 0;
        if (at >= chunk.filled) continue;
        place(call, &chunk, at, &head, &token);
        const number *grad = call->grad + head * call->grad_head + token * call->grad_row, *out = call->out + head * call->out_head + token * call->out_row;
        wide along = all(0);
        for (int64_t d = 0; d < width; d += LANES)
            for (int lane = 0; lane < LANES; lane++) along[lane] += read_number(grad[d + lane]) * read_number(out[d + lane]);
        for (int lane = 0; lane < LANES; lane++) my->along[at] += along[lane];
        my->lse[at] = call->lse[head * call->size + token] * LOG2E;
    }
    memset(my->sum, 0, (size_t)(ROWS * width) * sizeof(float));
    for (int range = call->firsts[block]; range < call->firsts[block + 1]; range++)
        for (int64_t low = call->lows[range]; low < call->highs[range]; low += KEYS) {
            int64_t high = low + KEYS < call->highs[range] ? low + KEYS : call->highs[range], deep = (high - low + SQUARE - 1) / SQUARE;
            int whole = all_seen(call, block, low, high);
            for (int64_t r = 0; r < chunk.count; r += SQUARE) {
                for (int64_t k = 0; k < deep * SQUARE; k += SQUARE) {
                    product(my->scores, SQUARE, keys + (low + k) * width, width, my->query + PACK * r, PACK * ROWS, width / SQUARE, 0);
                    product(my->gains, SQUARE, values + (low + k) * width, width, my->grad + PACK * r, PACK * ROWS, width / SQUARE, 0);
                    for (int64_t j = 0; j < SQUARE; j += 2) {
                        wide share[2][SIDES], slope[2][SIDES];
                        for (int one = 0; one < 2; one++)
                            for (int side = 0; side < SIDES; side++) {
                                int64_t at = (j + one) * SQUARE + side * LANES, row = r + side * LANES;
                                wide found = exp2v(load(my->scores + at) * factor - load(my->lse + row));
                                if (!whole) found = pick(seen(call, my->tokens + row, low + k + j + one, high), found, all(0));
                                share[one][side] = found;
                                slope[one][side] = found * (load(my->gains + at) - load(my->along + row));
                            }
                        keep(my->shares + (k + j) * ROWS + r, NULL, share[0], share[1]);
                        keep(my->slopes + (k + j) * ROWS + r, my->slope_pairs + (k + j) * ROWS + PACK * r, slope[0], slope[1]);
                    }
                }
            }
            for (int64_t k = 0; k < deep * SQUARE; k += SQUARE)
                for (int64_t d = 0; d < width; d += SQUARE) {
                    int64_t at = (low + k) * width + d;
                    product(value_sum + at, width, my->shares + k * ROWS, ROWS, my->grad_pairs + PACK * d, PACK * width, chunk.count / SQUARE, 1);
                    product(key_sum + at, width, my->slopes + k * ROWS, ROWS, my->query_pairs + PACK * d, PACK * width, chunk.count / SQUARE, 1);
                }
            const number *slopes = PACK == 2 ? my->slope_pairs : my->slopes;
            for (int64_t d = 0; d < width; d += SQUARE)
                for (int64_t r = 0; r < chunk.count; r += SQUARE)
                    product(my->sum + d * ROWS + r, ROWS, turned + d * line + low, line, slopes + PACK * r, PACK * ROWS, deep, 1);
        }
    for (int64_t at = 0; at < chunk.filled; at++) {
        place(call, &chunk, at, &head, &token);
        row_out(call->to_query + (token * call->heads + head) * width, my->sum + at, ROWS, width, call->scale);
    }
}

/* to_query, to_key and to_value of a call that fused_forward has answered. 0, or 1 where memory ran out. */
int fused_backward(const Call *call) {
    int64_t width = call->width, line = padded(call->size), whole = line * width, pieces = line / 64, word = sizeof(number);
    number *keys = memory(call->groups * whole * word), *turned = memory(call->groups * whole * word), *values = memory(call->groups * whole * word);
    float *sums = memory(call->groups * call->parts * whole * 2 * 4);
    int bad = !keys || !turned || !values || !sums;
    if (bad) goto done;
#pragma omp parallel num_threads(call->threads) reduction(| : bad)
    {
        Before before;
        begin(&before);
        int64_t packed = ROWS * width * word, square = KEYS * ROWS * word;
        Back my = {memory(packed), memory(packed), memory(packed), memory(packed), memory(square), memory(square), memory(square), memory(SQUARE * SQUARE * 4), memory(SQUARE * SQUARE * 4), memory(ROWS * width * 4), memory(ROWS * 4), memory(ROWS * 4), memory(ROWS * 4)};
        bad = !my.query || !my.query_pairs || !my.grad || !my.grad_pairs || !my.shares || !my.slopes || !my.slope_pairs || !my.scores || !my.gains || !my.sum || !my.lse || !my.along || !my.tokens;
#pragma omp for schedule(static)
        for (int64_t job = 0; job < call->groups * pieces; job++) {
            int64_t group = job / pieces, first = job % pieces * 64;
            copied(keys + group * whole, turned + group * whole, call->key + group * call->key_head, call->key_row, call->size, width, first, first + 64);
            copied(values + group * whole, NULL, call->value + group * call->value_head, call->value_row, call->size, width, first, first + 64);
        }
#pragma omp for schedule(dynamic)
        for (int64_t job = 0; job < call->groups * call->parts; job++) {
            int64_t group = job % call->groups, part = job / call->groups;
            float *key_sum = sums + job * 2 * whole, *value_sum = key_sum + whole;
            memset(key_sum, 0, (size_t)(2 * whole) * sizeof(float));
            for (int64_t block = 0; block < call->blocks; block++)
                for (int64_t index = 0; !bad && call->part[block] == part && index < chunks_of(call, block); index++)
                    backward_rows(call, chunk_of(call, group, block, index), keys + group * whole, turned + group * whole, values + group * whole, key_sum, value_sum, &my);
        }
#pragma omp for schedule(static)
        for (int64_t token = 0; token < call->size; token++)
            for (int64_t group = 0; group < call->groups; group++)
                for (int64_t d = 0; d < width; d += LANES) {
                    wide key = all(0), value = all(0);
                    for (int64_t part = 0; part < call->parts; part++) {
                        const float *sum = sums + (part * call->groups + group) * 2 * whole + token * width + d;
                        key += load(sum), value += load(sum + whole);
                    }
                    write_numbers(call->to_key + (token * call->groups + group) * width + d, key * call->scale);
                    write_numbers(call->to_value + (token * call->groups + group) * width + d, value);
                }
        free(my.query), free(my.query_pairs), free(my.grad), free(my.grad_pairs), free(my.shares), free(my.slopes), free(my.slope_pairs);
        free(my.scores), free(my.gains), free(my.sum), free(my.lse), free(my.along), free(my.tokens);
        end(&before);
    }
done:
    free(keys), free(turned), free(values), free(sums);
    return bad;
}

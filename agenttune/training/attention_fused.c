/* Tree attention for CPUs with bfloat16 matrix tiles (AMX), forward and backward, in one pass over the keys of each block of rows.
 *
 * Scores are held as [keys, rows]: a row's sums and maxima then lie along lanes, and no tile is turned between products. A block's scores
 * live in the second-level cache, and are never written to memory. Row q sees key k exactly when k <= q < ends[k].
 *
 * Forward: the running maximum of "Online normalizer calculation for softmax" (arXiv 1805.02867). Backward: "FlashAttention-2"
 * (arXiv 2307.08691), algorithm 2, with keys in the inner loop and a sum of key gradients of its own for each part of the blocks.
 */

#include <immintrin.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TILE = 16, PAIR = 32, KEYS = 128, ROWS = 384, PERMISSION = 0x1023, TILE_DATA = 18 };
#define LOG2E 1.44269504088896340736f
#define LN2 0.69314718055994530942f
#define HIDDEN (-1e35f)  /* a score that no maximum is as low as */
#define LOWEST (-1e30f)  /* a maximum of nothing */
#define SLACK 8.0f       /* a maximum may be outgrown by 2^8 before sums are scaled again */

typedef uint16_t half;

typedef struct {
    int64_t heads, groups, size, width;                /* query heads, key heads, tokens, numbers a head */
    const int32_t *ends;                               /* [size] */
    int64_t blocks;
    const int32_t *starts, *stops, *firsts;            /* [blocks], [blocks], [blocks + 1]: rows of a block, and its first range */
    const int32_t *lows, *highs;                       /* ranges of keys */
    int64_t parts;                                     /* sums of key gradients a key head */
    const int32_t *part;                               /* [blocks]: which of them a block adds to */
    float scale;
    int32_t threads;
    const half *query, *key, *value, *out, *grad;      /* [heads, size, width], in steps of: */
    int64_t query_head, query_row, key_head, key_row, value_head, value_row, out_head, out_row, grad_head, grad_row;
    float *lse;                                        /* [heads, size], close together */
    half *to_out, *to_query, *to_key, *to_value;       /* [size, heads, width], close together */
} Call;

typedef struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } Config;

static void configure(Config *before) {
    Config now = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) now.bytes[tile] = 64, now.rows[tile] = TILE;
    _tile_storeconfig(before); /* other libraries of the process may rely on theirs */
    _tile_loadconfig(&now);
}

static void restore(const Config *before) {
    if (before->palette) _tile_loadconfig(before);
    else _tile_release();
}

/* Asks the kernel for the tiles. 0 when they may be used. */
int fused_permission(void) { return (int)syscall(SYS_arch_prctl, PERMISSION, TILE_DATA); }

static int64_t padded(int64_t size) { return (size + KEYS + 63) / 64 * 64; }

static void *memory(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

static float number(half given) {
    union { uint32_t bits; float value; } as = {.bits = (uint32_t)given << 16};
    return as.value;
}

/* 2^x to 3e-6 (a polynomial of least greatest error), and zero below 2^-100: numbers too small to be normal are slow. */
static inline __m512 exp2v(__m512 x) {
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), rest = _mm512_sub_ps(x, whole);
    __m512 found = _mm512_fmadd_ps(_mm512_set1_ps(0.0095701f), rest, _mm512_set1_ps(0.05591786f));
    found = _mm512_fmadd_ps(found, rest, _mm512_set1_ps(0.24024745f));
    found = _mm512_fmadd_ps(found, rest, _mm512_set1_ps(0.69312181f));
    found = _mm512_fmadd_ps(found, rest, _mm512_set1_ps(0.99999926f));
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-100.0f), _CMP_NLT_UQ), found, whole);
}

static inline __m512i both(__m512 first, __m512 second) { return (__m512i)_mm512_cvtne2ps_pbh(second, first); }

/* Two lines of 32 numbers as pairs: [0 of a, 0 of b, 1 of a, …], the form that a product's second factor has. */
static inline void paired(__m512i a, __m512i b, half *to, int64_t second) {
    __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, order, b));
    order = _mm512_add_epi16(order, _mm512_set1_epi16(16));
    _mm512_storeu_si512(to + second, _mm512_permutex2var_epi16(a, order, b));
}

/* c (2 x 2 tiles, c_line numbers a line) = or += a b, with a as lines and b as pairs of lines; depth in steps of 32. */
static inline __attribute__((always_inline)) void product(float *c, int64_t c_line, const half *a, int64_t a_line, const half *b, int64_t b_line, int64_t depth, int add) {
    if (add) {
        _tile_loadd(0, c, c_line * 4); _tile_loadd(1, c + TILE, c_line * 4);
        _tile_loadd(2, c + TILE * c_line, c_line * 4); _tile_loadd(3, c + TILE * c_line + TILE, c_line * 4);
    } else {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    }
    for (int64_t step = 0; step < depth; step++, a += PAIR, b += TILE * b_line) {
        _tile_loadd(4, a, a_line * 2); _tile_loadd(6, b, b_line * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + PAIR, b_line * 2);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + TILE * a_line, a_line * 2);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_line * 4); _tile_stored(1, c + TILE, c_line * 4);
    _tile_stored(2, c + TILE * c_line, c_line * 4); _tile_stored(3, c + TILE * c_line + TILE, c_line * 4);
}

/* Some tokens of one key head's keys or values as lines close together, and turned: [width, line]. Zeros behind the end. */
static void copied(half *lines, half *turned, const half *from, int64_t step, int64_t size, int64_t width, int64_t first, int64_t last) {
    int64_t line = padded(size), there = last < size ? last : size;
    if (lines)
        for (int64_t at = first; at < last; at++) {
            if (at < size) memcpy(lines + at * width, from + at * step, (size_t)width * 2);
            else memset(lines + at * width, 0, (size_t)width * 2);
        }
    if (turned)
        for (int64_t d = 0; d < width; d++) {
            for (int64_t at = first; at < there; at++) turned[d * line + at] = from[at * step + d];
            for (int64_t at = first > size ? first : size; at < last; at++) turned[d * line + at] = 0;
        }
}

/* A row of an output: every step-th number, scaled and rounded. */
static inline void row_out(half *to, const float *from, int64_t step, int64_t width, float scale) {
    __m512i order = _mm512_mullo_epi32(_mm512_set1_epi32((int)step), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    for (int64_t d = 0; d < width; d += TILE) {
        __m512 found = _mm512_mul_ps(_mm512_i32gather_ps(order, from + d * step, 4), _mm512_set1_ps(scale));
        _mm256_storeu_si256((__m256i *)(to + d), (__m256i)_mm512_cvtneps_pbh(found));
    }
}

/* Row `at` of a block's rows (query heads of one key head, one after the other) in a tensor. */
static inline const half *row_of(const half *base, int64_t head_step, int64_t row_step, const Call *call, int64_t group, int64_t block, int64_t at) {
    int64_t rows = call->stops[block] - call->starts[block], head = group * (call->heads / call->groups) + at / rows;
    return base + head * head_step + (call->starts[block] + at % rows) * row_step;
}

/* Rows as pairs of numbers turned ([width / 2, ROWS], two numbers each) and, if asked for, as pairs of rows ([ROWS / 2, width, 2]). */
static void rows_packed(half *turned, half *pairs, const half *base, int64_t head_step, int64_t row_step, const Call *call, int64_t group, int64_t block, int64_t first, int64_t filled, int64_t count) {
    static const half nothing[1024];
    uint32_t *to = (uint32_t *)turned;
    for (int64_t at = 0; at < count; at += 2) {
        const half *one = at < filled ? row_of(base, head_step, row_step, call, group, block, first + at) : nothing;
        const half *two = at + 1 < filled ? row_of(base, head_step, row_step, call, group, block, first + at + 1) : nothing;
        for (int64_t d = 0; d < call->width / 2; d++) {
            uint32_t word;
            memcpy(&word, one + 2 * d, 4), to[d * ROWS + at] = word;
            memcpy(&word, two + 2 * d, 4), to[d * ROWS + at + 1] = word;
        }
        if (pairs)
            for (int64_t d = 0; d < call->width; d += PAIR)
                paired(_mm512_loadu_si512(one + d), _mm512_loadu_si512(two + d), pairs + at * call->width + 2 * d, PAIR);
    }
}

/* Whether every row of a block sees all keys of a tile. */
static int all_seen(const Call *call, int64_t block, int64_t low, int64_t high) {
    if ((high - low) % PAIR || high > call->starts[block]) return 0;
    for (int64_t at = low; at < high; at++)
        if (call->ends[at] < call->stops[block]) return 0;
    return 1;
}

static inline __mmask16 seen(const Call *call, __m512i pos, int64_t at, int64_t high) {
    if (at >= high) return 0;
    return _mm512_cmpge_epi32_mask(pos, _mm512_set1_epi32((int)at)) & _mm512_cmplt_epi32_mask(pos, _mm512_set1_epi32(call->ends[at]));
}

static void positions(int32_t *pos, const Call *call, int64_t block, int64_t first, int64_t filled, int64_t count) {
    int64_t rows = call->stops[block] - call->starts[block];
    for (int64_t at = 0; at < count; at++) pos[at] = at < filled ? (int32_t)(call->starts[block] + (first + at) % rows) : -1;
}

typedef struct { half *turned; float *scores, *sum, *most, *total; half *shares; int32_t *pos; } Ahead;

static void forward_rows(const Call *call, int64_t group, int64_t block, int64_t first, const half *keys, const half *values, Ahead *my) {
    int64_t width = call->width, line = padded(call->size), rows = call->stops[block] - call->starts[block];
    int64_t all = rows * (call->heads / call->groups), filled = all - first < ROWS ? all - first : ROWS, count = (filled + 31) / 32 * 32;
    const __m512 factor = _mm512_set1_ps(call->scale * LOG2E);
    rows_packed(my->turned, NULL, call->query, call->query_head, call->query_row, call, group, block, first, filled, count);
    positions(my->pos, call, block, first, filled, count);
    for (int64_t at = 0; at < count; at++) my->most[at] = LOWEST, my->total[at] = 0;
    memset(my->sum, 0, (size_t)(count * width) * sizeof(float));
    for (int range = call->firsts[block]; range < call->firsts[block + 1]; range++)
        for (int64_t low = call->lows[range]; low < call->highs[range]; low += KEYS) {
            int64_t high = low + KEYS < call->highs[range] ? low + KEYS : call->highs[range], deep = (high - low + 31) / 32;
            int free = all_seen(call, block, low, high);
            for (int64_t r = 0; r < count; r += PAIR) {
                for (int64_t k = 0; k < deep; k++)
                    product(my->scores + k * PAIR * PAIR, PAIR, keys + (low + k * PAIR) * width, width, my->turned + 2 * r, 2 * ROWS, width / PAIR, 0);
                __m512 top[2] = {_mm512_set1_ps(HIDDEN), _mm512_set1_ps(HIDDEN)};
                for (int64_t k = 0; k < deep * PAIR; k++)
                    for (int side = 0; side < 2; side++) {
                        float *at = my->scores + k * PAIR + side * TILE;
                        __m512 score = _mm512_loadu_ps(at);
                        if (!free) {
                            score = _mm512_mask_mov_ps(_mm512_set1_ps(HIDDEN), seen(call, _mm512_loadu_si512(my->pos + r + side * TILE), low + k, high), score);
                            _mm512_storeu_ps(at, score);
                        }
                        top[side] = _mm512_max_ps(top[side], score);
                    }
                __m512 most[2], total[2];
                float *sum = my->sum + r * width;
                for (int side = 0; side < 2; side++) {
                    float *kept = my->most + r + side * TILE;
                    __m512 before = _mm512_loadu_ps(kept), now = _mm512_max_ps(before, _mm512_mul_ps(top[side], factor));
                    total[side] = _mm512_loadu_ps(my->total + r + side * TILE);
                    __mmask16 grown = _mm512_cmp_ps_mask(now, _mm512_add_ps(before, _mm512_set1_ps(SLACK)), _CMP_GT_OQ);
                    most[side] = _mm512_mask_mov_ps(before, grown, now); /* each row by itself: what others see changes no bit of it */
                    if (grown) {
                        __m512 less = _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), grown, exp2v(_mm512_sub_ps(before, now)));
                        total[side] = _mm512_mul_ps(total[side], less);
                        for (int64_t d = 0; d < width; d++) {
                            float *part = sum + d * PAIR + side * TILE;
                            _mm512_storeu_ps(part, _mm512_mul_ps(_mm512_loadu_ps(part), less));
                        }
                        _mm512_storeu_ps(kept, most[side]);
                    }
                }
                for (int64_t k = 0; k < deep * PAIR; k += 2) {
                    __m512i share[2];
                    for (int side = 0; side < 2; side++) { /* of two keys */
                        const float *at = my->scores + (k + side) * PAIR;
                        __m512 left = exp2v(_mm512_fmsub_ps(_mm512_loadu_ps(at), factor, most[0]));
                        __m512 right = exp2v(_mm512_fmsub_ps(_mm512_loadu_ps(at + TILE), factor, most[1]));
                        total[0] = _mm512_add_ps(total[0], left), total[1] = _mm512_add_ps(total[1], right);
                        share[side] = both(left, right);
                    }
                    paired(share[0], share[1], my->shares + k * ROWS + 2 * r, PAIR);
                }
                for (int side = 0; side < 2; side++) _mm512_storeu_ps(my->total + r + side * TILE, total[side]);
            }
            for (int64_t r = 0; r < count; r += PAIR)
                for (int64_t d = 0; d < width; d += PAIR)
                    product(my->sum + r * width + d * PAIR, PAIR, values + d * line + low, line, my->shares + 2 * r, 2 * ROWS, deep, 1);
        }
    for (int64_t at = 0; at < filled; at++) {
        int64_t head = group * (call->heads / call->groups) + (first + at) / rows, row = call->starts[block] + (first + at) % rows;
        const float *sum = my->sum + at / PAIR * PAIR * width + at % PAIR;
        row_out(call->to_out + (row * call->heads + head) * width, sum, PAIR, width, 1.0f / my->total[at]);
        call->lse[head * call->size + row] = (my->most[at] + log2f(my->total[at])) * LN2;
    }
}

static int64_t chunks_of(const Call *call, int64_t block) {
    return ((call->stops[block] - call->starts[block]) * (call->heads / call->groups) + ROWS - 1) / ROWS;
}

/* to_out and lse of a call. 0, or 1 where memory ran out. */
int fused_forward(const Call *call) {
    int64_t width = call->width, line = padded(call->size), bad = 0;
    half *keys = memory((size_t)(call->groups * line * width) * 2), *values = memory((size_t)(call->groups * line * width) * 2);
    if (!keys || !values) bad = 1;
#pragma omp parallel num_threads(call->threads) reduction(| : bad)
    if (!bad) {
        Config before;
        configure(&before);
        Ahead my = {memory(ROWS * width * 2), memory(KEYS * PAIR * 4), memory(ROWS * width * 4), memory(ROWS * 4), memory(ROWS * 4), memory(KEYS * ROWS * 2), memory(ROWS * 4)};
        bad = !my.turned || !my.scores || !my.sum || !my.most || !my.total || !my.shares || !my.pos;
#pragma omp for schedule(static)
        for (int64_t job = 0; job < call->groups * (line / 64); job++) {
            int64_t group = job / (line / 64), first = job % (line / 64) * 64;
            copied(keys + group * line * width, NULL, call->key + group * call->key_head, call->key_row, call->size, width, first, first + 64);
            copied(NULL, values + group * line * width, call->value + group * call->value_head, call->value_row, call->size, width, first, first + 64);
        }
#pragma omp for schedule(dynamic)
        for (int64_t job = call->blocks * call->groups - 1; job >= 0; job--) { /* the last rows look at most keys */
            int64_t block = job / call->groups, group = job % call->groups;
            for (int64_t chunk = 0; !bad && chunk < chunks_of(call, block); chunk++)
                forward_rows(call, group, block, chunk * ROWS, keys + group * line * width, values + group * line * width, &my);
        }
        free(my.turned), free(my.scores), free(my.sum), free(my.most), free(my.total), free(my.shares), free(my.pos);
        restore(&before);
    }
    free(keys), free(values);
    return (int)bad;
}

typedef struct { half *query, *query_pairs, *grad, *grad_pairs, *shares, *slopes, *slope_pairs; float *scores, *gains, *sum, *lse, *along; int32_t *pos; } Back;

static void backward_rows(const Call *call, int64_t group, int64_t block, int64_t first, const half *keys, const half *turned, const half *values, float *key_sum, float *value_sum, Back *my) {
    int64_t width = call->width, line = padded(call->size), rows = call->stops[block] - call->starts[block];
    int64_t all = rows * (call->heads / call->groups), filled = all - first < ROWS ? all - first : ROWS, count = (filled + 31) / 32 * 32;
    const __m512 factor = _mm512_set1_ps(call->scale * LOG2E);
    rows_packed(my->query, my->query_pairs, call->query, call->query_head, call->query_row, call, group, block, first, filled, count);
    rows_packed(my->grad, my->grad_pairs, call->grad, call->grad_head, call->grad_row, call, group, block, first, filled, count);
    positions(my->pos, call, block, first, filled, count);
    for (int64_t at = 0; at < count; at++) {
        my->lse[at] = -LOWEST, my->along[at] = 0;
        if (at >= filled) continue;
        int64_t head = group * (call->heads / call->groups) + (first + at) / rows, row = call->starts[block] + (first + at) % rows;
        const half *grad = call->grad + head * call->grad_head + row * call->grad_row, *out = call->out + head * call->out_head + row * call->out_row;
        float along = 0;
        for (int64_t d = 0; d < width; d++) along += number(grad[d]) * number(out[d]);
        my->lse[at] = call->lse[head * call->size + row] * LOG2E, my->along[at] = along;
    }
    memset(my->sum, 0, (size_t)(ROWS * width) * sizeof(float));
    for (int range = call->firsts[block]; range < call->firsts[block + 1]; range++)
        for (int64_t low = call->lows[range]; low < call->highs[range]; low += KEYS) {
            int64_t high = low + KEYS < call->highs[range] ? low + KEYS : call->highs[range], deep = (high - low + 31) / 32;
            int free = all_seen(call, block, low, high);
            for (int64_t r = 0; r < count; r += PAIR) {
                __m512 lse[2], along[2];
                __m512i pos[2];
                for (int side = 0; side < 2; side++) {
                    lse[side] = _mm512_loadu_ps(my->lse + r + side * TILE), along[side] = _mm512_loadu_ps(my->along + r + side * TILE);
                    pos[side] = _mm512_loadu_si512(my->pos + r + side * TILE);
                }
                for (int64_t k = 0; k < deep * PAIR; k += PAIR) {
                    product(my->scores, PAIR, keys + (low + k) * width, width, my->query + 2 * r, 2 * ROWS, width / PAIR, 0);
                    product(my->gains, PAIR, values + (low + k) * width, width, my->grad + 2 * r, 2 * ROWS, width / PAIR, 0);
                    for (int64_t j = 0; j < PAIR; j += 2) {
                        __m512i slopes[2];
                        for (int other = 0; other < 2; other++) {
                            __m512 share[2], slope[2];
                            for (int side = 0; side < 2; side++) {
                                int64_t at = (j + other) * PAIR + side * TILE;
                                share[side] = exp2v(_mm512_fmsub_ps(_mm512_loadu_ps(my->scores + at), factor, lse[side]));
                                if (!free) share[side] = _mm512_maskz_mov_ps(seen(call, pos[side], low + k + j + other, high), share[side]);
                                slope[side] = _mm512_mul_ps(share[side], _mm512_sub_ps(_mm512_loadu_ps(my->gains + at), along[side]));
                            }
                            slopes[other] = both(slope[0], slope[1]);
                            _mm512_storeu_si512(my->shares + (k + j + other) * ROWS + r, both(share[0], share[1]));
                            _mm512_storeu_si512(my->slopes + (k + j + other) * ROWS + r, slopes[other]);
                        }
                        paired(slopes[0], slopes[1], my->slope_pairs + (k + j) * ROWS + 2 * r, PAIR);
                    }
                }
            }
            for (int64_t k = 0; k < deep * PAIR; k += PAIR)
                for (int64_t d = 0; d < width; d += PAIR) {
                    product(value_sum + (low + k) * width + d, width, my->shares + k * ROWS, ROWS, my->grad_pairs + 2 * d, 2 * width, count / PAIR, 1);
                    product(key_sum + (low + k) * width + d, width, my->slopes + k * ROWS, ROWS, my->query_pairs + 2 * d, 2 * width, count / PAIR, 1);
                }
            for (int64_t d = 0; d < width; d += PAIR)
                for (int64_t r = 0; r < count; r += PAIR)
                    product(my->sum + d * ROWS + r, ROWS, turned + d * line + low, line, my->slope_pairs + 2 * r, 2 * ROWS, deep, 1);
        }
    for (int64_t at = 0; at < filled; at++) {
        int64_t head = group * (call->heads / call->groups) + (first + at) / rows, row = call->starts[block] + (first + at) % rows;
        row_out(call->to_query + (row * call->heads + head) * width, my->sum + at, ROWS, width, call->scale);
    }
}

/* to_query, to_key and to_value of a call that fused_forward has answered. 0, or 1 where memory ran out. */
int fused_backward(const Call *call) {
    int64_t width = call->width, line = padded(call->size), whole = line * width, bad = 0;
    half *keys = memory((size_t)(call->groups * whole) * 2), *turned = memory((size_t)(call->groups * whole) * 2), *values = memory((size_t)(call->groups * whole) * 2);
    float *sums = memory((size_t)(call->groups * call->parts * whole * 2) * 4);
    if (!keys || !turned || !values || !sums) bad = 1;
#pragma omp parallel num_threads(call->threads) reduction(| : bad)
    if (!bad) {
        Config before;
        configure(&before);
        size_t packed = (size_t)(ROWS * width) * 2, square = (size_t)(KEYS * ROWS) * 2;
        Back my = {memory(packed), memory(packed), memory(packed), memory(packed), memory(square), memory(square), memory(square), memory(PAIR * PAIR * 4), memory(PAIR * PAIR * 4), memory(packed * 2), memory(ROWS * 4), memory(ROWS * 4), memory(ROWS * 4)};
        bad = !my.query || !my.query_pairs || !my.grad || !my.grad_pairs || !my.shares || !my.slopes || !my.slope_pairs || !my.scores || !my.gains || !my.sum || !my.lse || !my.along || !my.pos;
#pragma omp for schedule(static)
        for (int64_t job = 0; job < call->groups * (line / 64); job++) {
            int64_t group = job / (line / 64), first = job % (line / 64) * 64;
            copied(keys + group * whole, turned + group * whole, call->key + group * call->key_head, call->key_row, call->size, width, first, first + 64);
            copied(values + group * whole, NULL, call->value + group * call->value_head, call->value_row, call->size, width, first, first + 64);
        }
#pragma omp for schedule(dynamic)
        for (int64_t job = 0; job < call->groups * call->parts; job++) {
            int64_t group = job % call->groups, part = job / call->groups;
            float *key_sum = sums + job * 2 * whole, *value_sum = key_sum + whole;
            memset(key_sum, 0, (size_t)(2 * whole) * sizeof(float));
            for (int64_t block = 0; block < call->blocks; block++)
                for (int64_t chunk = 0; !bad && call->part[block] == part && chunk < chunks_of(call, block); chunk++)
                    backward_rows(call, group, block, chunk * ROWS, keys + group * whole, turned + group * whole, values + group * whole, key_sum, value_sum, &my);
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < call->size; row++)
            for (int64_t group = 0; group < call->groups; group++)
                for (int64_t d = 0; d < width; d += TILE) {
                    __m512 key = _mm512_setzero_ps(), value = key;
                    for (int64_t part = 0; part < call->parts; part++) {
                        const float *sum = sums + (part * call->groups + group) * 2 * whole + row * width + d;
                        key = _mm512_add_ps(key, _mm512_loadu_ps(sum)), value = _mm512_add_ps(value, _mm512_loadu_ps(sum + whole));
                    }
                    int64_t to = (row * call->groups + group) * width + d;
                    _mm256_storeu_si256((__m256i *)(call->to_key + to), (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(key, _mm512_set1_ps(call->scale))));
                    _mm256_storeu_si256((__m256i *)(call->to_value + to), (__m256i)_mm512_cvtneps_pbh(value));
                }
        free(my.query), free(my.query_pairs), free(my.grad), free(my.grad_pairs), free(my.shares), free(my.slopes), free(my.slope_pairs);
        free(my.scores), free(my.gains), free(my.sum), free(my.lse), free(my.along), free(my.pos);
        restore(&before);
    }
    free(keys), free(turned), free(values), free(sums);
    return (int)bad;
}

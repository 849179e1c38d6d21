/* RMS normalisation of rows, each once through memory: out = weight (x inverse), with inverse = 1 / sqrt(mean(x^2) + eps).
 *
 * `late` is 0 where x inverse is rounded and then multiplied with the weight (Llama), 1 where it is multiplied with one plus the weight
 * and rounded then (Gemma). `width`, the numbers of a row, is a multiple of 16.
 */

#include <math.h>
#include <omp.h>

#include "vectors.h"

static inline wide rounded(wide given) {
    number as[LANES];
    write_numbers(as, given);
    return read_numbers(as);
}

static inline float sum(wide given) {
    float found = 0;
    for (int lane = 0; lane < LANES; lane++) found += given[lane];
    return found;
}

static void row_out(const number *x, const number *weight, float inverse, number *out, int64_t width, int32_t late) {
    for (int64_t at = 0; at < width; at += LANES) {
        wide scaled = read_numbers(x + at) * inverse, factor = read_numbers(weight + at);
        write_numbers(out + at, late ? scaled * (1.0f + factor) : rounded(scaled) * factor);
    }
}

/* `out` and `inverse` (one number a row) are written. */
void norm_forward(const number *x, const number *weight, number *out, float *inverse, int64_t rows, int64_t width, float eps, int32_t late, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const number *mine = x + row * width;
        wide squares = all(0);
        for (int64_t at = 0; at < width; at += LANES) squares += read_numbers(mine + at) * read_numbers(mine + at);
        inverse[row] = 1.0f / sqrtf(sum(squares) / (float)width + eps);
        row_out(mine, weight, inverse[row], out + row * width, width, late);
    }
}

/* `out` again, to the bit. */
void norm_recompute(const number *x, const number *weight, number *out, const float *inverse, int64_t rows, int64_t width, int32_t late, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) row_out(x + row * width, weight, inverse[row], out + row * width, width, late);
}

/* `out`, the gradient of x, is written, from `grad`, that of the result: with n = x inverse and u = grad weight, (u - n mean(u n)) inverse. */
void norm_backward(const number *x, const number *weight, const number *grad, number *out, const float *inverse, int64_t rows, int64_t width, int32_t late, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const number *mine = x + row * width, *given = grad + row * width;
        float plus = late ? 1.0f : 0.0f, inverted = inverse[row];
        wide along = all(0);
        for (int64_t at = 0; at < width; at += LANES) along += read_numbers(given + at) * (plus + read_numbers(weight + at)) * (read_numbers(mine + at) * inverted);
        float mean = sum(along) / (float)width;
        for (int64_t at = 0; at < width; at += LANES) {
            wide upstream = read_numbers(given + at) * (plus + read_numbers(weight + at));
            write_numbers(out + row * width + at, (upstream - read_numbers(mine + at) * inverted * mean) * inverted);
        }
    }
}

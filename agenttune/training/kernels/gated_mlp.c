/* What stands between the products of a gated MLP, inner = silu(gate) * up, and its way back, each once through memory.
 *
 * With s = 1 / (1 + e^-gate): silu = gate s, and its slope s (1 + gate (1 - s)). All in float32, rounded once.
 */

#include <omp.h>

#include "vectors.h"

enum { AT_ONCE = 4096 }; /* numbers that a thread takes at a time */

/* e^-|x| has no number too large; what of it stands below makes 1 / (1 + e^-x) of either sign. */
static inline wide sigmoid(wide x) {
    wide_int below = x < 0.0f;
    wide small = exp2v(pick(below, x, -x) * LOG2E);
    return pick(below, small, all(1)) / (1.0f + small);
}

/* The last numbers, fewer than a vector, as a whole one. */
static inline wide read_some(const number *from, int64_t count) {
    number whole[LANES] = {0};
    memcpy(whole, from, (size_t)count * sizeof(number));
    return read_numbers(whole);
}

static inline void write_some(number *to, wide given, int64_t count) {
    number whole[LANES];
    write_numbers(whole, given);
    memcpy(to, whole, (size_t)count * sizeof(number));
}

static inline wide in(const number *from, int64_t count) { return count < LANES ? read_some(from, count) : read_numbers(from); }
static inline void out(number *to, wide given, int64_t count) { if (count < LANES) write_some(to, given, count); else write_numbers(to, given); }

/* Each of the arrays holds `count` numbers; `inner` is written. */
void gated_forward(const number *gate, const number *up, number *inner, int64_t count, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < count; first += AT_ONCE) {
        int64_t last = first + AT_ONCE < count ? first + AT_ONCE : count;
        for (int64_t at = first; at < last; at += LANES) {
            wide x = in(gate + at, last - at);
            out(inner + at, x * sigmoid(x) * in(up + at, last - at), last - at);
        }
    }
}

/* `grad` is inner's gradient, and becomes up's; `inner` and `gate_grad` are written, and may be `up` and `gate`. */
void gated_backward(const number *gate, const number *up, number *grad, number *inner, number *gate_grad, int64_t count, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < count; first += AT_ONCE) {
        int64_t last = first + AT_ONCE < count ? first + AT_ONCE : count;
        for (int64_t at = first; at < last; at += LANES) {
            int64_t left = last - at;
            wide x = in(gate + at, left), y = in(up + at, left), given = in(grad + at, left), s = sigmoid(x), active = x * s;
            out(inner + at, active * y, left);
            out(gate_grad + at, given * y * s * (1.0f + x * (1.0f - s)), left);
            out(grad + at, given * active, left);
        }
    }
}

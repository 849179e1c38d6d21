/* Vectors of what the CPU has, and numbers as they lie in memory: bfloat16 with -DHALF (which asks for AVX-512), else float32. */

#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LOG2E 1.44269504088896340736f
#define LN2 0.69314718055994530942f
#define LEAST (-100.0f) /* two to less than this is zero: numbers too small to be normal are slow */

#ifdef __AVX512F__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif

typedef float wide __attribute__((vector_size(LANES * 4)));
typedef int32_t wide_int __attribute__((vector_size(LANES * 4)));

static inline wide load(const float *from) { wide found; memcpy(&found, from, sizeof found); return found; }
static inline wide_int load_int(const int32_t *from) { wide_int found; memcpy(&found, from, sizeof found); return found; }
static inline void store(float *to, wide given) { memcpy(to, &given, sizeof given); }
static inline wide all(float number) { return (wide){0} + number; }
static inline wide pick(wide_int mask, wide yes, wide no) { return (wide)((mask & (wide_int)yes) | (~mask & (wide_int)no)); }

#ifdef HALF
typedef uint16_t number;

static inline wide read_numbers(const number *from) { return (wide)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16); }
static inline void write_numbers(number *to, wide given) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)given)); }

static inline float read_number(number given) {
    union { uint32_t bits; float value; } as = {.bits = (uint32_t)given << 16};
    return as.value;
}

/* 2^x to 3e-6, by the polynomial of least greatest error. */
static inline wide exp2v(wide x) {
    wide whole = (wide)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), rest = x - whole;
    wide found = (((0.0095701f * rest + 0.05591786f) * rest + 0.24024745f) * rest + 0.69312181f) * rest + 0.99999926f;
    __mmask16 enough = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(LEAST), _CMP_NLT_UQ);
    return (wide)_mm512_maskz_scalef_ps(enough, (__m512)found, (__m512)whole);
}

#else
typedef float number;

static inline wide read_numbers(const number *from) { return load(from); }
static inline void write_numbers(number *to, wide given) { store(to, given); }
static inline float read_number(number given) { return given; }

/* 2^x to 1e-7: the polynomial, and the exponent by integers. */
static inline wide exp2v(wide x) {
    wide whole = (x + 12582912.0f) - 12582912.0f, rest = x - whole; /* 1.5 * 2^23: what is added and taken away again rounds */
    wide found = ((((((0.000154290f * rest + 0.001339993f) * rest + 0.009618249f) * rest + 0.055503364f) * rest + 0.240226506f) * rest) + 0.693147190f) * rest + 1.0f;
    wide_int moved = (wide_int)found + (__builtin_convertvector(whole, wide_int) << 23);
    return (wide)((wide_int)moved & ~(x < LEAST));
}

#endif

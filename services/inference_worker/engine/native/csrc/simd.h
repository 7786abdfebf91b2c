// Sixteen floats as one value, for kernels that are compiled once for each instruction set.
//
// The types are the compiler's vector extensions: one AVX512 register, two of AVX2 or four of SSE or NEON.
// A file that includes this is compiled with the flags of its instruction set, so nothing here may be shared
// between such files: everything is in an unnamed namespace, and kernels use no inline function of the
// standard library. Otherwise the linker could give an AVX512 copy to a processor that has none.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace trunkline {
namespace {

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

constexpr int LANES = 16;
constexpr Ints LANE = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <typename Value, typename Element>
inline Value load(const Element* from) {
    Value value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

inline Floats load(const float* from) { return load<Floats>(from); }

template <typename Value, typename Element>
inline void store(Element* to, Value value) {
    __builtin_memcpy(to, &value, sizeof value);
}

inline Floats all(float x) { return x - Floats{}; }
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats magnitude(Floats a) { return (Floats)((Ints)a & 0x7fffffff); }

// Both reductions take the lanes in one fixed order, so that every path and every batch gives the same bits.
inline float sum(Floats a) {
    float s[LANES];
    store(s, a);
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++) s[i] += s[i + step];
    return s[0];
}

inline float maximum(Floats a) {
    float s[LANES];
    store(s, a);
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++) s[i] = s[i] > s[i + step] ? s[i] : s[i + step];
    return s[0];
}

inline float float_of(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline Floats floats_of(Halves halves) {
    return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

// Rounds to the nearest bfloat16, ties to even. The same bits on every path but for NaN.
inline Halves halves_of(Floats x) {
#ifdef __AVX512BF16__
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Words bits = (Words)x;
    return __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Halves);
#endif
}

// acc + even · low + odd · high for a lane's pair of bfloat16; `pair` is the same pair for every lane.
inline Floats dot_pairs(Floats acc, Words pairs, uint32_t pair) {
#ifdef __AVX512BF16__
    return (Floats)_mm512_dpbf16_ps((__m512)acc, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32((int)pair));
#else
    acc += (Floats)(pairs << 16) * all(float_of((uint16_t)pair));
    return acc + (Floats)(pairs & 0xffff0000u) * all(float_of((uint16_t)(pair >> 16)));
#endif
}

// 2 to the x in (-1, 1), by a polynomial; relative error below 3e-7.
inline Floats exp2_of_fraction(Floats fraction) {
    Floats p = all(1.5403530e-4f);
    p = p * fraction + 1.3333558e-3f;
    p = p * fraction + 9.6181291e-3f;
    p = p * fraction + 5.5504109e-2f;
    p = p * fraction + 2.4022651e-1f;
    p = p * fraction + 6.9314718e-1f;
    return p * fraction + 1.0f;
}

// 2 to the x; below -126 it is 0.
inline Floats exp2_of(Floats x) {
#ifdef __AVX512F__
    const __m512 whole = _mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __mmask16 kept = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_GT_OQ);
    return (Floats)_mm512_maskz_scalef_ps(kept, (__m512)exp2_of_fraction(x - (Floats)whole), whole);
#else
    Floats clamped = x > -126.0f ? x : all(-126.0f);
    clamped = clamped < 127.0f ? clamped : all(127.0f);
    Floats shifted = clamped + 12582912.0f;  // 1.5 · 2^23: rounds to the nearest integer
    Floats p = exp2_of_fraction(clamped - (shifted - 12582912.0f));
    Floats scaled = (Floats)((Ints)p + ((Ints)shifted << 23));
    return x > -126.0f ? scaled : Floats{};
#endif
}

// 1 / x for an x between 2^-100 and 2^100; relative error below 2e-7.
inline Floats reciprocal(Floats x) {
#ifdef __AVX512F__
    Floats guess = (Floats)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

inline Floats exp_of(Floats x) { return exp2_of(x * 1.44269504f); }

}  // namespace
}  // namespace trunkline

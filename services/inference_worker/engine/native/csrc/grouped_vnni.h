// Grouped linears by AVX512-VNNI: a few rows at once, weights straight from memory to registers.
#pragma once

#include <immintrin.h>

#include "grouped_rows.h"

namespace trunkline {
namespace {

constexpr int PREFETCH_BYTES = 4096;  // how far ahead of their use weights are asked for

template <typename Group>
inline void prefetch_after(const Group* weights) {
    for (size_t at = 0; at < sizeof(Group); at += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(weights) + PREFETCH_BYTES + at);
}

// Codes as bytes without sign, a register for each quad of inputs.
inline void unpack(const Q4Group& group, int half, __m512i (&quads)[8]) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < 4; i++) {
        __m512i pair = _mm512_load_si512(group.codes[half][i]);
        quads[2 * i] = _mm512_and_si512(pair, low);
        quads[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(pair, 4), low);
    }
}

// Codes + 128, for the same reason: the instruction multiplies bytes without sign by bytes with one.
template <int SIZE>
inline void unpack(const ByteGroup<SIZE>& group, int half, __m512i (&quads)[SIZE / QUAD]) {
    const __m512i sign = _mm512_set1_epi8(-128);
    for (int i = 0; i < SIZE / QUAD; i++)
        quads[i] = _mm512_xor_si512(_mm512_load_si512(group.codes[half][i]), sign);
}

inline __m512 widen(const uint16_t* halves) { return _mm512_cvtph_ps(_mm256_load_si256((const __m256i*)halves)); }
inline __m512 widen(const float* values) { return _mm512_load_ps(values); }

// sum + scale of the weights · scale of the row · dot (+ minimum · scaled sum of the row's codes).
template <typename Group>
inline __m512 add_group(__m512 sum, __m512i dot, __m512 scale, __m512 minimum,
                        const ActivationGroup<Group::size>& x, int lane) {
    __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[lane]));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), both, sum);
    return Group::has_minimum ? _mm512_fmadd_ps(minimum, _mm512_set1_ps(x.sums[lane]), sum) : sum;
}

template <typename Group>
inline __m512 minimum_of(const Group& group, int half) {
    if constexpr (Group::has_minimum) return widen(group.minimums + half * HALF);
    else return __m512{};
}

template <typename Group>
inline __m512i dot_of(const __m512i (&quads)[Group::size / QUAD], const ActivationGroup<Group::size>& x, int lane) {
    __m512i even = Group::has_minimum ? __m512i{} : _mm512_set1_epi32(x.offsets[lane]), odd{};
    for (int i = 0; i < Group::size / QUAD; i += 2) {
        int32_t pair[2];
        __builtin_memcpy(pair, x.codes[lane] + i * QUAD, sizeof pair);
        even = _mm512_dpbusd_epi32(even, quads[i], _mm512_set1_epi32(pair[0]));
        odd = _mm512_dpbusd_epi32(odd, quads[i + 1], _mm512_set1_epi32(pair[1]));
    }
    return _mm512_add_epi32(even, odd);
}

// A block's outputs for rows `row` to row + ROWS - 1, which are of one tile.
template <typename Group, int ROWS>
inline void few_rows(const Linear& linear, const Activations& x, const Group* weights, int row, int first,
                     const Output& output) {
    const auto* groups = groups_of_row<Group::size>(x, row);
    int lane = row % TILE_ROWS;
    __m512 sums[2][ROWS] = {};
    for (int g = 0, count = groups_of<Group::size>(linear.inputs); g < count; g++) {
        prefetch_after(weights + g);
        for (int half = 0; half < 2; half++) {
            __m512i quads[Group::size / QUAD];
            unpack(weights[g], half, quads);
            __m512 scale = widen(weights[g].scales + half * HALF), minimum = minimum_of(weights[g], half);
            for (int r = 0; r < ROWS; r++)
                sums[half][r] = add_group<Group>(sums[half][r], dot_of<Group>(quads, groups[g], lane + r), scale,
                                                 minimum, groups[g], lane + r);
        }
    }
    for (int half = 0; half < 2; half++) {
        alignas(64) float results[ROWS * HALF];
        for (int r = 0; r < ROWS; r++) _mm512_store_ps(results + r * HALF, sums[half][r]);
        finish_rows(linear, output, row, ROWS, first + half * HALF, results);
    }
}

// Rows [row, row + rows), which are of one tile.
template <typename Group>
inline void rows_by_four(const Linear& linear, const Activations& x, const Group* weights, int row, int rows,
                         int first, const Output& output) {
    for (; rows >= 4; row += 4, rows -= 4) few_rows<Group, 4>(linear, x, weights, row, first, output);
    if (rows == 3) few_rows<Group, 3>(linear, x, weights, row, first, output);
    if (rows == 2) few_rows<Group, 2>(linear, x, weights, row, first, output);
    if (rows == 1) few_rows<Group, 1>(linear, x, weights, row, first, output);
}

}  // namespace
}  // namespace trunkline

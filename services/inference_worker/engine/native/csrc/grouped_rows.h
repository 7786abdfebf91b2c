// What the grouped kernels of all levels share: activations into groups, the walk over rows and blocks.
#pragma once

#include "grouped.h"
#include "output.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace trunkline {
namespace {

typedef int8_t Bytes __attribute__((vector_size(16)));

template <int SIZE>
inline int groups_of(int inputs) {
    return (inputs + SIZE - 1) / SIZE;
}

template <int SIZE>
inline ActivationGroup<SIZE>* groups_of_row(const Activations& activations, int row) {
    return static_cast<ActivationGroup<SIZE>*>(activations.memory) +
           static_cast<int64_t>(row / TILE_ROWS) * groups_of<SIZE>(activations.inputs);
}

template <int SIZE>
size_t grouped_activation_bytes(int32_t rows, int32_t inputs) {
    int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    return tiles * groups_of<SIZE>(inputs) * sizeof(ActivationGroup<SIZE>);
}

inline float largest(Floats x) {
#ifdef __AVX512F__
    return _mm512_reduce_max_ps((__m512)x);
#else
    return maximum(x);
#endif
}

inline int32_t total(Ints x) {
#ifdef __AVX512F__
    return _mm512_reduce_add_epi32((__m512i)x);
#else
    int32_t all_of_it = 0;
    for (int i = 0; i < LANES; i++) all_of_it += x[i];
    return all_of_it;
#endif
}

// To the nearest whole number, ties to even; of numbers up to 127 in magnitude.
inline Ints nearest(Floats x) {
#if defined(__AVX512F__)
    return (Ints)_mm512_cvtps_epi32((__m512)x);
#elif defined(__AVX2__)
    __m256 halves[2];
    __builtin_memcpy(halves, &x, sizeof x);
    __m256i rounded[2] = {_mm256_cvtps_epi32(halves[0]), _mm256_cvtps_epi32(halves[1])};
    return load<Ints>(rounded);
#else
    return (Ints)(x + 12582912.0f) - 0x4b400000;  // 1.5 · 2^23: what is added to it is rounded
#endif
}

// Rounds x / scale to whole numbers, ties to even, where scale takes the largest of x to 127.
template <int SIZE>
inline void quantise(const float* x, int lane, ActivationGroup<SIZE>& into) {
    Floats top{};
    for (int i = 0; i < SIZE; i += LANES) top = maximum(top, magnitude(load(x + i)));
    float highest = largest(top) + 1e-12f, factor = 127.0f / highest, scale = highest / 127.0f;
    Ints sums{};
    for (int i = 0; i < SIZE; i += LANES) {
        Ints codes = nearest(load(x + i) * factor);
        sums += codes;
        store(into.codes[lane] + i, __builtin_convertvector(codes, Bytes));
    }
    int32_t sum_of_codes = total(sums);
    into.scales[lane] = scale;
    into.sums[lane] = scale * static_cast<float>(sum_of_codes);
    into.offsets[lane] = -128 * sum_of_codes;
}

template <int SIZE>
void grouped_prepare(const float* x, int32_t row, int32_t first, int32_t count, const Activations& into) {
    auto* groups = groups_of_row<SIZE>(into, row);
    int lane = row % TILE_ROWS;
    for (int done = 0; done < count; done += SIZE) {
        auto& group = groups[(first + done) / SIZE];
        if (count - done >= SIZE) {
            quantise(x + done, lane, group);
        } else {
            float padded[SIZE] = {};
            for (int i = 0; i < count - done; i++) padded[i] = x[done + i];
            quantise(padded, lane, group);
        }
        if (row != into.rows - 1) continue;
        // Whole tiles are multiplied: what is left of the last one must not slow that down by being denormal.
        for (int rest = lane + 1; rest < TILE_ROWS; rest++) group.scales[rest] = group.sums[rest] = 0.0f;
    }
}

// Ends `rows` rows of 16 results each. Not inlined, so that all paths end by the same instructions.
__attribute__((noinline)) void finish_rows(const Linear& linear, const Output& output, int row, int rows, int first,
                                           const float* results) {
    for (int r = 0; r < rows; r++) finish(linear, output, row + r, first, load(results + r * HALF));
}

// The function of a kernel with a `block` that computes 32 outputs for all rows.
template <typename Group, void (*block)(const Linear&, const Activations&, const Group*, int, const Output&)>
void multiply_blocks(const Linear& linear, const Activations& x, int32_t first, int32_t last, const Output& output) {
    int64_t groups = groups_of<Group::size>(linear.inputs);
    auto* weights = static_cast<const Group*>(linear.weights);
    for (int index = first; index < last; index++)
        block(linear, x, weights + index * groups, index * BLOCK_OUTPUTS, output);
}

template <int SIZE>
LinearKernel grouped_kernel_of(decltype(LinearKernel::multiply) multiply) {
    return {SIZE, grouped_activation_bytes<SIZE>, grouped_prepare<SIZE>, multiply};
}

}  // namespace
}  // namespace trunkline

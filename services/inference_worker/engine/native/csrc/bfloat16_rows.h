// Rows in bfloat16 as matrix tiles want them: sixteen rows by thirty-two inputs stand together, a kilobyte.
#pragma once

#include "linear.h"
#include "simd.h"

namespace trunkline {
namespace {

constexpr int TILE_ROWS = 16;
constexpr int TILE_INPUTS = 32;
constexpr int TILE = TILE_ROWS * TILE_INPUTS;

inline int tiles_of(int inputs) { return (inputs + TILE_INPUTS - 1) / TILE_INPUTS; }

inline size_t bfloat16_bytes(int32_t rows, int32_t inputs) {
    return (size_t)((rows + 31) / 32 * 32) * tiles_of(inputs) * TILE_INPUTS * sizeof(uint16_t);
}

inline uint16_t* bfloat16_place(const Activations& into, int row, int input) {
    size_t tile = (size_t)(row / TILE_ROWS) * tiles_of(into.inputs) + input / TILE_INPUTS;
    return (uint16_t*)into.memory + tile * TILE + row % TILE_ROWS * TILE_INPUTS + input % TILE_INPUTS;
}

inline void bfloat16_prepare(const float* x, int32_t row, int32_t first, int32_t count, const Activations& into) {
    int input = first;
    for (; input + LANES <= first + count; input += LANES)
        store(bfloat16_place(into, row, input), halves_of(load(x + input - first)));
    if (input < first + count) {
        float rest[LANES] = {};
        for (int i = 0; i < first + count - input; i++) rest[i] = x[input - first + i];
        store(bfloat16_place(into, row, input), halves_of(load(rest)));
        input += LANES;
    }
    if (first + count == into.inputs && input % TILE_INPUTS != 0)
        store(bfloat16_place(into, row, input), Halves{});
}

}  // namespace
}  // namespace trunkline

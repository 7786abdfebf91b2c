// Linears in bfloat16 and float32 by vectors, for every level of instructions.
//
// bfloat16: a block of 32 outputs is, for each 32 inputs, two tiles [16 pairs of inputs][16 outputs][2].
// float32: a block of 32 outputs is [inputs][32].

#include "bfloat16_rows.h"
#include "kernels.h"
#include "output.h"

namespace trunkline {
namespace LEVEL {
namespace {

constexpr int ROWS = 4;  // rows that share the loads of a weight

template <int COUNT>
void multiply_bfloat16(const Linear& linear, const Activations& x, int row, int block, const Output& output) {
    const int tiles = tiles_of(linear.inputs);
    const uint16_t* weights = (const uint16_t*)linear.weights + (size_t)block * tiles * 2 * TILE;
    Floats low[COUNT] = {}, high[COUNT] = {};
    for (int tile = 0; tile < tiles; tile++, weights += 2 * TILE) {
        const uint16_t* inputs[COUNT];
        for (int r = 0; r < COUNT; r++) inputs[r] = bfloat16_place(x, row + r, tile * TILE_INPUTS);
        for (int pair = 0; pair < TILE_INPUTS / 2; pair++) {
            const Words a = load<Words>(weights + pair * 32), b = load<Words>(weights + TILE + pair * 32);
            for (int r = 0; r < COUNT; r++) {
                const uint32_t value = load<uint32_t>(inputs[r] + 2 * pair);
                low[r] = dot_pairs(low[r], a, value);
                high[r] = dot_pairs(high[r], b, value);
            }
        }
    }
    for (int r = 0; r < COUNT; r++) {
        finish(linear, output, row + r, block * BLOCK_OUTPUTS, low[r]);
        finish(linear, output, row + r, block * BLOCK_OUTPUTS + LANES, high[r]);
    }
}

size_t float32_bytes(int32_t rows, int32_t inputs) { return (size_t)rows * inputs * sizeof(float); }

void float32_prepare(const float* x, int32_t row, int32_t first, int32_t count, const Activations& into) {
    __builtin_memcpy((float*)into.memory + (size_t)row * into.inputs + first, x, count * sizeof(float));
}

template <int COUNT>
void multiply_float32(const Linear& linear, const Activations& x, int row, int block, const Output& output) {
    const float* weights = (const float*)linear.weights + (size_t)block * linear.inputs * BLOCK_OUTPUTS;
    const float* inputs = (const float*)x.memory + (size_t)row * x.inputs;
    Floats low[COUNT] = {}, high[COUNT] = {};
    for (int input = 0; input < linear.inputs; input++, weights += BLOCK_OUTPUTS) {
        const Floats a = load(weights), b = load(weights + LANES);
        for (int r = 0; r < COUNT; r++) {
            const Floats value = all(inputs[(size_t)r * x.inputs + input]);
            low[r] += value * a;
            high[r] += value * b;
        }
    }
    for (int r = 0; r < COUNT; r++) {
        finish(linear, output, row + r, block * BLOCK_OUTPUTS, low[r]);
        finish(linear, output, row + r, block * BLOCK_OUTPUTS + LANES, high[r]);
    }
}

using Rows = void (*)(const Linear&, const Activations&, int row, int block, const Output&);

template <Rows MANY, Rows ONE>
void multiply(const Linear& linear, const Activations& x, int32_t first, int32_t last, const Output& output) {
    for (int block = first; block < last; block++) {
        int row = 0;
        for (; row + ROWS <= x.rows; row += ROWS) MANY(linear, x, row, block, output);
        for (; row < x.rows; row++) ONE(linear, x, row, block, output);
    }
}

}  // namespace

LinearKernel bfloat16_kernel() {
    return {LANES, bfloat16_bytes, bfloat16_prepare, multiply<multiply_bfloat16<ROWS>, multiply_bfloat16<1>>};
}

LinearKernel float32_kernel() {
    return {1, float32_bytes, float32_prepare, multiply<multiply_float32<ROWS>, multiply_float32<1>>};
}

}  // namespace LEVEL
}  // namespace trunkline

// Linears of small integers in groups: weights and activations are whole numbers with a scale for each group
// of 32 or 64 inputs.
//
// A group's dot product is exact in 32-bit integers; groups are then added up in float32, in ascending order,
// each by the same fused multiplications. So every path here (one row or many, vectors or tiles, AVX2 or
// AVX512) gives a row the same bits. Weights and activations lie in memory as the structures below say.
#pragma once

#include "linear.h"

namespace trunkline {

constexpr int TILE_ROWS = 16;  // rows of activations that lie together
constexpr int HALF = 16;       // outputs that a vector holds: half a block
constexpr int QUAD = 4;        // inputs whose products one instruction adds up

// A group of inputs of a block's 32 outputs, with codes from 0 to 15: weight = scale · code + minimum.
// Bytes are quads of one output, 16 outputs after each other; the low halves of bytes hold the even quads.
struct Q4Group {
    static constexpr int size = 32;
    static constexpr bool has_minimum = true;
    uint8_t codes[2][size / QUAD / 2][HALF * QUAD];
    uint16_t scales[BLOCK_OUTPUTS];    // float16
    uint16_t minimums[BLOCK_OUTPUTS];  // float16
};

// The same with a byte for each code, from -127 to 127: weight = scale · code.
template <int SIZE>
struct ByteGroup {
    static constexpr int size = SIZE;
    static constexpr bool has_minimum = false;
    int8_t codes[2][size / QUAD][HALF * QUAD];
    float scales[BLOCK_OUTPUTS];
};

// A group of inputs of 16 rows: activation = scale · code, with codes from -127 to 127.
template <int SIZE>
struct ActivationGroup {
    int8_t codes[TILE_ROWS][SIZE];
    float scales[TILE_ROWS];
    float sums[TILE_ROWS];       // scale · the sum of the codes
    int32_t offsets[TILE_ROWS];  // -128 · the sum of the codes: corrects products with codes + 128
};

static_assert(sizeof(Q4Group) % 64 == 0 && sizeof(ByteGroup<32>) % 64 == 0 && sizeof(ByteGroup<64>) % 64 == 0);
static_assert(sizeof(ActivationGroup<32>) % 64 == 0 && sizeof(ActivationGroup<64>) % 64 == 0);

// The kernels of each level for q4, q8 and int8; `multiply` is null where the level was not compiled.
LinearKernel grouped_portable(Kind kind);
LinearKernel grouped_avx2(Kind kind);
LinearKernel grouped_avx512(Kind kind);
LinearKernel grouped_amx(Kind kind);

}  // namespace trunkline

// Linears in bfloat16 on AMX tiles: thirty-two rows by thirty-two outputs at a time.

#include "bfloat16_rows.h"
#include "kernels.h"
#include "output.h"
#include "tiles_amx.h"

namespace trunkline {
namespace amx {
namespace {

constexpr int PREFETCH_BYTES = 8192;  // how far ahead of the tiles the weights are asked for

TileConfiguration full_tiles() {
    TileConfiguration configuration;
    for (int tile = 0; tile < 8; tile++) {
        configuration.row_bytes[tile] = 64;
        configuration.rows[tile] = 16;
    }
    return configuration;
}

void prefetch_tiles(const char* weights) {
    for (int line = 0; line < 2 * TILE * 2; line += 64) _mm_prefetch(weights + PREFETCH_BYTES + line, _MM_HINT_T1);
}

// Tiles 0 to 3 hold the results, 4 and 5 the rows, 6 and 7 the weights. All tiles are full, whatever the
// number of rows: what stands in rows that nobody asked for is dropped by `put`.
void multiply_16_rows(const uint16_t* x, const uint16_t* weights, int tiles, bool prefetch) {
    for (int tile = 0; tile < tiles; tile++, x += TILE, weights += 2 * TILE) {
        if (prefetch) prefetch_tiles((const char*)weights);
        _tile_loadd(4, x, 64);
        _tile_loadd(6, weights, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
    }
}

void multiply_32_rows(const uint16_t* x, const uint16_t* weights, int tiles, bool prefetch) {
    const uint16_t* below = x + (size_t)tiles * TILE;
    for (int tile = 0; tile < tiles; tile++, x += TILE, below += TILE, weights += 2 * TILE) {
        if (prefetch) prefetch_tiles((const char*)weights);
        _tile_loadd(4, x, 64);
        _tile_loadd(6, weights, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weights + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, below, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

void put(const Linear& linear, const Output& output, int row, int rows, int first, const float* results) {
    const bool bare = !output.bias && output.activation == Activation::none && first + LANES <= linear.outputs;
    if (!bare) {
        for (int r = 0; r < rows; r++) finish(linear, output, row + r, first, load(results + r * LANES));
        return;
    }
    float* to = output.values + row * output.stride + (first - output.first_output);
    for (int r = 0; r < rows; r++, to += output.stride, results += LANES)
        store(to, output.add ? load(to) + load(results) : load(results));
}

void multiply_rows(const Linear& linear, const Activations& x, int row, int block, const Output& output) {
    alignas(64) float results[4][TILE_ROWS * LANES];
    const int tiles = tiles_of(linear.inputs);
    const uint16_t* weights = (const uint16_t*)linear.weights + (size_t)block * tiles * 2 * TILE;
    const uint16_t* inputs = (const uint16_t*)x.memory + (size_t)row * tiles * TILE_INPUTS;
    const int rows = x.rows - row, upper = rows < 16 ? rows : 16, lower = rows - upper < 16 ? rows - upper : 16;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const bool prefetch = row == 0;  // later rows find the weights in the cache
    if (lower > 0)
        multiply_32_rows(inputs, weights, tiles, prefetch);
    else
        multiply_16_rows(inputs, weights, tiles, prefetch);
    _tile_stored(0, results[0], 64);
    _tile_stored(1, results[1], 64);
    put(linear, output, row, upper, block * BLOCK_OUTPUTS, results[0]);
    put(linear, output, row, upper, block * BLOCK_OUTPUTS + LANES, results[1]);
    if (lower == 0) return;
    _tile_stored(2, results[2], 64);
    _tile_stored(3, results[3], 64);
    put(linear, output, row + 16, lower, block * BLOCK_OUTPUTS, results[2]);
    put(linear, output, row + 16, lower, block * BLOCK_OUTPUTS + LANES, results[3]);
}

void multiply(const Linear& linear, const Activations& x, int32_t first, int32_t last, const Output& output) {
    const Tiles tiles(full_tiles());
    for (int row = 0; row < x.rows; row += 2 * TILE_ROWS)
        for (int block = first; block < last; block++) multiply_rows(linear, x, row, block, output);
}

}  // namespace

LinearKernel bfloat16_kernel() { return {LANES, bfloat16_bytes, bfloat16_prepare, multiply}; }

}  // namespace amx
}  // namespace trunkline

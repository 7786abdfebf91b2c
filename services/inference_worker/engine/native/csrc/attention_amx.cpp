// Attention on AMX tiles: sixteen queries by sixteen tokens at a time.

#include "attention_core.h"
#include "kernels.h"
#include "tiles_amx.h"

namespace trunkline {
namespace amx {
namespace {

// Tiles 0 to 3 are results. Scores multiply queries (4) by pairs of a key's numbers (5); the mix multiplies
// weights of sixteen tokens (6) by pairs of values (7), which are half as long.
TileConfiguration tiles_for(int queries) {
    TileConfiguration configuration;
    for (int tile = 0; tile < 8; tile++) {
        configuration.row_bytes[tile] = 64;
        configuration.rows[tile] = (uint8_t)queries;
    }
    configuration.rows[5] = 16;
    configuration.row_bytes[6] = 2 * BLOCK_TOKENS;
    configuration.rows[7] = BLOCK_TOKENS / 2;
    return configuration;
}

class TileProducts {
   public:
    TileProducts(int size, int queries) : size_(size), steps_(tiles_of(size)), tiles_(tiles_for(queries)) {}

    void score(Workspace& w, int blocks) const {
        int b = 0;
        for (; b + 4 <= blocks; b += 4) score_four(w, b);
        for (; b < blocks; b++) score_one(w, b);
    }

    void mix(Workspace& w, int blocks) const {
        int d = 0;
        for (; d + 4 * LANES <= size_; d += 4 * LANES) mix_four(w, blocks, d);
        for (; d < size_; d += LANES) mix_one(w, blocks, d);
    }

   private:
    void score_one(Workspace& w, int b) const {
        _tile_zero(0);
        for (int step = 0; step < steps_; step++) {
            _tile_loadd(4, w.queries + step * TILE, 64);
            _tile_loadd(5, w.blocks[b] + step * TILE, 64);
            _tile_dpbf16ps(0, 4, 5);
        }
        _tile_stored(0, w.scores + b * LANES, CHUNK * sizeof(float));
    }

    void score_four(Workspace& w, int b) const {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int step = 0; step < steps_; step++) {
            _tile_loadd(4, w.queries + step * TILE, 64);
            _tile_loadd(5, w.blocks[b] + step * TILE, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(5, w.blocks[b + 1] + step * TILE, 64);
            _tile_dpbf16ps(1, 4, 5);
            _tile_loadd(5, w.blocks[b + 2] + step * TILE, 64);
            _tile_dpbf16ps(2, 4, 5);
            _tile_loadd(5, w.blocks[b + 3] + step * TILE, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
        _tile_stored(0, w.scores + b * LANES, CHUNK * sizeof(float));
        _tile_stored(1, w.scores + (b + 1) * LANES, CHUNK * sizeof(float));
        _tile_stored(2, w.scores + (b + 2) * LANES, CHUNK * sizeof(float));
        _tile_stored(3, w.scores + (b + 3) * LANES, CHUNK * sizeof(float));
    }

    const uint16_t* values(const Workspace& w, int block, int d) const {
        return w.blocks[block] + keys_of_block(size_) + d * 2;
    }

    void mix_one(Workspace& w, int blocks, int d) const {
        const int stride = size_ * 4;
        _tile_zero(0);
        for (int b = 0; b < blocks; b++) {
            _tile_loadd(6, w.weights + b * LANES, CHUNK * sizeof(uint16_t));
            _tile_loadd(7, values(w, b, d), stride);
            _tile_dpbf16ps(0, 6, 7);
        }
        _tile_stored(0, w.mixed + d, size_ * sizeof(float));
    }

    void mix_four(Workspace& w, int blocks, int d) const {
        const int stride = size_ * 4;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int b = 0; b < blocks; b++) {
            _tile_loadd(6, w.weights + b * LANES, CHUNK * sizeof(uint16_t));
            _tile_loadd(7, values(w, b, d), stride);
            _tile_dpbf16ps(0, 6, 7);
            _tile_loadd(7, values(w, b, d + LANES), stride);
            _tile_dpbf16ps(1, 6, 7);
            _tile_loadd(7, values(w, b, d + 2 * LANES), stride);
            _tile_dpbf16ps(2, 6, 7);
            _tile_loadd(7, values(w, b, d + 3 * LANES), stride);
            _tile_dpbf16ps(3, 6, 7);
        }
        _tile_stored(0, w.mixed + d, size_ * sizeof(float));
        _tile_stored(1, w.mixed + d + LANES, size_ * sizeof(float));
        _tile_stored(2, w.mixed + d + 2 * LANES, size_ * sizeof(float));
        _tile_stored(3, w.mixed + d + 3 * LANES, size_ * sizeof(float));
    }

    int size_, steps_;
    Tiles tiles_;
};

}  // namespace

AttentionKernel attention_kernel() { return {avx512::attention_kernel().place, attend<TileProducts>}; }

}  // namespace amx
}  // namespace trunkline

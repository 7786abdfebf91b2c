// Encoder attention on AMX tiles: sixteen queries at a time.
#include "encoder_attention_core.h"
#include "tiles_amx.h"

namespace trunkline {
namespace amx {
namespace {

constexpr int ROW_BYTES = 64;

TileConfiguration full_tiles() {
    TileConfiguration tiles;
    for (int i = 0; i < 8; i++) tiles.row_bytes[i] = ROW_BYTES, tiles.rows[i] = ROWS;
    return tiles;
}

// Scores of sixteen queries and all keys, two tiles of keys at a time: columns come in pairs of tiles.
void score(const Head& h) {
    const int64_t row_bytes = h.columns() * sizeof(float);
    for (int64_t tile = 0; tile < h.columns() / ROWS; tile += 2) {
        _tile_zero(0);
        _tile_zero(1);
        for (int depth = 0; depth < h.depths(); depth++) {
            const uint16_t* keys = h.key_tiles + (tile * h.depths() + depth) * TILE_NUMBERS;
            _tile_loadd(4, h.query_tiles + depth * TILE_NUMBERS, ROW_BYTES);
            _tile_loadd(6, keys, ROW_BYTES);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, keys + h.depths() * TILE_NUMBERS, ROW_BYTES);
            _tile_dpbf16ps(1, 4, 7);
        }
        _tile_stored(0, h.scores + tile * ROWS, row_bytes);
        _tile_stored(1, h.scores + tile * ROWS + ROWS, row_bytes);
    }
}

// Sixteen numbers of sixteen results.
void mix(const Head& h, int part, float (*sums)[LANES]) {
    const int parts = h.size / LANES;
    _tile_zero(0);
    for (int64_t tile = 0; tile < h.columns() / DEPTH; tile++) {
        _tile_loadd(4, h.weights + tile * TILE_NUMBERS, ROW_BYTES);
        _tile_loadd(6, h.value_tiles + (tile * parts + part) * TILE_NUMBERS, ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
    }
    _tile_stored(0, sums, ROW_BYTES);
}

void attend(const EncoderAttention& a, int32_t unit, void* scratch) {
    const Head h = head_of(a, unit, scratch);
    const Tiles tiles(full_tiles());
    pack_keys(h);
    pack_values(h);
    for (int64_t first = 0; first < h.count; first += ROWS) {
        const int rows = pack_queries(h, first);
        float factors[ROWS];
        score(h);
        for (int row = 0; row < rows; row++) factors[row] = weigh(h, row);
        for (int part = 0; part < h.size / LANES; part++) {
            alignas(64) float sums[ROWS][LANES];
            mix(h, part, sums);
            for (int row = 0; row < rows; row++)
                store(h.out + (first + row) * h.out_stride + part * LANES, load(sums[row]) * factors[row]);
        }
    }
}

}  // namespace

EncoderAttentionKernel encoder_attention_kernel() { return {encoder_units, encoder_scratch_bytes, attend}; }

}  // namespace amx
}  // namespace trunkline

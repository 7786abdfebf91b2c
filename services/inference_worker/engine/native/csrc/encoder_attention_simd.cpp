// Encoder attention by vectors, for every level of instructions.
#include "encoder_attention_core.h"

namespace trunkline {
namespace LEVEL {
namespace {

void score(const Head& h, int row) {
    for (int64_t tile = 0; tile < tiles_in(h.count, ROWS); tile++) {
        Floats dots{};
        for (int depth = 0; depth < h.depths(); depth++) {
            const uint16_t* query = h.query_tiles + depth * TILE_NUMBERS + row * DEPTH;
            const uint16_t* keys = h.key_tiles + (tile * h.depths() + depth) * TILE_NUMBERS;
            for (int pair = 0; pair < ROWS; pair++)
                dots = dot_pairs(dots, load<Words>(keys + pair * DEPTH), load<uint32_t>(query + 2 * pair));
        }
        store(h.scores + row * h.columns() + tile * ROWS, dots);
    }
}

void mix(const Head& h, int64_t first, int row, float factor) {
    const int parts = h.size / LANES;
    for (int part = 0; part < parts; part++) {
        Floats sums{};
        for (int64_t tile = 0; tile < h.columns() / DEPTH; tile++) {
            const uint16_t* weights = h.weights + tile * TILE_NUMBERS + row * DEPTH;
            const uint16_t* values = h.value_tiles + (tile * parts + part) * TILE_NUMBERS;
            for (int pair = 0; pair < ROWS; pair++)
                sums = dot_pairs(sums, load<Words>(values + pair * DEPTH), load<uint32_t>(weights + 2 * pair));
        }
        store(h.out + (first + row) * h.out_stride + part * LANES, sums * factor);
    }
}

void attend(const EncoderAttention& a, int32_t unit, void* scratch) {
    const Head h = head_of(a, unit, scratch);
    pack_keys(h);
    pack_values(h);
    for (int64_t first = 0; first < h.count; first += ROWS) {
        const int rows = pack_queries(h, first);
        for (int row = 0; row < rows; row++) {
            score(h, row);
            mix(h, first, row, weigh(h, row));
        }
    }
}

}  // namespace

EncoderAttentionKernel encoder_attention_kernel() { return {encoder_units, encoder_scratch_bytes, attend}; }

}  // namespace LEVEL
}  // namespace trunkline

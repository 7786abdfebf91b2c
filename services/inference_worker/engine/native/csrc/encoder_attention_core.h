// What encoder attention is made of at every level: a head's keys, values and queries as pairs of bfloat16,
// and softmax of a tile of rows.
#pragma once

#include "encoder_attention.h"
#include "output.h"

namespace trunkline {
namespace {

constexpr int ROWS = 16;  // queries of a tile, and keys of a tile
constexpr int DEPTH = 32; // numbers of a row that a tile multiplies
constexpr int TILE_NUMBERS = ROWS * DEPTH;

inline int64_t tiles_in(int64_t count, int of) { return (count + of - 1) / of; }

// One head of one sequence, and the memory that its computation uses. Tiles are a kilobyte each:
// keys [tiles of 16 keys][size / 32][16 pairs of numbers][16 keys][2], values
// [tiles of 32 keys][size / 16][16 pairs of keys][16 numbers][2], rows [..][16 rows][32 numbers].
struct Head {
    const float *queries, *keys, *values;
    float* out;
    int64_t stride, out_stride;  // numbers from a row to the next
    int32_t size, count;         // numbers of a head, rows of the sequence
    float scale;

    uint16_t *key_tiles, *value_tiles, *query_tiles, *weights;
    float* scores;  // [16][columns()]

    int64_t columns() const { return tiles_in(count, DEPTH) * DEPTH; }
    int32_t depths() const { return static_cast<int32_t>(tiles_in(size, DEPTH)); }
};

inline int32_t longest(const EncoderAttention& a) {
    int32_t rows = 0;
    for (int32_t s = 0; s < a.sequences; s++) {
        int32_t length = a.starts[s + 1] - a.starts[s];
        rows = length > rows ? length : rows;
    }
    return rows;
}

inline int32_t encoder_units(const EncoderAttention& a) { return a.sequences * a.heads; }

inline int64_t encoder_scratch_bytes(const EncoderAttention& a) {
    int64_t rows = tiles_in(longest(a), DEPTH) * DEPTH, size = tiles_in(a.size, DEPTH) * DEPTH;
    return (2 * rows * size + ROWS * size + ROWS * rows) * sizeof(uint16_t) + ROWS * rows * sizeof(float);
}

inline Head head_of(const EncoderAttention& a, int32_t unit, void* scratch) {
    int32_t sequence = unit / a.heads, head = unit % a.heads, kv_head = head / (a.heads / a.kv_heads);
    int32_t first = a.starts[sequence];
    Head h;
    h.stride = static_cast<int64_t>(a.heads + 2 * a.kv_heads) * a.size;
    h.out_stride = static_cast<int64_t>(a.heads) * a.size;
    const float* row = a.qkv + first * h.stride;
    h.queries = row + head * a.size;
    h.keys = row + (a.heads + kv_head) * a.size;
    h.values = row + (a.heads + a.kv_heads + kv_head) * a.size;
    h.out = a.out + first * h.out_stride + head * a.size;
    h.size = a.size, h.count = a.starts[sequence + 1] - first;
    h.scale = a.scale * 1.44269504f;  // softmax is computed with powers of 2
    int64_t numbers = h.columns() * h.depths() * DEPTH;
    h.key_tiles = static_cast<uint16_t*>(scratch);
    h.value_tiles = h.key_tiles + numbers;
    h.query_tiles = h.value_tiles + numbers;
    h.weights = h.query_tiles + h.depths() * TILE_NUMBERS;
    h.scores = reinterpret_cast<float*>(h.weights + ROWS * h.columns());
    return h;
}

// Numbers [at, at + 32) of a row as sixteen pairs of bfloat16; what lies beyond `size` is 0.
inline Words pairs_of(const float* row, int32_t at, int32_t size, float scale) {
    const Floats low = load(row + at) * scale;
    const Floats high = at + LANES < size ? load(row + at + LANES) * scale : Floats{};
#ifdef __AVX512BF16__
    return (Words)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
#else
    Halves halves[2] = {halves_of(low), halves_of(high)};
    return load<Words>(halves);
#endif
}

// Lane i of the result is lane from[i] of both words, one after the other.
inline Words shuffled(Words a, Words b, Ints from) {
#ifdef __clang__
    Words made;
    for (int i = 0; i < LANES; i++) made[i] = from[i] < LANES ? a[from[i]] : b[from[i] - LANES];
    return made;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

// Swaps rows and columns of 16 by 16 words: one step exchanges what is `STEP` rows and columns apart.
template <int STEP>
inline void transpose(Words (&rows)[ROWS]) {
    const Ints own = (LANE & STEP) == 0;
    const Ints low = own ? LANE : LANE - STEP + LANES, high = own ? LANE + STEP : LANE + LANES;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        if (i & STEP) continue;
        const Words a = rows[i], b = rows[i + STEP];
        rows[i] = shuffled(a, b, low);
        rows[i + STEP] = shuffled(a, b, high);
    }
    if constexpr (2 * STEP < ROWS) transpose<2 * STEP>(rows);
}

inline void pack_keys(const Head& h) {
    for (int64_t tile = 0; tile < h.columns() / ROWS; tile++) {
        for (int depth = 0; depth < h.depths(); depth++) {
            Words rows[ROWS];
            for (int i = 0; i < ROWS; i++) {
                int64_t key = tile * ROWS + i;
                rows[i] = key < h.count ? pairs_of(h.keys + key * h.stride, depth * DEPTH, h.size, 1.0f) : Words{};
            }
            transpose<1>(rows);
            uint16_t* to = h.key_tiles + (tile * h.depths() + depth) * TILE_NUMBERS;
            for (int i = 0; i < ROWS; i++) store(to + i * DEPTH, rows[i]);
        }
    }
}

inline Words words_of(const Head& h, int64_t key, int at) {
    if (key >= h.count) return Words{};
    return __builtin_convertvector(halves_of(load(h.values + key * h.stride + at)), Words);
}

inline void pack_values(const Head& h) {
    uint16_t* to = h.value_tiles;
    for (int64_t first = 0; first < h.columns(); first += DEPTH)
        for (int at = 0; at < h.size; at += LANES)
            for (int64_t key = first; key < first + DEPTH; key += 2, to += 2 * LANES)
                store(to, words_of(h, key, at) | words_of(h, key + 1, at) << 16);
}

inline int pack_queries(const Head& h, int64_t first) {
    int rows = static_cast<int>(h.count - first < ROWS ? h.count - first : ROWS);
    for (int depth = 0; depth < h.depths(); depth++)
        for (int i = 0; i < rows; i++)
            store(h.query_tiles + depth * TILE_NUMBERS + i * DEPTH,
                  pairs_of(h.queries + (first + i) * h.stride, depth * DEPTH, h.size, h.scale));
    return rows;
}

// In registers: a row of scores is short, and would wait for memory twice.
inline float highest_of(Floats x) {
#ifdef __AVX512F__
    return _mm512_reduce_max_ps((__m512)x);
#else
    return maximum(x);
#endif
}

inline float total_of(Floats x) {
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)x);
#else
    return sum(x);
#endif
}

// Turns a row of scores into weights, of which the largest is 1, and returns 1 / their sum.
inline float weigh(const Head& h, int row) {
    const float* scores = h.scores + row * h.columns();
    const auto scores_at = [&](int64_t i) {  // columns without a key count for nothing
        const Floats some = load(scores + i);
        return i + LANES <= h.count ? some : LANE < static_cast<int32_t>(h.count - i) ? some : all(-__builtin_inff());
    };
    Floats top = scores_at(0);
    for (int64_t i = LANES; i < h.count; i += LANES) top = maximum(top, scores_at(i));
    const Floats highest = all(highest_of(top));
    Floats total{};
    for (int64_t i = 0; i < h.columns(); i += LANES) {
        const Floats weight = exp2_of(scores_at(i) - highest);
        total += weight;
        store(h.weights + i / DEPTH * TILE_NUMBERS + row * DEPTH + i % DEPTH, halves_of(weight));
    }
    return 1.0f / total_of(total);
}

}  // namespace
}  // namespace trunkline

// Causal attention of a ragged batch over a cache of 16-token blocks.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"
#include "linear.h"

namespace trunkline {

constexpr int BLOCK_TOKENS = 16;
constexpr int MAX_HEAD_SIZE = 256;
constexpr int TILE_QUERIES = 16;

// A block's keys are [size / 2][16 tokens][2], padded to 32 numbers a token; its values [16 / 2][size][2]:
// both stand as the pairs of a matrix tile, so that no kernel has to turn them.
inline size_t keys_of_block(int size) { return (size_t)((size + 31) / 32 * 32) * BLOCK_TOKENS; }
inline size_t values_of_block(int size) { return (size_t)size * BLOCK_TOKENS; }
inline size_t numbers_of_block(int size) { return keys_of_block(size) + values_of_block(size); }

// One layer's attention. The rows of a sequence stand together and lie at consecutive positions.
struct CausalAttention {
    float* qkv;  // [rows, (heads + 2 · kv_heads) · size]
    int32_t heads, kv_heads, size;
    float scale;
    const float* angles;      // [rows, size]: cosines, then sines, of half a head; null without rotation
    uint16_t* cache;          // this layer's: of each block, [kv_heads][keys of a block, values of a block]
    size_t block_numbers;     // from one block to the next, over the other layers'
    const int32_t* positions;  // [rows]
    float* out;               // [rows, heads · size], or null where `prepare` takes the result
    void (*prepare)(const float* x, int32_t row, int32_t first, int32_t count, const Activations& into);
    Activations prepared;

    int width() const { return (heads + 2 * kv_heads) * size; }
    int group() const { return heads / kv_heads; }
    uint16_t* block(int32_t id, int kv_head) const {
        return cache + (size_t)id * block_numbers + (size_t)kv_head * numbers_of_block(size);
    }
};

// At most TILE_QUERIES queries of one key head: query q is head `q % group` of row `first_row + q / group`.
struct Queries {
    const int32_t* table;  // the sequence's blocks
    int32_t first_row;
    int32_t first;
    int32_t count;
};

struct AttentionKernel {
    // Turns a row's queries and key by its angles, and puts key and value into the cache. Rows that share a
    // block must be placed in order by one thread.
    void (*place)(const CausalAttention&, const int32_t* table, int32_t row, int32_t kv_head);
    // Computes the results of these queries, whose sequence must have been placed up to their positions.
    void (*attend)(const CausalAttention&, const Queries&, int32_t kv_head);
};

}  // namespace trunkline

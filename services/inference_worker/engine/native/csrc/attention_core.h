// Attention but for its two products, which each level of instructions does in its own way.
//
// Keys are taken in chunks of 128 tokens that begin at multiples of 128, with a running maximum and sum
// (Milakov and Gimelshein, 2018; Dao et al., 2022). A query's chunks, and the order inside them, depend on its
// own position alone; what later queries of the same tile need beyond that adds exact zeros to it.
#pragma once

#include "attention.h"
#include "bfloat16_rows.h"
#include "simd.h"

namespace trunkline {
namespace {

constexpr int QUERIES = TILE_QUERIES;
constexpr int CHUNK_BLOCKS = 8;
constexpr int CHUNK = CHUNK_BLOCKS * BLOCK_TOKENS;
constexpr float LOWEST = -1e30f;

// What one tile of queries needs while it goes through its sequence.
struct alignas(64) Workspace {
    uint16_t queries[QUERIES * MAX_HEAD_SIZE];  // [size / 32][16][32]
    float scores[QUERIES * CHUNK];              // [16][128]
    uint16_t weights[QUERIES * CHUNK];          // [16][128]
    float mixed[QUERIES * MAX_HEAD_SIZE];       // [16][size], weights · values of a chunk
    float results[QUERIES * MAX_HEAD_SIZE];     // [16][size], of all chunks so far
    Floats sums[QUERIES];
    float highest[QUERIES];
    int32_t limits[QUERIES];  // tokens that a query sees
    const uint16_t* blocks[CHUNK_BLOCKS];
};

inline void read_queries(const CausalAttention& a, const Queries& q, int kv_head, Workspace& w) {
    const Activations tile = {QUERIES, a.size, w.queries};
    for (int i = 0; i < q.count; i++) {
        const int row = q.first_row + (q.first + i) / a.group(), head = kv_head * a.group() + (q.first + i) % a.group();
        bfloat16_prepare(a.qkv + (size_t)row * a.width() + head * a.size, i, 0, a.size, tile);
        w.limits[i] = a.positions[row] + 1;
        w.highest[i] = LOWEST;
        w.sums[i] = Floats{};
        for (int d = 0; d < a.size; d += LANES) store(w.results + i * a.size + d, Floats{});
    }
}

// Makes weights of a chunk's scores, and shrinks what was summed up before to the new maximum.
inline void weigh(int size, float scale, int query, int start, int blocks, Workspace& w) {
    float* scores = w.scores + query * CHUNK;
    Floats highest = all(w.highest[query]);
    for (int b = 0; b < blocks; b++) {
        Floats s = load(scores + b * LANES) * scale;
        s = LANE < w.limits[query] - start - b * LANES ? s : all(LOWEST);
        store(scores + b * LANES, s);
        highest = maximum(highest, s);
    }
    const float top = maximum(highest);
    const Floats factor = exp2_of(all(w.highest[query] - top));
    Floats sums = w.sums[query] * factor;
    for (int b = 0; b < blocks; b++) {
        const Floats p = exp2_of(load(scores + b * LANES) - top);
        sums += p;
        store(w.weights + query * CHUNK + b * LANES, halves_of(p));
    }
    w.sums[query] = sums;
    w.highest[query] = top;
    for (int d = 0; d < size; d += LANES)
        store(w.results + query * size + d, load(w.results + query * size + d) * factor);
}

inline void put_results(const CausalAttention& a, const Queries& q, int kv_head, Workspace& w) {
    for (int i = 0; i < q.count; i++) {
        const int row = q.first_row + (q.first + i) / a.group(), head = kv_head * a.group() + (q.first + i) % a.group();
        float* result = w.results + i * a.size;
        const float factor = 1.0f / sum(w.sums[i]);
        for (int d = 0; d < a.size; d += LANES) store(result + d, load(result + d) * factor);
        if (a.out)
            __builtin_memcpy(a.out + ((size_t)row * a.heads + head) * a.size, result, a.size * sizeof(float));
        else
            a.prepare(result, row, head * a.size, a.size, a.prepared);
    }
}

// Asks for a block of keys and values that is needed soon: the processor does not foresee where it lies.
inline void prefetch_block(const CausalAttention& a, const Queries& q, int block, int blocks, int kv_head) {
    if (block >= blocks) return;
    const char* start = (const char*)a.block(q.table[block], kv_head);
    const int bytes = (int)(numbers_of_block(a.size) * sizeof(uint16_t));
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(start + line, 0, 2);
}

// `Products` offers score(workspace, size, queries, blocks) and mix(workspace, size, queries, blocks).
template <typename Products>
inline void attend(const CausalAttention& a, const Queries& q, int32_t kv_head) {
    Workspace w;
    read_queries(a, q, kv_head, w);
    Products products(a.size, q.count);
    const int end = a.positions[q.first_row + (q.first + q.count - 1) / a.group()] + 1;
    const int total = (end + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    for (int start = 0; start < end; start += CHUNK) {
        const int left = (end - start + BLOCK_TOKENS - 1) / BLOCK_TOKENS, blocks = left < CHUNK_BLOCKS ? left : CHUNK_BLOCKS;
        for (int b = 0; b < blocks; b++) {
            w.blocks[b] = a.block(q.table[start / BLOCK_TOKENS + b], kv_head);
            if (start == 0) prefetch_block(a, q, b, total, kv_head);
            prefetch_block(a, q, start / BLOCK_TOKENS + CHUNK_BLOCKS + b, total, kv_head);
        }
        products.score(w, blocks);
        for (int i = 0; i < q.count; i++) weigh(a.size, a.scale * 1.44269504f, i, start, blocks, w);
        products.mix(w, blocks);
        for (int i = 0; i < q.count * a.size; i += LANES) store(w.results + i, load(w.results + i) + load(w.mixed + i));
    }
    put_results(a, q, kv_head, w);
}

}  // namespace
}  // namespace trunkline

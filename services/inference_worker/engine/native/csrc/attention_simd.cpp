// Attention by vectors, for every level of instructions; and how rows come into the cache.

#include "attention_core.h"
#include "kernels.h"

namespace trunkline {
namespace LEVEL {
namespace {

// Halves of a head are paired: (a, b) becomes (a · cos - b · sin, b · cos + a · sin).
void turn(float* head, int size, const float* angles) {
    const int half = size / 2;
    for (int i = 0; i < half; i++) {
        const float a = head[i], b = head[i + half];
        head[i] = a * angles[i] - b * angles[half + i];
        head[i + half] = b * angles[i] + a * angles[half + i];
    }
}

void place(const CausalAttention& a, const int32_t* table, int32_t row, int32_t kv_head) {
    float* qkv = a.qkv + (size_t)row * a.width();
    float* key = qkv + (a.heads + kv_head) * a.size;
    const float* value = key + a.kv_heads * a.size;
    if (a.angles) {
        const float* angles = a.angles + (size_t)row * a.size;
        for (int g = 0; g < a.group(); g++) turn(qkv + (kv_head * a.group() + g) * a.size, a.size, angles);
        turn(key, a.size, angles);
    }
    const int position = a.positions[row], token = position % BLOCK_TOKENS;
    uint16_t* keys = a.block(table[position / BLOCK_TOKENS], kv_head);
    uint16_t* values = keys + keys_of_block(a.size);
    // Values that nobody wrote yet are multiplied by weights of zero: they must be finite.
    if (token == 0) __builtin_memset(values, 0, values_of_block(a.size) * sizeof(uint16_t));
    for (int d = 0; d < a.size; d += LANES) {
        uint16_t k[LANES], v[LANES];
        store(k, halves_of(load(key + d)));
        store(v, halves_of(load(value + d)));
        for (int i = 0; i < LANES; i += 2)
            __builtin_memcpy(keys + (d + i) * BLOCK_TOKENS + token * 2, k + i, 2 * sizeof(uint16_t));
        for (int i = 0; i < LANES; i++) values[(token / 2 * a.size + d + i) * 2 + token % 2] = v[i];
    }
}

#ifdef __AVX512F__
constexpr int SHARED = 4;   // queries that share the loads of a key or value
constexpr int VECTORS = 4;  // vectors of a value that are summed up at once
#else
constexpr int SHARED = 2;
constexpr int VECTORS = 2;
#endif

class VectorProducts {
   public:
    VectorProducts(int size, int queries) : size_(size), queries_(queries) {}

    void score(Workspace& w, int blocks) const {
        int query = 0;
        for (; query + SHARED <= queries_; query += SHARED) score_some<SHARED>(w, query, blocks);
        for (; query < queries_; query++) score_some<1>(w, query, blocks);
    }

    void mix(Workspace& w, int blocks) const {
        int query = 0;
        for (; query + SHARED <= queries_; query += SHARED) mix_some<SHARED>(w, query, blocks);
        for (; query < queries_; query++) mix_some<1>(w, query, blocks);
    }

   private:
    template <int COUNT>
    void score_some(Workspace& w, int query, int blocks) const {
        for (int b = 0; b < blocks; b++) {
            Floats scores[COUNT] = {};
            for (int pair = 0; pair < size_ / 2; pair++) {
                const Words keys = load<Words>(w.blocks[b] + pair * 32);
                const uint16_t* queries = w.queries + pair / 16 * TILE + query * TILE_INPUTS + pair % 16 * 2;
                for (int r = 0; r < COUNT; r++)
                    scores[r] = dot_pairs(scores[r], keys, load<uint32_t>(queries + r * TILE_INPUTS));
            }
            for (int r = 0; r < COUNT; r++) store(w.scores + (query + r) * CHUNK + b * LANES, scores[r]);
        }
    }

    template <int COUNT>
    void mix_some(Workspace& w, int query, int blocks) const {
        int d = 0;
        for (; d + VECTORS * LANES <= size_; d += VECTORS * LANES) mix_part<COUNT, VECTORS>(w, query, blocks, d);
        for (; d < size_; d += LANES) mix_part<COUNT, 1>(w, query, blocks, d);
    }

    template <int COUNT, int PARTS>
    void mix_part(Workspace& w, int query, int blocks, int d) const {
        Floats mixed[COUNT][PARTS] = {};
        for (int token = 0; token < blocks * BLOCK_TOKENS; token += 2) {
            const uint16_t* block = w.blocks[token / BLOCK_TOKENS] + keys_of_block(size_);
            const uint16_t* values = block + ((token % BLOCK_TOKENS / 2) * size_ + d) * 2;
            Words pairs[PARTS];
            for (int part = 0; part < PARTS; part++) pairs[part] = load<Words>(values + part * 2 * LANES);
            for (int r = 0; r < COUNT; r++) {
                const uint32_t weights = load<uint32_t>(w.weights + (query + r) * CHUNK + token);
                for (int part = 0; part < PARTS; part++)
                    mixed[r][part] = dot_pairs(mixed[r][part], pairs[part], weights);
            }
        }
        for (int r = 0; r < COUNT; r++)
            for (int part = 0; part < PARTS; part++)
                store(w.mixed + (query + r) * size_ + d + part * LANES, mixed[r][part]);
    }

    int size_, queries_;
};

}  // namespace

AttentionKernel attention_kernel() { return {place, attend<VectorProducts>}; }

}  // namespace LEVEL
}  // namespace trunkline

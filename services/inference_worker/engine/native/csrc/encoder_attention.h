// Attention of every row to all rows of its sequence, for encoders: no cache, no mask, no padding.
#pragma once

#include <stdint.h>

#include "isa.h"

namespace trunkline {

struct EncoderAttention {
    const float* qkv;  // [rows, (heads + 2 · kv_heads) · size]: queries, keys and values of a row
    float* out;        // [rows, heads · size]
    int32_t heads, kv_heads, size;
    float scale;
    const int32_t* starts;  // [sequences + 1]: the first row of each, and the number of rows
    int32_t sequences;
};

struct EncoderAttentionKernel {
    // Pieces of work that may run at once, and bytes of scratch memory that one needs.
    int32_t (*units)(const EncoderAttention&);
    int64_t (*scratch_bytes)(const EncoderAttention&);
    void (*attend)(const EncoderAttention&, int32_t unit, void* scratch);
};

EncoderAttentionKernel encoder_attention_kernel(Isa isa);

}  // namespace trunkline

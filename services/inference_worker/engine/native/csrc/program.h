// A lowered program as Python hands it over: plain structures, mirrored in lowering.py field by field.
#pragma once

#include <cstdint>

namespace trunkline {

enum class Code : int32_t {
    embed = 0,      // out = number · tokens[weight] + positions[second] + constant[third]
    norm = 1,       // out = norm(x) with weight, and bias second
    linear = 2,     // out (+)= activation(x · weight + bias second)
    attention = 3,  // out = attention of qkv in x, turned by the frequencies of weight
    gate = 4,       // out = activation(x, left half) · x, right half
    add = 5,        // out += x
    select = 6,     // out = the wanted rows of x; from here on there are no others
    head = 7,       // the result: logits of x · weight + bias second, and the likeliest of each row
};

enum Flag : int32_t {
    PREPARED = 1,  // the operation before left x in the form that this linear multiplies
    KEEP = 2,      // the result is wanted in `out` even though it is prepared for the next linear
    ADD = 4,       // out += result
    CAUSAL = 8,    // attention by the cache; otherwise among the rows of a sequence
    LAYER = 16,    // a norm is LayerNorm; otherwise RMSNorm
};

// Indices of records and buffers; -1 where there is none.
struct Operation {
    int32_t code;
    int32_t flags;
    int32_t x, out;
    int32_t weight, second, third;
    int32_t prepares;    // the record of the linear that comes next and takes the result
    int32_t activation;  // of a linear or gate
    int32_t offset;      // added to positions before they are looked up
    int32_t layer, heads, kv_heads, size;
    float number;  // ε of a norm, the scale of an embedding or of attention
};

enum class Role : int32_t { linear = 0, vector = 1, table = 2 };

// A weight: where it lies in the packed file. Vectors are float32; tables are rows in `kind`.
struct Record {
    int32_t role;
    int32_t kind;
    int32_t rows, columns;
    uint64_t weights;  // an offset, as are the scales, which are 0 where the kind has none apart
    uint64_t scales;
    uint64_t bytes;  // of the weights
};

struct Shape {
    int32_t operations, records, buffers;
    int32_t vocabulary;
    int32_t layers, blocks;  // of the cache
    int32_t threads;
};

// A step's rows, as RaggedBatch in batch.py says; for an encoder, `starts` instead of sequences and tables.
struct Batch {
    int32_t rows;
    const int32_t* tokens;
    const int32_t* sequences;
    const int32_t* positions;
    const int32_t* tables;
    int32_t tables_count, tables_width;
    const int32_t* wanted;
    int32_t wanted_count;
    const int32_t* starts;  // [starts_count + 1]
    int32_t starts_count;
    int32_t threads;
    int32_t logits;  // whether logits are asked for, beside the likeliest tokens
};

}  // namespace trunkline

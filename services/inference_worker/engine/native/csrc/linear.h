// x · weightᵀ for every kind of weight: what a kernel of one kind and instruction set offers.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

namespace trunkline {

// How a weight is stored. The numbers stand in the packed file.
enum class Kind : int32_t {
    bfloat16 = 0,
    float32 = 1,
    int8 = 2,
    q4 = 3,  // GGUF's Q4_0 and Q4_1
    q8 = 4,  // GGUF's Q8_0
};
constexpr int KINDS = 5;

enum class Activation : int32_t { none = 0, gelu = 1, gelu_tanh = 2, silu = 3, relu = 4 };

// A weight of shape [outputs, inputs] in its kind's layout; 64-byte aligned memory that somebody else owns.
struct Linear {
    int32_t outputs;
    int32_t inputs;
    Kind kind;
    const void* weights;
    const void* scales;  // beside the weights where the kind wants them apart; otherwise null
};

// Outputs are computed in blocks of this many, the last of which may be cut by `outputs`.
constexpr int BLOCK_OUTPUTS = 32;

inline int blocks_of(const Linear& linear) { return (linear.outputs + BLOCK_OUTPUTS - 1) / BLOCK_OUTPUTS; }

// Rows of one input in the form that a kind multiplies: made row by row, or slice by slice, by `prepare`.
struct Activations {
    int32_t rows;
    int32_t inputs;
    void* memory;  // 64-byte aligned, `activation_bytes(rows, inputs)` long
};

// Where results go: row r's number for output o is values[r * stride + o - first_output].
struct Output {
    float* values;
    int64_t stride;
    int32_t first_output;
    bool add;  // values += result instead of values = result
    Activation activation;
    const float* bias;  // [outputs], or null
};

// A row's result depends on its own input alone: sums run in the same order however many rows there are.
struct LinearKernel {
    // Inputs that `prepare` must be given together: slices begin and end at multiples of it.
    int32_t group;
    // Takes memory's size for rows up to the next multiple of 32; `prepare` need not touch the rows beyond.
    size_t (*activation_bytes)(int32_t rows, int32_t inputs);
    // Puts inputs [first, first + count) of one row, x[0 .. count), into the form; `first` is a multiple of
    // `group`, and so is `count` unless the slice ends the row.
    void (*prepare)(const float* x, int32_t row, int32_t first, int32_t count, const Activations& into);
    // Computes outputs of blocks [first, last) for all rows. Threads share neither output nor scratch memory.
    void (*multiply)(const Linear&, const Activations&, int32_t first, int32_t last, const Output&);
};

// Each returns the best kernel for the level, or one whose `multiply` is null where there is none.
LinearKernel bfloat16_kernel(Isa isa);
LinearKernel float32_kernel(Isa isa);
LinearKernel int8_kernel(Isa isa);
LinearKernel q4_kernel(Isa isa);
LinearKernel q8_kernel(Isa isa);

}  // namespace trunkline

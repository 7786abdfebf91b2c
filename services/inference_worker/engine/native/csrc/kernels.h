// The kernels of each level of instructions, and which of them serve at a level.
#pragma once

#include "attention.h"
#include "isa.h"
#include "linear.h"

namespace trunkline {

// What happens to one row of a buffer at a time.
struct RowKernels {
    // out = scale · (a row of a table in `kind`: bfloat16 or float32)
    void (*read)(const void* table, Kind kind, int64_t row, int32_t width, float scale, float* out);
    // out += x
    void (*add)(const float* x, int32_t width, float* out);
    // out = x / √(mean x² + ε) · weight
    void (*rms_norm)(const float* x, int32_t width, const float* weight, float epsilon, float* out);
    // out = (x - mean) / √(variance + ε) · weight + bias; bias may be null
    void (*layer_norm)(const float* x, int32_t width, const float* weight, const float* bias, float epsilon, float* out);
    // out = activation(x[0 .. width)) · x[width .. 2 · width)
    void (*gate)(const float* x, int32_t width, Activation activation, float* out);
    float (*highest)(const float* values, int32_t count);
};

#define TRUNKLINE_KERNELS_OF(level)       \
    namespace level {                     \
    RowKernels row_kernels();             \
    LinearKernel bfloat16_kernel();       \
    LinearKernel float32_kernel();        \
    AttentionKernel attention_kernel();   \
    }

TRUNKLINE_KERNELS_OF(portable)
#if defined(__x86_64__)
TRUNKLINE_KERNELS_OF(avx2)
TRUNKLINE_KERNELS_OF(avx512)
TRUNKLINE_KERNELS_OF(amx)
#endif

RowKernels row_kernels(Isa isa);
AttentionKernel attention_kernel(Isa isa);
// The kernel of the highest level that has one, up to this.
LinearKernel linear_kernel(Kind kind, Isa isa);

}  // namespace trunkline

#include "kernels.h"

namespace trunkline {

#if defined(__x86_64__)

RowKernels row_kernels(Isa isa) {
    if (isa >= Isa::avx512) return avx512::row_kernels();
    return isa == Isa::avx2 ? avx2::row_kernels() : portable::row_kernels();
}

AttentionKernel attention_kernel(Isa isa) {
    if (isa == Isa::amx) return amx::attention_kernel();
    if (isa == Isa::avx512) return avx512::attention_kernel();
    return isa == Isa::avx2 ? avx2::attention_kernel() : portable::attention_kernel();
}

LinearKernel bfloat16_kernel(Isa isa) {
    if (isa == Isa::amx) return amx::bfloat16_kernel();
    if (isa == Isa::avx512) return avx512::bfloat16_kernel();
    return isa == Isa::avx2 ? avx2::bfloat16_kernel() : portable::bfloat16_kernel();
}

LinearKernel float32_kernel(Isa isa) {
    if (isa >= Isa::avx512) return avx512::float32_kernel();
    return isa == Isa::avx2 ? avx2::float32_kernel() : portable::float32_kernel();
}

#else

RowKernels row_kernels(Isa) { return portable::row_kernels(); }
AttentionKernel attention_kernel(Isa) { return portable::attention_kernel(); }
LinearKernel bfloat16_kernel(Isa) { return portable::bfloat16_kernel(); }
LinearKernel float32_kernel(Isa) { return portable::float32_kernel(); }

#endif

static LinearKernel kernel_at(Kind kind, Isa isa) {
    switch (kind) {
        case Kind::bfloat16: return bfloat16_kernel(isa);
        case Kind::float32: return float32_kernel(isa);
        case Kind::int8: return int8_kernel(isa);
        case Kind::q4: return q4_kernel(isa);
        case Kind::q8: return q8_kernel(isa);
    }
    return {};
}

LinearKernel linear_kernel(Kind kind, Isa isa) {
    for (int level = static_cast<int>(isa); level > 0; level--) {
        const LinearKernel kernel = kernel_at(kind, static_cast<Isa>(level));
        if (kernel.multiply) return kernel;
    }
    return kernel_at(kind, Isa::portable);
}

}  // namespace trunkline

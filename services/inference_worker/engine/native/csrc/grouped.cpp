// Chooses the kernels of grouped linears for this processor.
#include "grouped.h"

namespace trunkline {

#if !defined(__x86_64__)
LinearKernel grouped_avx2(Kind) { return {}; }
LinearKernel grouped_avx512(Kind) { return {}; }
LinearKernel grouped_amx(Kind) { return {}; }
#endif

static LinearKernel grouped_kernel(Kind kind, Isa isa) {
    switch (isa) {
        case Isa::amx: return grouped_amx(kind);
        case Isa::avx512: return grouped_avx512(kind);
        case Isa::avx2: return grouped_avx2(kind);
        default: return grouped_portable(kind);
    }
}

LinearKernel q4_kernel(Isa isa) { return grouped_kernel(Kind::q4, isa); }
LinearKernel q8_kernel(Isa isa) { return grouped_kernel(Kind::q8, isa); }
LinearKernel int8_kernel(Isa isa) { return grouped_kernel(Kind::int8, isa); }

}  // namespace trunkline

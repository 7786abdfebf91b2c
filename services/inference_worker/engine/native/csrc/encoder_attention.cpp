// Chooses encoder attention for this processor.
#include "encoder_attention.h"

namespace trunkline {

namespace portable { EncoderAttentionKernel encoder_attention_kernel(); }
namespace avx2 { EncoderAttentionKernel encoder_attention_kernel(); }
namespace avx512 { EncoderAttentionKernel encoder_attention_kernel(); }
namespace amx { EncoderAttentionKernel encoder_attention_kernel(); }

EncoderAttentionKernel encoder_attention_kernel([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
    if (isa == Isa::amx) return amx::encoder_attention_kernel();
    if (isa == Isa::avx512) return avx512::encoder_attention_kernel();
    if (isa == Isa::avx2) return avx2::encoder_attention_kernel();
#endif
    return portable::encoder_attention_kernel();
}

}  // namespace trunkline

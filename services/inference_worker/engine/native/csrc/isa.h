// Which instructions this processor has, and so which of the compiled kernels may run.
#pragma once

namespace trunkline {

// In ascending order: a processor of one level runs the kernels of every lower one too.
enum class Isa : int {
    portable = 0,  // whatever the compiler makes for every processor of the architecture
    avx2 = 1,      // AVX2, FMA and F16C
    avx512 = 2,    // AVX512 F, BW, DQ, VL, VNNI and BF16
    amx = 3,       // the above, AMX-TILE, AMX-BF16 and AMX-INT8, with the system's leave to use tiles
};

// The highest level that processor and system allow, at most the one named by TRUNKLINE_ISA.
Isa detect_isa();

const char* name_of(Isa isa);

}  // namespace trunkline

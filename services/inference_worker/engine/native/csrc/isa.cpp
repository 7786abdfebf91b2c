#include "isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace trunkline {

#if defined(__x86_64__)
namespace {

// The state that the system saves for a thread (Intel's manual, volume 1, chapter 13).
constexpr unsigned long long AVX_STATE = 0x6, AVX512_STATE = 0xe6, TILE_STATE = 0x60000;

unsigned long long enabled_state() {
    unsigned low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<unsigned long long>(high) << 32) | low;
}

bool has_all(unsigned value, unsigned bits) { return (value & bits) == bits; }

// Linux grants the 8 KiB of tiles to a process that asks (arch_prctl, ARCH_REQ_XCOMP_PERM of XTILEDATA).
bool may_use_tiles() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

Isa highest_level() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::portable;
    constexpr unsigned FMA_OSXSAVE_AVX_F16C = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;
    if (!has_all(c, FMA_OSXSAVE_AVX_F16C)) return Isa::portable;
    const auto state = enabled_state();
    unsigned b7 = 0, c7 = 0, d7 = 0, most = 0;
    if (!__get_cpuid_count(7, 0, &most, &b7, &c7, &d7)) return Isa::portable;
    if ((state & AVX_STATE) != AVX_STATE || !has_all(b7, 1u << 5)) return Isa::portable;
    unsigned a71 = 0;
    if (most >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    constexpr unsigned F_DQ_BW_VL = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    const bool avx512 = has_all(b7, F_DQ_BW_VL) && has_all(c7, 1u << 11) && has_all(a71, 1u << 5);
    if (!avx512 || (state & AVX512_STATE) != AVX512_STATE) return Isa::avx2;
    constexpr unsigned BF16_TILE_INT8 = 1u << 22 | 1u << 24 | 1u << 25;
    const bool tiles = has_all(d7, BF16_TILE_INT8) && (state & TILE_STATE) == TILE_STATE;
    return tiles && may_use_tiles() ? Isa::amx : Isa::avx512;
}

}  // namespace
#else
static Isa highest_level() { return Isa::portable; }
#endif

const char* name_of(Isa isa) {
    static const char* const names[] = {"portable", "avx2", "avx512", "amx"};
    return names[static_cast<int>(isa)];
}

Isa detect_isa() {
    const Isa highest = highest_level();
    const char* wanted = std::getenv("TRUNKLINE_ISA");
    if (wanted == nullptr) return highest;
    for (int level = 0; level < static_cast<int>(highest); level++)
        if (std::strcmp(wanted, name_of(static_cast<Isa>(level))) == 0) return static_cast<Isa>(level);
    return highest;
}

}  // namespace trunkline

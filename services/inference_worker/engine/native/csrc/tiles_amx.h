// The tile registers of AMX, configured for as long as an object of `Tiles` lives.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace trunkline {
namespace {

// Palette 1 of Intel's manual: eight tiles of at most 16 rows of 64 bytes.
struct TileConfiguration {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

class Tiles {
   public:
    explicit Tiles(const TileConfiguration& configuration) {
        // gcc 12 believes that the intrinsic reads 8 bytes of the 64, and drops the stores to the others.
        __asm__ volatile("" ::"r"(&configuration) : "memory");
        _tile_loadconfig(&configuration);
    }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace trunkline

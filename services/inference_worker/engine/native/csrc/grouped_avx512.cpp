// Grouped linears for AVX512 with VNNI.
#include "grouped_vnni.h"

namespace trunkline {
namespace {

template <typename Group>
void block(const Linear& linear, const Activations& x, const Group* weights, int first, const Output& output) {
    for (int row = 0; row < x.rows; row += TILE_ROWS) {
        int rows = x.rows - row < TILE_ROWS ? x.rows - row : TILE_ROWS;
        rows_by_four(linear, x, weights, row, rows, first, output);
    }
}

}  // namespace

LinearKernel grouped_avx512(Kind kind) {
    switch (kind) {
        case Kind::q4: return grouped_kernel_of<32>(multiply_blocks<Q4Group, block<Q4Group>>);
        case Kind::q8: return grouped_kernel_of<32>(multiply_blocks<ByteGroup<32>, block<ByteGroup<32>>>);
        case Kind::int8: return grouped_kernel_of<64>(multiply_blocks<ByteGroup<64>, block<ByteGroup<64>>>);
        default: return {};
    }
}

}  // namespace trunkline

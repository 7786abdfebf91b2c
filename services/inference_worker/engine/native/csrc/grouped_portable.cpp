// Grouped linears in plain C++, for processors without a path of their own.
#include "grouped_rows.h"

namespace trunkline {
namespace {

inline float widen(float value) { return value; }

// A float16 as a float32, by its bits.
inline float widen(uint16_t half) {
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 0) {
        float value = fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline int32_t code_of(const Q4Group& group, int half, int output, int input) {
    int quad = input / QUAD;
    return group.codes[half][quad / 2][output * QUAD + input % QUAD] >> (quad % 2 * 4) & 15;
}

template <int SIZE>
inline int32_t code_of(const ByteGroup<SIZE>& group, int half, int output, int input) {
    return group.codes[half][input / QUAD][output * QUAD + input % QUAD];
}

template <typename Group>
inline float add_group(float sum, int32_t dot, const Group& weights, int output,
                       const ActivationGroup<Group::size>& x, int lane) {
    sum = __builtin_fmaf(static_cast<float>(dot), widen(weights.scales[output]) * x.scales[lane], sum);
    if constexpr (Group::has_minimum) return __builtin_fmaf(widen(weights.minimums[output]), x.sums[lane], sum);
    else return sum;
}

template <typename Group>
void block(const Linear& linear, const Activations& x, const Group* weights, int first, const Output& output) {
    for (int row = 0; row < x.rows; row++) {
        const auto* groups = groups_of_row<Group::size>(x, row);
        int lane = row % TILE_ROWS;
        float sums[BLOCK_OUTPUTS] = {};
        for (int g = 0; g < groups_of<Group::size>(linear.inputs); g++) {
            for (int o = 0; o < BLOCK_OUTPUTS; o++) {
                int32_t dot = 0;
                for (int i = 0; i < Group::size; i++)
                    dot += code_of(weights[g], o / HALF, o % HALF, i) * groups[g].codes[lane][i];
                sums[o] = add_group(sums[o], dot, weights[g], o, groups[g], lane);
            }
        }
        for (int half = 0; half < 2; half++)
            finish_rows(linear, output, row, 1, first + half * HALF, sums + half * HALF);
    }
}

}  // namespace

LinearKernel grouped_portable(Kind kind) {
    switch (kind) {
        case Kind::q4: return grouped_kernel_of<32>(multiply_blocks<Q4Group, block<Q4Group>>);
        case Kind::q8: return grouped_kernel_of<32>(multiply_blocks<ByteGroup<32>, block<ByteGroup<32>>>);
        case Kind::int8: return grouped_kernel_of<64>(multiply_blocks<ByteGroup<64>, block<ByteGroup<64>>>);
        default: return {};
    }
}

}  // namespace trunkline

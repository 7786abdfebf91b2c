// Grouped linears for AVX2: bytes are multiplied in pairs into 16 bits, pairs of those added up into 32.
#include "grouped_rows.h"

namespace trunkline {
namespace {

constexpr int EIGHT = 8;  // outputs that a vector of this level holds
constexpr int VECTORS = BLOCK_OUTPUTS / EIGHT;

// What multiplies bytes takes the first without sign: a code of 8 bits gives its sign to the activation.
// 2 · 127 · 127 is the most that a pair of products can be, which 16 bits hold.
inline __m256i dot_of_quads(__m256i dot, __m256i codes, __m256i activations) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(activations, codes));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Quad `quad` of eight outputs, vector `at` of the block's four.
inline __m256i codes_of(const Q4Group& group, int at, int quad) {
    auto* from = (const __m256i*)(group.codes[at / 2][quad / 2] + at % 2 * 32);
    __m256i both = _mm256_load_si256(from);
    return _mm256_and_si256(quad % 2 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(15));
}

template <int SIZE>
inline __m256i codes_of(const ByteGroup<SIZE>& group, int at, int quad) {
    return _mm256_load_si256((const __m256i*)(group.codes[at / 2][quad] + at % 2 * 32));
}

inline __m256 widen(const uint16_t* halves) { return _mm256_cvtph_ps(_mm_load_si128((const __m128i*)halves)); }
inline __m256 widen(const float* values) { return _mm256_load_ps(values); }

template <typename Group>
inline __m256 add_group(__m256 sum, __m256i dot, const Group& weights, int at,
                        const ActivationGroup<Group::size>& x, int lane) {
    __m256 both = _mm256_mul_ps(widen(weights.scales + at * EIGHT), _mm256_set1_ps(x.scales[lane]));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), both, sum);
    if constexpr (Group::has_minimum)
        sum = _mm256_fmadd_ps(widen(weights.minimums + at * EIGHT), _mm256_set1_ps(x.sums[lane]), sum);
    return sum;
}

// Eight outputs of rows `row` to row + ROWS - 1, which are of one tile.
template <typename Group, int ROWS>
inline void few_rows(const Activations& x, const Group* weights, int row, int at, float (*results)[BLOCK_OUTPUTS]) {
    const auto* groups = groups_of_row<Group::size>(x, row);
    int lane = row % TILE_ROWS;
    __m256 sums[ROWS] = {};
    for (int g = 0; g < groups_of<Group::size>(x.inputs); g++) {
        __m256i dots[ROWS] = {};
        for (int quad = 0; quad < Group::size / QUAD; quad++) {
            __m256i codes = codes_of(weights[g], at, quad);
            for (int r = 0; r < ROWS; r++) {
                auto four = load<int32_t>(groups[g].codes[lane + r] + quad * QUAD);
                dots[r] = dot_of_quads(dots[r], codes, _mm256_set1_epi32(four));
            }
        }
        for (int r = 0; r < ROWS; r++) sums[r] = add_group(sums[r], dots[r], weights[g], at, groups[g], lane + r);
    }
    for (int r = 0; r < ROWS; r++) _mm256_storeu_ps(results[r] + at * EIGHT, sums[r]);
}

template <typename Group, int ROWS>
void block_of_rows(const Linear& linear, const Activations& x, const Group* weights, int row, int first,
                   const Output& output) {
    float results[ROWS][BLOCK_OUTPUTS];
    for (int at = 0; at < VECTORS; at++) few_rows<Group, ROWS>(x, weights, row, at, results);
    for (int r = 0; r < ROWS; r++)
        for (int half = 0; half < 2; half++)
            finish_rows(linear, output, row + r, 1, first + half * HALF, results[r] + half * HALF);
}

template <typename Group>
void block(const Linear& linear, const Activations& x, const Group* weights, int first, const Output& output) {
    int row = 0;
    for (; row + 4 <= x.rows; row += 4) block_of_rows<Group, 4>(linear, x, weights, row, first, output);
    for (; row < x.rows; row++) block_of_rows<Group, 1>(linear, x, weights, row, first, output);
}

}  // namespace

LinearKernel grouped_avx2(Kind kind) {
    switch (kind) {
        case Kind::q4: return grouped_kernel_of<32>(multiply_blocks<Q4Group, block<Q4Group>>);
        case Kind::q8: return grouped_kernel_of<32>(multiply_blocks<ByteGroup<32>, block<ByteGroup<32>>>);
        case Kind::int8: return grouped_kernel_of<64>(multiply_blocks<ByteGroup<64>, block<ByteGroup<64>>>);
        default: return {};
    }
}

}  // namespace trunkline

// Grouped linears for AMX: tiles multiply sixteen rows at once, vectors scale the dot products and add them up.
#include "grouped_vnni.h"
#include "tiles_amx.h"

namespace trunkline {
namespace {

// Measured: below it vectors alone are faster. What must be unpacked for tiles pays off later.
template <typename Group>
constexpr int ROWS_WORTH_A_TILE = Group::has_minimum ? 6 : 4;

constexpr int TURN_GROUPS = 4;  // what tiles do before vectors take over: all of it stays in the L1 cache
constexpr int PASS_TILES = 4;   // tiles of rows that share what was unpacked

typedef int32_t Dots[2][TILE_ROWS][HALF];
typedef float Sums[2][TILE_ROWS][HALF];

// Registers: dot products of 16 rows in 0 and 1, of 8 rows in 2 and 3; their activations in 4 and 5; weights in
// 6 and 7.
template <int SIZE>
TileConfiguration tiles_for_groups() {
    TileConfiguration tiles;
    for (int i = 0; i < 4; i++) tiles.row_bytes[i] = HALF * sizeof(int32_t);
    tiles.row_bytes[4] = tiles.row_bytes[5] = SIZE;
    tiles.row_bytes[6] = tiles.row_bytes[7] = HALF * QUAD;
    tiles.rows[0] = tiles.rows[1] = tiles.rows[4] = 16;
    tiles.rows[2] = tiles.rows[3] = tiles.rows[5] = 8;
    tiles.rows[6] = tiles.rows[7] = SIZE / QUAD;
    return tiles;
}

// Dot products of 16 or 8 rows and a block's 32 outputs. (Tile instructions take literal numbers only.)
template <typename Group, int ROWS>
inline void dot_tiles(const ActivationGroup<Group::size>& x, const void* low, const void* high, Dots& dots) {
    constexpr bool plain = Group::has_minimum;  // codes of 4 bits have no sign
    constexpr int row_bytes = HALF * sizeof(int32_t);
    _tile_loadd(6, low, HALF * QUAD);
    _tile_loadd(7, high, HALF * QUAD);
    if constexpr (ROWS == 16) {
        _tile_loadd(4, x.codes, Group::size);
        _tile_zero(0);
        _tile_zero(1);
        if constexpr (plain) _tile_dpbsud(0, 4, 6);
        else _tile_dpbssd(0, 4, 6);
        if constexpr (plain) _tile_dpbsud(1, 4, 7);
        else _tile_dpbssd(1, 4, 7);
        _tile_stored(0, dots[0], row_bytes);
        _tile_stored(1, dots[1], row_bytes);
    } else {
        _tile_loadd(5, x.codes, Group::size);
        _tile_zero(2);
        _tile_zero(3);
        if constexpr (plain) _tile_dpbsud(2, 5, 6);
        else _tile_dpbssd(2, 5, 6);
        if constexpr (plain) _tile_dpbsud(3, 5, 7);
        else _tile_dpbssd(3, 5, 7);
        _tile_stored(2, dots[0], row_bytes);
        _tile_stored(3, dots[1], row_bytes);
    }
}

// The codes of some groups, a byte each: unpacked into `space` where they have 4 bits.
struct Codes {
    const uint8_t* bytes[2];  // of the block's halves
    int64_t step;             // from a group to the next
};

typedef uint8_t Space[2][TURN_GROUPS][HALF * Q4Group::size];

inline Codes unpack_turn(const Q4Group* weights, int groups, Space& space) {
    for (int g = 0; g < groups; g++) {
        for (int half = 0; half < 2; half++) {
            __m512i quads[8];
            unpack(weights[g], half, quads);
            for (int i = 0; i < 8; i++) _mm512_store_si512(space[half][g] + i * 64, quads[i]);
        }
    }
    return {{space[0][0], space[1][0]}, sizeof space[0][0]};
}

template <int SIZE>
inline Codes unpack_turn(const ByteGroup<SIZE>* weights, int, Space&) {
    auto* codes = &weights->codes;
    return {{(const uint8_t*)(*codes)[0], (const uint8_t*)(*codes)[1]}, sizeof *weights};
}

// Weights of later turns, asked for a few lines at a time: more at once would hold up everything else.
struct Ahead {
    const char* next;
    int lines;
    void ask() {
        for (int line = 0; line < lines; line++, next += 64) _mm_prefetch(next, _MM_HINT_T0);
    }
};

// Adds some groups of one tile of rows to its sums. Tiles and vectors take turns: mixed they are slower.
template <typename Group, int ROWS>
void add_turn(const Group* weights, const Codes& codes, int turn, const ActivationGroup<Group::size>* x,
              Sums& results, Ahead& ahead) {
    alignas(64) Dots dots[TURN_GROUPS];
    for (int g = 0; g < turn; g++)
        dot_tiles<Group, ROWS>(x[g], codes.bytes[0] + g * codes.step, codes.bytes[1] + g * codes.step, dots[g]);
    for (int half = 0; half < 2; half++) {
        __m512 sums[ROWS];
        for (int r = 0; r < ROWS; r++) sums[r] = _mm512_load_ps(results[half][r]);
        for (int g = 0; g < turn; g++) {
            ahead.ask();
            __m512 scale = widen(weights[g].scales + half * HALF), minimum = minimum_of(weights[g], half);
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
                sums[r] = add_group<Group>(sums[r], _mm512_load_si512(dots[g][half][r]), scale, minimum, x[g], r);
        }
        for (int r = 0; r < ROWS; r++) _mm512_store_ps(results[half][r], sums[r]);
    }
}

// A block's outputs for rows [row, row + rows), at most PASS_TILES tiles of them.
template <typename Group>
void pass(const Linear& linear, const Activations& x, const Group* weights, int row, int rows, int first,
          const Output& output) {
    alignas(64) Space space;
    alignas(64) Sums sums[PASS_TILES] = {};
    int count = groups_of<Group::size>(linear.inputs), shares = 2 * ((rows + TILE_ROWS - 1) / TILE_ROWS);
    int lines = (sizeof(Group) / 64 + shares - 1) / shares;
    for (int g = 0; g < count; g += TURN_GROUPS) {
        int turn = count - g < TURN_GROUPS ? count - g : TURN_GROUPS;
        Codes codes = unpack_turn(weights + g, turn, space);
        Ahead ahead = {(const char*)(weights + g) + PREFETCH_BYTES, lines};
        for (int done = 0; done < rows; done += TILE_ROWS) {
            auto* groups = groups_of_row<Group::size>(x, row + done) + g;
            auto add = rows - done > 8 ? add_turn<Group, 16> : add_turn<Group, 8>;
            add(weights + g, codes, turn, groups, sums[done / TILE_ROWS], ahead);
        }
    }
    for (int done = 0; done < rows; done += TILE_ROWS) {
        int some = rows - done < TILE_ROWS ? rows - done : TILE_ROWS;
        for (int half = 0; half < 2; half++)
            finish_rows(linear, output, row + done, some, first + half * HALF, sums[done / TILE_ROWS][half][0]);
    }
}

template <typename Group>
void by_vectors(const Linear& linear, const Activations& x, const Group* weights, int first, const Output& output) {
    rows_by_four(linear, x, weights, 0, x.rows, first, output);
}

template <typename Group>
void by_tiles(const Linear& linear, const Activations& x, const Group* weights, int first, const Output& output) {
    constexpr int rows_of_pass = PASS_TILES * TILE_ROWS;
    for (int row = 0; row < x.rows; row += rows_of_pass) {
        int rows = x.rows - row < rows_of_pass ? x.rows - row : rows_of_pass;
        pass(linear, x, weights, row, rows, first, output);
    }
}

template <typename Group>
void multiply(const Linear& linear, const Activations& x, int32_t first, int32_t last, const Output& output) {
    if (x.rows < ROWS_WORTH_A_TILE<Group>)
        return multiply_blocks<Group, by_vectors<Group>>(linear, x, first, last, output);
    const Tiles tiles(tiles_for_groups<Group::size>());
    multiply_blocks<Group, by_tiles<Group>>(linear, x, first, last, output);
}

}  // namespace

LinearKernel grouped_amx(Kind kind) {
    switch (kind) {
        case Kind::q4: return grouped_kernel_of<32>(multiply<Q4Group>);
        case Kind::q8: return grouped_kernel_of<32>(multiply<ByteGroup<32>>);
        case Kind::int8: return grouped_kernel_of<64>(multiply<ByteGroup<64>>);
        default: return {};
    }
}

}  // namespace trunkline

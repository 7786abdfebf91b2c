// Norms, gates and what else happens to one row at a time, by vectors.

#include "kernels.h"
#include "output.h"

namespace trunkline {
namespace LEVEL {
namespace {

// Calls body(index, count) for each sixteen numbers of a row, with what is left at the end.
template <typename Body>
inline void each_vector(int width, Body body) {
    int i = 0;
    for (; i + LANES <= width; i += LANES) body(i, LANES);
    if (i < width) body(i, width - i);
}

void read(const void* table, Kind kind, int64_t row, int32_t width, float scale, float* out) {
    if (kind == Kind::float32) {
        const float* from = (const float*)table + row * width;
        for (int i = 0; i < width; i++) out[i] = from[i] * scale;
    } else {
        const uint16_t* from = (const uint16_t*)table + row * width;
        for (int i = 0; i < width; i++) out[i] = float_of(from[i]) * scale;
    }
}

void add(const float* x, int32_t width, float* out) {
    for (int i = 0; i < width; i++) out[i] += x[i];
}

void rms_norm(const float* x, int32_t width, const float* weight, float epsilon, float* out) {
    Floats squares = {};
    each_vector(width, [&](int i, int count) {
        const Floats v = load_some(x + i, count);
        squares += v * v;
    });
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / width + epsilon);
    each_vector(width, [&](int i, int count) {
        store_some(out + i, load_some(x + i, count) * factor * load_some(weight + i, count), count);
    });
}

void layer_norm(const float* x, int32_t width, const float* weight, const float* bias, float epsilon, float* out) {
    Floats total = {};
    each_vector(width, [&](int i, int count) { total += load_some(x + i, count); });
    const float mean = sum(total) / width;
    Floats squares = {};
    each_vector(width, [&](int i, int count) {
        const Floats v = LANE < count ? load_some(x + i, count) - mean : Floats{};
        squares += v * v;
    });
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / width + epsilon);
    each_vector(width, [&](int i, int count) {
        Floats v = (load_some(x + i, count) - mean) * factor * load_some(weight + i, count);
        if (bias) v += load_some(bias + i, count);
        store_some(out + i, v, count);
    });
}

void gate(const float* x, int32_t width, Activation activation, float* out) {
    each_vector(width, [&](int i, int count) {
        const Floats v = activate(activation, load_some(x + i, count)) * load_some(x + width + i, count);
        store_some(out + i, v, count);
    });
}

float highest(const float* values, int32_t count) {
    Floats best = all(-__builtin_inff());
    each_vector(count & ~(LANES - 1), [&](int i, int) { best = maximum(best, load(values + i)); });
    float top = maximum(best);
    for (int i = count & ~(LANES - 1); i < count; i++) top = values[i] > top ? values[i] : top;
    return top;
}

}  // namespace

RowKernels row_kernels() { return {read, add, rms_norm, layer_norm, gate, highest}; }

}  // namespace LEVEL
}  // namespace trunkline

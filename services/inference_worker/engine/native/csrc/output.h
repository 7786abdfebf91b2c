// The end of every linear: bias, activation, and where the result goes.
#pragma once

#include "linear.h"
#include "simd.h"

namespace trunkline {
namespace {

inline Floats tanh_of(Floats x) {
    Floats e = exp_of(x * 2.0f);
    return 1.0f - 2.0f / (e + 1.0f);
}

// The error function by Abramowitz and Stegun's 7.1.26; absolute error below 1.5e-7.
inline Floats erf_of(Floats x) {
    Floats a = magnitude(x);
    Floats t = reciprocal(1.0f + 0.3275911f * a);
    Floats p = all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    Floats y = 1.0f - p * t * exp_of(-a * a);
    return x < 0.0f ? -y : y;
}

inline Floats activate(Activation activation, Floats x) {
    switch (activation) {
        case Activation::gelu: return 0.5f * x * (1.0f + erf_of(x * 0.70710678f));
        case Activation::gelu_tanh: return 0.5f * x * (1.0f + tanh_of(0.79788456f * (x + 0.044715f * x * x * x)));
        case Activation::silu: return x / (1.0f + exp_of(-x));
        case Activation::relu: return x > 0.0f ? x : Floats{};
        default: return x;
    }
}

inline Floats load_some(const float* from, int count) {
    if (count >= LANES) return load(from);
    float lanes[LANES] = {};
    for (int i = 0; i < count; i++) lanes[i] = from[i];
    return load(lanes);
}

inline void store_some(float* to, Floats value, int count) {
    if (count >= LANES) return store(to, value);
    float lanes[LANES];
    store(lanes, value);
    for (int i = 0; i < count; i++) to[i] = lanes[i];
}

// Ends sixteen results of one row, for outputs `first` to first + 15; those past the linear's last are dropped.
inline void finish(const Linear& linear, const Output& output, int row, int first, Floats result) {
    int count = linear.outputs - first;
    if (count <= 0) return;
    if (output.bias) result += load_some(output.bias + first, count);
    if (output.activation != Activation::none) result = activate(output.activation, result);
    float* to = output.values + row * output.stride + (first - output.first_output);
    if (output.add) result += load_some(to, count);
    store_some(to, result, count);
}

}  // namespace
}  // namespace trunkline

#pragma once
#include <cstdint>

#include "common/float16.h"

namespace pysr {
namespace {

// Functions of floats that give the same bits on every CPU and GPU: only additions, products, divisions and explicit
// fused multiply-adds, in a fixed order. The compiler vectorises loops over them.

constexpr float kInfinity = __builtin_inff();

PYSR_HD inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/// e^x for x in [-87, 87], accurate to about one unit in the last place (polynomial of Cephes' expf).
PYSR_HD inline float exponential_within(float x) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const float n = fused(x, 1.44269504f, kRound) - kRound;
    const float r = fused(n, 2.12194440e-4f, fused(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fused(p, r, 1.3981999507e-3f);
    p = fused(p, r, 8.3334519073e-3f);
    p = fused(p, r, 4.1665795894e-2f);
    p = fused(p, r, 1.6666665459e-1f);
    p = fused(p, r, 5.0000001201e-1f);
    p = fused(p, r * r, r + 1.0f);
    return p * bit_cast<float>(static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23);
}

/// e^x for x clamped to [-87, 87].
PYSR_HD inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    return exponential_within(x > 87.0f ? 87.0f : x);
}

/// ln x for normal x > 0 (polynomial of Cephes' logf).
PYSR_HD inline float logarithm(float x) {
    constexpr std::uint32_t kThreeQuarters = 0x3f400000u;
    const std::uint32_t bits = bit_cast<std::uint32_t>(x);
    const std::int32_t exponent = static_cast<std::int32_t>(bits - kThreeQuarters) >> 23;
    const float r = bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23)) - 1.0f;  // in [-0.25, 0.5)
    float p = 7.0376836292e-2f;
    p = fused(p, r, -1.1514610310e-1f);
    p = fused(p, r, 1.1676998740e-1f);
    p = fused(p, r, -1.2420140846e-1f);
    p = fused(p, r, 1.4249322787e-1f);
    p = fused(p, r, -1.6668057665e-1f);
    p = fused(p, r, 2.0000714765e-1f);
    p = fused(p, r, -2.4999993993e-1f);
    p = fused(p, r, 3.3333331174e-1f);
    const float square = r * r;
    return fused(static_cast<float>(exponent), 0.69314718f, r + fused(-0.5f, square, p * r * square));
}

/// tanh(signal) * sigmoid(opening).
PYSR_HD inline float gated(float signal, float opening) {
    signal = signal < -15.0f ? -15.0f : signal;
    signal = signal > 15.0f ? 15.0f : signal;
    opening = opening < -40.0f ? -40.0f : opening;
    opening = opening > 87.0f ? 87.0f : opening;
    const float a = exponential_within(-2.0f * signal), b = exponential_within(-opening);
    return (1.0f - a) / ((1.0f + a) * (1.0f + b));
}

/// Gumbel noise from 23 of 32 random bits: -ln(-ln u), with u far enough from 0 and 1 for -ln u to be normal. Without a
/// branch, so that loops over it are vectorised.
PYSR_HD inline float gumbel(std::uint32_t random) {
    const float u = fused(static_cast<float>(static_cast<std::int32_t>(random >> 9)), 1.1920929e-7f, 5.9604645e-8f);
    return -logarithm(-logarithm(u));
}

}  // namespace
}  // namespace pysr

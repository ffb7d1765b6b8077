#pragma once
#include <immintrin.h>

namespace pysr {
namespace {

/// Eight floats side by side. Tiles of 6 rows and 2 vectors fill the sixteen registers.
struct Lanes {
    __m256 numbers;
};
constexpr int kLanes = 8, kMostRows = 6;
constexpr int most_panels(int) { return 1; }

inline Lanes load(const float* from) { return {_mm256_loadu_ps(from)}; }
inline void store(float* to, Lanes lanes) { _mm256_storeu_ps(to, lanes.numbers); }
inline Lanes spread(const float* from) { return {_mm256_broadcast_ss(from)}; }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return {_mm256_fmadd_ps(a.numbers, b.numbers, sum.numbers)}; }

}  // namespace
}  // namespace pysr

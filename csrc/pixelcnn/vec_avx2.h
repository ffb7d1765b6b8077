#pragma once
#include <immintrin.h>

namespace pysr {
namespace {

/// Eight floats. A tile of 6 rows and 2 vectors fills the sixteen registers.
struct Vec {
    __m256 lanes;
};
constexpr int kLanes = 8, kMaxRows = 6;
constexpr int max_panels(int) { return 1; }

inline Vec load(const float* from) { return {_mm256_loadu_ps(from)}; }
inline void store(float* to, Vec vec) { _mm256_storeu_ps(to, vec.lanes); }
inline Vec broadcast(const float* from) { return {_mm256_broadcast_ss(from)}; }
inline Vec multiply_add(Vec a, Vec b, Vec sum) { return {_mm256_fmadd_ps(a.lanes, b.lanes, sum.lanes)}; }

}  // namespace
}  // namespace pysr

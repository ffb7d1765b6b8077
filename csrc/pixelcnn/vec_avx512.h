#pragma once
#include <immintrin.h>

namespace pysr {
namespace {

/// Sixteen floats. A tile of 8 rows and 3 vectors, or of 6 and 4, fills the thirty-two registers.
struct Vec {
    __m512 lanes;
};
constexpr int kLanes = 16, kMaxRows = 8;
constexpr int max_panels(int rows) { return rows <= 6 ? 4 : 3; }

inline Vec load(const float* from) { return {_mm512_loadu_ps(from)}; }
inline void store(float* to, Vec vec) { _mm512_storeu_ps(to, vec.lanes); }
inline Vec broadcast(const float* from) { return {_mm512_set1_ps(*from)}; }
inline Vec multiply_add(Vec a, Vec b, Vec sum) { return {_mm512_fmadd_ps(a.lanes, b.lanes, sum.lanes)}; }

}  // namespace
}  // namespace pysr

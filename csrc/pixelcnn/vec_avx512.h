#pragma once
#include <immintrin.h>

namespace pysr {
namespace {

/// Sixteen floats side by side. Tiles of 8 rows and 3 vectors, or 6 and 4, fill the thirty-two registers.
struct Lanes {
    __m512 numbers;
};
constexpr int kLanes = 16, kMostRows = 8;
constexpr int most_panels(int rows) { return rows <= 6 ? 4 : 3; }

inline Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
inline void store(float* to, Lanes lanes) { _mm512_storeu_ps(to, lanes.numbers); }
inline Lanes spread(const float* from) { return {_mm512_set1_ps(*from)}; }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return {_mm512_fmadd_ps(a.numbers, b.numbers, sum.numbers)}; }

}  // namespace
}  // namespace pysr

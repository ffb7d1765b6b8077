#pragma once
#include "pixelcnn/types.h"
#include "pixelcnn/vec_avx512.h"

namespace pysr {
namespace {

/// Sixteen pairs of bfloat16.
struct PairVec {
    __m512i lanes;
};

inline PairVec load(const bfloat16* from) { return {_mm512_loadu_si512(from)}; }

inline PairVec broadcast(const bfloat16* from) {
    int pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return {_mm512_set1_epi32(pair)};
}

/// Like from_float, but numbers below the normal ones become zero, as multiply_add reads them.
inline void from_floats(const float* from, bfloat16* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += kLanes) {
        const std::int64_t left = count - i;
        const __mmask16 mask = static_cast<__mmask16>(left < kLanes ? (1u << left) - 1 : 0xffffu);
        const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + i));
        _mm256_mask_storeu_epi16(to + i, mask, rounded);
    }
}

inline Vec multiply_add(PairVec a, PairVec b, Vec sum) {
    return {_mm512_dpbf16_ps(sum.lanes, (__m512bh)a.lanes, (__m512bh)b.lanes)};
}

}  // namespace
}  // namespace pysr

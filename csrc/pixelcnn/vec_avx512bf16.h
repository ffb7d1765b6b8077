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

inline Vec multiply_add(PairVec a, PairVec b, Vec sum) {
    return {_mm512_dpbf16_ps(sum.lanes, (__m512bh)a.lanes, (__m512bh)b.lanes)};
}

}  // namespace
}  // namespace pysr

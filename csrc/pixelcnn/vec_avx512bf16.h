#pragma once
#include "pixelcnn/types.h"
#include "pixelcnn/vec_avx512.h"

namespace pysr {
namespace {

/// Sixteen pairs of bfloat16 side by side.
struct Pairs {
    __m512i numbers;
};

inline Pairs load(const Bf16* from) { return {_mm512_loadu_si512(from)}; }

inline Pairs spread(const Bf16* from) {
    int pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return {_mm512_set1_epi32(pair)};
}

inline Lanes multiply_add(Pairs a, Pairs b, Lanes sum) {
    return {_mm512_dpbf16_ps(sum.numbers, (__m512bh)a.numbers, (__m512bh)b.numbers)};
}

}  // namespace
}  // namespace pysr

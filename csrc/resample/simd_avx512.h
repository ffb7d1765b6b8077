#pragma once
#include <immintrin.h>

#include "resample/places.h"

namespace pysr {
namespace {

constexpr std::int64_t kVector = 64;  // bytes

/// Weaves all but the last few pixels, `size` bytes each, and returns how many input pixels that was. Every vector
/// overwrites the unfinished bytes of the one before it.
inline std::int64_t weave_vectors(const Places& places, char* const* phases, std::int64_t scale, std::int64_t size,
                                  std::int64_t count, char* to) {
    std::int64_t i = 0;
    if (!places.pixels) return i;
    for (; i * scale * size + kVector <= count * scale * size; i += places.pixels) {
        __m512i woven = _mm512_setzero_si512();
        for (std::int64_t p = 0; p < scale; ++p) {
            const __m512i from = _mm512_load_si512(places.from[p]);
            const __mmask64 present = ~_mm512_movepi8_mask(from);  // entries below kNone
            woven = _mm512_mask_permutexvar_epi8(woven, present, from, _mm512_loadu_si512(phases[p] + i * size));
        }
        _mm512_storeu_si512(to + i * scale * size, woven);
    }
    return i;
}

}  // namespace
}  // namespace pysr

#pragma once
#include <immintrin.h>

#include "resample/places.h"

namespace pysr {
namespace {

constexpr std::int64_t kVector = 16;  // bytes

/// Weaves all but the last few pixels, `size` bytes each, and returns how many input pixels that was. Every vector
/// overwrites the unfinished bytes of the one before it.
inline std::int64_t weave_vectors(const Places& places, char* const* phases, std::int64_t scale, std::int64_t size,
                                  std::int64_t count, char* to) {
    std::int64_t i = 0;
    if (!places.pixels) return i;
    for (; i * scale * size + kVector <= count * scale * size; i += places.pixels) {
        __m128i woven = _mm_setzero_si128();
        for (std::int64_t p = 0; p < scale; ++p) {
            const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(phases[p] + i * size));
            const __m128i from = _mm_load_si128(reinterpret_cast<const __m128i*>(places.from[p]));
            woven = _mm_or_si128(woven, _mm_shuffle_epi8(pixels, from));
        }
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * scale * size), woven);
    }
    return i;
}

}  // namespace
}  // namespace pysr

#pragma once
#include <immintrin.h>

#include "patches/simd_scalar.h"

namespace pysr {
namespace {

/// Mask of the first `left` of 16 lanes, or of all of them.
inline __mmask16 first_lanes(std::int64_t left) {
    return static_cast<__mmask16>(left < 16 ? (1u << left) - 1 : 0xffff);
}

/// Mask of the bytes of the first `left` of 16 RGB pixels, or of all of them.
inline __mmask64 first_pixels(std::int64_t left) { return (1ull << (3 * (left < 16 ? left : 16))) - 1; }

/// One channel of 16 pixels, as floats in [0, 1]: value * (high + low), which rounds to the same bits as value / 255.
inline __m512 channel_of(__m512i pixels, int channel) {
    const __m512i first = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
    const __m512i places = _mm512_add_epi32(first, _mm512_set1_epi32(channel));
    const __m512 high = _mm512_set1_ps(1.0f / 255.0f);
    const __m512 low = _mm512_set1_ps(static_cast<float>(1.0 / 255.0 - static_cast<double>(1.0f / 255.0f)));
    const __m512i numbers = _mm512_maskz_permutexvar_epi8(0x1111111111111111u, places, pixels);
    const __m512 value = _mm512_cvtepi32_ps(numbers);
    return _mm512_fmadd_ps(value, high, _mm512_mul_ps(value, low));
}

inline bool on_cache_line(const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 64 == 0; }

/// split_scalar for bytes. stream: use non-temporal stores if the rows are aligned; finish_streams() must follow.
inline void split_bytes(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count, bool stream) {
    std::int64_t i = 0;
    if (stream && on_cache_line(red) && on_cache_line(green) && on_cache_line(blue)) {
        for (; i + 16 <= count; i += 16) {
            const __m512i pixels = _mm512_maskz_loadu_epi8(first_pixels(16), rgb + 3 * i);
            _mm512_stream_ps(reinterpret_cast<float*>(red + 4 * i), channel_of(pixels, 0));
            _mm512_stream_ps(reinterpret_cast<float*>(green + 4 * i), channel_of(pixels, 1));
            _mm512_stream_ps(reinterpret_cast<float*>(blue + 4 * i), channel_of(pixels, 2));
        }
    }
    for (; i < count; i += 16) {
        const __m512i pixels = _mm512_maskz_loadu_epi8(first_pixels(count - i), rgb + 3 * i);
        _mm512_mask_storeu_ps(red + 4 * i, first_lanes(count - i), channel_of(pixels, 0));
        _mm512_mask_storeu_ps(green + 4 * i, first_lanes(count - i), channel_of(pixels, 1));
        _mm512_mask_storeu_ps(blue + 4 * i, first_lanes(count - i), channel_of(pixels, 2));
    }
}

/// 16 floats as bytes, scaled by 255, clipped and rounded; NaN becomes 0.
inline __m128i bytes_of(__m512 value) {
    const __m512 white = _mm512_set1_ps(255.0f);
    value = _mm512_max_ps(_mm512_mul_ps(value, white), _mm512_setzero_ps());
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_min_ps(value, white)));
}

/// Where the bytes of interleaved pixels are in planes of 16 bytes.
alignas(64) constexpr std::uint8_t kInterleaved[64] = {0,  16, 32, 1,  17, 33, 2,  18, 34, 3,  19, 35, 4,  20, 36, 5,
                                                       21, 37, 6,  22, 38, 7,  23, 39, 8,  24, 40, 9,  25, 41, 10, 26,
                                                       42, 11, 27, 43, 12, 28, 44, 13, 29, 45, 14, 30, 46, 15, 31, 47};

/// Stores the first `left` of 16 pixels, or all of them.
inline void store_pixels(std::uint8_t* rgb, std::int64_t left, __m512 red, __m512 green, __m512 blue) {
    const __m512i red_green = _mm512_inserti32x4(_mm512_zextsi128_si512(bytes_of(red)), bytes_of(green), 1);
    const __m512i planes = _mm512_inserti32x4(red_green, bytes_of(blue), 2);
    const __m512i pixels = _mm512_permutexvar_epi8(_mm512_load_si512(kInterleaved), planes);
    if (left < 16) return _mm512_mask_storeu_epi8(rgb, first_pixels(left), pixels);  // slow on some processors
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rgb), _mm512_castsi512_si256(pixels));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rgb + 32), _mm512_extracti32x4_epi32(pixels, 2));
}

/// join_scalar for bytes.
inline void join_bytes(const char* red, std::int64_t plane_stride, std::uint8_t* rgb, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 16) {
        const __mmask16 mask = first_lanes(count - i);
        const char* row = red + 4 * i;
        store_pixels(rgb + 3 * i, count - i, _mm512_maskz_loadu_ps(mask, row),
                     _mm512_maskz_loadu_ps(mask, row + plane_stride),
                     _mm512_maskz_loadu_ps(mask, row + 2 * plane_stride));
    }
}

/// join_sum_scalar for bytes.
inline void join_sum_bytes(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 16) {
        __m512 sums[3] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (const Source* source = sources; source < sources + source_count; ++source) {
            const __m512 weights = _mm512_maskz_loadu_ps(first_lanes(count - i), source->weights + i);
            const __mmask16 is_counted = _mm512_cmp_ps_mask(weights, _mm512_setzero_ps(), _CMP_NEQ_UQ);
            const __m512 weight = _mm512_mul_ps(_mm512_set1_ps(source->weight), weights);
            const char* row = source->samples + 4 * i;
            for (int c = 0; c < 3; ++c, row += source->plane_stride)
                sums[c] = _mm512_mask_add_ps(sums[c], is_counted, sums[c],
                                             _mm512_mul_ps(weight, _mm512_maskz_loadu_ps(is_counted, row)));
        }
        store_pixels(rgb + 3 * i, count - i, sums[0], sums[1], sums[2]);
    }
}

inline void finish_streams() { _mm_sfence(); }

}  // namespace
}  // namespace pysr

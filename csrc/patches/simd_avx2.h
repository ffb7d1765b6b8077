#pragma once
#include <immintrin.h>

#include "patches/simd_scalar.h"

namespace pysr {
namespace {

/// One channel of the four pixels in each 128-bit half, as eight floats in [0, 1].
inline __m256 channel_of(__m256i pixels, int channel) {
    const __m256i places = _mm256_setr_epi32(0, 3, 6, 9, 4, 7, 10, 13);
    const __m256i zero_rest = _mm256_set1_epi32(static_cast<int>(0x80808000u) + channel);
    const __m256i numbers = _mm256_shuffle_epi8(pixels, _mm256_add_epi32(places, zero_rest));
    return _mm256_div_ps(_mm256_cvtepi32_ps(numbers), _mm256_set1_ps(255.0f));
}

inline void write_row(char* row, __m256 values, bool stream) {
    if (stream) return _mm256_stream_ps(reinterpret_cast<float*>(row), values);
    _mm256_storeu_ps(reinterpret_cast<float*>(row), values);
}

inline bool is_aligned(const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 32 == 0; }

/// split_scalar for bytes. stream: use non-temporal stores if the rows are aligned; finish_streams() must follow.
inline void split_bytes(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count, bool stream) {
    stream = stream && is_aligned(red) && is_aligned(green) && is_aligned(blue);
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8) {  // pixels 0 to 3 and 4 to 7
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 3 * i));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 3 * i + 8));
        const __m256i pixels = _mm256_set_m128i(high, low);
        write_row(red + 4 * i, channel_of(pixels, 0), stream);
        write_row(green + 4 * i, channel_of(pixels, 1), stream);
        write_row(blue + 4 * i, channel_of(pixels, 2), stream);
    }
    split_scalar<std::uint8_t>(reinterpret_cast<const char*>(rgb) + 3 * i, red + 4 * i, green + 4 * i, blue + 4 * i,
                               count - i);
}

inline __m256 read_row(const char* row) { return _mm256_loadu_ps(reinterpret_cast<const float*>(row)); }

/// Eight floats as integers from 0 to 255, clipped and rounded; NaN becomes 0.
inline __m256i levels_of(__m256 value) {
    const __m256 white = _mm256_set1_ps(255.0f);
    value = _mm256_max_ps(_mm256_mul_ps(value, white), _mm256_setzero_ps());
    return _mm256_cvtps_epi32(_mm256_min_ps(value, white));
}

/// Stores eight pixels, and overwrites the four bytes behind them.
inline void store_pixels(std::uint8_t* rgb, __m256 red, __m256 green, __m256 blue) {
    const __m128i order = _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1);
    const __m256i red_green = _mm256_packus_epi32(levels_of(red), levels_of(green));
    const __m256i planes = _mm256_packus_epi16(red_green, _mm256_packus_epi32(levels_of(blue), _mm256_setzero_si256()));
    const __m256i pixels = _mm256_shuffle_epi8(planes, _mm256_broadcastsi128_si256(order));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rgb), _mm256_castsi256_si128(pixels));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rgb + 12), _mm256_extracti128_si256(pixels, 1));
}

constexpr std::int64_t kTouched = 10;  // pixels that store_pixels touches

/// join_scalar for bytes.
inline void join_bytes(const char* red, std::int64_t plane_stride, std::uint8_t* rgb, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + kTouched <= count; i += 8) {
        const char* row = red + 4 * i;
        store_pixels(rgb + 3 * i, read_row(row), read_row(row + plane_stride), read_row(row + 2 * plane_stride));
    }
    join_scalar<std::uint8_t>(red + 4 * i, plane_stride, reinterpret_cast<char*>(rgb) + 3 * i, count - i);
}

/// join_sum_scalar for bytes.
inline void join_sum_bytes(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + kTouched <= count; i += 8) {
        __m256 sums[3] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        for (const Source* source = sources; source < sources + source_count; ++source) {
            const __m256 weights = _mm256_loadu_ps(source->weights + i);
            const __m256 is_counted = _mm256_cmp_ps(weights, _mm256_setzero_ps(), _CMP_NEQ_UQ);
            const __m256 weight = _mm256_mul_ps(_mm256_set1_ps(source->weight), weights);
            const char* row = source->samples + 4 * i;
            for (int c = 0; c < 3; ++c, row += source->plane_stride)
                sums[c] = _mm256_add_ps(sums[c], _mm256_and_ps(is_counted, _mm256_mul_ps(weight, read_row(row))));
        }
        store_pixels(rgb + 3 * i, sums[0], sums[1], sums[2]);
    }
    join_sum_scalar<std::uint8_t>(sources, source_count, reinterpret_cast<char*>(rgb), i, count);
}

inline void finish_streams() { _mm_sfence(); }

}  // namespace
}  // namespace pysr

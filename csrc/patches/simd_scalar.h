#pragma once
#include "common/image.h"

namespace pysr {
namespace {

// Loops for interleaved RGB bytes, left to the compiler to vectorise. Rows of floats may be unaligned.

/// One patch row that contributes to a run of output pixels: three planes of floats, `plane_stride` bytes apart, to be
/// multiplied by weight * weights[i].
struct Source {
    const char* samples;
    std::int64_t plane_stride;
    const float* weights;
    float weight;
};

/// Splits `count` pixels into three rows of floats in [0, 1].
inline void split_scalar(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        store(red + i * sizeof(float), to_float(rgb[3 * i]));
        store(green + i * sizeof(float), to_float(rgb[3 * i + 1]));
        store(blue + i * sizeof(float), to_float(rgb[3 * i + 2]));
    }
}

/// Joins three rows of floats, `plane_stride` bytes apart, to `count` pixels, clipped and rounded.
inline void join_scalar(const char* red, std::int64_t plane_stride, std::uint8_t* rgb, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t c = 0; c < 3; ++c)
            rgb[3 * i + c] = from_float<std::uint8_t>(load<float>(red + c * plane_stride + i * sizeof(float)));
}

/// Joins the weighted sum of the sources to pixels [from, count), clipped and rounded.
inline void join_sum_scalar(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t from,
                            std::int64_t count) {
    constexpr std::int64_t kBlock = 64;
    for (; from < count; from += kBlock) {
        float sums[3][kBlock] = {};
        const std::int64_t size = clamp(0, count - from, kBlock);
        for (const Source* source = sources; source < sources + source_count; ++source) {
            const float* weights = source->weights + from;
            for (std::int64_t c = 0; c < 3; ++c) {
                const char* samples = source->samples + c * source->plane_stride + from * sizeof(float);
                for (std::int64_t i = 0; i < size; ++i) {
                    const float value = (source->weight * weights[i]) * load<float>(samples + i * sizeof(float));
                    sums[c][i] += weights[i] != 0.0f ? value : 0.0f;
                }
            }
        }
        join_scalar(reinterpret_cast<const char*>(sums), sizeof sums[0], rgb + 3 * from, size);
    }
}

}  // namespace
}  // namespace pysr

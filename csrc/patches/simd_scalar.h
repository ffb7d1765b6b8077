#pragma once
#include "common/image.h"

namespace pysr {
namespace {

// Members for pixels that lie as r, g, b, r, g, b in bytes, as the compiler makes them. Rows of floats may be
// unaligned.

/// A row of a patch that counts for some output pixels: three planes of floats, `next` bytes apart, times
/// weight * weights[i].
struct Source {
    const char* samples;
    std::int64_t next;
    const float* weights;
    float weight;
};

/// `count` pixels to three rows of floats in [0, 1].
inline void split_plain(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        store(red + i * sizeof(float), widen(rgb[3 * i]));
        store(green + i * sizeof(float), widen(rgb[3 * i + 1]));
        store(blue + i * sizeof(float), widen(rgb[3 * i + 2]));
    }
}

/// Three rows of floats, `next` bytes apart, to `count` pixels, clipped and rounded half to even.
inline void join_plain(const char* red, std::int64_t next, std::uint8_t* rgb, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t c = 0; c < 3; ++c)
            rgb[3 * i + c] = narrow_to<std::uint8_t>(load<float>(red + c * next + i * sizeof(float)));
}

/// The sum of sources [0, sources) to `count` pixels, likewise, from pixel `from` on.
inline void join_sum_plain(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t from,
                           std::int64_t count) {
    constexpr std::int64_t kBlock = 64;
    for (; from < count; from += kBlock) {
        float sums[3][kBlock] = {};
        const std::int64_t some = between(0, count - from, kBlock);
        for (const Source* source = sources; source < sources + source_count; ++source) {
            const float* weights = source->weights + from;
            for (std::int64_t c = 0; c < 3; ++c) {
                const char* samples = source->samples + c * source->next + from * sizeof(float);
                for (std::int64_t i = 0; i < some; ++i) {
                    const float value = (source->weight * weights[i]) * load<float>(samples + i * sizeof(float));
                    sums[c][i] += weights[i] != 0.0f ? value : 0.0f;
                }
            }
        }
        join_plain(reinterpret_cast<const char*>(sums), sizeof sums[0], rgb + 3 * from, some);
    }
}

}  // namespace
}  // namespace pysr

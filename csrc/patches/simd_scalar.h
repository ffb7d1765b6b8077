#pragma once
#include "common/image.h"

namespace pysr {
namespace {

// Loops for interleaved RGB, left to the compiler to vectorise. Rows of floats and pixels may be unaligned.

/// One patch row that contributes to a run of output pixels: three planes of floats, `plane_stride` bytes apart, to be
/// multiplied by weight * weights[i].
struct Source {
    const char* samples;
    std::int64_t plane_stride;
    const float* weights;
    float weight;
};

/// Splits `count` pixels into three rows of floats.
template <class In>
void split_scalar(const char* rgb, char* red, char* green, char* blue, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i, rgb += 3 * sizeof(In)) {
        store(red + i * sizeof(float), to_float(load<In>(rgb)));
        store(green + i * sizeof(float), to_float(load<In>(rgb + sizeof(In))));
        store(blue + i * sizeof(float), to_float(load<In>(rgb + 2 * sizeof(In))));
    }
}

/// Joins three rows of floats, `plane_stride` bytes apart, to `count` pixels; integers are clipped and rounded. Adding
/// zero makes -0 a 0, as a sum does.
template <class Out>
void join_scalar(const char* red, std::int64_t plane_stride, char* rgb, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t c = 0; c < 3; ++c) {
            const float value = load<float>(red + c * plane_stride + i * sizeof(float));
            store(rgb + (3 * i + c) * sizeof(Out), from_float<Out>(value + 0.0f));
        }
}

/// Joins the weighted sum of the sources to pixels [from, count).
template <class Out>
void join_sum_scalar(const Source* sources, std::int64_t source_count, char* rgb, std::int64_t from,
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
        join_scalar<Out>(reinterpret_cast<const char*>(sums), sizeof sums[0], rgb + 3 * from * sizeof(Out), size);
    }
}

}  // namespace
}  // namespace pysr

#pragma once
#include "common/backend.h"
#include "common/image.h"

/// Interface of the resampling kernel.
namespace pysr {

/// How an axis is enlarged by a whole number: output pixel i * scale + phase is the sum over k of input pixel
/// i + offsets[phase * taps + k], times weights[phase * taps + k]. A phase ends before its first weight of zero.
struct Filter {
    std::int64_t scale, taps;
    const std::int64_t* offsets;  // from -kReach to kReach
    const float* weights;
};

constexpr std::int64_t kMostTaps = 8, kReach = 8, kMostScale = 16;

/// Output rows from scale * first_row on: first all columns are filtered, then all rows, each with fused multiply-adds
/// in the order of the taps. The image is mirrored beyond its borders. clip: clip floats to [0, 1].
void enlarge(Cpu on, const Image& image, const Filter& filter, std::int64_t first_row, bool clip, const Image& out);

}  // namespace pysr

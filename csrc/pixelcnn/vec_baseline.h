#pragma once
#include "pixelcnn/math.h"

namespace pysr {
namespace {

/// Four floats side by side.
struct Lanes {
    float numbers[4];
};
constexpr int kLanes = 4, kMostRows = 4;
constexpr int most_panels(int) { return 1; }

inline Lanes load(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }

inline void store(float* to, Lanes lanes) {
    for (int i = 0; i < kLanes; ++i) to[i] = lanes.numbers[i];
}

inline Lanes spread(const float* from) { return {{*from, *from, *from, *from}}; }

inline Lanes multiply_add(Lanes a, Lanes b, Lanes sum) {
    for (int i = 0; i < kLanes; ++i) sum.numbers[i] = fused(a.numbers[i], b.numbers[i], sum.numbers[i]);
    return sum;
}

}  // namespace
}  // namespace pysr

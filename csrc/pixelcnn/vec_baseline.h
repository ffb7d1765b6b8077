#pragma once
#include "pixelcnn/math.h"

namespace pysr {
namespace {

/// Four floats.
struct Vec {
    float lanes[4];
};
constexpr int kLanes = 4, kMaxRows = 4;
constexpr int max_panels(int) { return 1; }

inline Vec load(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }

inline void store(float* to, Vec vec) {
    for (int i = 0; i < kLanes; ++i) to[i] = vec.lanes[i];
}

inline Vec broadcast(const float* from) { return {{*from, *from, *from, *from}}; }

inline Vec multiply_add(Vec a, Vec b, Vec sum) {
    for (int i = 0; i < kLanes; ++i) sum.lanes[i] = fused(a.lanes[i], b.lanes[i], sum.lanes[i]);
    return sum;
}

}  // namespace
}  // namespace pysr

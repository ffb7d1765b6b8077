#pragma once
#include <cstdint>

namespace pysr {
namespace {

/// Winograd's F(2, 5): two neighbouring sums of five products from six multiplications instead of ten ("Fast algorithms
/// for convolutional neural networks", Lavin and Gray, 2016). Inputs and weights are polynomials, which are multiplied
/// through their values at six points: 0, +-kNear, +-kFar and infinity. With these points the rounding error is close
/// to that of plain sums.
constexpr std::int64_t kTile = 6;
constexpr double kNear = 2.0 / 3, kFar = 3.0 / 2;

/// Weight of one of the six products, from five weights.
inline float transform_weights(const float* weights, std::int64_t product) {
    if (product == 0) return weights[0];
    if (product == kTile - 1) return weights[4];
    const double size = product <= 2 ? kNear : kFar, other = product <= 2 ? kFar : kNear;
    const double point = product % 2 ? size : -size;
    double value = 0;
    for (int k = 4; k >= 0; --k) value = value * point + static_cast<double>(weights[k]);
    return static_cast<float>(value / (2 * size * size * (size * size - other * other)));
}

/// Transforms six neighbouring columns of `count` channels: kTile inputs of products, `stride` apart.
inline void transform_inputs(const float* const (&columns)[kTile], float* to, std::int64_t stride, std::int64_t count) {
    constexpr float kNearSquare = kNear * kNear, kFarSquare = kFar * kFar, kSumOfSquares = kNear * kNear + kFar * kFar;
    const float *x0 = columns[0], *x1 = columns[1], *x2 = columns[2], *x3 = columns[3], *x4 = columns[4];
    const float* x5 = columns[5];
#pragma GCC ivdep
    for (std::int64_t k = 0; k < count; ++k) {
        const float even_near = x4[k] - kFarSquare * x2[k], odd_near = x3[k] - kFarSquare * x1[k];
        const float even_far = x4[k] - kNearSquare * x2[k], odd_far = x3[k] - kNearSquare * x1[k];
        to[k] = x0[k] + x4[k] - kSumOfSquares * x2[k];
        to[stride + k] = even_near + static_cast<float>(kNear) * odd_near;
        to[2 * stride + k] = even_near - static_cast<float>(kNear) * odd_near;
        to[3 * stride + k] = even_far + static_cast<float>(kFar) * odd_far;
        to[4 * stride + k] = even_far - static_cast<float>(kFar) * odd_far;
        to[5 * stride + k] = x1[k] + x5[k] - kSumOfSquares * x3[k];
    }
}

/// The sums of the two columns from their kTile products, `stride` apart.
inline void sum_products(const float* products, std::int64_t stride, float* left, float* right, std::int64_t count) {
#pragma GCC ivdep
    for (std::int64_t k = 0; k < count; ++k) {
        const float *near = products + stride + k, *far = near + 2 * stride;
        left[k] = products[k] + (near[0] + near[stride]) + (far[0] + far[stride]);
        const float odd = static_cast<float>(kNear) * (near[0] - near[stride]);
        right[k] = products[5 * stride + k] + odd + static_cast<float>(kFar) * (far[0] - far[stride]);
    }
}

}  // namespace
}  // namespace pysr

#pragma once
#include "pixelcnn/types.h"

namespace pysr {
namespace {

inline void from_floats(const float* from, float* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
}

/// kRows rows of kPanels panels: out[row] = bias, or out[row] itself, plus the products with inputs[tap * stride +
/// row].
template <class Element, int kRows, int kPanels>
void multiply_tile(const Panels<Element>& matrix, std::int64_t panel, const Element* const* inputs, std::int64_t stride,
                   float* out, std::int64_t out_row, bool add) {
    constexpr int kVectors = kPanels * (kPanel / kLanes), kPerPanel = kPanel / kLanes;
    constexpr std::int64_t pair = kPair<Element>;
    const std::int64_t panel_size = matrix.taps * matrix.depth * kPanel;
    Vec sums[kRows][kVectors];
    for (int m = 0; m < kRows; ++m)
        for (int v = 0; v < kVectors; ++v)
            sums[m][v] = load(add ? out + m * out_row + v * kLanes : matrix.bias + panel * kPanel + v * kLanes);
    const Element* weights = matrix.weights + panel * panel_size;
    for (std::int64_t tap = 0; tap < matrix.taps; ++tap) {
        const Element* rows[kRows];
        for (int m = 0; m < kRows; ++m) rows[m] = inputs[tap * stride + m];
#pragma GCC unroll 2  // a fifth faster for small tiles
        for (std::int64_t k = 0; k < matrix.depth; k += pair, weights += kPanel * pair) {
            decltype(load(weights)) factors[kVectors];
            for (int v = 0; v < kVectors; ++v)
                factors[v] = load(weights + v / kPerPanel * panel_size + v % kPerPanel * kLanes * pair);
            for (int m = 0; m < kRows; ++m) {
                const auto input = broadcast(rows[m] + k);
                for (int v = 0; v < kVectors; ++v) sums[m][v] = multiply_add(input, factors[v], sums[m][v]);
            }
        }
    }
    for (int m = 0; m < kRows; ++m)
        for (int v = 0; v < kVectors; ++v) store(out + m * out_row + v * kLanes, sums[m][v]);
}

template <class Element, int kRows>
void multiply_rows(int panels, const Panels<Element>& matrix, std::int64_t panel, const Element* const* inputs,
                   std::int64_t stride, float* out, std::int64_t out_row, bool add) {
    if (panels == 1) return multiply_tile<Element, kRows, 1>(matrix, panel, inputs, stride, out, out_row, add);
    if constexpr (max_panels(kRows) >= 2)
        if (panels == 2) return multiply_tile<Element, kRows, 2>(matrix, panel, inputs, stride, out, out_row, add);
    if constexpr (max_panels(kRows) >= 3)
        if (panels == 3) return multiply_tile<Element, kRows, 3>(matrix, panel, inputs, stride, out, out_row, add);
    if constexpr (max_panels(kRows) >= 4)
        if (panels == 4) return multiply_tile<Element, kRows, 4>(matrix, panel, inputs, stride, out, out_row, add);
}

template <class Element, int kRows = kMaxRows>
void multiply_block(int rows, int panels, const Panels<Element>& matrix, std::int64_t panel,
                    const Element* const* inputs, std::int64_t stride, float* out, std::int64_t out_row, bool add) {
    if (rows == kRows) return multiply_rows<Element, kRows>(panels, matrix, panel, inputs, stride, out, out_row, add);
    if constexpr (kRows > 1)
        multiply_block<Element, kRows - 1>(rows, panels, matrix, panel, inputs, stride, out, out_row, add);
}

/// Multiplies rows of inputs by a matrix. inputs[tap * stride + row]: the inputs of one tap. out: rows of whole panels,
/// `out_row` floats apart. add: accumulate into out instead of starting from the bias.
template <class Element>
void multiply(const Panels<Element>& matrix, const Element* const* inputs, std::int64_t stride, std::int64_t rows,
              float* out, std::int64_t out_row, bool add = false) {
    const std::int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
    const int widest = max_panels(static_cast<int>((rows + blocks - 1) / blocks));
    for (std::int64_t panel = 0; panel < matrix.panels;) {
        std::int64_t panels = matrix.panels - panel;
        if (panels == widest + 1 && widest > 2) panels = widest - 1;  // 2 and 2 are faster than 3 and 1
        if (panels > widest) panels = widest;
        for (std::int64_t block = 0, first = 0; block < blocks; ++block) {
            const std::int64_t size = (rows - first + blocks - block - 1) / (blocks - block);
            multiply_block(static_cast<int>(size), static_cast<int>(panels), matrix, panel, inputs + first, stride,
                           out + first * out_row + panel * kPanel, out_row, add);
            first += size;
        }
        panel += panels;
    }
}

/// A tile whose inputs and weights never change (see PeakFlops). The sums start from values that the compiler does not
/// know and are used afterwards; otherwise it would optimise the work away.
template <class Element>
double peak_flops(std::int64_t rounds) {
    constexpr int kVectors = max_panels(kMaxRows) * (kPanel / kLanes);
    volatile float unknown = 1.0f;
    float values[kMaxRows][kVectors * kLanes];
    for (auto& row : values)
        for (float& value : row) value = unknown;
    alignas(64) Element ones[kPanel * kPair<Element>] = {};
    Vec sums[kMaxRows][kVectors];
    for (int m = 0; m < kMaxRows; ++m)
        for (int v = 0; v < kVectors; ++v) sums[m][v] = load(values[m] + v * kLanes);
    const auto input = broadcast(ones), factor = load(ones);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int m = 0; m < kMaxRows; ++m)
            for (int v = 0; v < kVectors; ++v) sums[m][v] = multiply_add(input, factor, sums[m][v]);
    for (int m = 0; m < kMaxRows; ++m)
        for (int v = 0; v < kVectors; ++v) store(values[m] + v * kLanes, sums[m][v]);
    for (auto& row : values)
        for (float value : row) unknown = value;
    return 2.0 * static_cast<double>(rounds) * kMaxRows * kVectors * kLanes * kPair<Element>;
}

}  // namespace
}  // namespace pysr

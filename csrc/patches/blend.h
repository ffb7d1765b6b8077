#pragma once
#include "patches/ops.h"

namespace pysr {
namespace {

/// The body of `blend_patches`.
template <class In>
struct BlendPatches {
    const Batch* bands;
    Axis rows, columns;

    /// sums[i] = output pixel (c, y, x + i) for i < count, all of which are covered by patches [first, end); y counts
    /// from the top of the whole output.
    PYSR_HD void sum(std::int64_t c, std::int64_t y, std::int64_t x, std::int64_t count, std::int64_t first,
                     std::int64_t end, float* sums) const {
        for (std::int64_t i = 0; i < count; ++i) sums[i] = 0.0f;
        for (std::int64_t band = 0; band < rows.count; ++band) {
            const float weight = row_weight(band, y);
            if (weight == 0.0f) continue;
            const std::int64_t stride = bands[band].first.column_stride;
            for (std::int64_t k = first; k < end; ++k) {
                const char* samples = sample(band, k, c, y, x);
                if (stride == sizeof(In)) {  // a constant stride, so that the compiler vectorises
                    add(samples, sizeof(In), column_weights(k, x), weight, count, sums);
                } else {
                    add(samples, stride, column_weights(k, x), weight, count, sums);
                }
            }
        }
    }

    /// Weight of a band on a row; zero above and below the band.
    PYSR_HD float row_weight(std::int64_t band, std::int64_t y) const {
        const std::int64_t inside = y - rows.starts[band];
        return inside < 0 || inside >= rows.length ? 0.0f : rows.weights[band * rows.length + inside];
    }

    /// Weights of patch k on output column x and the columns after it.
    PYSR_HD const float* column_weights(std::int64_t k, std::int64_t x) const {
        return columns.weights + k * columns.length + (x - columns.starts[k]);
    }

    /// Address in patch k of a band of the sample for output (c, y, x).
    PYSR_HD const char* sample(std::int64_t band, std::int64_t k, std::int64_t c, std::int64_t y,
                               std::int64_t x) const {
        return pixel(bands[band], k, c, y - rows.starts[band], x - columns.starts[k]);
    }

  private:
    PYSR_HD static inline void add(const char* samples, std::int64_t stride, const float* weights, float weight,
                                   std::int64_t count, float* __restrict sums) {
        for (std::int64_t i = 0; i < count; ++i) {
            const float value = to_float(load<In>(samples + i * stride));
            sums[i] += weights[i] != 0.0f ? (weight * weights[i]) * value : 0.0f;
        }
    }
};

}  // namespace
}  // namespace pysr

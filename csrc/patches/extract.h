#pragma once
#include "patches/ops.h"

namespace pysr {
namespace {

/// The body of `extract_patches`.
template <class In, class Out>
struct ExtractPatches {
    Image image;
    const Origin* origins;
    Batch patches;

    /// Columns [x, end) of row y and channel c of a patch.
    PYSR_HD void span(std::int64_t patch, std::int64_t c, std::int64_t y, std::int64_t x, std::int64_t end) const {
        const Origin origin = origins[patch];
        const char* row = pixel(image, c, mirror(origin.top + y, image.height), 0);
        char* to = pixel(patches, patch, c, y, 0);
        const std::int64_t inside = clamp(x, -origin.left, end);
        const std::int64_t beyond = clamp(inside, image.width - origin.left, end);
        mirrored(row, origin.left, to, x, inside);
        if (inside < beyond) copied(row + (origin.left + inside) * image.column_stride, to, inside, beyond);
        mirrored(row, origin.left, to, beyond, end);
    }

  private:
    PYSR_HD void mirrored(const char* row, std::int64_t left, char* to, std::int64_t x, std::int64_t end) const {
        for (; x < end; ++x) {
            const char* from = row + mirror(left + x, image.width) * image.column_stride;
            store(to + x * patches.first.column_stride, from_float<Out>(to_float(load<In>(from))));
        }
    }

    PYSR_HD void copied(const char* from, char* to, std::int64_t x, std::int64_t end) const {
        const std::int64_t in = image.column_stride, out = patches.first.column_stride;
        to += x * out;
        if (in == sizeof(In) && out == sizeof(Out)) {  // constant strides, so that the compiler vectorises
            for (std::int64_t i = 0; i < end - x; ++i) convert(from + i * sizeof(In), to + i * sizeof(Out));
        } else {
            for (std::int64_t i = 0; i < end - x; ++i) convert(from + i * in, to + i * out);
        }
    }

    PYSR_HD static void convert(const char* __restrict from, char* __restrict to) {
        store(to, from_float<Out>(to_float(load<In>(from))));
    }
};

}  // namespace
}  // namespace pysr

#pragma once
#include "common/backend.h"
#include "common/image.h"

/// Interface of the patch kernels.
namespace pysr {

/// Top left pixel of a patch; it may lie outside the image.
struct Origin {
    std::int64_t top, left;
};

/// One axis of a blend: patch i starts at output pixel starts[i], in ascending order, and its pixels have the weights
/// weights[i * length + pixel].
struct Axis {
    const std::int64_t* starts;
    const float* weights;
    std::int64_t count, length;
};

template <class Backend>
struct PatchOps {
    Backend on;

    /// patches[i] = the image from origins[i] on, mirrored beyond its borders, as floats.
    void extract_patches(Image image, const Origin* origins, Batch patches) const;

    /// out[c, y, x] = sum of rows.weights * columns.weights * bands over all patches that cover row first_row + y and
    /// column x, in ascending order of bands, then of patches. Samples with weight zero are skipped, even if they are
    /// NaN.
    void blend_patches(const Batch* bands, Axis rows, Axis columns, std::int64_t first_row, bool clip, Image out) const;
};

}  // namespace pysr

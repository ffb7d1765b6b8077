#pragma once
#include "common/isa.h"
#include "patches/ops.h"

namespace pysr {

struct ExtractJob {
    Image image;
    const Origin* origins;
    Batch patches;
    bool stream;  // the patches exceed the caches: use non-temporal stores where possible
};

/// Output columns [first, end), all covered by the same patches [first_patch, end_patch).
struct Segment {
    std::int64_t first, end, first_patch, end_patch;
    bool at_weight_one;  // covered by one patch alone, with weight 1
};

struct BlendJob {
    const Batch* bands;
    Axis rows, columns;
    std::int64_t first_row;
    bool clip;
    Image out;
    const Segment* segments;
    std::int64_t segment_count;
};

/// The patch kernels of one instruction set.
struct PatchKernels {
    /// Rows [first, end) of all patches: patch i / height, row i % height.
    void (*extract)(const ExtractJob& job, std::int64_t first, std::int64_t end);
    /// Rows [first, end) of the output.
    void (*blend)(const BlendJob& job, std::int64_t first, std::int64_t end);
};

/// Defined in simd.cpp, once per instruction set.
template <Isa isa>
const PatchKernels& patch_kernels_of();

}  // namespace pysr

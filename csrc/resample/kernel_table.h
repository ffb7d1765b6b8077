#pragma once
#include "common/cache_line.h"
#include "common/isa.h"
#include "resample/ops.h"

namespace pysr {

struct EnlargeJob {
    Image image;
    Filter filter;
    std::int64_t first_row;
    bool clip;
    Image out;
    std::int64_t reach;  // the largest offset, in either direction
    std::int64_t group;  // channels that lie side by side in both images and are filtered together; else 1
};

/// Input pixels whose output is made at once: rows and columns [first, end), of the channels from `channel` on.
struct Window {
    std::int64_t channel, first_row, end_row, first_column, end_column;
};

/// Working memory of a window: rows of floats and of output pixels, each on cache lines of its own.
struct Scratch {
    char* memory;
    std::int64_t float_row, output_row;  // bytes
};

/// The resampling kernels of one instruction set.
struct ResampleKernels {
    void (*enlarge)(const EnlargeJob& job, const Window& window, const Scratch& scratch);
};

/// Defined in simd.cpp, once per instruction set.
template <Isa isa>
const ResampleKernels& resample_kernels_of();

}  // namespace pysr

#pragma once
#include "pixelcnn/kernel_table.h"
#include "patches/ops.h"

namespace pysr {

struct ExtractJob {
    Image image;
    const Origin* origins;
    Batch patches;
    bool stream;  // the patches are more than the caches hold: write past them where that is possible
};

/// Columns [first, end) of the output, wholly covered by patches [first_patch, end_patch) and counting in no other.
struct Segment {
    std::int64_t first, end, first_patch, end_patch;
    bool at_weight_one;
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

/// The loops of one instruction set. cpu/rows.cpp is compiled once for each.
struct Rows {
    const char* name;
    /// Rows [first, end) of all patches: patch i / height, row i % height.
    void (*extract)(const ExtractJob& job, std::int64_t first, std::int64_t end);
    /// Rows [first, end) of the output.
    void (*blend)(const BlendJob& job, std::int64_t first, std::int64_t end);
    DrawImages<float> draw;
    Exercise exercise;
};

/// The instruction sets that this build has and this processor runs, fastest first.
const Rows* const* available_isas();

/// The one in use: the fastest, or what the environment variable PYSR_ISA names.
const Rows& isa();

/// In bfloat16, null where the processor or the instruction set in use cannot.
DrawImages<Bf16> reduced_draw();
Exercise reduced_exercise();

/// Use another one from now on; throws std::invalid_argument when it is not available.
void use_isa(const char* name);

}  // namespace pysr

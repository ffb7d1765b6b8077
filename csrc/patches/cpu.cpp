#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/threads.h"
#include "patches/kernel_table.h"

namespace pysr {
namespace {

constexpr std::int64_t kCached = 16 << 20;  // bytes: larger outputs leave the caches before they are read again

/// Rows that a thread takes at a time: enough to be worth a thread and to read memory sequentially, few enough for the
/// threads to finish together and to notice cancellation soon. samples: number read per row.
std::int64_t rows_per_piece(Cpu on, std::int64_t rows, std::int64_t samples) {
    constexpr std::int64_t kWorthAThread = 1 << 15, kSoon = 1 << 21, kRun = 16;
    const std::int64_t least = kWorthAThread / samples + 1;
    const std::int64_t most = std::max(least, std::min(kRun, kSoon / samples));
    return std::min(most, std::max(least, rows / (std::int64_t{4} * on.threads)));
}

/// For each output column, the patches that cover it; a patch starts at its first weight other than zero and ends at
/// its last.
std::vector<Segment> patches_of_columns(Axis columns, std::int64_t width) {
    std::vector<Segment> found(width, Segment{0, 0, 0, 0, false});
    for (std::int64_t k = 0; k < columns.count; ++k) {
        const float* weights = columns.weights + k * columns.length;
        std::int64_t first = std::max<std::int64_t>(0, -columns.starts[k]);
        std::int64_t end = std::min(columns.length, width - columns.starts[k]);
        while (first < end && weights[first] == 0.0f) ++first;
        while (first < end && weights[end - 1] == 0.0f) --end;
        for (std::int64_t i = first; i < end; ++i) {
            Segment& column = found[columns.starts[k] + i];
            const bool alone = column.end_patch == 0;
            column = {0, 0, alone ? k : column.first_patch, k + 1, alone && weights[i] == 1.0f};
        }
    }
    return found;
}

bool covered_alike(const Segment& a, const Segment& b) {
    return a.first_patch == b.first_patch && a.end_patch == b.end_patch && a.at_weight_one == b.at_weight_one;
}

/// Joins neighbouring columns that the same patches cover.
std::vector<Segment> segments(Axis columns, std::int64_t width) {
    std::vector<Segment> found;
    for (Segment column : patches_of_columns(columns, width)) {
        column.first = found.empty() ? 0 : found.back().end;
        column.end = column.first + 1;
        if (found.empty() || !covered_alike(found.back(), column)) found.push_back(column);
        found.back().end = column.end;
    }
    return found;
}

const PatchKernels& active_kernels() {
    return with_active_isa([](auto isa) -> const PatchKernels& { return patch_kernels_of<decltype(isa)::value>(); });
}

}  // namespace

template <>
void PatchOps<Cpu>::extract_patches(Image image, const Origin* origins, Batch patches) const {
    const std::int64_t rows = patches.count * patches.first.height;
    const std::int64_t samples = patches.first.channels * patches.first.width;
    const ExtractJob job{image, origins, patches, rows * samples > kCached / std::int64_t{sizeof(float)}};
    const PatchKernels& kernels = active_kernels();
    for_pieces(on, rows, rows_per_piece(on, rows, samples),
               [&](std::int64_t first, std::int64_t end) { kernels.extract(job, first, end); });
}

template <>
void PatchOps<Cpu>::blend_patches(const Batch* bands, Axis rows, Axis columns, std::int64_t first_row, bool clip,
                                  Image out) const {
    const std::vector<Segment> parts = segments(columns, out.width);
    const auto part_count = static_cast<std::int64_t>(parts.size());
    const BlendJob job{bands, rows, columns, first_row, clip, out, parts.data(), part_count};
    const std::int64_t per_channel = std::max<std::int64_t>(1, rows.count * columns.count * columns.length);
    const std::int64_t samples = out.channels * per_channel;
    const PatchKernels& kernels = active_kernels();
    for_pieces(on, out.height, rows_per_piece(on, out.height, samples),
               [&](std::int64_t first, std::int64_t end) { kernels.blend(job, first, end); });
}

}  // namespace pysr

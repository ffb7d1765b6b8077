#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "common/threads.h"
#include "resample/kernel_table.h"

namespace pysr {
namespace {

constexpr std::int64_t kTile = 1024;             // samples of a row at a time: those of all taps stay in the L1 cache
constexpr std::int64_t kBand = 64;               // rows at a time: few enough to share the work and to be interrupted
constexpr std::int64_t kWorthAThread = 1 << 18;  // samples of output

std::int64_t size_of(DType type) { return type == DType::u8 ? 1 : type == DType::f32 ? 4 : 2; }

bool side_by_side(const Image& image) {
    const std::int64_t size = size_of(image.type);
    return (image.channels == 1 || image.channel_stride == size) && image.column_stride == size * image.channels;
}

std::int64_t reach_of(const Filter& filter) {
    std::int64_t reach = 0;
    for (std::int64_t i = 0; i < filter.scale * filter.taps; ++i)
        reach = std::max<std::int64_t>(reach, std::llabs(filter.offsets[i]));
    return reach;
}

std::int64_t cache_lines(std::int64_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine; }

/// The memory of one thread's windows.
class Buffers {
  public:
    Buffers(const EnlargeJob& job, std::int64_t columns)
        : float_row_(cache_lines((columns + 2 * job.reach) * job.group * std::int64_t{sizeof(float)})),
          output_row_(cache_lines(columns * job.group * size_of(job.out.type)) + 1),  // read beyond the end
          lines_((2 * job.reach + 2) * float_row_ + job.filter.scale * output_row_) {}

    Scratch scratch() { return {lines_.data()->bytes, float_row_ * kCacheLine, output_row_ * kCacheLine}; }

  private:
    std::int64_t float_row_, output_row_;
    std::vector<CacheLine> lines_;
};

const ResampleKernels& active_kernels() {
    return with_active_isa(
        [](auto isa) -> const ResampleKernels& { return resample_kernels_of<decltype(isa)::value>(); });
}

}  // namespace

void enlarge(Cpu on, const Image& image, const Filter& filter, std::int64_t first_row, bool clip, const Image& out) {
    const bool together = side_by_side(image) && side_by_side(out);
    const EnlargeJob job{image, filter, first_row, clip, out, reach_of(filter), together ? image.channels : 1};
    const std::int64_t columns = std::clamp<std::int64_t>(kTile / job.group, 1, image.width);
    const std::int64_t per_row = columns * job.group * filter.scale * filter.scale;
    const std::int64_t rows = out.height / filter.scale, band = std::max(kBand, kWorthAThread / per_row);
    const std::int64_t tiles = (image.width + columns - 1) / columns, bands = (rows + band - 1) / band;
    const ResampleKernels& kernels = active_kernels();
    for_pieces(on, image.channels / job.group * bands * tiles, 1, [&](std::int64_t piece, std::int64_t) {
        const std::int64_t tile = piece % tiles, top = piece / tiles % bands * band;
        const Window window{piece / tiles / bands, first_row + top, first_row + std::min(rows, top + band),
                            tile * columns, std::min(image.width, (tile + 1) * columns)};
        Buffers buffers(job, columns);
        kernels.enlarge(job, window, buffers.scratch());
    });
}

}  // namespace pysr

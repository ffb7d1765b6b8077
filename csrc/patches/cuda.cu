// The patch kernels for CUDA: one thread per pixel. Origins and starts, which are small and known to the host, are
// passed as kernel arguments, in pieces that fit, so that no call allocates, copies or waits.
#include <algorithm>
#include <stdexcept>

#include "common/cuda_check.h"
#include "common/cuda_launch.h"
#include "patches/blend.h"
#include "patches/extract.h"
#include "patches/ops.h"

namespace pysr {
namespace {

constexpr int kThreads = 128;  // columns per block
constexpr std::int64_t kOrigins = 128, kBands = 16, kPatches = 128;

struct Origins {
    Origin at[kOrigins];
};

/// The patches that cover one piece of the output.
struct Pieces {
    Batch bands[kBands];
    std::int64_t row_starts[kBands], column_starts[kPatches];
};

/// One block per kThreads columns of a row; rows are the x dimension, which may be the largest.
dim3 grid_of(std::int64_t rows, std::int64_t columns) {
    const std::int64_t blocks = (columns + kThreads - 1) / kThreads;
    if (rows >= (std::int64_t{1} << 31) || blocks > 65535)
        throw std::invalid_argument(
            "the patches are too many or too wide for one call on a CUDA device; pass fewer at a time");
    return dim3(static_cast<unsigned>(rows), static_cast<unsigned>(blocks));
}

template <class In, class Out>
__global__ void extract(Image image, Batch patches, const __grid_constant__ Origins origins) {
    const std::int64_t x = std::int64_t{blockIdx.y} * kThreads + threadIdx.x;
    if (x >= patches.first.width) return;
    const unsigned height = patches.first.height, channels = patches.first.channels;
    const unsigned y = blockIdx.x % height, plane = blockIdx.x / height;
    const ExtractPatches<In, Out> body{image, origins.at, patches};
    body.span(plane / channels, plane % channels, y, x, x + 1);
}

template <class In, class Out>
__global__ void blend(Axis rows, Axis columns, std::int64_t first_row, bool clip, Image out, std::int64_t left,
                      const __grid_constant__ Pieces pieces) {
    const std::int64_t x = left + std::int64_t{blockIdx.y} * kThreads + threadIdx.x;
    if (x >= left + out.width) return;
    rows.starts = pieces.row_starts;
    columns.starts = pieces.column_starts;
    std::int64_t first = 0, end = 0;
    while (first < columns.count && columns.starts[first] + columns.length <= x) ++first;
    for (end = first; end < columns.count && columns.starts[end] <= x;) ++end;
    const unsigned height = out.height;
    const std::int64_t y = blockIdx.x % height, c = blockIdx.x / height;
    float sum;
    const BlendPatches<In> body{pieces.bands, rows, columns};
    body.sum(c, first_row + y, x, 1, first, end, &sum);
    store(pixel(out, c, y, x - left), from_float<Out>(clip ? clipped(sum) : sum));
}

/// Patches [begin, end) of an axis that cover output pixels [first, last) of it. At most `most` of them: `last` is
/// lowered if there would be more.
struct Reach {
    std::int64_t begin, end, last;
};

Reach reach(const Axis& axis, std::int64_t first, std::int64_t last, std::int64_t most) {
    const std::int64_t *starts = axis.starts, *stop = axis.starts + axis.count;
    const std::int64_t begin = std::upper_bound(starts, stop, first - axis.length) - starts;
    std::int64_t end = std::lower_bound(starts + begin, stop, last) - starts;
    if (end - begin > most) {
        last = starts[begin + most];
        end = std::lower_bound(starts + begin, stop, last) - starts;
        if (last <= first) throw std::invalid_argument("too many patches meet on one pixel; use a smaller overlap");
    }
    return {begin, end, last};
}

/// The axis restricted to these patches.
Axis part_of(const Axis& axis, const Reach& reach) {
    return {axis.starts + reach.begin, axis.weights + reach.begin * axis.length, reach.end - reach.begin, axis.length};
}

void blend_piece(Cuda on, const Batch* bands, Axis rows, Axis columns, std::int64_t first_row, bool clip, Image out,
                 std::int64_t left, std::int64_t first_patch, DType type) {
    Pieces pieces{};
    std::copy_n(rows.starts, rows.count, pieces.row_starts);
    std::copy_n(columns.starts, columns.count, pieces.column_starts);
    std::copy_n(bands, rows.count, pieces.bands);
    for (std::int64_t i = 0; i < rows.count; ++i)
        pieces.bands[i].first.data = static_cast<char*>(bands[i].first.data) + first_patch * bands[i].stride;
    const dim3 grid = grid_of(out.channels * out.height, out.width);
    with_float_type(type, [&](auto in) {
        with_type(out.type, [&](auto to) {
            launch(blend<decltype(in), decltype(to)>, grid, kThreads, on.stream, rows, columns, first_row, clip, out,
                   left, pieces);
        });
    });
}

/// A crop of an image.
Image view(Image image, std::int64_t top, std::int64_t left, std::int64_t height, std::int64_t width) {
    image.data = pixel(image, 0, top, left);
    image.height = height;
    image.width = width;
    return image;
}

}  // namespace

template <>
void PatchOps<Cuda>::extract_patches(Image image, const Origin* origins, Batch patches) const {
    check(cudaSetDevice(on.device));
    for (std::int64_t first = 0; first < patches.count; first += kOrigins) {
        Batch part = patches;
        part.count = std::min(kOrigins, patches.count - first);
        part.first.data = static_cast<char*>(patches.first.data) + first * patches.stride;
        Origins corners{};
        std::copy_n(origins + first, part.count, corners.at);
        const dim3 grid = grid_of(part.count * part.first.channels * part.first.height, part.first.width);
        with_type(image.type, [&](auto in) {
            with_float_type(part.first.type, [&](auto out) {
                launch(extract<decltype(in), decltype(out)>, grid, kThreads, on.stream, image, part, corners);
            });
        });
    }
}

template <>
void PatchOps<Cuda>::blend_patches(const Batch* bands, Axis rows, Axis columns, std::int64_t first_row, bool clip,
                                   Image out) const {
    check(cudaSetDevice(on.device));
    for (std::int64_t top = 0; top < out.height;) {
        const Reach down = reach(rows, first_row + top, first_row + out.height, kBands);
        const std::int64_t height = down.last - first_row - top;
        for (std::int64_t left = 0; left < out.width;) {
            const Reach across = reach(columns, left, out.width, kPatches);
            blend_piece(on, bands + down.begin, part_of(rows, down), part_of(columns, across), first_row + top, clip,
                        view(out, top, left, height, across.last - left), left, across.begin, bands[0].first.type);
            left = across.last;
        }
        top += height;
    }
}

}  // namespace pysr

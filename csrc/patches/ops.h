#pragma once
#include <cstdint>

/// Every kernel that pysr has, on one page.
namespace pysr {

/// Numbers that images hold. Integers stand for value / 255 or value / 65535.
enum class Type : std::int32_t { u8, u16, f16, bf16, f32 };

/// A borrowed image of shape (channels, height, width). Strides count bytes and may be zero or negative.
struct Image {
    void* data;
    Type type;
    std::int64_t channels, height, width;
    std::int64_t channel_stride, row_stride, column_stride;
};

/// Borrowed images of one shape: (count, channels, height, width).
struct Batch {
    Image first;
    std::int64_t count, stride;
};

/// Top left pixel of a patch; it may lie outside the image.
struct Origin {
    std::int64_t top, left;
};

/// One axis of a blend: patch i begins at output pixel starts[i], ascending, and weighs weights[i * length + pixel].
struct Axis {
    const std::int64_t* starts;
    const float* weights;
    std::int64_t count, length;
};

/// On threads of the processor. `interrupted` is asked by the calling thread every 50 ms whether to stop.
struct Cpu {
    int threads;
    bool (*interrupted)();
};

/// On a CUDA device, in the order of `stream`; nothing waits for the device.
struct Cuda {
    int device;
    void* stream;
};

/// Thrown when `Cpu::interrupted` said so; the output is then incomplete.
struct Interrupted {};

template <class Backend>
struct Ops {
    Backend on;

    /// patches[i] = the image from origins[i] on, mirrored beyond its borders, as floats.
    void extract_patches(Image image, const Origin* origins, Batch patches) const;

    /// out[c, y, x] = sum of rows.weights * columns.weights * bands over all patches that lie on row first_row + y and
    /// column x, bands ascending, then patches ascending. Samples of weight zero are never read into the sum.
    void blend_patches(const Batch* bands, Axis rows, Axis columns, std::int64_t first_row, bool clip, Image out) const;
};

/// Whether this build holds CUDA kernels.
extern const bool built_with_cuda;

}  // namespace pysr

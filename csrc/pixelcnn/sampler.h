#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pixelcnn/types.h"

namespace pysr {

/// Sizes of a PixelCNN. planes: 1 or 3; three planes share channels and hidden as a half, a quarter and a quarter.
/// features: outputs of the conditioning network, 0 without one.
struct PixelCnnSizes {
    std::int64_t planes, channels, layers, hidden, features;
};

/// Progress in pixels, about every 50 ms on the calling thread; return false to cancel.
using ProgressCallback = std::function<bool(std::int64_t done, std::int64_t total)>;

/// Returns the float32 weight of that name in the network's state dict. Throws std::invalid_argument if it is missing
/// or has another shape.
using WeightLookup = std::function<const float*(const std::string& name, const std::vector<std::int64_t>& shape)>;

/// A PixelCNN on one device, ready to draw images.
class PixelCnn {
  public:
    virtual ~PixelCnn() = default;

    virtual PixelCnnSizes sizes() const = 0;

    /// The CUDA device that must hold the images' arrays, except log_likelihood; -1: the CPU.
    virtual int device() const = 0;

    /// Draws the images of a job, which may differ in size: an image is the same whatever else is drawn. threads: used
    /// on the CPU. stream: used on a CUDA device, and synchronised. Throws Interrupted if cancelled, and
    /// std::overflow_error if logits are not finite.
    virtual void draw(const DrawJob& job, int threads, void* stream, const ProgressCallback& progress) const = 0;
};

/// A job's images in the order in which they are drawn: those that take the most steps first, so that images of like
/// sizes are drawn together.
std::vector<DrawnImage> longest_first(const DrawJob& job);

/// The pixels of all images of a job.
std::int64_t pixels_of(const DrawJob& job);

/// Makes a sampler on the CPU. reduced: multiply in bfloat16. Throws std::invalid_argument if the instruction set in
/// use cannot do that.
std::unique_ptr<PixelCnn> make_pixelcnn(const PixelCnnSizes& sizes, const WeightLookup& weights, bool reduced);

/// Makes a sampler on a CUDA device, in float32. Only in builds with CUDA.
std::unique_ptr<PixelCnn> make_cuda_pixelcnn(const PixelCnnSizes& sizes, const WeightLookup& weights, int device);

}  // namespace pysr

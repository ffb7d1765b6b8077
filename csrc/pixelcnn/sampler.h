#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pixelcnn/types.h"

namespace pysr {

/// Of a PixelCNN: planes 1 or 3, channels and hidden by plane in shares of a half, a quarter and a quarter; features
/// of the conditioning network, 0 where there is none.
struct PixelCnnSizes {
    std::int64_t planes, channels, layers, hidden, features;
};

/// How a call is told about, every 50 ms or so, in the calling thread: pixels done and in all; false stops it.
using Report = std::function<bool(std::int64_t done, std::int64_t total)>;

/// A PixelCNN's numbers, ready to draw images on one device.
class PixelCnn {
  public:
    /// The floats of a shape by the name that the network's state dict has for them; throws where there are none.
    using Numbers = std::function<const float*(const std::string& name, std::vector<std::int64_t> shape)>;

    virtual ~PixelCnn() = default;

    virtual PixelCnnSizes sizes() const = 0;

    /// A CUDA device, where a job's arrays lie but for image_ids and log_likelihood; -1: the processor.
    virtual int device() const = 0;

    /// threads: of the processor; stream: of a CUDA device, which is waited for. Throws Interrupted, or
    /// std::overflow_error where logits are no numbers.
    virtual void draw(const DrawJob& job, int threads, void* stream, const Report& report) const = 0;
};

/// reduced: multiply in bfloat16. Throws std::invalid_argument where this processor cannot.
std::unique_ptr<PixelCnn> make_pixelcnn(const PixelCnnSizes& sizes, const PixelCnn::Numbers& numbers, bool reduced);

/// On a CUDA device, in float32. Throws std::invalid_argument where this build cannot.
std::unique_ptr<PixelCnn> make_cuda_pixelcnn(const PixelCnnSizes& sizes, const PixelCnn::Numbers& numbers, int device);

}  // namespace pysr

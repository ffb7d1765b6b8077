// Built without CUDA.
#include <stdexcept>

#include "patches/ops.h"
#include "pixelcnn/sampler.h"

namespace pysr {
namespace {

[[noreturn]] void refuse(const std::string& advice) {
    throw std::invalid_argument("this build of pysr has no CUDA kernels; " + advice);
}

}  // namespace

template <>
void Ops<Cuda>::extract_patches(Image, const Origin*, Batch) const {
    refuse("move the tensor to the cpu");
}

template <>
void Ops<Cuda>::blend_patches(const Batch*, Axis, Axis, std::int64_t, bool, Image) const {
    refuse("move the tensor to the cpu");
}

std::unique_ptr<PixelCnn> make_cuda_pixelcnn(const PixelCnnSizes&, const PixelCnn::Numbers&, int) {
    refuse("draw images with device='cpu'");
}

const bool built_with_cuda = false;

}  // namespace pysr

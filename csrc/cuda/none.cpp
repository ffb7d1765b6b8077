// Built without CUDA.
#include <stdexcept>

#include "ops.h"

namespace pysr {
namespace {

[[noreturn]] void refuse() {
    throw std::invalid_argument("this build of pysr has no CUDA kernels; move the tensor to the cpu");
}

}  // namespace

template <>
void Ops<Cuda>::extract_patches(Image, const Origin*, Batch) const {
    refuse();
}

template <>
void Ops<Cuda>::blend_patches(const Batch*, Axis, Axis, std::int64_t, bool, Image) const {
    refuse();
}

const bool built_with_cuda = false;

}  // namespace pysr

#pragma once
#include <pybind11/pybind11.h>

namespace pysr {

/// Whether the CUDA kernels are part of this build. They are called only in `if constexpr (kBuiltWithCuda)`, so that a
/// build without CUDA needs no stubs.
constexpr bool kBuiltWithCuda = PYSR_WITH_CUDA;

/// Register the bindings of one kernel family.
void add_patches(pybind11::module_& module);
void add_pixelcnn(pybind11::module_& module);
void add_resample(pybind11::module_& module);

}  // namespace pysr

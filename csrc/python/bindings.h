#pragma once
#include <pybind11/pybind11.h>

namespace pysr {

/// Gives the module its class PixelCNN.
void add_pixelcnn(pybind11::module_& module);

}  // namespace pysr

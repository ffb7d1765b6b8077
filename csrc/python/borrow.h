#pragma once
#include <pybind11/pybind11.h>

#include <optional>

#include "python/array.h"

namespace pysr {

/// An array of Python's, borrowed for as long as this lives.
struct Borrowed : Array {
    pybind11::object owner;                       // a DLPack capsule, which frees itself
    std::optional<pybind11::buffer_info> buffer;  // or a view through the buffer protocol
};

/// A NumPy array or another buffer, or what has __dlpack__; throws std::invalid_argument where it cannot be used.
Borrowed borrow(const char* name, const pybind11::handle& object);

}  // namespace pysr

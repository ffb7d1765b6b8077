#pragma once
#include <pybind11/pybind11.h>

#include <optional>

#include "python/array.h"

namespace pysr {

/// A Python array, borrowed for the lifetime of this object.
struct Borrowed : Array {
    pybind11::object owner;                       // a DLPack capsule, which releases the array
    std::optional<pybind11::buffer_info> buffer;  // or a view through the buffer protocol
};

/// Borrows an array through the buffer protocol (NumPy) or __dlpack__ (tensors). Throws std::invalid_argument if it
/// supports neither or holds another dtype.
Borrowed borrow(const char* name, const pybind11::handle& object);

}  // namespace pysr

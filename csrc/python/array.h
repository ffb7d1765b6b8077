#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/image.h"

/// Arrays passed in by Python, and the checks on them.
namespace pysr {

using Shape = std::vector<std::int64_t>;

struct Array {
    std::string name;  // the argument's, for messages
    char* data = nullptr;
    DType type = DType::f32;
    bool read_only = false;
    int device = -1;       // CUDA device; -1: host memory
    Shape shape, strides;  // strides in bytes
};

std::int64_t size_of(DType type);
const char* name_of(DType type);
std::string to_string(const Shape& shape);

/// The range of addresses that an array may touch: [first, end). Throws std::invalid_argument if it exceeds 64 bits.
struct Extent {
    const char *first, *end;
};
Extent extent_of(const Array& array);

/// Convert (C, H, W) and (N, C, H, W) arrays to arguments of kernels. Throw std::invalid_argument for other shapes.
Image as_image(const Array& array);
Batch as_batch(const Array& array);

/// Throws std::invalid_argument, which the bindings turn into an InputError.
[[noreturn]] void refuse(const std::string& message);

/// Checks that throw std::invalid_argument with a message for the caller.
void require_float(const Array& array);
void require_output(const Array& out);
void require_apart(const Array& out, const Array& in);
void require_same_device(const Array& one, const Array& other);

/// The data of a contiguous float32 array of shape (rows, columns).
const float* as_weights(const Array& array, std::int64_t rows, std::int64_t columns);

/// The data of a contiguous array of this type and shape.
char* as_contiguous(const Array& array, DType type, const Shape& shape);

/// Requires positions of patches that are small enough for their sums to fit in 64 bits, ascending if `ascending`.
void require_positions(const std::string& name, const std::vector<std::int64_t>& positions, bool ascending);

}  // namespace pysr

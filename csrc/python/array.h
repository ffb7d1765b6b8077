#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "patches/ops.h"

/// What the bindings know of an array that Python handed in, and the checks on it. Knows no Python.
namespace pysr {

struct Array {
    std::string name;  // as the caller knows it, for messages
    char* data = nullptr;
    Type type = Type::f32;
    bool read_only = false;
    int device = -1;                           // CUDA device, -1 for the processor's memory
    std::vector<std::int64_t> shape, strides;  // strides in bytes
};

std::int64_t size_of(Type type);
const char* name_of(Type type);
std::string text_of(const std::vector<std::int64_t>& shape);
std::string shape_of(const Array& array);

/// The bytes that an array may touch: [first, end). Throws when they cannot be counted in 64 bits.
struct Extent {
    const char *first, *end;
};
Extent extent_of(const Array& array);

/// (C, H, W) and (N, C, H, W) arrays as the kernels take them; throws std::invalid_argument for another shape.
Image as_image(const Array& array);
Batch as_batch(const Array& array);

/// Throw std::invalid_argument with a message for the caller.
[[noreturn]] void refuse(const std::string& message);
void require_float(const Array& array);
void require_output(const Array& out);
void require_apart(const Array& out, const Array& in);
void require_same_device(const Array& one, const Array& other);

/// A contiguous float32 array of shape (rows, columns).
const float* as_weights(const Array& array, std::int64_t rows, std::int64_t columns);

/// Where a contiguous array of this type and shape begins.
char* as_contiguous(const Array& array, Type type, const std::vector<std::int64_t>& shape);

/// Positions of patches: ascending where `ascending`, each small enough that sums of them stay in 64 bits.
void require_positions(const std::string& name, const std::vector<std::int64_t>& positions, bool ascending);

}  // namespace pysr

#pragma once
#include <cstdint>
#include <cstring>

#include "common/float16.h"
#include "common/host_device.h"

namespace pysr {

/// Element types of images. Unsigned integers represent value / 255 or value / 65535.
enum class DType : std::int32_t { u8, u16, f16, bf16, f32 };

/// A borrowed image of shape (channels, height, width). Strides are in bytes and may be zero or negative.
struct Image {
    void* data;
    DType type;
    std::int64_t channels, height, width;
    std::int64_t channel_stride, row_stride, column_stride;
};

/// Borrowed images of the same shape: (count, channels, height, width).
struct Batch {
    Image first;
    std::int64_t count, stride;
};

// Everything below has internal linkage: each file that includes it may be compiled for another instruction set, and
// the linker must never substitute one copy for another.
namespace {

template <class T>
PYSR_HD inline T load(const char* at) {
    if constexpr (PYSR_ALIGNED) return *reinterpret_cast<const T*>(at);
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <class T>
PYSR_HD inline void store(char* at, T value) {
    if constexpr (PYSR_ALIGNED) {
        *reinterpret_cast<T*>(at) = value;
    } else {
        std::memcpy(at, &value, sizeof value);
    }
}

// Integers become floats in [0, 1] by a true division, so that from_float(to_float(v)) == v. In the other direction
// they are clipped and rounded to nearest, ties to even; NaN becomes 0.

PYSR_HD inline float to_float(std::uint8_t value) { return static_cast<float>(value) / 255.0f; }

PYSR_HD inline float to_float(std::uint16_t value) { return static_cast<float>(value) / 65535.0f; }

PYSR_HD inline float scaled_and_rounded(float value, float white) {
    value = value * white;
    value = value > 0.0f ? value : 0.0f;
    value = value < white ? value : white;
    return (value + 0x1p23f) - 0x1p23f;  // the sum has no fraction bits
}

PYSR_HD inline void from_float(float value, std::uint8_t& to) {
    to = static_cast<std::uint8_t>(static_cast<std::int32_t>(scaled_and_rounded(value, 255.0f)));
}

PYSR_HD inline void from_float(float value, std::uint16_t& to) {
    to = static_cast<std::uint16_t>(static_cast<std::int32_t>(scaled_and_rounded(value, 65535.0f)));
}

template <class T>
PYSR_HD inline T from_float(float value) {
    T stored;
    from_float(value, stored);
    return stored;
}

/// Clips to [0, 1]; NaN stays NaN.
PYSR_HD inline float clipped(float value) { return value < 0.0f ? 0.0f : (value > 1.0f ? 1.0f : value); }

/// Index of the pixel that position `i` mirrors to on an axis of `length` pixels; the edge pixel is repeated.
PYSR_HD inline std::int64_t mirror(std::int64_t i, std::int64_t length) {
    i %= 2 * length;
    i = i < 0 ? i + 2 * length : i;
    return i < length ? i : 2 * length - 1 - i;
}

PYSR_HD inline std::int64_t clamp(std::int64_t low, std::int64_t value, std::int64_t high) {
    return value < low ? low : (value > high ? high : value);
}

PYSR_HD inline char* pixel(const Image& image, std::int64_t c, std::int64_t y, std::int64_t x) {
    return static_cast<char*>(image.data) + c * image.channel_stride + y * image.row_stride + x * image.column_stride;
}

PYSR_HD inline char* pixel(const Batch& batch, std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
    return pixel(batch.first, c, y, x) + i * batch.stride;
}

/// Calls call(T{}) with the C++ type of `type`.
template <class Call>
inline void with_type(DType type, Call call) {
    switch (type) {
        case DType::u8:
            return call(std::uint8_t{});
        case DType::u16:
            return call(std::uint16_t{});
        case DType::f16:
            return call(float16{});
        case DType::bf16:
            return call(bfloat16{});
        case DType::f32:
            return call(float{});
    }
}

/// Like with_type, for the floating-point types only: those of a network's input and output.
template <class Call>
inline void with_float_type(DType type, Call call) {
    switch (type) {
        case DType::f16:
            return call(float16{});
        case DType::bf16:
            return call(bfloat16{});
        default:
            return call(float{});
    }
}

}  // namespace
}  // namespace pysr

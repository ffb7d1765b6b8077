#pragma once
#include <cstdint>
#include <cstring>

#include "common/host_device.h"
#include "patches/ops.h"

// Everything in core/ has internal linkage: each file that includes it is compiled for another processor, and the
// linker must never put one in the place of another.
namespace pysr {
namespace {

struct Half {
    std::uint16_t bits;
};
struct Brain {
    std::uint16_t bits;
};

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

template <class To, class From>
PYSR_HD inline To bits_as(From from) {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// widen: a stored number as a float; integers become [0, 1] by a true division, so that narrow(widen(v)) == v.

PYSR_HD inline float widen(float value) { return value; }

PYSR_HD inline float widen(std::uint8_t value) { return static_cast<float>(value) / 255.0f; }

PYSR_HD inline float widen(std::uint16_t value) { return static_cast<float>(value) / 65535.0f; }

PYSR_HD inline float widen(Brain value) { return bits_as<float>(static_cast<std::uint32_t>(value.bits) << 16); }

PYSR_HD inline float widen(Half value) {
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
    const float scaled = bits_as<float>((value.bits & 0x7fffu) << 13) * 0x1p112f;  // exact, subnormals too
    const std::uint32_t special = scaled >= 65536.0f ? 0x7f800000u : 0u;           // infinity and NaN
    return bits_as<float>(bits_as<std::uint32_t>(scaled) | special | sign);
}

// narrow: a float as it is stored. Rounds half to even; integers are clipped and NaN becomes 0 there.

PYSR_HD inline float rounded(float value, float most) {
    value = value * most;
    value = value > 0.0f ? value : 0.0f;
    value = value < most ? value : most;
    return (value + 0x1p23f) - 0x1p23f;  // the sum has no fraction bits
}

PYSR_HD inline float clipped(float value) { return value < 0.0f ? 0.0f : (value > 1.0f ? 1.0f : value); }

PYSR_HD inline void narrow(float value, float& to) { to = value; }

PYSR_HD inline void narrow(float value, std::uint8_t& to) {
    to = static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded(value, 255.0f)));
}

PYSR_HD inline void narrow(float value, std::uint16_t& to) {
    to = static_cast<std::uint16_t>(static_cast<std::int32_t>(rounded(value, 65535.0f)));
}

PYSR_HD inline void narrow(float value, Brain& to) {
    const std::uint32_t bits = bits_as<std::uint32_t>(value);
    const std::uint32_t even = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t nan = (bits >> 16) | 0x40u;
    to.bits = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : even);
}

PYSR_HD inline void narrow(float value, Half& to) {
    const std::uint32_t bits = bits_as<std::uint32_t>(value);
    const std::uint32_t size = bits & 0x7fffffffu;
    const std::uint32_t large = size > 0x7f800000u ? 0x7e00u : 0x7c00u;  // NaN, else infinity
    const std::uint32_t small = bits_as<std::uint32_t>(bits_as<float>(size) + 0.5f) - 0x3f000000u;  // subnormal
    const std::uint32_t normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
    const std::uint32_t half = size >= 0x47800000u ? large : (size < 0x38800000u ? small : normal);
    to.bits = static_cast<std::uint16_t>(half | ((bits >> 16) & 0x8000u));
}

template <class T>
PYSR_HD inline T narrow_to(float value) {
    T stored;
    narrow(value, stored);
    return stored;
}

/// The pixel of a side of `length` that pixel `i` is a mirror image of; the edge pixel is repeated.
PYSR_HD inline std::int64_t mirror(std::int64_t i, std::int64_t length) {
    i %= 2 * length;
    i = i < 0 ? i + 2 * length : i;
    return i < length ? i : 2 * length - 1 - i;
}

PYSR_HD inline std::int64_t between(std::int64_t low, std::int64_t value, std::int64_t high) {
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
inline void with_type(Type type, Call call) {
    switch (type) {
        case Type::u8:
            return call(std::uint8_t{});
        case Type::u16:
            return call(std::uint16_t{});
        case Type::f16:
            return call(Half{});
        case Type::bf16:
            return call(Brain{});
        case Type::f32:
            return call(float{});
    }
}

/// The same for types that a network takes and gives.
template <class Call>
inline void with_float_type(Type type, Call call) {
    switch (type) {
        case Type::f16:
            return call(Half{});
        case Type::bf16:
            return call(Brain{});
        default:
            return call(float{});
    }
}

}  // namespace
}  // namespace pysr

#pragma once
#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace pysr {

/// IEEE 754 binary16, as stored.
struct float16 {
    std::uint16_t bits;
};

/// The upper half of a float's bits, as stored.
struct bfloat16 {
    std::uint16_t bits;
};

namespace {

template <class To, class From>
PYSR_HD inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// to_float is exact. from_float rounds to nearest, ties to even; a NaN stays a NaN and becomes quiet. Neither has
// branches, so that the compiler vectorises loops over them.

PYSR_HD inline float to_float(float value) { return value; }

PYSR_HD inline float to_float(bfloat16 value) { return bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

PYSR_HD inline float to_float(float16 value) {
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
    const float scaled = bit_cast<float>((value.bits & 0x7fffu) << 13) * 0x1p112f;  // exact, subnormals too
    const std::uint32_t special = scaled >= 65536.0f ? 0x7f800000u : 0u;            // infinity and NaN
    return bit_cast<float>(bit_cast<std::uint32_t>(scaled) | special | sign);
}

PYSR_HD inline void from_float(float value, float& to) { to = value; }

PYSR_HD inline void from_float(float value, bfloat16& to) {
    const auto bits = bit_cast<std::uint32_t>(value);
    const std::uint32_t even = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t nan = (bits >> 16) | 0x40u;
    to.bits = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : even);
}

PYSR_HD inline void from_float(float value, float16& to) {
    const auto bits = bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const std::uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;  // NaN, else infinity
    const std::uint32_t small = bit_cast<std::uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;  // subnormal
    const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const std::uint32_t half = magnitude >= 0x47800000u ? large : (magnitude < 0x38800000u ? small : normal);
    to.bits = static_cast<std::uint16_t>(half | ((bits >> 16) & 0x8000u));
}

}  // namespace
}  // namespace pysr

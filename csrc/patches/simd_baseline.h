#pragma once
#include "patches/simd_scalar.h"

namespace pysr {
namespace {

inline void split_bytes(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count, bool) {
    split_scalar<std::uint8_t>(reinterpret_cast<const char*>(rgb), red, green, blue, count);
}

inline void join_bytes(const char* red, std::int64_t plane_stride, std::uint8_t* rgb, std::int64_t count) {
    join_scalar<std::uint8_t>(red, plane_stride, reinterpret_cast<char*>(rgb), count);
}

inline void join_sum_bytes(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t count) {
    join_sum_scalar<std::uint8_t>(sources, source_count, reinterpret_cast<char*>(rgb), 0, count);
}

inline void finish_streams() {}

}  // namespace
}  // namespace pysr

#pragma once
#include "patches/simd_scalar.h"

namespace pysr {
namespace {

inline void split(const std::uint8_t* rgb, char* red, char* green, char* blue, std::int64_t count, bool) {
    split_scalar(rgb, red, green, blue, count);
}

inline void join(const char* red, std::int64_t plane_stride, std::uint8_t* rgb, std::int64_t count) {
    join_scalar(red, plane_stride, rgb, count);
}

inline void join_sum(const Source* sources, std::int64_t source_count, std::uint8_t* rgb, std::int64_t count) {
    join_sum_scalar(sources, source_count, rgb, 0, count);
}

inline void finish_streams() {}

}  // namespace
}  // namespace pysr

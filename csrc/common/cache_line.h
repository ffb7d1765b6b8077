#pragma once
#include <cstdint>

namespace pysr {

constexpr std::int64_t kCacheLine = 64;  // bytes

/// One zero-initialised cache line; a std::vector of these is an aligned buffer.
struct alignas(kCacheLine) CacheLine {
    char bytes[kCacheLine] = {};
};

}  // namespace pysr

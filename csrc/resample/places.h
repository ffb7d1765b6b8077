#pragma once
#include <cstdint>

#include "resample/ops.h"

namespace pysr {
namespace {

constexpr int kNone = 0x80;  // what byte shuffles take for no byte

/// How the phases of a row are woven into vectors of output: byte i is byte from[p][i] of phase p, for the one p whose
/// entry is below kNone.
struct Places {
    alignas(64) std::uint8_t from[kMostScale][64];
    std::int64_t pixels;  // input pixels whose output fits in a vector; 0: none
};

}  // namespace
}  // namespace pysr

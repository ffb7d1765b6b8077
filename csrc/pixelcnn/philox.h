#pragma once
#include <cstdint>

#include "common/host_device.h"

namespace pysr {
namespace {

PYSR_HD inline std::uint32_t upper_half(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::uint32_t>((std::uint64_t{a} * b) >> 32);
}

/// Philox4x32-10, a counter-based random generator ("Parallel random numbers: as easy as 1, 2, 3", Salmon et al.,
/// 2011): words[word][i] are the four words of block i, whose counter is (first_block + i, c1, c2, c3).
template <int kBlocks>
PYSR_HD void philox(std::uint64_t key, std::uint32_t first_block, std::uint32_t c1, std::uint64_t c2c3,
                    std::uint32_t (&words)[4][kBlocks]) {
    for (int i = 0; i < kBlocks; ++i) {
        words[0][i] = first_block + static_cast<std::uint32_t>(i);
        words[1][i] = c1;
        words[2][i] = static_cast<std::uint32_t>(c2c3);
        words[3][i] = static_cast<std::uint32_t>(c2c3 >> 32);
    }
    constexpr std::uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
    std::uint32_t low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {
        for (int i = 0; i < kBlocks; ++i) {
            const std::uint32_t first = words[0][i], second = words[2][i];
            words[0][i] = upper_half(kMultiplier1, second) ^ words[1][i] ^ low;
            words[2][i] = upper_half(kMultiplier0, first) ^ words[3][i] ^ high;
            words[1][i] = kMultiplier1 * second;
            words[3][i] = kMultiplier0 * first;
        }
    }
}

}  // namespace
}  // namespace pysr

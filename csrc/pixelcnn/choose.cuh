#pragma once
#include "pixelcnn/math.h"
#include "pixelcnn/philox.h"
#include "pixelcnn/types.h"

namespace pysr {
namespace {

// Functions of a warp on 256 logits. All lanes take part and get the same result.

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Scored {
    float score;
    int level;
};

/// The one with the higher score; of equals, that with the lower level.
__device__ inline Scored better(const Scored& a, const Scored& b) {
    return b.score > a.score || (b.score == a.score && b.level < a.level) ? b : a;
}

__device__ inline Scored best_of_warp(Scored best) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
        best = better(
            best, {__shfl_xor_sync(kAllLanes, best.score, distance), __shfl_xor_sync(kAllLanes, best.level, distance)});
    return best;
}

/// The level with the highest score, the lowest of equals; -1 if scores are not finite. noise: instead of Philox noise,
/// or null.
__device__ inline int sample_level(const DrawJob& job, const float* logits, const float* noise, std::uint64_t image_id,
                                   std::int64_t value) {
    constexpr int kBlocks = kLevels / 4;
    Scored best = {-kInfinity, static_cast<int>(kLevels)};
    bool finite = true;
    for (int block = threadIdx.x % kWarp; block < kBlocks; block += kWarp) {
        std::uint32_t words[4][1] = {};
        if (!noise) philox(job.seed, block, static_cast<std::uint32_t>(value), image_id, words);
        for (int word = 0; word < 4; ++word) {
            const int level = word * kBlocks + block;
            float score = logits[level];
            if (job.inverse_temperature != 0.0f)
                score = fused(score, job.inverse_temperature, noise ? noise[level] : gumbel(words[word][0]));
            finite = finite && score == score;
            best = better(best, {score, level});
        }
    }
    best = best_of_warp(best);
    return __all_sync(kAllLanes, finite) && best.score > -kInfinity && best.score < kInfinity ? best.level : -1;
}

/// Log-softmax of the logits at a level, in nats.
__device__ inline double log_probability(const float* logits, int level) {
    const int lane = threadIdx.x % kWarp;
    Scored most = {-kInfinity, 0};
    for (int k = lane; k < kLevels; k += kWarp) most = better(most, {logits[k], k});
    most = best_of_warp(most);
    float sum = 0.0f;
    for (int k = lane; k < kLevels; k += kWarp) sum += exponential(logits[k] - most.score);
    for (int distance = kWarp / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kAllLanes, sum, distance);
    return static_cast<double>(logits[level]) - static_cast<double>(most.score) - static_cast<double>(logarithm(sum));
}

}  // namespace
}  // namespace pysr

#pragma once
#include "pixelcnn/arena.h"
#include "pixelcnn/types.h"
#include "pixelcnn/math.h"
#include "pixelcnn/choose.cuh"
#include "pixelcnn/gemm.cuh"

namespace pysr {
namespace {

/// Steps [from, end) of some images: `together` for each of `crews` crews of `members` blocks, which take `tile`
/// positions at a time.
struct Steps {
    PackedNetwork<float> network;  // on the device, as is all that it and the job point to
    DrawJob job;
    std::int64_t first_image, together, crews, members, tile;
    std::int64_t from, end;
    char *shared, *own;  // what each crew remembers, at first zeros, and room for each block
    std::int64_t shared_bytes, own_bytes;
    unsigned* arrivals;  // of each crew's blocks, at first 0
    int* overflowed;     // becomes 1 where scores are infinite or no numbers
};

/// A block's room in the device's memory, for a tile.
struct Scratch {
    std::int64_t gates_layer, hidden_row;
    float *vertical, *gates, *hidden;

    __host__ __device__ Scratch(const Steps& steps, const DrawMemory<float>& memory, Carver& carver)
        : gates_layer(steps.tile * memory.channels), hidden_row(steps.network.hidden + kPanel) {
        vertical = carver.take<float>(steps.tile * memory.row());
        gates = carver.take<float>(memory.layers * gates_layer);
        hidden = carver.take<float>(steps.tile * hidden_row);
    }
};

/// A block's shared memory, for a tile.
struct Bench {
    static constexpr std::int64_t kMostTaps = 14;

    std::int64_t sums_row, residual_row;
    Position* positions;
    const float** inputs;
    float *slices, *sums, *residual;

    __host__ __device__ Bench(const Steps& steps, const DrawMemory<float>& memory, Carver& carver)
        : sums_row(memory.row() > kLevels ? memory.row() : kLevels), residual_row(memory.channels + kPanel) {
        positions = carver.take<Position>(steps.tile);
        inputs = carver.take<const float*>(kMostTaps * steps.tile);
        slices = carver.take<float>(2 * steps.tile * kSliceRow);
        sums = carver.take<float>(steps.tile * sums_row);
        residual = carver.take<float>(steps.tile * residual_row);
    }
};

/// The pixels of one step, one in each active row of each image of a crew: `all` of them, of which a block has the tile
/// [first, first + count) at work. As on the processor, in cpu/wave.cpp; between two of the functions below all threads
/// of the block wait for each other.
struct Wave {
    const Steps& steps;
    const PackedNetwork<float>& network;
    const DrawJob& job;
    const std::int64_t first_image;
    const DrawMemory<float>& memory;
    const Scratch& scratch;
    const Bench& bench;
    const std::int64_t row = memory.row();
    const std::int64_t above_layer = memory.above_at(1, 0, 0, 0) - memory.above_at(0, 0, 0, 0);
    const std::int64_t here_layer = memory.here_at(1, {0, 0, 0}, 0) - memory.here_at(0, {0, 0, 0}, 0);
    std::int64_t time = 0, top = 0, all = 0, first = 0;
    int count = 0;

    __device__ const float** tap(std::int64_t number) const { return bench.inputs + number * steps.tile; }
    __device__ float* before_at(std::int64_t layer) const { return memory.before + (layer * all + first) * row; }
    __device__ float* gates_at(std::int64_t layer, std::int64_t m) const {
        return scratch.gates + layer * scratch.gates_layer + m * network.channels;
    }
    __device__ float* hidden_at(std::int64_t m) const { return scratch.hidden + m * scratch.hidden_row; }
    __device__ float* here_at(std::int64_t layer, std::int64_t m) const {
        return memory.here_at(layer, bench.positions[m], bench.positions[m].column);
    }

    /// Which pixels step `now` draws.
    __device__ void find(std::int64_t now) {
        time = now;
        top = time < job.width ? 0 : (time - job.width) / kLag + 1;
        all = (smaller(job.height - 1, time / kLag) - top + 1) * memory.images;
    }

    /// Takes the next tile of [from, end) and looks up where its `taps` taps lie.
    template <class Look>
    __device__ void take(std::int64_t from, std::int64_t end, int taps, Look look) {
        first = from;
        count = static_cast<int>(smaller(end - from, steps.tile));
        for (int m = threadIdx.x; m < count; m += kThreads) {
            const std::int64_t i = top + (first + m) / memory.images;
            bench.positions[m] = {(first + m) % memory.images, i, time - kLag * i};
        }
        __syncthreads();
        for (int place = threadIdx.x; place < taps * count; place += kThreads) {
            const int number = place / count, m = place % count;
            tap(number)[m] = look(number, m, bench.positions[m]);
        }
        __syncthreads();
    }

    /// Calls body(m, k) for all k < width of each position m of the tile, a warp for a position.
    template <class Body>
    __device__ void for_each(std::int64_t width, Body body) const {
        for (int m = threadIdx.x / kWarp; m < count; m += kThreads / kWarp)
            for (int k = threadIdx.x % kWarp; k < width; k += kWarp) body(m, k);
        __syncthreads();
    }

    /// What is known before the pixels themselves: of a member's layers, the vertical stack and then, from it and the
    /// two pixels to the left, what the horizontal stack gets.
    __device__ void prepare(std::int64_t number) {
        for (std::int64_t from = 0; from < all; from += steps.tile) {
            take(from, all, 14, [&](int place, int m, const Position& at) -> const float* {
                if (place < 10) {
                    const std::int64_t i = at.row - 2 + place / 5, j = at.column - 2 + place % 5;
                    return i >= 0 && j >= 0 && j < job.width ? memory.above_at(0, at.image, i, j) : nullptr;
                }
                if (place < 12) return scratch.vertical + m * row + (place - 10) * network.channels;
                const std::int64_t j = at.column - 2 + place - 12;
                return j >= 0 ? memory.here_at(0, at, j) : nullptr;
            });
            for (std::int64_t layer = number; layer < network.layer_count; layer += steps.members) {
                vertical(layer);
                Product left{network.layers[layer].left, tap(10), steps.tile, count, before_at(layer), row};
                left.offset = layer * here_layer;
                left.fixed_taps = 2;
                multiply(left, bench.slices);
            }
        }
    }

    __device__ void vertical(std::int64_t layer) const {
        Product product{network.layers[layer].vertical, tap(0), steps.tile, count, scratch.vertical, row};
        product.offset = layer * above_layer;
        multiply(product, bench.slices);
        if (layer + 1 == network.layer_count) return;
        for_each(network.channels, [&](int m, int k) {
            const Position& at = bench.positions[m];
            const float* sums = scratch.vertical + m * row;
            memory.above_at(layer + 1, at.image, at.row, at.column)[k] = gated(sums[k], sums[network.channels + k]);
        });
    }

    /// The pixels [from, end) themselves, when all layers have what they get before them.
    __device__ void draw(std::int64_t from, std::int64_t end) {
        for (; from < end; from += steps.tile) {
            take(from, end, 8, [&](int place, int m, const Position& at) -> const float* {
                if (place == 0) return here_at(0, m);
                if (place == 1) return gates_at(0, m);
                if (place == 2) return hidden_at(m);
                if (place == 3) return job.features ? features_of(at) : nullptr;
                return memory.pixel_at(at.image, job.height, at.row - 7 + place, at.column - 3);
            });
            multiply({network.first, tap(4), steps.tile, count, bench.residual, bench.residual_row}, bench.slices);
            for_each(network.channels,
                     [&](int m, int k) { here_at(0, m)[k] = bench.residual[m * bench.residual_row + k]; });
            for (int plane = 0; plane < network.planes; ++plane) {
                chain(plane);
                head(plane);
                choose(plane);
            }
            for_each(network.channels, [&](int m, int k) {
                const Position& at = bench.positions[m];
                memory.above_at(0, at.image, at.row, at.column)[k] = here_at(0, m)[k];
            });
        }
    }

    __device__ const float* features_of(const Position& at) const {
        return job.features + (first_image + at.image) * job.feature_stride +
               (at.row * job.width + at.column) * network.features;
    }

    /// One plane's channels through all layers.
    __device__ void chain(int plane) const {
        const std::int64_t from = network.starts[plane], size = network.starts[plane + 1] - from;
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            const GatedLayer<float>& weights = network.layers[layer];
            Product centre{weights.centre[plane], tap(0), steps.tile, count, bench.sums, bench.sums_row};
            centre.before = before_at(layer) + 2 * from;
            centre.before_row = row;
            centre.offset = layer * here_layer;
            multiply(centre, bench.slices);
            for_each(size, [&](int m, int k) {
                const float* sums = bench.sums + m * bench.sums_row;
                gates_at(layer, m)[from + k] = gated(sums[k], sums[size + k]);
            });
            Product out{weights.out[plane], tap(1), steps.tile, count, bench.sums, bench.sums_row};
            out.offset = layer * scratch.gates_layer;
            multiply(out, bench.slices);
            for_each(size, [&](int m, int k) {
                float& residual = bench.residual[m * bench.residual_row + from + k];
                residual += bench.sums[m * bench.sums_row + k];
                here_at(layer + 1, m)[from + k] = residual;
            });
        }
    }

    /// One plane's logits, as sums: of the prior and of the conditioning network together.
    __device__ void head(int plane) const {
        Product widen{network.widen[plane], tap(0), steps.tile, count, hidden_at(0) + network.hidden_starts[plane],
                      scratch.hidden_row};
        widen.offset = network.layer_count * here_layer;
        widen.rectified = true;
        multiply(widen, bench.slices);
        multiply({network.answer[plane], tap(2), steps.tile, count, bench.sums, bench.sums_row}, bench.slices);
        if (!job.features) return;
        Product condition{network.condition[plane], tap(3), steps.tile, count, bench.sums, bench.sums_row};
        condition.before = bench.sums;
        condition.before_row = bench.sums_row;
        multiply(condition, bench.slices);
    }

    /// A plane's values, drawn or kept, and what they add to the first layer for the planes after it.
    __device__ void choose(int plane) const {
        const int lane = threadIdx.x % kWarp;
        for (int m = threadIdx.x / kWarp; m < count; m += kThreads / kWarp) {
            const int level = level_of(m, plane, lane);
            const float input = static_cast<float>(level) / 255.0f - 0.5f;
            const Position& at = bench.positions[m];
            if (lane == 0) memory.pixel_at(at.image, job.height, at.row, at.column)[plane] = input;
            if (plane + 1 == network.planes) continue;
            float* const sums = bench.residual + m * bench.residual_row;
            float* const here = here_at(0, m);
            const float* const factors = network.first_centre + plane * network.channels;
            for (std::int64_t k = network.starts[plane + 1] + lane; k < network.channels; k += kWarp)
                here[k] = sums[k] = fused(input, factors[k], sums[k]);
        }
        __syncthreads();
    }

    /// By a warp: a value, which is written down with its logits and likelihood.
    __device__ int level_of(int m, int plane, int lane) const {
        const Position& at = bench.positions[m];
        const std::int64_t image = first_image + at.image;
        const std::int64_t value = (at.row * job.width + at.column) * network.planes + plane;
        const std::int64_t place = image * job.height * job.width * network.planes + value;
        const float* logits = bench.sums + m * bench.sums_row;
        if (job.logits)
            for (int k = lane; k < kLevels; k += kWarp) job.logits[place * kLevels + k] = logits[k];
        int level;
        if (job.all_kept || (job.kept && job.kept[place])) {
            level = job.images[place];
        } else {
            const float* noise = job.noise ? job.noise + place * kLevels : nullptr;
            level = drawn(job, logits, noise, job.image_ids[image], value);
            if (level < 0 && lane == 0) *steps.overflowed = 1;
            level = max(level, 0);
            if (lane == 0) job.images[place] = static_cast<std::uint8_t>(level);
        }
        if (job.log_likelihood) {
            const double nats = log_probability(logits, level);
            if (lane == 0) job.log_likelihood[image * job.height + at.row] += nats;
        }
        return level;
    }
};

/// Waits until all blocks of a crew have called this as often; they then see what the others wrote.
__device__ void meet(unsigned* arrivals, unsigned members, unsigned& meetings) {
    __syncthreads();
    if (threadIdx.x == 0 && members > 1) {
        __threadfence();
        atomicAdd(arrivals, 1u);
        for (const unsigned wanted = ++meetings * members; atomicAdd(arrivals, 0u) < wanted;) __nanosleep(32);
        __threadfence();
    }
    __syncthreads();
}

}  // namespace
}  // namespace pysr

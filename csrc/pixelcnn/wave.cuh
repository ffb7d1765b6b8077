#pragma once
#include "pixelcnn/arena.h"
#include "pixelcnn/choose.cuh"
#include "pixelcnn/gemm.cuh"
#include "pixelcnn/math.h"
#include "pixelcnn/types.h"

namespace pysr {
namespace {

/// Steps [from, end) of some images: groups of blocks draw per_group images each, and a block takes `tile` positions at
/// a time.
struct Steps {
    PackedNetwork<float> network;  // its pointers and those of the job are to device memory
    DrawJob job;
    std::int64_t first_image, per_group, groups, group_size, tile;
    std::int64_t from, end;
    char *state, *scratch;  // a WaveState per group, initially zeros, and a BlockScratch per block
    std::int64_t state_bytes, scratch_bytes;
    unsigned* arrivals;  // of each group at its barrier, initially 0
    int* overflowed;     // set to 1 if logits are not finite
};

/// A block's buffers in device memory, for a tile.
struct BlockScratch {
    std::int64_t gates_layer, hidden_row;
    float *vertical, *gates, *hidden;

    __host__ __device__ BlockScratch(const Steps& steps, const WaveState<float>& state, Arena& arena)
        : gates_layer(steps.tile * state.channels), hidden_row(steps.network.hidden + kPanel) {
        vertical = arena.allocate<float>(steps.tile * state.sums_row());
        gates = arena.allocate<float>(state.layers * gates_layer);
        hidden = arena.allocate<float>(steps.tile * hidden_row);
    }
};

/// A block's buffers in shared memory, for a tile.
struct SharedTile {
    static constexpr std::int64_t kMaxTaps = 14;

    std::int64_t sums_row, residual_row;
    Position* positions;
    const float** inputs;
    float *slices, *sums, *residual;

    __host__ __device__ SharedTile(const Steps& steps, const WaveState<float>& state, Arena& arena)
        : sums_row(state.sums_row() > kLevels ? state.sums_row() : kLevels), residual_row(state.channels + kPanel) {
        positions = arena.allocate<Position>(steps.tile);
        inputs = arena.allocate<const float*>(kMaxTaps * steps.tile);
        slices = arena.allocate<float>(2 * steps.tile * kSliceRow);
        sums = arena.allocate<float>(steps.tile * sums_row);
        residual = arena.allocate<float>(steps.tile * residual_row);
    }
};

/// One step of the wavefront: one pixel in each active row of each image of a group, `all` of them. The functions below
/// work on the tile [first, first + count); all threads of the block call them and are synchronised between them. The
/// counterpart for the CPU is in wave.cpp.
struct Wave {
    const Steps& steps;
    const PackedNetwork<float>& network;
    const DrawJob& job;
    const std::int64_t first_image;
    const WaveState<float>& state;
    const BlockScratch& scratch;
    const SharedTile& shared;
    const std::int64_t row = state.sums_row();
    const std::int64_t vertical_layer = state.vertical_at(1, 0, 0, 0) - state.vertical_at(0, 0, 0, 0);
    const std::int64_t horizontal_layer = state.horizontal_at(1, {0, 0, 0}, 0) - state.horizontal_at(0, {0, 0, 0}, 0);
    std::int64_t time = 0, all = 0, first = 0;
    int count = 0;

    __device__ const float** tap(std::int64_t number) const { return shared.inputs + number * steps.tile; }
    __device__ float* pre_activation_at(std::int64_t layer) const {
        return state.pre_activation + (layer * all + first) * row;
    }
    __device__ float* gates_at(std::int64_t layer, std::int64_t m) const {
        return scratch.gates + layer * scratch.gates_layer + m * network.channels;
    }
    __device__ float* hidden_at(std::int64_t m) const { return scratch.hidden + m * scratch.hidden_row; }
    __device__ float* horizontal_at(std::int64_t layer, std::int64_t m) const {
        return state.horizontal_at(layer, shared.positions[m], shared.positions[m].column);
    }

    /// Determines the pixels of step `now`.
    __device__ void begin_step(std::int64_t now) {
        time = now;
        all = 0;
        for (std::int64_t image = 0; image < state.images; ++image) all += row_count(drawn(image), time);
    }

    __device__ const DrawnImage& drawn(std::int64_t image) const { return job.images[first_image + image]; }
    __device__ const DrawnImage& image_of(const Position& at) const { return drawn(at.image); }

    /// The pixel of this step with that number, images one after the other.
    __device__ Position position_of(std::int64_t number) const {
        std::int64_t image = 0;
        for (; number >= row_count(drawn(image), time); ++image) number -= row_count(drawn(image), time);
        const std::int64_t i = first_row(drawn(image), time) + number;
        return {image, i, time - kLag * i};
    }

    /// Selects the tile of [from, end) that starts at `from`, and looks up the inputs of its `taps` taps.
    template <class LookUp>
    __device__ void select_tile(std::int64_t from, std::int64_t end, int taps, LookUp look_up) {
        first = from;
        count = static_cast<int>(smaller(end - from, steps.tile));
        for (int m = threadIdx.x; m < count; m += kThreads) shared.positions[m] = position_of(first + m);
        __syncthreads();
        for (int place = threadIdx.x; place < taps * count; place += kThreads) {
            const int number = place / count, m = place % count;
            tap(number)[m] = look_up(number, m, shared.positions[m]);
        }
        __syncthreads();
    }

    /// Calls body(m, k) for all k < width of each position m of the tile, with one warp per position.
    template <class Body>
    __device__ void for_each(std::int64_t width, Body body) const {
        for (int m = threadIdx.x / kWarp; m < count; m += kThreads / kWarp)
            for (int k = threadIdx.x % kWarp; k < width; k += kWarp) body(m, k);
        __syncthreads();
    }

    /// The vertical stack of a block's share of the layers, and the part of their horizontal sums that is known before
    /// a pixel is drawn: from the vertical stack and the two pixels to the left.
    __device__ void pre_activations(std::int64_t rank) {
        for (std::int64_t from = 0; from < all; from += steps.tile) {
            select_tile(from, all, 14, [&](int place, int m, const Position& at) -> const float* {
                if (place < 10) {
                    const std::int64_t i = at.row - 2 + place / 5, j = at.column - 2 + place % 5;
                    return i >= 0 && j >= 0 && j < image_of(at).width ? state.vertical_at(0, at.image, i, j) : nullptr;
                }
                if (place < 12) return scratch.vertical + m * row + (place - 10) * network.channels;
                const std::int64_t j = at.column - 2 + place - 12;
                return j >= 0 ? state.horizontal_at(0, at, j) : nullptr;
            });
            for (std::int64_t layer = rank; layer < network.layer_count; layer += steps.group_size) {
                vertical_stack(layer);
                Product product{
                    network.layers[layer].pre_activation, tap(10), steps.tile, count, pre_activation_at(layer), row};
                product.offset = layer * horizontal_layer;
                product.fixed_taps = 2;
                multiply(product, shared.slices);
            }
        }
    }

    __device__ void vertical_stack(std::int64_t layer) const {
        Product product{network.layers[layer].vertical, tap(0), steps.tile, count, scratch.vertical, row};
        product.offset = layer * vertical_layer;
        multiply(product, shared.slices);
        if (layer + 1 == network.layer_count) return;
        for_each(network.channels, [&](int m, int k) {
            const Position& at = shared.positions[m];
            const float* sums = scratch.vertical + m * row;
            state.vertical_at(layer + 1, at.image, at.row, at.column)[k] = gated(sums[k], sums[network.channels + k]);
        });
    }

    /// Draws the pixels [from, end), once the pre-activations of all layers are computed.
    __device__ void draw(std::int64_t from, std::int64_t end) {
        for (; from < end; from += steps.tile) {
            select_tile(from, end, 8, [&](int place, int m, const Position& at) -> const float* {
                if (place == 0) return horizontal_at(0, m);
                if (place == 1) return gates_at(0, m);
                if (place == 2) return hidden_at(m);
                if (place == 3) return network.features ? features_of(at) : nullptr;
                return state.pixel_at(at.image, at.row - 7 + place, at.column - 3);
            });
            multiply({network.first, tap(4), steps.tile, count, shared.residual, shared.residual_row}, shared.slices);
            for_each(network.channels,
                     [&](int m, int k) { horizontal_at(0, m)[k] = shared.residual[m * shared.residual_row + k]; });
            for (int plane = 0; plane < network.planes; ++plane) {
                horizontal_stack(plane);
                head(plane);
                draw_plane(plane);
            }
            for_each(network.channels, [&](int m, int k) {
                const Position& at = shared.positions[m];
                state.vertical_at(0, at.image, at.row, at.column)[k] = horizontal_at(0, m)[k];
            });
        }
    }

    __device__ const float* features_of(const Position& at) const {
        const DrawnImage& image = image_of(at);
        return image.features + (at.row * image.width + at.column) * network.features;
    }

    /// One plane's channels of the horizontal stack, through all layers.
    __device__ void horizontal_stack(int plane) const {
        const std::int64_t from = network.starts[plane], size = network.starts[plane + 1] - from;
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            const GatedLayer<float>& weights = network.layers[layer];
            Product centre{weights.centre[plane], tap(0), steps.tile, count, shared.sums, shared.sums_row};
            centre.initial = pre_activation_at(layer) + 2 * from;
            centre.initial_row = row;
            centre.offset = layer * horizontal_layer;
            multiply(centre, shared.slices);
            for_each(size, [&](int m, int k) {
                const float* sums = shared.sums + m * shared.sums_row;
                gates_at(layer, m)[from + k] = gated(sums[k], sums[size + k]);
            });
            Product out{weights.out[plane], tap(1), steps.tile, count, shared.sums, shared.sums_row};
            out.offset = layer * scratch.gates_layer;
            multiply(out, shared.slices);
            for_each(size, [&](int m, int k) {
                float& residual = shared.residual[m * shared.residual_row + from + k];
                residual += shared.sums[m * shared.sums_row + k];
                horizontal_at(layer + 1, m)[from + k] = residual;
            });
        }
    }

    /// One plane's logits, in shared.sums: the sum of those of the prior and of the conditioning network.
    __device__ void head(int plane) const {
        Product expand{network.expand[plane], tap(0), steps.tile, count, hidden_at(0) + network.hidden_starts[plane],
                       scratch.hidden_row};
        expand.offset = network.layer_count * horizontal_layer;
        expand.rectified = true;
        multiply(expand, shared.slices);
        multiply({network.answer[plane], tap(2), steps.tile, count, shared.sums, shared.sums_row}, shared.slices);
        if (!network.features) return;
        Product condition{network.condition[plane], tap(3), steps.tile, count, shared.sums, shared.sums_row};
        condition.initial = shared.sums;
        condition.initial_row = shared.sums_row;
        multiply(condition, shared.slices);
    }

    /// One plane's values, drawn or observed, and their contribution to the first layer for the planes after it.
    __device__ void draw_plane(int plane) const {
        const int lane = threadIdx.x % kWarp;
        for (int m = threadIdx.x / kWarp; m < count; m += kThreads / kWarp) {
            const int level = level_of(m, plane, lane);
            const float input = static_cast<float>(level) / 255.0f - 0.5f;
            const Position& at = shared.positions[m];
            if (lane == 0) state.pixel_at(at.image, at.row, at.column)[plane] = input;
            if (plane + 1 == network.planes) continue;
            float* const sums = shared.residual + m * shared.residual_row;
            float* const horizontal = horizontal_at(0, m);
            const float* const factors = network.first_centre + plane * network.channels;
            for (std::int64_t k = network.starts[plane + 1] + lane; k < network.channels; k += kWarp)
                horizontal[k] = sums[k] = fused(input, factors[k], sums[k]);
        }
        __syncthreads();
    }

    /// One value, computed by a warp and stored with its logits and likelihood.
    __device__ int level_of(int m, int plane, int lane) const {
        const Position& at = shared.positions[m];
        const DrawnImage& image = image_of(at);
        const std::int64_t value = (at.row * image.width + at.column) * network.planes + plane;
        const float* logits = shared.sums + m * shared.sums_row;
        if (image.logits)
            for (int k = lane; k < kLevels; k += kWarp) image.logits[value * kLevels + k] = logits[k];
        int level;
        if (job.score_only || (image.observed && image.observed[value])) {
            level = image.levels[value];
        } else {
            const float* noise = image.noise ? image.noise + value * kLevels : nullptr;
            level = sample_level(job, logits, noise, image.id, value);
            if (level < 0 && lane == 0) *steps.overflowed = 1;
            level = max(level, 0);
            if (lane == 0) image.levels[value] = static_cast<std::uint8_t>(level);
        }
        if (image.log_likelihood) {
            const double nats = log_probability(logits, level);
            if (lane == 0) image.log_likelihood[at.row] += nats;
        }
        return level;
    }
};

/// Barrier of a group of blocks, which afterwards see what the others wrote. passed: how many barriers this block has
/// passed.
__device__ void group_barrier(unsigned* arrivals, unsigned group_size, unsigned& passed) {
    __syncthreads();
    if (threadIdx.x == 0 && group_size > 1) {
        __threadfence();
        atomicAdd(arrivals, 1u);
        for (const unsigned wanted = ++passed * group_size; atomicAdd(arrivals, 0u) < wanted;) __nanosleep(32);
        __threadfence();
    }
    __syncthreads();
}

}  // namespace
}  // namespace pysr

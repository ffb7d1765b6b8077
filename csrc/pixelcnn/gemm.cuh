#pragma once
#include <cuda_pipeline.h>

#include "pixelcnn/math.h"
#include "pixelcnn/types.h"

namespace pysr {
namespace {

constexpr int kThreads = 256;
constexpr int kSlice = 64;             // inputs along the depth that are in shared memory at a time
constexpr int kSliceRow = kSlice + 4;  // padded, so that four rows are in different banks
constexpr int kDepthMultiple = 16;     // on the device, the depth of all taps together is padded to a multiple

__host__ __device__ inline std::int64_t padded_depth(const Panels<float>& matrix) {
    return (matrix.taps * matrix.depth + kDepthMultiple - 1) / kDepthMultiple * kDepthMultiple;
}

/// A matrix product: rows of inputs times a matrix, whose panels have padded_depth.
struct Product {
    Panels<float> matrix;
    const float* const* inputs;  // [tap * stride + row]: the inputs of one tap; null: zeros
    std::int64_t stride;
    std::int64_t rows;
    float* out;  // rows of whole panels, out_row floats apart
    std::int64_t out_row;
    const float* initial = nullptr;  // what the products are added to, initial_row floats apart; null: the bias
    std::int64_t initial_row = 0;
    std::int64_t offset = 0, fixed_taps = 0;  // added to `inputs`, in floats, except for the first fixed_taps
    bool rectified = false;                   // apply a ReLU to the sums
};

/// Starts copying a slice of the inputs into shared memory. It is complete once all threads have passed
/// __pipeline_wait_prior(0).
__device__ void fetch_inputs(const Product& product, int slice, float* slices) {
    const int depth = product.matrix.depth, taps = product.matrix.taps, stride = product.stride;
    const int column = threadIdx.x % kSlice, k = slice * kSlice + column, tap = taps == 1 ? 0 : k / depth;
    const std::int64_t within = k - tap * depth + (tap < product.fixed_taps ? 0 : product.offset);
    float* const to = slices + slice % 2 * stride * kSliceRow + column;
    for (int row = threadIdx.x / kSlice; row < product.rows; row += kThreads / kSlice) {
        const float* const from = k < taps * depth ? product.inputs[tap * stride + row] : nullptr;
        if (from)
            __pipeline_memcpy_async(to + row * kSliceRow, from + within, sizeof(float));
        else
            to[row * kSliceRow] = 0.0f;
    }
    __pipeline_commit();
}

template <int kCount>
__device__ void fetch_factors(const float* from, float4 (&factors)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) factors[i] = __ldg(reinterpret_cast<const float4*>(from + i * kPanel));
}

/// Adds the products of four inputs of consecutive depth, in this order, to the sums of four outputs.
__device__ void add_products(const float4& inputs, const float4* factors, float4& sum) {
    const float four[] = {inputs.x, inputs.y, inputs.z, inputs.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        sum.x = fused(four[i], factors[i].x, sum.x);
        sum.y = fused(four[i], factors[i].y, sum.y);
        sum.z = fused(four[i], factors[i].z, sum.z);
        sum.w = fused(four[i], factors[i].w, sum.w);
    }
}

/// The work of one thread: four outputs of kRows rows.
template <int kRows>
struct Task {
    static constexpr int kAhead = kRows > 2 ? 8 : kDepthMultiple;  // how far ahead factors are fetched

    const Product& product;
    const int depth, output;
    int rows[kRows];
    float4 sums[kRows];
    float4 next[kAhead];

    /// Row `first` and every `step`th row after it. Beyond the last row it recomputes the last one and does not store
    /// it.
    __device__ Task(const Product& of, int first, int step, int quad)
        : product(of), depth(padded_depth(of.matrix)), output(4 * quad) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            rows[r] = min(first + r * step, static_cast<int>(of.rows) - 1);
            const float* from = of.initial ? of.initial + rows[r] * of.initial_row : of.matrix.bias;
            from += output;
            sums[r] = {from[0], from[1], from[2], from[3]};
        }
        fetch_factors(factors_at(0), next);
    }

    __device__ const float* factors_at(int k) const {
        return product.matrix.weights + (std::int64_t{output / kPanel} * depth + k) * kPanel + output % kPanel;
    }

    /// Adds the products of a slice.
    __device__ void add(int slice, const float* slices) {
        const int first = slice * kSlice, end = min(depth, first + kSlice);
        slices += slice % 2 * product.stride * kSliceRow;
        for (int k = first; k < end; k += kAhead) {
            float4 factors[kAhead];
#pragma unroll
            for (int i = 0; i < kAhead; ++i) factors[i] = next[i];
            if (k + kAhead < depth) fetch_factors(factors_at(k + kAhead), next);
#pragma unroll
            for (int i = 0; i < kAhead; i += 4)
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    const float* inputs = slices + rows[r] * kSliceRow + (k - first + i);
                    add_products(*reinterpret_cast<const float4*>(inputs), factors + i, sums[r]);
                }
        }
    }

    __device__ void store(int first, int step) const {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (first + r * step >= product.rows) continue;
            const float four[] = {sums[r].x, sums[r].y, sums[r].z, sums[r].w};
            float* const to = product.out + rows[r] * product.out_row + output;
#pragma unroll
            for (int i = 0; i < 4; ++i) to[i] = product.rectified && four[i] < 0.0f ? 0.0f : four[i];  // NaN stays NaN
        }
    }
};

/// Tasks of kRows rows. Up to four neighbouring threads share their factors.
template <int kRows>
struct Tasks {
    int groups, shift, quads, count;

    __device__ explicit Tasks(const Product& product)
        : groups((product.rows + kRows - 1) / kRows),
          shift(groups >= 4   ? 2
                : groups >= 2 ? 1
                              : 0),
          quads(product.matrix.panels * (kPanel / 4)),
          count(quads * ((((groups - 1) >> shift) + 1) << shift)) {}

    /// Relative estimate of their duration.
    __device__ int cost() const { return (count + kThreads - 1) / kThreads * (kRows + 2); }
};

template <int kRows>
__device__ void multiply_rows(const Product& product, const Tasks<kRows>& tasks, float* slices) {
    const int slice_count = (padded_depth(product.matrix) + kSlice - 1) / kSlice;
    for (int first = 0; first < tasks.count; first += kThreads) {
        const unsigned task = static_cast<unsigned>(first) + threadIdx.x, pair = task >> tasks.shift;
        const int quad = pair % tasks.quads, neighbour = task & ((1 << tasks.shift) - 1);
        const int group = (pair / tasks.quads << tasks.shift) + neighbour;
        const bool busy = group < tasks.groups;
        Task<kRows> mine(product, busy ? group : 0, tasks.groups, quad);
        fetch_inputs(product, 0, slices);
        for (int slice = 0; slice < slice_count; ++slice) {
            __pipeline_wait_prior(0);
            __syncthreads();
            if (slice + 1 < slice_count) fetch_inputs(product, slice + 1, slices);
            if (busy) mine.add(slice, slices);
        }
        if (busy) mine.store(group, tasks.groups);
        __syncthreads();
    }
}

/// Computes a product with all threads of a block; all of them see the result. The products of an output are added in
/// ascending depth with fused multiply-adds, as on the CPU, and in the same order for any number of rows. slices:
/// 2 * stride rows of kSliceRow floats in shared memory.
__device__ __noinline__ void multiply(const Product product, float* slices) {
    const Tasks<1> one(product);
    const Tasks<2> two(product);
    const Tasks<4> four(product);
    const Tasks<8> eight(product);
    const int least = min(min(one.cost(), two.cost()), min(four.cost(), eight.cost()));
    if (eight.cost() == least) return multiply_rows(product, eight, slices);
    if (four.cost() == least) return multiply_rows(product, four, slices);
    if (two.cost() == least) return multiply_rows(product, two, slices);
    multiply_rows(product, one, slices);
}

}  // namespace
}  // namespace pysr

#pragma once
#include <cuda_pipeline.h>

#include "pixelcnn/types.h"
#include "pixelcnn/math.h"

namespace pysr {
namespace {

constexpr int kThreads = 256;
constexpr int kSlice = 64;             // of the depth, that lies in shared memory at a time
constexpr int kSliceRow = kSlice + 4;  // from row to row: four rows lie in different banks
constexpr int kWholeDepth = 16;        // on the device, the depth of all taps together is a multiple of this

__host__ __device__ inline std::int64_t whole_depth(const Panels<float>& matrix) {
    return (matrix.taps * matrix.depth + kWholeDepth - 1) / kWholeDepth * kWholeDepth;
}

/// Rows of inputs times a matrix, whose panels are of whole_depth.
struct Product {
    Panels<float> matrix;
    const float* const* inputs;  // [tap * stride + row]: where a row's inputs of a tap lie; null where they are zeros
    std::int64_t stride;
    std::int64_t rows;
    float* out;  // rows of whole panels, out_row floats apart
    std::int64_t out_row;
    const float* before = nullptr;  // what the products are added to, before_row floats apart; null: the bias
    std::int64_t before_row = 0;
    std::int64_t offset = 0, fixed_taps = 0;  // later taps' inputs lie that many floats after where `inputs` says
    bool rectified = false;                   // whether sums below zero become zero
};

/// Brings a slice of the inputs into shared memory. It is there after __pipeline_wait_prior(0) of all threads.
__device__ void fetch_inputs(const Product& product, int slice, float* slices) {
    const int depth = product.matrix.depth, taps = product.matrix.taps, stride = product.stride;
    const int place = threadIdx.x % kSlice, k = slice * kSlice + place, tap = taps == 1 ? 0 : k / depth;
    const std::int64_t within = k - tap * depth + (tap < product.fixed_taps ? 0 : product.offset);
    float* const to = slices + slice % 2 * stride * kSliceRow + place;
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

/// sum += four inputs of consecutive depth times their factors, in this order, for four outputs.
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

/// Four outputs of kRows rows: the task of a thread.
template <int kRows>
struct Task {
    static constexpr int kAhead = kRows > 2 ? 8 : kWholeDepth;  // factors are fetched so long before they are used

    const Product& product;
    const int depth, output;
    int rows[kRows];
    float4 sums[kRows];
    float4 next[kAhead];

    /// Row `first` and each `step`th after it; beyond the last row the last one again, which is not stored.
    __device__ Task(const Product& of, int first, int step, int quad)
        : product(of), depth(whole_depth(of.matrix)), output(4 * quad) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            rows[r] = min(first + r * step, static_cast<int>(of.rows) - 1);
            const float* from = of.before ? of.before + rows[r] * of.before_row : of.matrix.bias;
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
            for (int i = 0; i < 4; ++i)
                to[i] = product.rectified && four[i] < 0.0f ? 0.0f : four[i];  // keeps what is no number
        }
    }
};

/// How many tasks of kRows rows there are, neighbours sharing their factors: a quarter of a warp at most.
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

    /// About how long they take.
    __device__ int time() const { return (count + kThreads - 1) / kThreads * (kRows + 2); }
};

template <int kRows>
__device__ void multiply_rows(const Product& product, const Tasks<kRows>& tasks, float* slices) {
    const int slice_count = (whole_depth(product.matrix) + kSlice - 1) / kSlice;
    for (int first = 0; first < tasks.count; first += kThreads) {
        const unsigned task = static_cast<unsigned>(first) + threadIdx.x, pair = task >> tasks.shift;
        const int quad = pair % tasks.quads, beside = task & ((1 << tasks.shift) - 1);
        const int group = (pair / tasks.quads << tasks.shift) + beside;
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

/// By all threads of a block, which then all see what came out. The products of an output are added depth by depth,
/// fused, as on the processor: in the same order for any number of rows. slices: 2 * stride rows of kSliceRow floats in
/// shared memory.
__device__ __noinline__ void multiply(const Product product, float* slices) {
    const Tasks<1> one(product);
    const Tasks<2> two(product);
    const Tasks<4> four(product);
    const Tasks<8> eight(product);
    const int least = min(min(one.time(), two.time()), min(four.time(), eight.time()));
    if (eight.time() == least) return multiply_rows(product, eight, slices);
    if (four.time() == least) return multiply_rows(product, four, slices);
    if (two.time() == least) return multiply_rows(product, two, slices);
    multiply_rows(product, one, slices);
}

}  // namespace
}  // namespace pysr

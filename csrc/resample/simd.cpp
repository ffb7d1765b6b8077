// The resampling kernel for the CPU. Compiled once per instruction set: PYSR_ISA is its name in Isa, PYSR_SIMD the
// header of its hand-tuned loops. Only raw pointers and internal linkage, as in patches/simd.cpp.
#include "resample/kernel_table.h"
#include PYSR_SIMD

namespace pysr {
namespace {

// ---- input: pixels to rows of floats

/// Columns [x, end) of an input row, channel by channel and mirrored beyond the borders.
template <class In>
void read_mirrored(const EnlargeJob& job, const char* row, std::int64_t x, std::int64_t end, float* to) {
    for (; x < end; ++x) {
        const char* from = row + mirror(x, job.image.width) * job.image.column_stride;
        for (std::int64_t c = 0; c < job.group; ++c) *to++ = to_float(load<In>(from + c * job.image.channel_stride));
    }
}

/// The floats of an input row, with `reach` pixels beyond the window on either side.
template <class In>
void read_row(const EnlargeJob& job, const Window& window, std::int64_t y, float* to) {
    const char* row = pixel(job.image, window.channel, mirror(y, job.image.height), 0);
    const std::int64_t begin = window.first_column - job.reach, end = window.end_column + job.reach;
    const std::int64_t first = clamp(begin, 0, end), last = clamp(first, job.image.width, end);
    read_mirrored<In>(job, row, begin, first, to);
    to += (first - begin) * job.group;
    const char* from = row + first * job.image.column_stride;
    const std::int64_t count = (last - first) * job.group;
    if (job.image.column_stride == job.group * std::int64_t{sizeof(In)}) {  // side by side: the compiler vectorises
        for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(load<In>(from + i * sizeof(In)));
    } else {
        for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(load<In>(from + i * job.image.column_stride));
    }
    read_mirrored<In>(job, row, last, end, to + count);
}

// ---- sums of rows

template <std::int64_t taps, class Out>
void sum(const float* const* sources, const float* weights, std::int64_t count, bool clip, Out* __restrict to) {
    const float* source[taps];
    float weight[taps];
    for (std::int64_t k = 0; k < taps; ++k) {
        source[k] = sources[k];
        weight[k] = weights[k];
    }
    const float low = clip ? 0.0f : -__builtin_inff(), high = clip ? 1.0f : __builtin_inff();
    for (std::int64_t i = 0; i < count; ++i) {
        float total = source[0][i] * weight[0];
        for (std::int64_t k = 1; k < taps; ++k) total = __builtin_fmaf(source[k][i], weight[k], total);
        total = total < low ? low : total;
        to[i] = from_float<Out>(total > high ? high : total);
    }
}

/// to[i] = the sum of sources[k][i] * weights[k], for `taps` sources, 1 to `most`.
template <class Out, std::int64_t most = kMostTaps>
void sum(std::int64_t taps, const float* const* sources, const float* weights, std::int64_t count, bool clip, Out* to) {
    if constexpr (most > 1) {
        if (taps < most) return sum<Out, most - 1>(taps, sources, weights, count, clip, to);
    }
    sum<most>(sources, weights, count, clip, to);
}

/// Filters `count` samples by one phase; source_at(offset) is the row that many input pixels away.
template <class Out, class SourceAt>
void apply(const Filter& filter, std::int64_t phase, SourceAt source_at, std::int64_t count, bool clip, Out* to) {
    const float *weights = filter.weights + phase * filter.taps, *sources[kMostTaps] = {};
    std::int64_t taps = 0;
    for (; taps < filter.taps && weights[taps] != 0.0f; ++taps)
        sources[taps] = source_at(filter.offsets[phase * filter.taps + taps]);
    sum<Out>(taps, sources, weights, count, clip, to);
}

// ---- output: the phases of a row, side by side

/// Output pixels of `size` bytes: pixel i * scale + p comes from phases[p][i].
void weave(char* const* phases, std::int64_t scale, std::int64_t size, std::int64_t first, std::int64_t end, char* to) {
    for (std::int64_t i = first; i < end; ++i)
        for (std::int64_t p = 0; p < scale; ++p) std::memcpy(to + (i * scale + p) * size, phases[p] + i * size, size);
}

template <class Out>
void write_row(const EnlargeJob& job, const Places& places, char* const* phases, std::int64_t count, char* to) {
    const std::int64_t scale = job.filter.scale, stride = job.out.column_stride;
    const std::int64_t size = job.group * std::int64_t{sizeof(Out)};
    if (stride == size) {
        const std::int64_t done = weave_vectors(places, phases, scale, size, count, to);
        return weave(phases, scale, size, done, count, to);
    }
    for (std::int64_t p = 0; p < scale; ++p)
        for (std::int64_t i = 0; i < count; ++i) store(to + (i * scale + p) * stride, load<Out>(phases[p] + i * size));
}

Places find_places(std::int64_t scale, std::int64_t size) {
    Places found;
    std::memset(found.from, kNone, sizeof found.from);
    found.pixels = scale * size <= kVector ? kVector / (scale * size) : 0;
    for (std::int64_t i = 0; i < found.pixels * scale * size; ++i)
        found.from[i / size % scale][i] = static_cast<std::uint8_t>(i / (scale * size) * size + i % size);
    return found;
}

// ---- a window

float* float_row(const Scratch& scratch, std::int64_t i) {
    return reinterpret_cast<float*>(scratch.memory + i * scratch.float_row);
}

using ReadRow = void (*)(const EnlargeJob& job, const Window& window, std::int64_t y, float* to);

template <class Out>
void enlarge_window(const EnlargeJob& job, const Window& window, const Scratch& scratch, ReadRow read) {
    const std::int64_t scale = job.filter.scale, rows = 2 * job.reach + 1, group = job.group;
    const std::int64_t columns = window.end_column - window.first_column, samples = columns * group;
    const Places places = find_places(scale, group * std::int64_t{sizeof(Out)});
    float* const column_sums = float_row(scratch, rows);
    const auto row_at = [&](std::int64_t y) { return float_row(scratch, (y + rows) % rows); };  // a ring
    char* phases[kMostScale];
    for (std::int64_t p = 0; p < scale; ++p)
        phases[p] = scratch.memory + (rows + 1) * scratch.float_row + p * scratch.output_row;
    for (std::int64_t y = window.first_row - job.reach; y < window.end_row + job.reach; ++y) {
        read(job, window, y, row_at(y));
        const std::int64_t centre = y - job.reach;
        if (centre < window.first_row) continue;
        for (std::int64_t down = 0; down < scale; ++down) {
            const auto above = [&](std::int64_t offset) { return row_at(centre + offset); };
            apply(job.filter, down, above, (columns + 2 * job.reach) * group, false, column_sums);
            for (std::int64_t p = 0; p < scale; ++p) {
                const auto beside = [&](std::int64_t offset) { return column_sums + (job.reach + offset) * group; };
                apply(job.filter, p, beside, samples, job.clip, reinterpret_cast<Out*>(phases[p]));
            }
            const std::int64_t row = (centre - job.first_row) * scale + down;
            write_row<Out>(job, places, phases, columns,
                           pixel(job.out, window.channel, row, window.first_column * scale));
        }
    }
}

void enlarge(const EnlargeJob& job, const Window& window, const Scratch& scratch) {
    ReadRow read = nullptr;
    with_type(job.image.type, [&](auto in) { read = read_row<decltype(in)>; });
    with_type(job.out.type, [&](auto out) { enlarge_window<decltype(out)>(job, window, scratch, read); });
}

}  // namespace

template <>
const ResampleKernels& resample_kernels_of<Isa::PYSR_ISA>() {
    static constexpr ResampleKernels kernels = {enlarge};
    return kernels;
}

}  // namespace pysr

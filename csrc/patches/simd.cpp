// The patch kernels for the CPU. Compiled once per instruction set: PYSR_ISA is its name in Isa, PYSR_SIMD the header
// of its hand-tuned loops. Only raw pointers and internal linkage: a function that the linker may merge with that of
// another file could run on a CPU that lacks the instructions.
#include "patches/kernel_table.h"
#include PYSR_SIMD

#include "patches/blend.h"
#include "patches/extract.h"

namespace pysr {
namespace {

/// Whether an image is interleaved RGB of the usual types: bytes, 16 bits or floats.
bool interleaved_rgb(const Image& image) {
    const std::int64_t size = image.type == DType::u8 ? 1 : (image.type == DType::u16 ? 2 : 4);
    return image.type != DType::f16 && image.type != DType::bf16 && image.channels == 3 &&
           image.channel_stride == size && image.column_stride == 3 * size;
}

/// Calls call(T{}) with the C++ type of an interleaved_rgb image.
template <class Call>
void with_rgb_type(DType type, Call call) {
    if (type == DType::u8) return call(std::uint8_t{});
    if (type == DType::u16) return call(std::uint16_t{});
    call(float{});
}

/// Rows of an image or patch that are read soon are fetched while those before them are used: they are too short, and
/// too far apart, for the processor to guess.
constexpr std::int64_t kRowsAhead = 4, kLine = 64;

void prefetch(const char* from, std::int64_t bytes) {
    for (std::int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i);
}

bool has_float_rows(const Image& image) { return image.type == DType::f32 && image.column_stride == sizeof(float); }

template <class In, class Out>
void extract_row(const ExtractJob& job, std::int64_t patch, std::int64_t y) {
    const ExtractPatches<In, Out> body{job.image, job.origins, job.patches};
    for (std::int64_t c = 0; c < job.image.channels; ++c) body.span(patch, c, y, 0, job.patches.first.width);
}

/// extract_row<In, float> for interleaved RGB, the usual image: three planes from one pass over the pixels.
template <class In>
void extract_rgb_row(const ExtractJob& job, std::int64_t patch, std::int64_t y) {
    const ExtractPatches<In, float> body{job.image, job.origins, job.patches};
    const Origin origin = job.origins[patch];
    const std::int64_t width = job.patches.first.width;
    const std::int64_t x = clamp(0, -origin.left, width), end = clamp(x, job.image.width - origin.left, width);
    for (std::int64_t c = 0; c < 3; ++c) {
        body.span(patch, c, y, 0, x);
        body.span(patch, c, y, end, width);
    }
    if (x == end) return;
    const auto row_at = [&](std::int64_t row) {
        return pixel(job.image, 0, mirror(origin.top + row, job.image.height), origin.left + x);
    };
    prefetch(row_at(y + kRowsAhead), 3 * static_cast<std::int64_t>(sizeof(In)) * (end - x));
    const char* from = row_at(y);
    char *red = pixel(job.patches, patch, 0, y, x), *green = pixel(job.patches, patch, 1, y, x);
    char* blue = pixel(job.patches, patch, 2, y, x);
    if constexpr (sizeof(In) == 1) {
        split_bytes(reinterpret_cast<const In*>(from), red, green, blue, end - x, job.stream);
    } else {
        split_scalar<In>(from, red, green, blue, end - x);
    }
}

void extract(const ExtractJob& job, std::int64_t first, std::int64_t end) {
    const std::int64_t height = job.patches.first.height;
    if (interleaved_rgb(job.image) && has_float_rows(job.patches.first)) {
        with_rgb_type(job.image.type, [&](auto in) {
            for (; first < end; ++first) extract_rgb_row<decltype(in)>(job, first / height, first % height);
        });
        finish_streams();
        return;
    }
    with_type(job.image.type, [&](auto in) {
        with_float_type(job.patches.first.type, [&](auto out) {
            for (std::int64_t i = first; i < end; ++i)
                extract_row<decltype(in), decltype(out)>(job, i / height, i % height);
        });
    });
}

constexpr std::int64_t kBlock = 256;  // output pixels whose sums stay in the L1 cache

template <class Out>
void store_row(const float* sums, char* to, std::int64_t stride, std::int64_t count, bool clip) {
    if (stride == sizeof(Out) && !clip) {
        for (std::int64_t i = 0; i < count; ++i) store(to + i * sizeof(Out), from_float<Out>(sums[i]));
    } else {
        for (std::int64_t i = 0; i < count; ++i)
            store(to + i * stride, from_float<Out>(clip ? clipped(sums[i]) : sums[i]));
    }
}

template <class In, class Out>
void blend_segment(const BlendJob& job, const Segment& segment, std::int64_t y) {
    const BlendPatches<In> body{job.bands, job.rows, job.columns};
    float sums[kBlock];
    for (std::int64_t c = 0; c < job.out.channels; ++c) {
        for (std::int64_t x = segment.first; x < segment.end; x += kBlock) {
            const std::int64_t count = clamp(0, segment.end - x, kBlock);
            body.sum(c, job.first_row + y, x, count, segment.first_patch, segment.end_patch, sums);
            store_row<Out>(sums, pixel(job.out, c, y, x), job.out.column_stride, count, job.clip);
        }
    }
}

constexpr std::int64_t kMostSources = 16;

/// Collects the patch rows that contribute to a segment of an output row; returns how many, or -1 if they are too many.
std::int64_t find_sources(const BlendPatches<float>& body, const Segment& segment, std::int64_t row, Source* sources) {
    std::int64_t found = 0;
    for (std::int64_t band = 0; band < body.rows.count; ++band) {
        const float weight = body.row_weight(band, row);
        if (weight == 0.0f) continue;
        const Image& patch = body.bands[band].first;
        for (std::int64_t k = segment.first_patch; k < segment.end_patch; ++k) {
            if (found == kMostSources) return -1;
            const char* samples = body.sample(band, k, 0, row, segment.first);
            sources[found++] = {samples, patch.channel_stride, body.column_weights(k, segment.first), weight};
        }
    }
    return found;
}

/// blend_segment<float, Out> for interleaved RGB, the usual image: three planes at once, and pixels that one patch
/// covers with weight 1 are only converted.
template <class Out>
void blend_rgb_segment(const BlendJob& job, const Segment& segment, std::int64_t y) {
    const BlendPatches<float> body{job.bands, job.rows, job.columns};
    Source sources[kMostSources];
    const std::int64_t found = find_sources(body, segment, job.first_row + y, sources);
    const std::int64_t count = segment.end - segment.first;
    if (found < 0) return blend_segment<float, Out>(job, segment, y);
    const bool alone = found == 1 && segment.at_weight_one && sources[0].weight == 1.0f;
    char* to = pixel(job.out, 0, y, segment.first);
    if constexpr (sizeof(Out) == 1) {
        Out* bytes = reinterpret_cast<Out*>(to);
        if (alone) return join_bytes(sources[0].samples, sources[0].plane_stride, bytes, count);
        join_sum_bytes(sources, found, bytes, count);
    } else {
        if (alone) return join_scalar<Out>(sources[0].samples, sources[0].plane_stride, to, count);
        join_sum_scalar<Out>(sources, found, to, 0, count);
    }
}

/// Prefetches what blend_rgb_segment will read.
void prefetch_sources(const BlendJob& job, const Segment& segment, std::int64_t y) {
    const BlendPatches<float> body{job.bands, job.rows, job.columns};
    const std::int64_t bytes = (segment.end - segment.first) * static_cast<std::int64_t>(sizeof(float)) + kLine - 1;
    for (std::int64_t band = 0; band < job.rows.count; ++band) {
        if (body.row_weight(band, job.first_row + y) == 0.0f) continue;
        for (std::int64_t k = segment.first_patch; k < segment.end_patch; ++k)
            for (std::int64_t c = 0; c < 3; ++c)
                prefetch(body.sample(band, k, c, job.first_row + y, segment.first), bytes);
    }
}

bool all_have_float_rows(const BlendJob& job) {
    for (std::int64_t band = 0; band < job.rows.count; ++band)
        if (!has_float_rows(job.bands[band].first)) return false;
    return true;
}

/// Segments within rows: where two patches overlap, a segment is too narrow to be worth a stream of its own.
template <class Blend>
void for_segments(const BlendJob& job, std::int64_t first, std::int64_t end, Blend blend) {
    for (std::int64_t y = first; y < end; ++y)
        for (std::int64_t i = 0; i < job.segment_count; ++i) blend(job, job.segments[i], y);
}

void blend(const BlendJob& job, std::int64_t first, std::int64_t end) {
    const bool clips_floats = job.clip && job.out.type == DType::f32;
    if (interleaved_rgb(job.out) && !clips_floats && all_have_float_rows(job)) {
        with_rgb_type(job.out.type, [&](auto out) {
            for_segments(job, first, end, [&](const BlendJob&, const Segment& segment, std::int64_t y) {
                if (y + 1 < end) prefetch_sources(job, segment, y + 1);
                blend_rgb_segment<decltype(out)>(job, segment, y);
            });
        });
        return;
    }
    with_float_type(job.bands[0].first.type, [&](auto in) {
        with_type(job.out.type,
                  [&](auto out) { for_segments(job, first, end, blend_segment<decltype(in), decltype(out)>); });
    });
}

}  // namespace

template <>
const PatchKernels& patch_kernels_of<Isa::PYSR_ISA>() {
    static constexpr PatchKernels kernels = {extract, blend};
    return kernels;
}

}  // namespace pysr

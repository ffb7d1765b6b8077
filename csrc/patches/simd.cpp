// Compiled once per instruction set, with PYSR_ISA its name and PYSR_SIMD the header of its hand-tuned members. Only
// raw pointers and names of internal linkage: what the linker can merge could run on a processor that lacks the
// instructions.
#include "patches/kernel_table.h"
#include PYSR_SIMD

#include "patches/blend.h"
#include "patches/extract.h"

#define PYSR_JOIN(a, b) a##b
#define PYSR_JOIN_NAMES(a, b) PYSR_JOIN(a, b)
#define PYSR_ROWS(isa) PYSR_JOIN(rows_, isa)
#define PYSR_STRING(isa) #isa
#define PYSR_NAME(isa) PYSR_STRING(isa)

namespace pysr {
namespace {

/// Whether an image holds its pixels as r, g, b, r, g, b in bytes.
bool interleaved_rgb(const Image& image) {
    return image.type == Type::u8 && image.channels == 3 && image.channel_stride == 1 && image.column_stride == 3;
}

bool has_float_rows(const Image& image) { return image.type == Type::f32 && image.column_stride == sizeof(float); }

template <class In, class Out>
void extract_row(const ExtractJob& job, std::int64_t patch, std::int64_t y) {
    const ExtractPatches<In, Out> body{job.image, job.origins, job.patches};
    for (std::int64_t c = 0; c < job.image.channels; ++c) body.span(patch, c, y, 0, job.patches.first.width);
}

/// The same as extract_row<uint8_t, float> for the commonest image: three planes from one pass over the pixels.
void extract_rgb_row(const ExtractJob& job, std::int64_t patch, std::int64_t y) {
    const ExtractPatches<std::uint8_t, float> body{job.image, job.origins, job.patches};
    const Origin origin = job.origins[patch];
    const std::int64_t width = job.patches.first.width;
    const std::int64_t x = between(0, -origin.left, width), end = between(x, job.image.width - origin.left, width);
    for (std::int64_t c = 0; c < 3; ++c) {
        body.span(patch, c, y, 0, x);
        body.span(patch, c, y, end, width);
    }
    if (x == end) return;
    const char* from = pixel(job.image, 0, mirror(origin.top + y, job.image.height), origin.left + x);
    split(reinterpret_cast<const std::uint8_t*>(from), pixel(job.patches, patch, 0, y, x),
          pixel(job.patches, patch, 1, y, x), pixel(job.patches, patch, 2, y, x), end - x, job.stream);
}

void extract(const ExtractJob& job, std::int64_t first, std::int64_t end) {
    const std::int64_t height = job.patches.first.height;
    if (interleaved_rgb(job.image) && has_float_rows(job.patches.first)) {
        for (; first < end; ++first) extract_rgb_row(job, first / height, first % height);
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

constexpr std::int64_t kBlock = 256;  // output pixels whose sums stay in the first cache

template <class Out>
void store_row(const float* sums, char* to, std::int64_t stride, std::int64_t count, bool clip) {
    if (stride == sizeof(Out) && !clip) {
        for (std::int64_t i = 0; i < count; ++i) store(to + i * sizeof(Out), narrow_to<Out>(sums[i]));
    } else {
        for (std::int64_t i = 0; i < count; ++i)
            store(to + i * stride, narrow_to<Out>(clip ? clipped(sums[i]) : sums[i]));
    }
}

template <class In, class Out>
void blend_part(const BlendJob& job, const Segment& part, std::int64_t y) {
    const BlendPatches<In> body{job.bands, job.rows, job.columns};
    float sums[kBlock];
    for (std::int64_t c = 0; c < job.out.channels; ++c) {
        for (std::int64_t x = part.first; x < part.end; x += kBlock) {
            const std::int64_t count = between(0, part.end - x, kBlock);
            body.sum(c, job.first_row + y, x, count, part.first_patch, part.end_patch, sums);
            store_row<Out>(sums, pixel(job.out, c, y, x), job.out.column_stride, count, job.clip);
        }
    }
}

constexpr std::int64_t kMostSources = 16;

/// The rows of patches that count for output row `row` in a part: how many, or -1 when they are too many.
std::int64_t find_sources(const BlendPatches<float>& body, const Segment& part, std::int64_t row, Source* sources) {
    std::int64_t found = 0;
    for (std::int64_t band = 0; band < body.rows.count; ++band) {
        const float weight = body.row_weight(band, row);
        if (weight == 0.0f) continue;
        for (std::int64_t k = part.first_patch; k < part.end_patch; ++k) {
            if (found == kMostSources) return -1;
            sources[found++] = {body.sample(band, k, 0, row, part.first), body.bands[band].first.channel_stride,
                                body.column_weights(k, part.first), weight};
        }
    }
    return found;
}

/// The same as blend_part<float, uint8_t> for the commonest image: three planes at once, and pixels under one patch
/// alone go straight across.
void blend_rgb_part(const BlendJob& job, const Segment& part, std::int64_t y) {
    const BlendPatches<float> body{job.bands, job.rows, job.columns};
    Source sources[kMostSources];
    const std::int64_t found = find_sources(body, part, job.first_row + y, sources);
    std::uint8_t* to = reinterpret_cast<std::uint8_t*>(pixel(job.out, 0, y, part.first));
    if (found < 0) {
        blend_part<float, std::uint8_t>(job, part, y);
    } else if (found == 1 && part.at_weight_one && sources[0].weight == 1.0f) {
        join(sources[0].samples, sources[0].next, to, part.end - part.first);
    } else {
        join_sum(sources, found, to, part.end - part.first);
    }
}

bool all_have_float_rows(const BlendJob& job) {
    for (std::int64_t band = 0; band < job.rows.count; ++band)
        if (!has_float_rows(job.bands[band].first)) return false;
    return true;
}

template <class Part>
void for_parts(const BlendJob& job, std::int64_t first, std::int64_t end, Part part) {
    for (std::int64_t y = first; y < end; ++y)
        for (std::int64_t i = 0; i < job.segment_count; ++i) part(job, job.segments[i], y);
}

void blend(const BlendJob& job, std::int64_t first, std::int64_t end) {
    if (interleaved_rgb(job.out) && all_have_float_rows(job)) return for_parts(job, first, end, blend_rgb_part);
    with_float_type(job.bands[0].first.type, [&](auto in) {
        with_type(job.out.type, [&](auto out) { for_parts(job, first, end, blend_part<decltype(in), decltype(out)>); });
    });
}

}  // namespace

Drawn PYSR_JOIN_NAMES(draw_, PYSR_ISA)(const PackedNetwork<float>& network, const DrawJob& job, std::int64_t first,
                                       std::int64_t images, char* shared, char* own,
                                       const Member& member);  // in wave.cpp
double PYSR_JOIN_NAMES(exercise_, PYSR_ISA)(std::int64_t rounds);

extern const Rows PYSR_ROWS(PYSR_ISA);
const Rows PYSR_ROWS(PYSR_ISA) = {PYSR_NAME(PYSR_ISA), extract, blend, PYSR_JOIN_NAMES(draw_, PYSR_ISA),
                                  PYSR_JOIN_NAMES(exercise_, PYSR_ISA)};

}  // namespace pysr

#pragma once
#include "common/cache_line.h"
#include "common/host_device.h"
#include "pixelcnn/types.h"

namespace pysr {
namespace {

PYSR_HD inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
PYSR_HD inline std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

/// A bump allocator over one block of memory, aligned to cache lines. With null memory it only counts bytes.
class Arena {
  public:
    PYSR_HD explicit Arena(char* memory) : next_(memory) {}

    template <class Item>
    PYSR_HD Item* allocate(std::int64_t count) {
        Item* const allocated = reinterpret_cast<Item*>(next_);
        const std::int64_t size = count * static_cast<std::int64_t>(sizeof(Item));
        const std::int64_t bytes = (size + kCacheLine - 1) / kCacheLine * kCacheLine;
        bytes_ += bytes;
        if (next_) next_ += bytes;
        return allocated;
    }

    PYSR_HD std::int64_t bytes() const { return bytes_; }

  private:
    char* next_;
    std::int64_t bytes_ = 0;
};

struct Position {
    std::int64_t image, row, column;
};

/// The steps that an image takes.
PYSR_HD inline std::int64_t steps_of(const DrawnImage& image) { return image.width + kLag * (image.height - 1); }

/// The first row of an image that has a pixel at a step, and how many have one.
PYSR_HD inline std::int64_t first_row(const DrawnImage& image, std::int64_t time) {
    return time < image.width ? 0 : (time - image.width) / kLag + 1;
}
PYSR_HD inline std::int64_t row_count(const DrawnImage& image, std::int64_t time) {
    return time < steps_of(image) ? smaller(image.height - 1, time / kLag) - first_row(image, time) + 1 : 0;
}

/// What a few images that are drawn together need room for: the largest height, width and number of steps.
struct Extent {
    std::int64_t images, height = 0, width = 0, steps = 0;

    PYSR_HD Extent(const DrawnImage* from, std::int64_t count) : images(count) {
        for (const DrawnImage* image = from; image < from + count; ++image) {
            height = larger(image->height, height);
            width = larger(image->width, width);
            steps = larger(steps_of(*image), steps);
        }
    }
};

/// Activations kept from step to step, for a few images that are drawn together. A step draws at most one pixel in each
/// of `active` consecutive rows of an image, every fourth column; the two rows above them are still read. Must start as
/// zeros.
template <class Element>
struct WaveState {
    static constexpr std::int64_t kColumns = 16, kRecent = 4, kBorder = 3;

    std::int64_t images, active, rings, height, width, planes, channels, layers;
    Element *vertical, *horizontal, *pixels, *zeros;
    Element* sums;
    float* pre_activation;

    PYSR_HD WaveState(const PackedNetwork<Element>& network, const Extent& extent, Arena& arena, bool paired = true)
        : images(extent.images),
          active(smaller(extent.height, (extent.width + kLag - 1) / kLag)),
          rings(active + 2),
          height(extent.height),
          width(extent.width),
          planes(network.planes),
          channels(network.channels),
          layers(network.layer_count) {
        vertical = arena.allocate<Element>(layers * images * rings * kColumns * channels);
        horizontal = arena.allocate<Element>((layers + 1) * images * active * kRecent * channels);
        pixels = arena.allocate<Element>(images * (height + kBorder) * pixel_row() + kPanel);
        zeros = arena.allocate<Element>(channels + kPanel);
        pre_activation = arena.allocate<float>(layers * max_positions() * sums_row());
        sums = arena.allocate<Element>(paired ? layers * max_positions() * 2 * sums_row() : 0);
    }

    /// The largest number of pixels that a step draws.
    PYSR_HD std::int64_t max_positions() const { return images * active; }

    /// Floats from one position's sums to the next.
    PYSR_HD std::int64_t sums_row() const { return 2 * channels + kPanel; }

    /// Elements from one row of pixels to the next.
    PYSR_HD std::int64_t pixel_row() const { return (width + 2 * kBorder) * planes; }

    /// Input of a layer's vertical stack at pixel (i, j).
    PYSR_HD Element* vertical_at(std::int64_t layer, std::int64_t image, std::int64_t i, std::int64_t j) const {
        return vertical + (((layer * images + image) * rings + i % rings) * kColumns + j % kColumns) * channels;
    }

    /// Sums of a layer's vertical stack at column j, one of the two columns that are computed together.
    Element* sums_at(std::int64_t layer, const Position& at, std::int64_t j) const {
        return sums + (((layer * images + at.image) * active + at.row % active) * 2 + j % 2) * sums_row();
    }

    /// Input of a layer's horizontal stack at column j; layer == layers: the output of the last.
    PYSR_HD Element* horizontal_at(std::int64_t layer, const Position& at, std::int64_t j) const {
        return horizontal +
               (((layer * images + at.image) * active + at.row % active) * kRecent + j % kRecent) * channels;
    }

    /// The values of a pixel, from three rows above and three columns left of the image to three columns right of it.
    PYSR_HD Element* pixel_at(std::int64_t image, std::int64_t i, std::int64_t j) const {
        return pixels + (image * (height + kBorder) + i + kBorder) * pixel_row() + (j + kBorder) * planes;
    }
};

/// Per-thread scratch buffers for one step.
template <class Element>
struct StepScratch {
    static constexpr std::int64_t kMaxTaps = 20;

    Position* positions;
    const Element** inputs;
    float *tiles, *products, *sums, *residual, *expanded, *logits, *noise;
    Element *gates, *hidden, *features;

    StepScratch(const PackedNetwork<Element>& network, const WaveState<Element>& state, Arena& arena) {
        const std::int64_t most = state.max_positions(), row = state.sums_row();
        positions = arena.allocate<Position>(most);
        inputs = arena.allocate<const Element*>(kMaxTaps * most);
        tiles = arena.allocate<float>(kWinograd<Element> ? 2 * kTile * most * state.channels : 0);
        products = arena.allocate<float>((kWinograd<Element> ? kTile : 2) * most * row);
        sums = arena.allocate<float>(most * row);
        residual = arena.allocate<float>(most * row);
        expanded = arena.allocate<float>(most * (network.hidden + kPanel));
        logits = arena.allocate<float>(most * kLevels);
        noise = arena.allocate<float>(kLevels);
        gates = arena.allocate<Element>(network.layer_count * most * row);
        hidden = arena.allocate<Element>(most * (network.hidden + kPanel));
        features = arena.allocate<Element>(most * (network.features + kPair<Element>));
    }
};

}  // namespace
}  // namespace pysr

#pragma once
#include "common/host_device.h"
#include "pixelcnn/types.h"

namespace pysr {
namespace {

PYSR_HD inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// Hands out parts of one piece of memory, each on a cache line; without memory it only counts.
class Carver {
  public:
    PYSR_HD explicit Carver(char* memory) : next_(memory) {}

    template <class Item>
    PYSR_HD Item* take(std::int64_t count) {
        Item* const taken = reinterpret_cast<Item*>(next_);
        const std::int64_t bytes = (count * static_cast<std::int64_t>(sizeof(Item)) + 63) / 64 * 64;
        bytes_ += bytes;
        if (next_) next_ += bytes;
        return taken;
    }

    PYSR_HD std::int64_t bytes() const { return bytes_; }

  private:
    char* next_;
    std::int64_t bytes_ = 0;
};

struct Position {
    std::int64_t image, row, column;
};

/// What is remembered of a few images that are drawn together. A step may be at one column of every fourth row:
/// `active` rows; two more rows above are still read. Begin with zeros.
template <class Element>
struct DrawMemory {
    static constexpr std::int64_t kColumns = 16, kRecent = 4, kBorder = 3;

    std::int64_t images, active, rings, width, planes, channels, layers;
    Element *above, *here, *pixels, *zeros;
    float *before, *sums;

    PYSR_HD DrawMemory(const PackedNetwork<Element>& network, const DrawJob& job, std::int64_t image_count,
                       Carver& carver, bool paired = kPaired<Element>)
        : images(image_count),
          active(smaller(job.height, (job.width + kLag - 1) / kLag)),
          rings(active + 2),
          width(job.width),
          planes(network.planes),
          channels(network.channels),
          layers(network.layer_count) {
        above = carver.take<Element>(layers * images * rings * kColumns * channels);
        here = carver.take<Element>((layers + 1) * images * active * kRecent * channels);
        pixels = carver.take<Element>(images * (job.height + kBorder) * stride() + kPanel);
        zeros = carver.take<Element>(channels + kPanel);
        before = carver.take<float>(layers * most() * row());
        sums = carver.take<float>(paired ? layers * most() * 2 * row() : 0);
    }

    /// Positions of a step.
    PYSR_HD std::int64_t most() const { return images * active; }

    /// Floats from one position's sums to the next.
    PYSR_HD std::int64_t row() const { return 2 * channels + kPanel; }

    PYSR_HD std::int64_t stride() const { return (width + 2 * kBorder) * planes; }

    /// The vertical stack before a layer.
    PYSR_HD Element* above_at(std::int64_t layer, std::int64_t image, std::int64_t i, std::int64_t j) const {
        return above + (((layer * images + image) * rings + i % rings) * kColumns + j % kColumns) * channels;
    }

    /// The vertical sums of a layer, of the columns that are made together.
    float* sums_at(std::int64_t layer, const Position& at, std::int64_t j) const {
        return sums + (((layer * images + at.image) * active + at.row % active) * 2 + j % 2) * row();
    }

    /// The horizontal stack before a layer, or after the last.
    PYSR_HD Element* here_at(std::int64_t layer, const Position& at, std::int64_t j) const {
        return here + (((layer * images + at.image) * active + at.row % active) * kRecent + j % kRecent) * channels;
    }

    /// The planes of a pixel, also of those up to three rows above and columns beside the image.
    PYSR_HD Element* pixel_at(std::int64_t image, std::int64_t rows, std::int64_t i, std::int64_t j) const {
        return pixels + (image * (rows + kBorder) + i + kBorder) * stride() + (j + kBorder) * planes;
    }
};

/// Room for a member's share of one step.
template <class Element>
struct StepMemory {
    static constexpr std::int64_t kMostTaps = 2 * kTile;

    Position* positions;
    const Element** inputs;
    float *tiles, *products, *sums, *residual, *wide, *logits, *noise;
    Element *narrow, *gates, *hidden, *given;

    StepMemory(const PackedNetwork<Element>& network, const DrawMemory<Element>& memory, Carver& carver) {
        const std::int64_t most = memory.most(), row = memory.row();
        positions = carver.take<Position>(most);
        inputs = carver.take<const Element*>(kMostTaps * most);
        tiles = carver.take<float>(kPaired<Element> ? 2 * kTile * most * memory.channels : 0);
        products = carver.take<float>(kPaired<Element> ? kTile * most * row : 0);
        sums = carver.take<float>(most * row);
        residual = carver.take<float>(most * row);
        wide = carver.take<float>(most * (network.hidden + kPanel));
        logits = carver.take<float>(most * kLevels);
        noise = carver.take<float>(kLevels);
        narrow = carver.take<Element>(most * row);
        gates = carver.take<Element>(network.layer_count * most * row);
        hidden = carver.take<Element>(most * (network.hidden + kPanel));
        given = carver.take<Element>(most * (network.features + kPair<Element>));
    }
};

}  // namespace
}  // namespace pysr

#pragma once
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "pixelcnn/math.h"
#include "pixelcnn/sampler.h"

namespace pysr {

/// A PixelCNN's numbers as the loops read them, and the memory that they lie in.
template <class Element>
class Packed {
  public:
    Packed(const PixelCnnSizes& sizes, const PixelCnn::Numbers& numbers);
    Packed(const Packed&) = delete;

    const PackedNetwork<Element>& network() const { return network_; }

  private:
    using Weight = std::function<float(std::int64_t output, std::int64_t tap, std::int64_t depth)>;
    using Bias = std::function<float(std::int64_t output)>;

    Panels<Element> pack(std::int64_t outputs, std::int64_t taps, std::int64_t depth, const Weight& weight,
                         const Bias& bias);
    void pack_first(const PixelCnn::Numbers& numbers);
    GatedLayer<Element> pack_layer(const std::string& name, const PixelCnn::Numbers& numbers);
    void pack_head(const PixelCnn::Numbers& numbers);

    /// Zeros on a cache line that live as long as this.
    template <class Item>
    Item* room(std::int64_t count) {
        memory_.emplace_back(count * sizeof(Item) / sizeof(Line) + 1);
        return reinterpret_cast<Item*>(memory_.back().data());
    }

    struct alignas(64) Line {
        char bytes[64] = {};
    };

    PackedNetwork<Element> network_;
    std::vector<GatedLayer<Element>> layers_;
    std::deque<std::vector<Line>> memory_;
};

}  // namespace pysr

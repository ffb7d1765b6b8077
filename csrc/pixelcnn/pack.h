#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "common/cache_line.h"
#include "pixelcnn/sampler.h"

namespace pysr {

/// A PixelCNN's weights packed into panels, and the memory that holds them.
template <class Element>
class Packed {
  public:
    Packed(const PixelCnnSizes& sizes, const WeightLookup& weights);
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;

    const PackedNetwork<Element>& network() const { return network_; }

  private:
    using Weight = std::function<float(std::int64_t output, std::int64_t tap, std::int64_t depth)>;
    using Bias = std::function<float(std::int64_t output)>;

    Panels<Element> pack(std::int64_t outputs, std::int64_t taps, std::int64_t depth, const Weight& weight,
                         const Bias& bias);
    void pack_first(const WeightLookup& weights);
    GatedLayer<Element> pack_layer(const std::string& name, const WeightLookup& weights);
    void pack_head(const WeightLookup& weights);

    /// Zero-initialised, cache-line-aligned storage owned by this object.
    template <class Item>
    Item* allocate(std::int64_t count) {
        memory_.emplace_back(count * sizeof(Item) / sizeof(CacheLine) + 1);
        return reinterpret_cast<Item*>(memory_.back().data());
    }

    PackedNetwork<Element> network_;
    std::vector<GatedLayer<Element>> layers_;
    std::deque<std::vector<CacheLine>> memory_;
};

}  // namespace pysr

#pragma once
#include <functional>
#include <string>
#include <vector>

#include "common/huge_pages.h"
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

    template <class Item>
    Item* allocate(std::int64_t count) {
        return reinterpret_cast<Item*>(memory_.allocate(count * static_cast<std::int64_t>(sizeof(Item))));
    }

    PackedNetwork<Element> network_;
    std::vector<GatedLayer<Element>> layers_;
    HugePages memory_;
};

}  // namespace pysr

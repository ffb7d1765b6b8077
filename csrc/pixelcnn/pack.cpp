#include "pixelcnn/pack.h"

namespace pysr {
namespace {

/// Where each plane's channels begin: planes share them as a half, a quarter and a quarter; a single plane has all.
void divide(std::int64_t channels, std::int64_t planes, std::int64_t (&starts)[kMaxPlanes + 1]) {
    const std::int64_t quarter = channels / 4;
    starts[0] = 0;
    starts[1] = planes == 1 ? channels : channels - 2 * quarter;
    for (std::int64_t plane = 1; plane < kMaxPlanes; ++plane)
        starts[plane + 1] = planes == 1 ? channels : starts[plane] + quarter;
}

float no_bias(std::int64_t) { return 0.0f; }

}  // namespace

template <class Element>
Packed<Element>::Packed(const PixelCnnSizes& sizes, const WeightLookup& weights) {
    network_.planes = sizes.planes;
    network_.channels = sizes.channels;
    network_.layer_count = sizes.layers;
    network_.hidden = sizes.hidden;
    network_.features = sizes.features;
    divide(sizes.channels, sizes.planes, network_.starts);
    divide(sizes.hidden, sizes.planes, network_.hidden_starts);
    pack_first(weights);
    for (std::int64_t layer = 0; layer < sizes.layers; ++layer)
        layers_.push_back(pack_layer("layers." + std::to_string(layer) + ".", weights));
    network_.layers = layers_.data();
    pack_head(weights);
}

template <class Element>
Panels<Element> Packed<Element>::pack(std::int64_t outputs, std::int64_t taps, std::int64_t depth, const Weight& weight,
                                      const Bias& bias) {
    constexpr std::int64_t pair = kPair<Element>;
    const std::int64_t panels = (outputs + kPanel - 1) / kPanel, even = (depth + pair - 1) / pair * pair;
    Element* const packed = allocate<Element>(panels * taps * even * kPanel);
    float* const biases = allocate<float>(panels * kPanel);
    for (std::int64_t output = 0; output < outputs; ++output) {
        biases[output] = bias(output);
        for (std::int64_t tap = 0; tap < taps; ++tap)
            for (std::int64_t k = 0; k < depth; ++k) {
                const std::int64_t row = (output / kPanel * taps + tap) * (even / pair) + k / pair;
                from_float(weight(output, tap, k), packed[(row * kPanel + output % kPanel) * pair + k % pair]);
            }
    }
    return {packed, biases, panels, taps, even};
}

template <class Element>
void Packed<Element>::pack_first(const WeightLookup& weights) {
    const std::int64_t channels = network_.channels, planes = network_.planes;
    const float* const weight = weights("first.weight", {channels, planes, 4, 7});
    const float* const bias = weights("first.bias", {channels});
    const auto at = [=](std::int64_t n, std::int64_t plane, std::int64_t row, std::int64_t column) {
        return weight[((n * planes + plane) * 4 + row) * 7 + column];
    };
    network_.first = pack(
        channels, 4, 7 * planes,
        [&](std::int64_t n, std::int64_t row, std::int64_t k) {
            return row == 3 && k / planes >= 3 ? 0.0f : at(n, k % planes, row, k / planes);
        },
        [&](std::int64_t n) { return bias[n]; });
    float* const centre = allocate<float>(planes * channels);
    for (std::int64_t plane = 0; plane < planes; ++plane)
        for (std::int64_t n = 0; n < channels; ++n) centre[plane * channels + n] = at(n, plane, 3, 3);
    network_.first_centre = centre;
}

template <class Element>
GatedLayer<Element> Packed<Element>::pack_layer(const std::string& name, const WeightLookup& weights) {
    const std::int64_t c = network_.channels, c2 = 2 * c;
    const float* const vertical = weights(name + "vertical.weight", {c2, c, 2, 5});
    const float* const vertical_bias = weights(name + "vertical.bias", {c2});
    const float* const across = weights(name + "across.weight", {c2, c2, 1, 1});
    const float* const horizontal = weights(name + "horizontal.weight", {c2, c, 1, 3});
    const float* const horizontal_bias = weights(name + "horizontal.bias", {c2});
    const float* const out = weights(name + "out.weight", {c, c, 1, 1});
    const float* const out_bias = weights(name + "out.bias", {c});
    GatedLayer<Element> layer = {};
    layer.vertical = pack(
        c2, 10, c, [&](std::int64_t n, std::int64_t tap, std::int64_t k) { return vertical[(n * c + k) * 10 + tap]; },
        [&](std::int64_t n) { return vertical_bias[n]; });
    if (kWinograd<Element>)
        for (std::int64_t product = 0; product < kTile; ++product)
            layer.winograd[product] = pack(
                c2, 2, c,
                [&](std::int64_t n, std::int64_t tap, std::int64_t k) {
                    return transform_weights(vertical + (n * c + k) * 10 + tap * 5, product);
                },
                [&](std::int64_t n) { return product % (kTile - 1) ? 0.0f : vertical_bias[n]; });
    std::vector<std::int64_t> order;  // of the horizontal outputs: by plane, the tanh half first
    for (std::int64_t plane = 0; plane < network_.planes; ++plane)
        for (std::int64_t half = 0; half < 2; ++half)
            for (std::int64_t n = network_.starts[plane]; n < network_.starts[plane + 1]; ++n)
                order.push_back(half * c + n);
    layer.pre_activation = pack(
        c2, 4, c,
        [&](std::int64_t n, std::int64_t tap, std::int64_t k) {
            return tap < 2 ? across[order[n] * c2 + tap * c + k] : horizontal[(order[n] * c + k) * 3 + tap - 2];
        },
        [&](std::int64_t n) { return horizontal_bias[order[n]]; });
    for (std::int64_t plane = 0; plane < network_.planes; ++plane) {
        const std::int64_t first = network_.starts[plane], end = network_.starts[plane + 1];
        layer.centre[plane] = pack(
            2 * (end - first), 1, end,
            [&](std::int64_t n, std::int64_t, std::int64_t k) {
                return horizontal[(order[2 * first + n] * c + k) * 3 + 2];
            },
            no_bias);
        layer.out[plane] = pack(
            end - first, 1, end, [&](std::int64_t n, std::int64_t, std::int64_t k) { return out[(first + n) * c + k]; },
            [&](std::int64_t n) { return out_bias[first + n]; });
    }
    return layer;
}

template <class Element>
void Packed<Element>::pack_head(const WeightLookup& weights) {
    const std::int64_t c = network_.channels, hidden = network_.hidden, features = network_.features;
    const std::int64_t outputs = network_.planes * kLevels;
    const float* const expand = weights("widen.weight", {hidden, c, 1, 1});
    const float* const expand_bias = weights("widen.bias", {hidden});
    const float* const answer = weights("answer.weight", {outputs, hidden, 1, 1});
    const float* const answer_bias = weights("answer.bias", {outputs});
    const float* const condition = features ? weights("condition.weight", {outputs, features, 1, 1}) : nullptr;
    const float* const condition_bias = features ? weights("condition.bias", {outputs}) : nullptr;
    for (std::int64_t plane = 0; plane < network_.planes; ++plane) {
        const std::int64_t first = network_.hidden_starts[plane], end = network_.hidden_starts[plane + 1];
        const std::int64_t level = plane * kLevels;
        network_.expand[plane] = pack(
            end - first, 1, network_.starts[plane + 1],
            [&](std::int64_t n, std::int64_t, std::int64_t k) { return expand[(first + n) * c + k]; },
            [&](std::int64_t n) { return expand_bias[first + n]; });
        network_.answer[plane] = pack(
            kLevels, 1, end,
            [&](std::int64_t n, std::int64_t, std::int64_t k) { return answer[(level + n) * hidden + k]; },
            [&](std::int64_t n) {
                return answer_bias[level + n] + (condition_bias ? condition_bias[level + n] : 0.0f);
            });
        network_.condition[plane] = pack(
            kLevels, 1, features,
            [&](std::int64_t n, std::int64_t, std::int64_t k) { return condition[(level + n) * features + k]; },
            no_bias);
    }
}

template class Packed<float>;
template class Packed<bfloat16>;

}  // namespace pysr

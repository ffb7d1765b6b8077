#pragma once
#include <cstdint>

#include "pixelcnn/winograd.h"

namespace pysr {

constexpr std::int64_t kLevels = 256, kPanel = 16, kMostPlanes = 3;

/// The upper half of a float's bits.
struct Bf16 {
    std::uint16_t bits;
};

/// Whether the vertical sums of two columns are made together (see winograd.h): not where rounding costs too much.
template <class Element>
constexpr bool kPaired = true;
template <>
constexpr bool kPaired<Bf16> = false;

/// How many inputs are multiplied at a time: bfloat16 instructions take pairs.
template <class Element>
constexpr std::int64_t kPair = 1;
template <>
constexpr std::int64_t kPair<Bf16> = 2;

/// A matrix for outputs in panels of 16: weights[panel][tap][depth / pair][16][pair]. An output is its bias and then
/// the products, taps ascending and in each the depth ascending: in this order everywhere, so that sums are the same
/// bits for any number of rows and on any processor.
template <class Element>
struct Panels {
    const Element* weights;
    const float* bias;
    std::int64_t panels, taps, depth;
};

/// One gated layer. paired: the vertical stack's products for two columns, where kPaired. left: what is known before a
/// pixel begins, from the vertical stack (2 taps) and the two pixels to the left; its outputs are ordered by plane,
/// each with the tanh half first. centre, out: of each plane.
template <class Element>
struct GatedLayer {
    Panels<Element> vertical, paired[kTile], left, centre[kMostPlanes], out[kMostPlanes];
};

/// A PixelCNN's numbers (see the plugin's prior.py), packed. starts, hidden_starts: where the channels of each plane
/// begin. first_centre[plane * channels + channel]: what a drawn value adds to the first layer for later planes.
template <class Element>
struct PackedNetwork {
    std::int64_t planes, channels, layer_count, hidden, features;
    std::int64_t starts[kMostPlanes + 1], hidden_starts[kMostPlanes + 1];
    Panels<Element> first;
    const float* first_centre;
    const GatedLayer<Element>* layers;
    Panels<Element> widen[kMostPlanes], answer[kMostPlanes], condition[kMostPlanes];
};

/// What is to be drawn, or only measured: images of (count, height, width, planes).
struct DrawJob {
    std::int64_t count, height, width;
    const float* features;        // (count, height, width, features), or null
    std::int64_t feature_stride;  // from image to image: 0 where all share one
    std::uint64_t seed;
    const std::uint64_t* image_ids;
    float inverse_temperature;  // 0: the likeliest level, without noise
    const float* noise;         // (count, height * width * planes, 256) instead of Philox's, or null
    std::uint8_t* images;       // what is kept is read, the rest is written
    const bool* kept;           // as images: which values are given; null: none
    bool all_kept;
    float* logits;           // (count, height * width * planes, 256), or null
    double* log_likelihood;  // (count, height) to add nats to, or null
};

/// One of the threads that draw the same images together, and how it keeps in step with the others.
struct Member {
    void* self;
    std::int64_t number, members;
    void (*arrive)(void* self);                      // has done its share of a phase
    bool (*wait)(void* self);                        // until all have arrived as often as it has; false: stop
    bool (*go_on)(void* self, std::int64_t pixels);  // has drawn so many; false: stop
};

/// How an image is cut up in time: pixel (i, j) is drawn at step j + kLag * i, when all that it depends on is there.
constexpr std::int64_t kLag = 4;

enum class Drawn { all, stopped, overflowed };

}  // namespace pysr

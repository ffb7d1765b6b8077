#pragma once
#include <cstdint>

#include "common/float16.h"
#include "pixelcnn/winograd.h"

namespace pysr {

constexpr std::int64_t kLevels = 256, kPanel = 16, kMaxPlanes = 3;

/// Whether the vertical sums of two columns are computed together by Winograd's algorithm (see winograd.h): not in
/// bfloat16, where its rounding costs too much accuracy.
template <class Element>
constexpr bool kWinograd = true;
template <>
constexpr bool kWinograd<bfloat16> = false;

/// Inputs that one instruction multiplies and adds per lane: bfloat16 instructions take pairs.
template <class Element>
constexpr std::int64_t kPair = 1;
template <>
constexpr std::int64_t kPair<bfloat16> = 2;

/// A weight matrix in panels of 16 outputs: weights[panel][tap][depth / pair][16][pair]. An output is its bias plus the
/// products in ascending order of taps and, within a tap, of depth. This order is the same everywhere, so that a sum
/// has the same bits for any number of rows and on any CPU.
template <class Element>
struct Panels {
    const Element* weights;
    const float* bias;
    std::int64_t panels, taps, depth;
};

/// One gated layer. winograd: the vertical stack's transformed weights, if kWinograd. pre_activation: the part of the
/// horizontal stack's sums that is known before a pixel is drawn, from the vertical stack (2 taps) and the two pixels
/// to the left; its outputs are ordered by plane, each with the tanh half first. centre, out: one per plane.
template <class Element>
struct GatedLayer {
    Panels<Element> vertical, winograd[kTile], pre_activation, centre[kMaxPlanes], out[kMaxPlanes];
};

/// A PixelCNN's packed weights (the plugin's prior.py defines the network). starts, hidden_starts: where the channels
/// of each plane begin. first_centre[plane * channels + channel]: weight of a pixel's own value in the first layer, for
/// the planes after it.
template <class Element>
struct PackedNetwork {
    std::int64_t planes, channels, layer_count, hidden, features;
    std::int64_t starts[kMaxPlanes + 1], hidden_starts[kMaxPlanes + 1];
    Panels<Element> first;
    const float* first_centre;
    const GatedLayer<Element>* layers;
    Panels<Element> expand[kMaxPlanes], answer[kMaxPlanes], condition[kMaxPlanes];
};

/// An image to sample, or only to score.
struct DrawnImage {
    std::int64_t height, width;
    std::uint64_t id;        // which of the seed's noise it gets
    const float* features;   // (height, width, features), or null
    const float* noise;      // (height * width * planes, 256) instead of Philox noise, or null
    std::uint8_t* levels;    // (height, width, planes): observed ones are read, the others written
    const bool* observed;    // which levels are given, in their shape; null: none
    float* logits;           // (height * width * planes, 256), or null
    double* log_likelihood;  // (height), to which nats are added, or null
};

/// Images that are drawn in one call.
struct DrawJob {
    std::int64_t count;
    const DrawnImage* images;
    std::uint64_t seed;
    float inverse_temperature;  // 0: greedy decoding, without noise
    bool score_only;            // all levels are given
};

/// One thread's handle on the group of threads that draw the same images: a split barrier, and progress reports.
struct ThreadGroup {
    void* self;
    std::int64_t rank, size;
    void (*arrive)(void* self);                        // this thread has finished its share of a phase
    bool (*wait)(void* self);                          // waits until all have arrived as often as this; false: stop
    bool (*advance)(void* self, std::int64_t pixels);  // reports pixels that this thread has drawn; false: stop
};

/// The wavefront: pixel (i, j) is drawn at step j + kLag * i, when everything it depends on is known.
constexpr std::int64_t kLag = 4;

enum class DrawResult { complete, stopped, overflowed };

}  // namespace pysr

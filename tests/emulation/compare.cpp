// Draws the same images with the emulated CUDA sampler and with that of the CPU, and prints how much they differ.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <stdexcept>

#include "cuda_runtime.h"
#include "pixelcnn/sampler.h"

thread_local float4 pysr::block_memory[emulation::kSharedFloats / 4];

namespace {

using namespace pysr;

using Floats = std::vector<float>;

/// Random weights by name, generated on demand.
class Weights {
  public:
    const float* operator()(const std::string& name, const std::vector<std::int64_t>& shape) {
        Floats& numbers = made_[name];
        if (!numbers.empty()) return numbers.data();
        std::int64_t count = 1, fan = 1;
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
            count *= shape[axis];
            if (axis) fan *= shape[axis];
        }
        const bool bias = shape.size() == 1, strong = name.find("layers") != 0 || name.find("vertical") < name.size();
        std::normal_distribution<float> normal(0.0f, bias ? 0.05f : (strong ? 2.0f : 1.0f) / std::sqrt(float(fan)));
        for (std::int64_t i = 0; i < count; ++i) numbers.push_back(normal(random_));
        return numbers.data();
    }

  private:
    std::mt19937 random_{7};
    std::map<std::string, Floats> made_;
};

struct Case {
    PixelCnnSizes sizes;
    std::int64_t count, height, width;
    int multiprocessors;
    std::size_t max_shared;
    bool mixed = false;  // images of several sizes, up to this one

    std::int64_t height_of(std::int64_t image) const { return height - (mixed ? image % 3 * height / 4 : 0); }
    std::int64_t width_of(std::int64_t image) const { return width - (mixed ? image % 2 * width / 3 : 0); }
    std::int64_t pixels_of(std::int64_t image) const { return height_of(image) * width_of(image); }

    std::int64_t pixels() const {
        std::int64_t pixels = 0;
        for (std::int64_t i = 0; i < count; ++i) pixels += pixels_of(i);
        return pixels;
    }
};

/// The output of one sampler.
struct Result {
    std::vector<std::uint8_t> images;
    Floats logits;
    std::vector<double> nats;
    bool overflowed = false;
};

enum class Kind { philox, noise, greedy, observed, scored };

struct Inputs {
    std::vector<std::uint8_t> images;
    std::unique_ptr<bool[]> observed;
    std::vector<std::uint64_t> ids;
    Floats features, noise;

    explicit Inputs(const Case& at) {
        std::mt19937 random(3);
        std::normal_distribution<float> normal;
        const std::int64_t pixels = at.pixels(), values = pixels * at.sizes.planes;
        observed.reset(new bool[values]);
        for (std::int64_t i = 0; i < values; ++i) {
            images.push_back(random());
            observed[i] = random() % 3 == 0;
        }
        for (std::int64_t i = 0; i < at.count; ++i) ids.push_back((std::uint64_t{5} << 33) * (i + 1));
        for (std::int64_t i = 0; i < pixels * at.sizes.features; ++i) features.push_back(normal(random));
        for (std::int64_t i = 0; i < values * kLevels; ++i) noise.push_back(normal(random));
    }
};

Result draw(const PixelCnn& network, const Case& at, const Inputs& inputs, Kind kind) {
    const std::int64_t values = at.pixels() * at.sizes.planes;
    Result result{inputs.images, Floats(values * kLevels, NAN), std::vector<double>(at.count * at.height, 0.5)};
    const bool reads = kind == Kind::observed || kind == Kind::scored;
    if (!reads) std::fill(result.images.begin(), result.images.end(), 0);
    std::vector<DrawnImage> images;
    for (std::int64_t i = 0, pixel = 0; i < at.count; pixel += at.pixels_of(i++)) {
        const std::int64_t value = pixel * at.sizes.planes, features = kind == Kind::observed ? 0 : pixel;
        images.push_back({at.height_of(i), at.width_of(i), inputs.ids[i],
                          at.sizes.features ? inputs.features.data() + features * at.sizes.features : nullptr,
                          kind == Kind::noise ? inputs.noise.data() + value * kLevels : nullptr,
                          result.images.data() + value,
                          kind == Kind::observed ? inputs.observed.get() + value : nullptr,
                          result.logits.data() + value * kLevels, result.nats.data() + i * at.height});
    }
    const DrawJob job{at.count, images.data(), 0x1234567890abcdefu, kind == Kind::greedy ? 0.0f : 1 / 0.9f,
                      kind == Kind::scored};
    std::int64_t before = 0, last = 0, total = -1;
    network.draw(job, 1, nullptr, [&](std::int64_t done, std::int64_t all) {
        if (done < before) throw std::logic_error("progress went back");
        before = last = done;
        total = all;
        return true;
    });
    if (last != total || total != at.pixels()) throw std::logic_error("progress ends elsewhere");
    return result;
}

/// Whether two samplers agree.
bool compare(const Case& at, Kind kind, const Result& expected, const Result& found) {
    double apart = 0, nats = 0;
    std::int64_t others = 0;
    for (std::size_t i = 0; i < expected.logits.size(); ++i) {
        const double difference = std::abs(expected.logits[i] - found.logits[i]);
        apart = difference <= apart ? apart : difference;  // keeps NaN
    }
    for (std::size_t i = 0; i < expected.nats.size(); ++i) {
        const double difference = std::abs(expected.nats[i] - found.nats[i]) / std::abs(expected.nats[i]);
        nats = difference <= nats ? nats : difference;
    }
    for (std::size_t i = 0; i < expected.images.size(); ++i) others += expected.images[i] != found.images[i];
    const bool same = apart <= 1e-4 && nats <= 1e-5 && others == 0;
    std::printf(
        "%s: %ld-%ld-%ld-%ld-%ld, %ld of %ldx%ld, kind %d, %d multiprocessors: logits %g, nats %g, others %ld\n",
        same ? "same" : "DIFFERENT", at.sizes.planes, at.sizes.channels, at.sizes.layers, at.sizes.hidden,
        at.sizes.features, at.count, at.height, at.width, static_cast<int>(kind), at.multiprocessors, apart, nats,
        others);
    std::fflush(stdout);
    return same;
}

bool try_case(const Case& at) {
    Weights weights;
    const auto numbers = [&](const std::string& name, std::vector<std::int64_t> shape) { return weights(name, shape); };
    emulation::multiprocessors = at.multiprocessors;
    emulation::max_shared = at.max_shared;
    const auto expected = make_pixelcnn(at.sizes, numbers, false), found = make_cuda_pixelcnn(at.sizes, numbers, 0);
    const Inputs inputs(at);
    bool same = true;
    for (const Kind kind : {Kind::philox, Kind::noise, Kind::greedy, Kind::observed, Kind::scored})
        same = compare(at, kind, draw(*expected, at, inputs, kind), draw(*found, at, inputs, kind)) && same;
    return same;
}

}  // namespace

int main(int count, char** arguments) {
    constexpr std::size_t kShared = 200000;
    const std::map<std::string, std::vector<Case>> sets = {
        {"tiny",
         {
             {{3, 16, 2, 16, 3}, 3, 4, 5, 2, kShared},  // two images in a block, one in the last
             {{3, 8, 3, 20, 0}, 1, 6, 5, 3, kShared},   // three blocks share an image
             {{1, 4, 1, 4, 0}, 40, 8, 8, 1, kShared},   // more images than one launch takes
             {{3, 20, 2, 50, 3}, 4, 5, 7, 1, 9000},     // little shared memory: several tiles
             {{3, 16, 2, 16, 3}, 7, 6, 5, 2, kShared, true},
         }},
        {"small",
         {
             {{3, 16, 3, 32, 5}, 3, 8, 8, 2, kShared},
             {{3, 16, 3, 32, 0}, 1, 12, 12, 4, kShared},
             {{1, 16, 3, 48, 3}, 5, 5, 7, 2, kShared},
             {{1, 16, 3, 32, 0}, 2, 1, 1, 1, kShared},
             {{3, 18, 1, 30, 2}, 20, 1, 70, 1, 9000},  // odd depths, and more images than a tile
             {{1, 4, 1, 4, 1}, 1, 70, 2, 3, kShared},
             {{3, 20, 2, 50, 3}, 9, 12, 10, 3, 9000, true},
         }},
        {"large", {{{3, 64, 20, 1024, 32}, 2, 8, 8, 1, kShared}}},
    };
    bool same = true;
    for (int i = 1; i < count; ++i)
        for (const Case& at : sets.at(arguments[i])) same = try_case(at) && same;
    return same ? 0 : 1;
}

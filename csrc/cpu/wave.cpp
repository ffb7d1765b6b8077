// Draws images of a PixelCNN. Compiled once per instruction set, with PYSR_ISA its name, PYSR_ELEMENT what it
// multiplies and PYSR_LANES the header of its vectors. Only raw pointers and names of internal linkage: what the linker
// can merge could run on a processor that lacks the instructions.
#include PYSR_LANES

#include "core/draw_memory.h"
#include "core/philox.h"
#include "core/scalar.h"
#include "cpu/draw.h"
#include "cpu/multiply.h"

#define PYSR_JOIN_NOW(a, b) a##b
#define PYSR_JOIN(a, b) PYSR_JOIN_NOW(a, b)

namespace pysr {
namespace {

inline void narrow(float value, float& to) { to = value; }

/// To the nearest bfloat16, half to even.
inline void narrow(float value, Bf16& to) {
    const std::uint32_t bits = bits_of(value);
    to.bits = static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class Element>
void narrow(const float* from, Element* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) narrow(from[i], to[i]);
}

/// tanh of the first `count` sums times sigmoid of the next.
template <class Element>
void gate(const float* sums, Element* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) narrow(gated(sums[i], sums[count + i]), to[i]);
}

void gumbel_noise(std::uint64_t seed, std::uint64_t image_id, std::int64_t value, float* noise) {
    constexpr int kBlocks = kLevels / 4;
    std::uint32_t words[4][kBlocks];
    philox(seed, static_cast<std::uint32_t>(value), image_id, words);
    for (int word = 0; word < 4; ++word)
        for (int i = 0; i < kBlocks; ++i) noise[word * kBlocks + i] = gumbel(words[word][i]);
}

constexpr float kInfinity = __builtin_inff();

float largest(const float* values) {
    float best[kPanel];
    for (int i = 0; i < kPanel; ++i) best[i] = values[i];
    for (int k = kPanel; k < kLevels; k += kPanel)
        for (int i = 0; i < kPanel; ++i) best[i] = values[k + i] > best[i] ? values[k + i] : best[i];
    for (int i = 1; i < kPanel; ++i) best[0] = best[i] > best[0] ? best[i] : best[0];
    return best[0];
}

/// ln of the probability that a softmax gives to a level.
double log_probability(const float* logits, int level) {
    const float most = largest(logits);
    float sums[kPanel] = {};
    for (int k = 0; k < kLevels; k += kPanel)
        for (int i = 0; i < kPanel; ++i) sums[i] += exponential(logits[k + i] - most);
    for (int i = 1; i < kPanel; ++i) sums[0] += sums[i];
    return static_cast<double>(logits[level]) - static_cast<double>(most) - static_cast<double>(logarithm(sums[0]));
}

/// The pixels of one step, one in each active row of each image, through the whole network, plane by plane.
template <class Element>
struct Wave {
    const PackedNetwork<Element>& network;
    const DrawJob& job;
    const std::int64_t first_image;
    const DrawMemory<Element>& memory;
    std::int64_t count = 0;

    std::int64_t pixels() const { return job.height * job.width; }
    const Element** tap(std::int64_t number) const { return memory.inputs + number * count; }

    /// Which pixels step `time` draws.
    void find(std::int64_t time) {
        count = 0;
        const std::int64_t last = smaller(job.height - 1, time / kLag);
        const std::int64_t first = time < job.width ? 0 : (time - job.width) / kLag + 1;
        for (std::int64_t row = first; row <= last; ++row)
            for (std::int64_t image = 0; image < memory.images; ++image)
                memory.positions[count++] = {image, row, time - kLag * row};
    }

    /// The first layer without the pixel itself, and the features of the conditioning network.
    void begin() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            for (std::int64_t r = 0; r < 4; ++r)
                tap(r)[m] = memory.pixel_at(at.image, job.height, at.row - 3 + r, at.column - 3);
            if (!job.features) continue;
            const float* features = job.features + (first_image + at.image) * job.feature_stride;
            features += (at.row * job.width + at.column) * network.features;
            narrow(features, memory.given + m * (network.features + kPair<Element>), network.features);
        }
        multiply(network.first, tap(0), count, count, memory.residual, memory.row);
        for (std::int64_t m = 0; m < count; ++m) keep_first(m, 0);
    }

    /// Channels from `from` on of the first layer.
    void keep_first(std::int64_t m, std::int64_t from) const {
        const Position& at = memory.positions[m];
        narrow(memory.residual + m * memory.row + from, memory.here_at(0, at, at.column) + from,
               network.channels - from);
    }

    /// Of each layer what does not depend on the pixel itself: the vertical stack and the two pixels to the left.
    void before_pixel() const {
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            vertical(layer);
            const bool copied = sizeof(Element) != sizeof(float);
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = memory.positions[m];
                const float* sums = memory.sums + m * memory.row;
                Element* narrowed = memory.narrow + m * memory.row;
                if (copied) narrow(sums, narrowed, 2 * network.channels);
                tap(0)[m] = copied ? narrowed : reinterpret_cast<const Element*>(sums);
                tap(1)[m] = tap(0)[m] + network.channels;
                for (std::int64_t q = 0; q < 2; ++q) {
                    const std::int64_t j = at.column - 2 + q;
                    tap(2 + q)[m] = j < 0 ? memory.zeros : memory.here_at(layer, at, j);
                }
            }
            multiply(network.layers[layer].left, tap(0), count, count, before_at(layer), memory.row);
        }
    }

    float* before_at(std::int64_t layer) const { return memory.before + layer * count * memory.row; }

    void vertical(std::int64_t layer) const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            for (std::int64_t r = 0; r < 2; ++r)
                for (std::int64_t q = 0; q < 5; ++q) {
                    const std::int64_t i = at.row - 2 + r, j = at.column - 2 + q;
                    const bool inside = i >= 0 && j >= 0 && j < job.width;
                    tap(r * 5 + q)[m] = inside ? memory.above_at(layer, at.image, i, j) : memory.zeros;
                }
        }
        multiply(network.layers[layer].vertical, tap(0), count, count, memory.sums, memory.row);
        if (layer + 1 == network.layer_count) return;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            gate(memory.sums + m * memory.row, memory.above_at(layer + 1, at.image, at.row, at.column),
                 network.channels);
        }
    }

    /// One plane's channels through all layers.
    void chain(std::int64_t plane) const {
        const std::int64_t first = network.starts[plane], size = network.starts[plane + 1] - first;
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            float* before = before_at(layer) + 2 * first;
            Element* gates = memory.gates + layer * count * memory.row;
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = memory.positions[m];
                tap(0)[m] = memory.here_at(layer, at, at.column);
                tap(1)[m] = gates + m * memory.row;
            }
            multiply(network.layers[layer].centre[plane], tap(0), count, count, before, memory.row, true);
            for (std::int64_t m = 0; m < count; ++m)
                gate(before + m * memory.row, gates + m * memory.row + first, size);
            multiply(network.layers[layer].out[plane], tap(1), count, count, memory.sums, memory.row);
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = memory.positions[m];
                float* residual = memory.residual + m * memory.row + first;
                for (std::int64_t k = 0; k < size; ++k) residual[k] += memory.sums[m * memory.row + k];
                narrow(residual, memory.here_at(layer + 1, at, at.column) + first, size);
            }
        }
    }

    /// One plane's logits: of the prior and of the conditioning network together.
    void head(std::int64_t plane) const {
        const std::int64_t first = network.hidden_starts[plane], size = network.hidden_starts[plane + 1] - first;
        const std::int64_t row = network.hidden + kPanel;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            tap(0)[m] = memory.here_at(network.layer_count, at, at.column);
            tap(1)[m] = memory.hidden + m * row;
            tap(2)[m] = memory.given + m * (network.features + kPair<Element>);
        }
        multiply(network.widen[plane], tap(0), count, count, memory.wide, row);
        for (std::int64_t m = 0; m < count; ++m) {
            float* wide = memory.wide + m * row;
            for (std::int64_t k = 0; k < size; ++k) wide[k] = wide[k] > 0.0f ? wide[k] : 0.0f;
            narrow(wide, memory.hidden + m * row + first, size);
        }
        multiply(network.answer[plane], tap(1), count, count, memory.logits, kLevels);
        if (job.features) multiply(network.condition[plane], tap(2), count, count, memory.logits, kLevels, true);
    }

    /// Draws a plane's values; false where that cannot be done.
    bool choose(std::int64_t plane) const {
        bool sound = true;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            const std::int64_t image = first_image + at.image;
            const std::int64_t value = (at.row * job.width + at.column) * network.planes + plane;
            const std::int64_t place = image * pixels() * network.planes + value;
            const float* logits = memory.logits + m * kLevels;
            if (job.logits)
                for (std::int64_t k = 0; k < kLevels; ++k) job.logits[place * kLevels + k] = logits[k];
            if (!job.all_kept && !(job.kept && job.kept[place])) {
                const int level = drawn(logits, image, value, place);
                sound = sound && level >= 0;
                job.images[place] = static_cast<std::uint8_t>(level < 0 ? 0 : level);
            }
            const int level = job.images[place];
            if (job.log_likelihood) job.log_likelihood[image] += log_probability(logits, level);
            const float input = static_cast<float>(level) / 255.0f - 0.5f;
            narrow(input, memory.pixel_at(at.image, job.height, at.row, at.column)[plane]);
            if (plane + 1 < network.planes) add_to_first(m, plane, input);
        }
        return sound;
    }

    /// The level with the highest score, the lowest of equals; -1 where scores are infinite or no numbers.
    int drawn(const float* logits, std::int64_t image, std::int64_t value, std::int64_t place) const {
        const float* noise = job.noise ? job.noise + place * kLevels : memory.noise;
        if (job.inverse_temperature != 0.0f && !job.noise)
            gumbel_noise(job.seed, job.image_ids[image], value, memory.noise);
        float scores[kLevels];
        for (int k = 0; k < kLevels; ++k)
            scores[k] =
                job.inverse_temperature != 0.0f ? fused(logits[k], job.inverse_temperature, noise[k]) : logits[k];
        const float best = largest(scores);
        if (!(best < kInfinity)) return -1;
        for (int k = 0; k < kLevels; ++k)
            if (scores[k] == best) return k;
        return -1;
    }

    /// What a drawn value adds to the first layer, for the planes after it. `residual` is refilled for them.
    void add_to_first(std::int64_t m, std::int64_t plane, float input) const {
        const std::int64_t from = network.starts[plane + 1];
        float* sums = memory.residual + m * memory.row;
        const float* factors = network.first_centre + plane * network.channels;
        for (std::int64_t k = from; k < network.channels; ++k) sums[k] = fused(input, factors[k], sums[k]);
        keep_first(m, from);
    }

    /// The finished pixels are what later rows see above them.
    void finish() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = memory.positions[m];
            const Element* from = memory.here_at(0, at, at.column);
            Element* to = memory.above_at(0, at.image, at.row, at.column);
            for (std::int64_t k = 0; k < network.channels; ++k) to[k] = from[k];
        }
    }
};

}  // namespace

Drawn PYSR_JOIN(draw_, PYSR_ISA)(const PackedNetwork<PYSR_ELEMENT>& network, const DrawJob& job,
                                 std::int64_t first_image, std::int64_t images, char* bytes, const Watch& watch) {
    Carver carver(bytes);
    const DrawMemory<PYSR_ELEMENT> memory(network, job, images, carver);
    Wave<PYSR_ELEMENT> wave{network, job, first_image, memory};
    for (std::int64_t time = 0; time < job.width + kLag * (job.height - 1); ++time) {
        wave.find(time);
        if (!wave.count) continue;
        wave.begin();
        wave.before_pixel();
        for (std::int64_t plane = 0; plane < network.planes; ++plane) {
            wave.chain(plane);
            wave.head(plane);
            if (!wave.choose(plane)) return Drawn::overflowed;
        }
        wave.finish();
        if (!watch.go_on(watch.self, wave.count)) return Drawn::stopped;
    }
    return Drawn::all;
}

double PYSR_JOIN(exercise_, PYSR_ISA)(std::int64_t rounds) { return exercise<PYSR_ELEMENT>(rounds); }

}  // namespace pysr

// Draws images of a PixelCNN. Compiled once per instruction set, with PYSR_ISA its name, PYSR_ELEMENT what it
// multiplies and PYSR_LANES the header of its vectors. Only raw pointers and names of internal linkage: what the linker
// can merge could run on a processor that lacks the instructions.
#include PYSR_LANES

#include "pixelcnn/arena.h"
#include "pixelcnn/philox.h"
#include "pixelcnn/math.h"
#include "pixelcnn/kernel_table.h"
#include "pixelcnn/gemm.h"

#define PYSR_JOIN_NOW(a, b) a##b
#define PYSR_JOIN(a, b) PYSR_JOIN_NOW(a, b)

namespace pysr {
namespace {

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
    philox(seed, 0, static_cast<std::uint32_t>(value), image_id, words);
    for (int word = 0; word < 4; ++word)
        for (int i = 0; i < kBlocks; ++i) noise[word * kBlocks + i] = gumbel(words[word][i]);
}

/// Has the processor bring numbers nearer that are needed soon.
template <class Element>
void fetch(const Element* from, std::int64_t count) {
    for (std::int64_t k = 0; k < count; k += 64 / sizeof(Element)) __builtin_prefetch(from + k);
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

/// The pixels of one step, one in each active row of each image, through the whole network, plane by plane: `all` of
/// them, of which [first, first + count) are at work.
template <class Element>
struct Wave {
    const PackedNetwork<Element>& network;
    const DrawJob& job;
    const std::int64_t first_image;
    const DrawMemory<Element>& memory;
    const StepMemory<Element>& step;
    const std::int64_t row = memory.row();
    static constexpr std::int64_t kSoon = 3;  // pixels from one whose tiles are fetched to one whose tiles are made
    std::int64_t all = 0, first = 0, count = 0;

    std::int64_t pixels() const { return job.height * job.width; }
    const Position& position(std::int64_t m) const { return step.positions[first + m]; }
    const Element** tap(std::int64_t number) const { return step.inputs + number * count; }
    float* before_at(std::int64_t layer) const { return memory.before + (layer * all + first) * row; }

    /// Which pixels step `time` draws.
    void find(std::int64_t time) {
        all = 0;
        const std::int64_t last = smaller(job.height - 1, time / kLag);
        for (std::int64_t i = time < job.width ? 0 : (time - job.width) / kLag + 1; i <= last; ++i)
            for (std::int64_t image = 0; image < memory.images; ++image)
                step.positions[all++] = {image, i, time - kLag * i};
        first = 0;
        count = all;
    }

    /// Of these pixels a member's.
    void share(std::int64_t number, std::int64_t members) {
        first = all * number / members;
        count = all * (number + 1) / members - first;
    }

    /// The first layer without the pixel itself, and the features of the conditioning network.
    void begin() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            for (std::int64_t r = 0; r < 4; ++r)
                tap(r)[m] = memory.pixel_at(at.image, job.height, at.row - 3 + r, at.column - 3);
            if (!job.features) continue;
            const float* features = job.features + (first_image + at.image) * job.feature_stride;
            features += (at.row * job.width + at.column) * network.features;
            narrow(features, step.given + m * (network.features + kPair<Element>), network.features);
        }
        multiply(network.first, tap(0), count, count, step.residual, row);
        for (std::int64_t m = 0; m < count; ++m) keep_first(m, 0);
    }

    /// Channels from `from` on of the first layer.
    void keep_first(std::int64_t m, std::int64_t from) const {
        const Position& at = position(m);
        narrow(step.residual + m * row + from, memory.here_at(0, at, at.column) + from, network.channels - from);
    }

    /// What the horizontal stack of a layer gets before the pixel: from `vertical` and the two pixels to the left.
    void left(std::int64_t layer) const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            if constexpr (kPaired<Element>) {
                tap(0)[m] = memory.sums_at(layer, at, at.column);
            } else {
                narrow(step.sums + m * row, step.narrow + m * row, 2 * network.channels);
                tap(0)[m] = step.narrow + m * row;
            }
            tap(1)[m] = tap(0)[m] + network.channels;
            for (std::int64_t q = 0; q < 2; ++q) {
                const std::int64_t j = at.column - 2 + q;
                tap(2 + q)[m] = j < 0 ? memory.zeros : memory.here_at(layer, at, j);
            }
        }
        multiply(network.layers[layer].left, tap(0), count, count, before_at(layer), row);
    }

    /// The vertical stack of a layer, which only needs what earlier steps drew.
    void vertical(std::int64_t layer) const {
        if constexpr (!kPaired<Element>)
            columns(layer);
        else if (position(0).column % 2 == 0)  // the same in all rows
            pairs(layer);
    }

    /// A column of each row by itself.
    void columns(std::int64_t layer) const {
        for (std::int64_t m = 0; m < count; ++m)
            for (std::int64_t r = 0; r < 2; ++r)
                for (std::int64_t q = 0; q < 5; ++q) tap(r * 5 + q)[m] = above(layer, position(m), r, q);
        multiply(network.layers[layer].vertical, tap(0), count, count, step.sums, row);
        for (std::int64_t m = 0; m < count; ++m) pass_on(layer, position(m), position(m).column, step.sums + m * row);
    }

    /// Two columns of each row, this and the next: tiles of both rows above, six products, sums.
    void pairs(std::int64_t layer) const {
        const std::int64_t channels = network.channels;
        for (std::int64_t m = 0; m < count; ++m)
            for (std::int64_t r = 0; r < 2; ++r) {
                const float* inputs[kTile];
                float* const to = step.tiles + (2 * m + r) * kTile * channels;
                for (std::int64_t q = 0; q < kTile; ++q) {
                    inputs[q] = above(layer, position(m), r, q);
                    if (m + kSoon < count) fetch(above(layer, position(m + kSoon), r, q), channels);
                    tap(2 * q + r)[m] = to + q * channels;
                }
                transform(inputs, to, channels, channels);
            }
        for (std::int64_t q = 0; q < kTile; ++q)
            multiply(network.layers[layer].paired[q], tap(2 * q), count, count, step.products + q * count * row, row);
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            float* const left = memory.sums_at(layer, at, at.column);
            float* const right = memory.sums_at(layer, at, at.column + 1);
            sums_of(step.products + m * row, count * row, left, right, 2 * channels);
            pass_on(layer, at, at.column, left);
            if (at.column + 1 < job.width) pass_on(layer, at, at.column + 1, right);
        }
    }

    /// The vertical stack before a layer, of the row two or one above and a column from two to the left on.
    const Element* above(std::int64_t layer, const Position& at, std::int64_t r, std::int64_t q) const {
        const std::int64_t i = at.row - 2 + r, j = at.column - 2 + q;
        const bool inside = i >= 0 && j >= 0 && j < job.width;
        return inside ? memory.above_at(layer, at.image, i, j) : memory.zeros;
    }

    /// Vertical sums through the gate, into the next layer.
    void pass_on(std::int64_t layer, const Position& at, std::int64_t j, const float* sums) const {
        if (layer + 1 < network.layer_count)
            gate(sums, memory.above_at(layer + 1, at.image, at.row, j), network.channels);
    }

    /// One plane's channels through all layers.
    void chain(std::int64_t plane) const {
        const std::int64_t first = network.starts[plane], size = network.starts[plane + 1] - first;
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            float* before = before_at(layer) + 2 * first;
            Element* gates = step.gates + layer * count * row;
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = position(m);
                tap(0)[m] = memory.here_at(layer, at, at.column);
                tap(1)[m] = gates + m * row;
            }
            multiply(network.layers[layer].centre[plane], tap(0), count, count, before, row, true);
            for (std::int64_t m = 0; m < count; ++m) gate(before + m * row, gates + m * row + first, size);
            multiply(network.layers[layer].out[plane], tap(1), count, count, step.sums, row);
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = position(m);
                float* residual = step.residual + m * row + first;
                for (std::int64_t k = 0; k < size; ++k) residual[k] += step.sums[m * row + k];
                narrow(residual, memory.here_at(layer + 1, at, at.column) + first, size);
            }
        }
    }

    /// One plane's logits: of the prior and of the conditioning network together.
    void head(std::int64_t plane) const {
        const std::int64_t first = network.hidden_starts[plane], size = network.hidden_starts[plane + 1] - first;
        const std::int64_t width = network.hidden + kPanel;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            tap(0)[m] = memory.here_at(network.layer_count, at, at.column);
            tap(1)[m] = step.hidden + m * width;
            tap(2)[m] = step.given + m * (network.features + kPair<Element>);
        }
        multiply(network.widen[plane], tap(0), count, count, step.wide, width);
        for (std::int64_t m = 0; m < count; ++m) {
            float* wide = step.wide + m * width;
            for (std::int64_t k = 0; k < size; ++k)
                wide[k] = wide[k] < 0.0f ? 0.0f : wide[k];  // keeps what is no number
            narrow(wide, step.hidden + m * width + first, size);
        }
        multiply(network.answer[plane], tap(1), count, count, step.logits, kLevels);
        if (job.features) multiply(network.condition[plane], tap(2), count, count, step.logits, kLevels, true);
    }

    /// Draws a plane's values; false where that cannot be done.
    bool choose(std::int64_t plane) const {
        bool sound = true;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            const std::int64_t image = first_image + at.image;
            const std::int64_t value = (at.row * job.width + at.column) * network.planes + plane;
            const std::int64_t place = image * pixels() * network.planes + value;
            const float* logits = step.logits + m * kLevels;
            if (job.logits)
                for (std::int64_t k = 0; k < kLevels; ++k) job.logits[place * kLevels + k] = logits[k];
            if (!job.all_kept && !(job.kept && job.kept[place])) {
                const int level = drawn(logits, image, value, place);
                sound = sound && level >= 0;
                job.images[place] = static_cast<std::uint8_t>(level < 0 ? 0 : level);
            }
            const int level = job.images[place];
            if (job.log_likelihood) job.log_likelihood[image * job.height + at.row] += log_probability(logits, level);
            const float input = static_cast<float>(level) / 255.0f - 0.5f;
            narrow(input, memory.pixel_at(at.image, job.height, at.row, at.column)[plane]);
            if (plane + 1 < network.planes) add_to_first(m, plane, input);
        }
        return sound;
    }

    /// The level with the highest score, the lowest of equals; -1 where scores are infinite or no numbers.
    int drawn(const float* logits, std::int64_t image, std::int64_t value, std::int64_t place) const {
        const float* noise = job.noise ? job.noise + place * kLevels : step.noise;
        if (job.inverse_temperature != 0.0f && !job.noise)
            gumbel_noise(job.seed, job.image_ids[image], value, step.noise);
        float scores[kLevels];
        for (int k = 0; k < kLevels; ++k)
            scores[k] =
                job.inverse_temperature != 0.0f ? fused(logits[k], job.inverse_temperature, noise[k]) : logits[k];
        const float best = largest(scores);
        if (!(best > -kInfinity && best < kInfinity)) return -1;
        for (int k = 0; k < kLevels; ++k)
            if (scores[k] == best) return k;
        return -1;
    }

    /// What a drawn value adds to the first layer, for the planes after it. `residual` is refilled for them.
    void add_to_first(std::int64_t m, std::int64_t plane, float input) const {
        const std::int64_t from = network.starts[plane + 1];
        float* sums = step.residual + m * row;
        const float* factors = network.first_centre + plane * network.channels;
        for (std::int64_t k = from; k < network.channels; ++k) sums[k] = fused(input, factors[k], sums[k]);
        keep_first(m, from);
    }

    /// The pixels themselves, when all layers have what they get before them; false where that cannot be done.
    bool draw() const {
        if (!count) return true;
        begin();
        for (std::int64_t plane = 0; plane < network.planes; ++plane) {
            chain(plane);
            head(plane);
            if (!choose(plane)) return false;
        }
        finish();
        return true;
    }

    /// The finished pixels are what later rows see above them.
    void finish() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            const Element* from = memory.here_at(0, at, at.column);
            Element* to = memory.above_at(0, at.image, at.row, at.column);
            for (std::int64_t k = 0; k < network.channels; ++k) to[k] = from[k];
        }
    }
};

}  // namespace

Drawn PYSR_JOIN(draw_, PYSR_ISA)(const PackedNetwork<PYSR_ELEMENT>& network, const DrawJob& job,
                                 std::int64_t first_image, std::int64_t images, char* shared, char* own,
                                 const Member& member) {
    Carver shared_carver(shared), own_carver(own);
    const DrawMemory<PYSR_ELEMENT> memory(network, job, images, shared_carver);
    const StepMemory<PYSR_ELEMENT> step(network, memory, own_carver);
    Wave<PYSR_ELEMENT> wave{network, job, first_image, memory, step};
    for (std::int64_t time = 0; time < job.width + kLag * (job.height - 1); ++time) {
        wave.find(time);
        if (!wave.all) continue;
        if (!member.wait(member.self)) return Drawn::stopped;  // for the pixels above and to the left
        for (std::int64_t layer = member.number; layer < network.layer_count; layer += member.members) {
            wave.vertical(layer);
            wave.left(layer);
        }
        member.arrive(member.self);
        if (!member.wait(member.self)) return Drawn::stopped;
        wave.share(member.number, member.members);
        if (!wave.draw()) return Drawn::overflowed;
        if (!member.go_on(member.self, wave.count)) return Drawn::stopped;
        member.arrive(member.self);
    }
    return Drawn::all;
}

double PYSR_JOIN(exercise_, PYSR_ISA)(std::int64_t rounds) { return exercise<PYSR_ELEMENT>(rounds); }

}  // namespace pysr

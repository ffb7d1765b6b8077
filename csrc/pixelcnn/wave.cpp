// Draws images of a PixelCNN on the CPU. Compiled once per instruction set and element: PYSR_ISA is the name of the set
// in Isa, PYSR_ELEMENT the type that is multiplied and PYSR_VEC the header of its vectors. Only raw pointers and
// internal linkage: a function that the linker may merge with that of another file could run on a CPU that lacks the
// instructions.
#include PYSR_VEC

#include "pixelcnn/arena.h"
#include "pixelcnn/gemm.h"
#include "pixelcnn/kernel_table.h"
#include "pixelcnn/math.h"
#include "pixelcnn/philox.h"

namespace pysr {
namespace {

/// tanh of the first `count` sums times the sigmoid of the next `count`.
template <class Element>
void gate(const float* sums, Element* to, std::int64_t count) {
    float gates[kPanel];
    std::int64_t first = 0;
    for (; first + kPanel <= count; first += kPanel) {  // of constant size: vectorised without a remainder
        for (int i = 0; i < kPanel; ++i) gates[i] = gated(sums[first + i], sums[count + first + i]);
        from_floats(gates, to + first, kPanel);
    }
    for (; first < count; ++first) from_float(gated(sums[first], sums[count + first]), to[first]);
}

void gumbel_noise(std::uint64_t seed, std::uint64_t image_id, std::int64_t value, float* noise) {
    constexpr int kBlocks = kLevels / 4;
    std::uint32_t words[4][kBlocks];
    philox(seed, 0, static_cast<std::uint32_t>(value), image_id, words);
    for (int word = 0; word < 4; ++word)
        for (int i = 0; i < kBlocks; ++i) noise[word * kBlocks + i] = gumbel(words[word][i]);
}

template <class Element>
void prefetch(const Element* from, std::int64_t count) {
    for (std::int64_t k = 0; k < count; k += kCacheLine / sizeof(Element)) __builtin_prefetch(from + k);
}

float largest(const float* values) {
    float best[kPanel];
    for (int i = 0; i < kPanel; ++i) best[i] = values[i];
    for (int k = kPanel; k < kLevels; k += kPanel)
        for (int i = 0; i < kPanel; ++i) best[i] = values[k + i] > best[i] ? values[k + i] : best[i];
    for (int i = 1; i < kPanel; ++i) best[0] = best[i] > best[0] ? best[i] : best[0];
    return best[0];
}

/// Log-softmax of the logits at a level, in nats.
double log_probability(const float* logits, int level) {
    const float most = largest(logits);
    float sums[kPanel] = {};
    for (int k = 0; k < kLevels; k += kPanel)
        for (int i = 0; i < kPanel; ++i) sums[i] += exponential(logits[k + i] - most);
    for (int i = 1; i < kPanel; ++i) sums[0] += sums[i];
    return static_cast<double>(logits[level]) - static_cast<double>(most) - static_cast<double>(logarithm(sums[0]));
}

/// One step of the wavefront: one pixel in each active row of each image, `all` of them, taken through the whole
/// network plane by plane. The functions below work on positions [first, first + count).
template <class Element>
struct Wave {
    const PackedNetwork<Element>& network;
    const DrawJob& job;
    const std::int64_t first_image;
    const WaveState<Element>& state;
    const StepScratch<Element>& scratch;
    const std::int64_t row = state.sums_row();
    static constexpr std::int64_t kAhead = 3;  // how many positions ahead inputs are prefetched
    std::int64_t all = 0, first = 0, count = 0;

    const Position& position(std::int64_t m) const { return scratch.positions[first + m]; }
    const DrawnImage& image_of(const Position& at) const { return job.images[first_image + at.image]; }
    const Element** tap(std::int64_t number) const { return scratch.inputs + number * count; }
    float* pre_activation_at(std::int64_t layer) const { return state.pre_activation + (layer * all + first) * row; }

    /// Lists the pixels of step `time`.
    void begin_step(std::int64_t time) {
        all = 0;
        for (std::int64_t number = 0; number < state.images; ++number) {
            const DrawnImage& image = job.images[first_image + number];
            const std::int64_t top = first_row(image, time), rows = row_count(image, time);
            for (std::int64_t i = top; i < top + rows; ++i) scratch.positions[all++] = {number, i, time - kLag * i};
        }
        first = 0;
        count = all;
    }

    /// Selects one thread's share of them.
    void select_share(std::int64_t rank, std::int64_t size) {
        first = all * rank / size;
        count = all * (rank + 1) / size - first;
    }

    /// The first layer without the pixels themselves, and the features of the conditioning network.
    void first_layer() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            for (std::int64_t r = 0; r < 4; ++r) tap(r)[m] = state.pixel_at(at.image, at.row - 3 + r, at.column - 3);
            if (!network.features) continue;
            const DrawnImage& image = image_of(at);
            const float* features = image.features + (at.row * image.width + at.column) * network.features;
            from_floats(features, scratch.features + m * (network.features + kPair<Element>), network.features);
        }
        multiply(network.first, tap(0), count, count, scratch.residual, row);
        for (std::int64_t m = 0; m < count; ++m) store_first_layer(m, 0);
    }

    /// Stores the first layer's channels from `from` on.
    void store_first_layer(std::int64_t m, std::int64_t from) const {
        const Position& at = position(m);
        from_floats(scratch.residual + m * row + from, state.horizontal_at(0, at, at.column) + from,
                    network.channels - from);
    }

    /// The part of a layer's horizontal sums that is known before a pixel is drawn: from its vertical stack and the two
    /// pixels to the left.
    void pre_activation(std::int64_t layer) const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            tap(0)[m] = state.sums_at(layer, at, at.column);
            tap(1)[m] = tap(0)[m] + network.channels;
            for (std::int64_t q = 0; q < 2; ++q) {
                const std::int64_t j = at.column - 2 + q;
                tap(2 + q)[m] = j < 0 ? state.zeros : state.horizontal_at(layer, at, j);
            }
        }
        multiply(network.layers[layer].pre_activation, tap(0), count, count, pre_activation_at(layer), row);
    }

    /// A layer's vertical stack, which depends on earlier steps only: at even columns, those of this column and the
    /// next.
    void vertical_stack(std::int64_t layer) const {
        if (position(0).column % 2) return;  // the same in all rows and images
        if constexpr (kWinograd<Element>)
            vertical_pairs(layer);
        else
            vertical_columns(layer);
    }

    /// Both columns, each by itself.
    void vertical_columns(std::int64_t layer) const {
        const std::int64_t both = 2 * count;
        for (std::int64_t m = 0; m < count; ++m)
            for (std::int64_t r = 0; r < 2; ++r)
                for (std::int64_t q = 0; q < kTile; ++q) {
                    const Element* const input = vertical_input(layer, position(m), r, q);
                    if (q < 5) scratch.inputs[(r * 5 + q) * both + 2 * m] = input;
                    if (q > 0) scratch.inputs[(r * 5 + q - 1) * both + 2 * m + 1] = input;
                }
        multiply(network.layers[layer].vertical, scratch.inputs, both, both, scratch.products, row);
        for (std::int64_t m = 0; m < count; ++m)
            for (std::int64_t side = 0; side < 2; ++side) {
                const std::int64_t j = position(m).column + side;
                const float* const sums = scratch.products + (2 * m + side) * row;
                if (j >= image_of(position(m)).width) continue;
                from_floats(sums, state.sums_at(layer, position(m), j), 2 * network.channels);
                feed_next_layer(layer, position(m), j, sums);
            }
    }

    /// Both columns, by Winograd's algorithm.
    void vertical_pairs(std::int64_t layer) const {
        const std::int64_t channels = network.channels;
        for (std::int64_t m = 0; m < count; ++m)
            for (std::int64_t r = 0; r < 2; ++r) {
                const float* inputs[kTile];
                float* const to = scratch.tiles + (2 * m + r) * kTile * channels;
                for (std::int64_t q = 0; q < kTile; ++q) {
                    inputs[q] = vertical_input(layer, position(m), r, q);
                    if (m + kAhead < count) prefetch(vertical_input(layer, position(m + kAhead), r, q), channels);
                    tap(2 * q + r)[m] = to + q * channels;
                }
                transform_inputs(inputs, to, channels, channels);
            }
        for (std::int64_t q = 0; q < kTile; ++q)
            multiply(network.layers[layer].winograd[q], tap(2 * q), count, count, scratch.products + q * count * row,
                     row);
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            float* const left = state.sums_at(layer, at, at.column);
            float* const right = state.sums_at(layer, at, at.column + 1);
            sum_products(scratch.products + m * row, count * row, left, right, 2 * channels);
            feed_next_layer(layer, at, at.column, left);
            if (at.column + 1 < image_of(at).width) feed_next_layer(layer, at, at.column + 1, right);
        }
    }

    /// Input of the vertical stack: r = 0, 1: two rows and one row above; q = 0, 1, ...: columns, from two to the left.
    const Element* vertical_input(std::int64_t layer, const Position& at, std::int64_t r, std::int64_t q) const {
        const std::int64_t i = at.row - 2 + r, j = at.column - 2 + q;
        const bool inside = i >= 0 && j >= 0 && j < image_of(at).width;
        return inside ? state.vertical_at(layer, at.image, i, j) : state.zeros;
    }

    /// Gates vertical sums into the input of the next layer.
    void feed_next_layer(std::int64_t layer, const Position& at, std::int64_t j, const float* sums) const {
        if (layer + 1 < network.layer_count)
            gate(sums, state.vertical_at(layer + 1, at.image, at.row, j), network.channels);
    }

    /// One plane's channels of the horizontal stack, through all layers.
    void horizontal_stack(std::int64_t plane) const {
        const std::int64_t first = network.starts[plane], size = network.starts[plane + 1] - first;
        for (std::int64_t layer = 0; layer < network.layer_count; ++layer) {
            float* sums = pre_activation_at(layer) + 2 * first;
            Element* gates = scratch.gates + layer * count * row;
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = position(m);
                tap(0)[m] = state.horizontal_at(layer, at, at.column);
                tap(1)[m] = gates + m * row;
            }
            multiply(network.layers[layer].centre[plane], tap(0), count, count, sums, row, true);
            for (std::int64_t m = 0; m < count; ++m) gate(sums + m * row, gates + m * row + first, size);
            multiply(network.layers[layer].out[plane], tap(1), count, count, scratch.sums, row);
            for (std::int64_t m = 0; m < count; ++m) {
                const Position& at = position(m);
                float* residual = scratch.residual + m * row + first;
                for (std::int64_t k = 0; k < size; ++k) residual[k] += scratch.sums[m * row + k];
                from_floats(residual, state.horizontal_at(layer + 1, at, at.column) + first, size);
            }
        }
    }

    /// One plane's logits: the sum of those of the prior and of the conditioning network.
    void head(std::int64_t plane) const {
        const std::int64_t first = network.hidden_starts[plane], size = network.hidden_starts[plane + 1] - first;
        const std::int64_t width = network.hidden + kPanel;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            tap(0)[m] = state.horizontal_at(network.layer_count, at, at.column);
            tap(1)[m] = scratch.hidden + m * width;
            tap(2)[m] = scratch.features + m * (network.features + kPair<Element>);
        }
        multiply(network.expand[plane], tap(0), count, count, scratch.expanded, width);
        for (std::int64_t m = 0; m < count; ++m) {
            float* expanded = scratch.expanded + m * width;
            for (std::int64_t k = 0; k < size; ++k)
                expanded[k] = expanded[k] < 0.0f ? 0.0f : expanded[k];  // NaN stays NaN
            from_floats(expanded, scratch.hidden + m * width + first, size);
        }
        multiply(network.answer[plane], tap(1), count, count, scratch.logits, kLevels);
        if (network.features) multiply(network.condition[plane], tap(2), count, count, scratch.logits, kLevels, true);
    }

    /// Draws or scores one plane's values; false if logits are not finite.
    bool draw_plane(std::int64_t plane) const {
        bool finite = true;
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            const DrawnImage& image = image_of(at);
            const std::int64_t value = (at.row * image.width + at.column) * network.planes + plane;
            const float* logits = scratch.logits + m * kLevels;
            if (image.logits)
                for (std::int64_t k = 0; k < kLevels; ++k) image.logits[value * kLevels + k] = logits[k];
            if (!job.score_only && !(image.observed && image.observed[value])) {
                const int level = sample_level(logits, image, value);
                finite = finite && level >= 0;
                image.levels[value] = static_cast<std::uint8_t>(level < 0 ? 0 : level);
            }
            const int level = image.levels[value];
            if (image.log_likelihood) image.log_likelihood[at.row] += log_probability(logits, level);
            const float input = static_cast<float>(level) / 255.0f - 0.5f;
            from_float(input, state.pixel_at(at.image, at.row, at.column)[plane]);
            if (plane + 1 < network.planes) add_to_first_layer(m, plane, input);
        }
        return finite;
    }

    /// The level with the highest score, the lowest of equals; -1 if scores are not finite.
    int sample_level(const float* logits, const DrawnImage& image, std::int64_t value) const {
        const float* noise = image.noise ? image.noise + value * kLevels : scratch.noise;
        if (job.inverse_temperature != 0.0f && !image.noise) gumbel_noise(job.seed, image.id, value, scratch.noise);
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

    /// Adds a drawn value's contribution to the first layer, for the planes after it.
    void add_to_first_layer(std::int64_t m, std::int64_t plane, float input) const {
        const std::int64_t from = network.starts[plane + 1];
        float* sums = scratch.residual + m * row;
        const float* factors = network.first_centre + plane * network.channels;
        for (std::int64_t k = from; k < network.channels; ++k) sums[k] = fused(input, factors[k], sums[k]);
        store_first_layer(m, from);
    }

    /// Draws the pixels, once the pre-activations of all layers are computed; false if logits are not finite.
    bool draw() const {
        if (!count) return true;
        first_layer();
        for (std::int64_t plane = 0; plane < network.planes; ++plane) {
            horizontal_stack(plane);
            head(plane);
            if (!draw_plane(plane)) return false;
        }
        publish();
        return true;
    }

    /// Passes the finished pixels to the vertical stack of later rows.
    void publish() const {
        for (std::int64_t m = 0; m < count; ++m) {
            const Position& at = position(m);
            const Element* from = state.horizontal_at(0, at, at.column);
            Element* to = state.vertical_at(0, at.image, at.row, at.column);
            for (std::int64_t k = 0; k < network.channels; ++k) to[k] = from[k];
        }
    }
};

DrawResult draw(const PackedNetwork<PYSR_ELEMENT>& network, const DrawJob& job, std::int64_t first_image,
                std::int64_t images, char* state_memory, char* scratch_memory, const ThreadGroup& group) {
    Arena state_arena(state_memory), scratch_arena(scratch_memory);
    const Extent extent(job.images + first_image, images);
    const WaveState<PYSR_ELEMENT> state(network, extent, state_arena);
    const StepScratch<PYSR_ELEMENT> scratch(network, state, scratch_arena);
    Wave<PYSR_ELEMENT> wave{network, job, first_image, state, scratch};
    for (std::int64_t time = 0; time < extent.steps; ++time) {
        wave.begin_step(time);
        if (!wave.all) continue;
        if (!group.wait(group.self)) return DrawResult::stopped;  // for the pixels of earlier steps
        for (std::int64_t layer = group.rank; layer < network.layer_count; layer += group.size) {
            wave.vertical_stack(layer);
            wave.pre_activation(layer);
        }
        group.arrive(group.self);
        if (!group.wait(group.self)) return DrawResult::stopped;
        wave.select_share(group.rank, group.size);
        if (!wave.draw()) return DrawResult::overflowed;
        if (!group.advance(group.self, wave.count)) return DrawResult::stopped;
        group.arrive(group.self);
    }
    return DrawResult::complete;
}

}  // namespace

template <>
const PixelCnnKernels<PYSR_ELEMENT>& pixelcnn_kernels_of<Isa::PYSR_ISA, PYSR_ELEMENT>() {
    static constexpr PixelCnnKernels<PYSR_ELEMENT> kernels = {draw, peak_flops<PYSR_ELEMENT>};
    return kernels;
}

}  // namespace pysr

// Draws images of a PixelCNN on a CUDA device, in float32. A group of blocks, usually of one, draws a few images from
// their first step to the last and never waits for other groups. The host launches some steps at a time, so that the
// call can be cancelled.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "common/backend.h"
#include "common/cuda_check.h"
#include "pixelcnn/arena.h"
#include "pixelcnn/pack.h"
#include "pixelcnn/sampler.h"
#include "pixelcnn/wave.cuh"

namespace pysr {

extern __shared__ float4 block_memory[];

namespace {

constexpr std::int64_t kMaxTile = 64;      // positions: a whole step of eight images of 32 x 32
constexpr std::int64_t kDeviceLine = 128;  // bytes of a cache line of the device

__global__ void __launch_bounds__(kThreads, 1) draw_steps(const __grid_constant__ Steps steps) {
    const std::int64_t group = blockIdx.x / steps.group_size, rank = blockIdx.x % steps.group_size;
    const std::int64_t first_image = steps.first_image + group * steps.per_group;
    const std::int64_t images = smaller(steps.per_group, steps.job.count - first_image);
    Arena state_arena(steps.state + group * steps.state_bytes);
    Arena scratch_arena(steps.scratch + blockIdx.x * steps.scratch_bytes);
    Arena shared_arena(reinterpret_cast<char*>(block_memory));
    const Extent extent(steps.job.images + first_image, images);
    const WaveState<float> state(steps.network, extent, state_arena, false);
    const BlockScratch scratch(steps, state, scratch_arena);
    const SharedTile shared(steps, state, shared_arena);
    Wave wave{steps, steps.network, steps.job, first_image, state, scratch, shared};
    unsigned* const arrivals = steps.arrivals + group * (kDeviceLine / sizeof(unsigned));
    unsigned passed = 0;
    for (std::int64_t time = steps.from; time < steps.end; ++time) {
        wave.begin_step(time);
        if (!wave.all) continue;
        wave.pre_activations(rank);
        group_barrier(arrivals, steps.group_size, passed);
        wave.draw(wave.all * rank / steps.group_size, wave.all * (rank + 1) / steps.group_size);
        group_barrier(arrivals, steps.group_size, passed);
    }
}

/// Memory of the current device.
class DeviceMemory {
  public:
    explicit DeviceMemory(std::int64_t bytes) { check(cudaMalloc(&data_, std::max<std::int64_t>(bytes, 1))); }
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    ~DeviceMemory() { cudaFree(data_); }

    char* data() const { return static_cast<char*>(data_); }

  private:
    void* data_ = nullptr;
};

/// Copies a network's weights into device memory. With null memory it only counts the bytes.
class Upload {
  public:
    Upload(const PackedNetwork<float>& network, char* memory) : arena_(memory), network_(network) {
        layers_.assign(network.layers, network.layers + network.layer_count);
        upload(network_.first);
        network_.first_centre = copy(network.first_centre, network.planes * network.channels);
        for (GatedLayer<float>& layer : layers_) {
            upload(layer.vertical);
            std::fill(std::begin(layer.winograd), std::end(layer.winograd), Panels<float>());  // used on the CPU only
            upload(layer.pre_activation);
            upload(layer.centre);
            upload(layer.out);
        }
        network_.layers = copy(layers_.data(), network.layer_count);
        upload(network_.expand);
        upload(network_.answer);
        if (network.features) upload(network_.condition);
    }

    std::int64_t bytes() const { return arena_.bytes(); }
    const PackedNetwork<float>& network() const { return network_; }

  private:
    template <class Item>
    const Item* copy(const Item* from, std::int64_t count) {
        Item* const to = arena_.allocate<Item>(count);
        if (to) check(cudaMemcpy(to, from, count * sizeof(Item), cudaMemcpyHostToDevice));
        return to;
    }

    void upload(Panels<float>& matrix) {
        const std::int64_t depth = matrix.taps * matrix.depth * kPanel, padded = padded_depth(matrix) * kPanel;
        std::vector<float> weights(matrix.panels * padded);
        for (std::int64_t panel = 0; panel < matrix.panels; ++panel)
            std::copy_n(matrix.weights + panel * depth, depth, weights.begin() + panel * padded);
        matrix.weights = copy(weights.data(), weights.size());
        matrix.bias = copy(matrix.bias, matrix.panels * kPanel);
    }

    void upload(Panels<float> (&planes)[kMaxPlanes]) {
        for (std::int64_t plane = 0; plane < network_.planes; ++plane) upload(planes[plane]);
    }

    Arena arena_;
    PackedNetwork<float> network_;
    std::vector<GatedLayer<float>> layers_;
};

int attribute(cudaDeviceAttr name, int device) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, name, device));
    return value;
}

/// Bytes of shared memory that a block needs.
std::int64_t shared_tile_bytes(const Steps& steps) {
    Arena unused(nullptr), size(nullptr);
    const WaveState<float> state(steps.network, Extent(nullptr, 0), unused);
    SharedTile(steps, state, size);
    return size.bytes();
}

/// Memory that a group's WaveState takes, and the largest number of pixels of its steps, whichever group it is.
struct StateNeeds {
    std::int64_t bytes = 0, positions = 0;

    explicit StateNeeds(const Steps& steps) {
        for (std::int64_t first = 0; first < steps.job.count; first += steps.per_group) {
            Arena size(nullptr);
            const Extent extent(steps.job.images + first, smaller(steps.per_group, steps.job.count - first));
            const WaveState<float> state(steps.network, extent, size, false);
            bytes = std::max(bytes, size.bytes());
            positions = std::max(positions, state.max_positions());
        }
    }
};

/// Divides the work: one block per multiprocessor; if images are few, several blocks share a group of them.
Steps plan(const PackedNetwork<float>& network, const DrawJob& job, int device) {
    const std::int64_t blocks = attribute(cudaDevAttrMultiProcessorCount, device);
    const std::int64_t max_shared = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    Arena unused(nullptr), scratch_size(nullptr);
    const WaveState<float> largest(network, Extent(job.images, job.count), unused);
    Steps steps = {};
    steps.network = network;
    steps.job = job;
    steps.per_group = std::min(std::max(kMaxTile / largest.active, std::int64_t{1}), (job.count - 1) / blocks + 1);
    steps.groups = std::min(blocks, (job.count - 1) / steps.per_group + 1);
    const StateNeeds needs(steps);
    steps.group_size = std::min(blocks / steps.groups, std::max(network.layer_count, needs.positions));
    steps.tile = std::min(kMaxTile, needs.positions);
    while (shared_tile_bytes(steps) > max_shared && steps.tile > 1) steps.tile = (steps.tile + 1) / 2;
    if (shared_tile_bytes(steps) > max_shared)
        throw std::invalid_argument("the network has too many channels for this GPU; draw images with device='cpu'");
    check(cudaFuncSetAttribute(draw_steps, cudaFuncAttributeMaxDynamicSharedMemorySize, max_shared));
    BlockScratch(steps, largest, scratch_size);
    steps.state_bytes = needs.bytes;
    steps.scratch_bytes = scratch_size.bytes();
    return steps;
}

/// Adapts the number of steps per launch, so that the host gets control back within a few hundredths of a second.
class LaunchSizer {
  public:
    std::int64_t steps() const { return steps_; }

    /// Takes the duration of a launch into account. launched: its steps, fewer than steps() at the end of a job.
    void adapt(std::int64_t launched, std::chrono::steady_clock::duration took) {
        if (took < std::chrono::milliseconds(20) && launched == steps_) steps_ *= 2;
        if (took > std::chrono::milliseconds(60) && steps_ > 1) steps_ /= 2;
    }

  private:
    std::int64_t steps_ = 1;
};

/// One job in progress, and its device memory.
class DrawCall {
  public:
    DrawCall(const PackedNetwork<float>& network, const DrawJob& job, int device, cudaStream_t on)
        : images_(longest_first(job)),
          job_{job.count, images_.data(), job.seed, job.inverse_temperature, job.score_only},
          pixels_(pixels_of(job)),
          on_(on),
          steps_(plan(network, job_, device)),
          state_(steps_.groups * steps_.state_bytes),
          scratch_(steps_.groups * steps_.group_size * steps_.scratch_bytes),
          arrivals_(steps_.groups * kDeviceLine),
          overflowed_(sizeof(int)),
          drawn_(job.count * sizeof(DrawnImage)),
          nats_(rows() * sizeof(double)),
          shared_bytes_(shared_tile_bytes(steps_)) {
        steps_.state = state_.data();
        steps_.scratch = scratch_.data();
        steps_.arrivals = reinterpret_cast<unsigned*>(arrivals_.data());
        steps_.overflowed = reinterpret_cast<int*>(overflowed_.data());
        steps_.job.images = reinterpret_cast<const DrawnImage*>(drawn_.data());
        std::vector<DrawnImage> images = images_;
        double* nats = reinterpret_cast<double*>(nats_.data());
        for (DrawnImage& image : images) {
            if (image.log_likelihood) image.log_likelihood = nats;
            nats += image.height;
        }
        check(cudaMemcpy(drawn_.data(), images.data(), job.count * sizeof(DrawnImage), cudaMemcpyHostToDevice));
        check(cudaMemsetAsync(nats_.data(), 0, rows() * sizeof(double), on));
        check(cudaMemsetAsync(overflowed_.data(), 0, sizeof(int), on));
    }

    void run(const ProgressCallback& progress) {
        const std::int64_t per_launch = steps_.groups * steps_.per_group;
        for (std::int64_t first = 0; first < job_.count; first += per_launch)
            draw(first, std::min(per_launch, job_.count - first), progress);
        add_nats();
    }

  private:
    /// The rows of all images.
    std::int64_t rows() const {
        std::int64_t rows = 0;
        for (const DrawnImage& image : images_) rows += image.height;
        return rows;
    }

    void add_nats() const {
        std::vector<double> nats(rows());
        check(cudaMemcpyAsync(nats.data(), nats_.data(), nats.size() * sizeof(double), cudaMemcpyDeviceToHost, on_));
        check(cudaStreamSynchronize(on_));
        const double* next = nats.data();
        for (const DrawnImage& image : images_)
            for (std::int64_t row = 0; row < image.height; ++row, ++next)
                if (image.log_likelihood) image.log_likelihood[row] += *next;
    }

    void draw(std::int64_t first, std::int64_t images, const ProgressCallback& progress) {
        const std::int64_t end = Extent(images_.data() + first, images).steps;
        check(cudaMemsetAsync(state_.data(), 0, steps_.groups * steps_.state_bytes, on_));
        steps_.first_image = first;
        for (steps_.from = 0; steps_.from < end; steps_.from = steps_.end) {
            steps_.end = std::min(end, steps_.from + launch_sizer_.steps());
            const auto before = std::chrono::steady_clock::now();
            launch((images - 1) / steps_.per_group + 1);
            launch_sizer_.adapt(steps_.end - steps_.from, std::chrono::steady_clock::now() - before);
            std::int64_t done = done_;
            for (std::int64_t i = first; i < first + images; ++i) done += drawn_before(images_[i], steps_.end);
            if (!progress(done, pixels_)) throw Interrupted{};
        }
        for (std::int64_t i = first; i < first + images; ++i) done_ += images_[i].height * images_[i].width;
    }

    /// Launches the steps and waits for them.
    void launch(std::int64_t groups) {
        int overflowed = 0;
        void* arguments[] = {&steps_};
        check(cudaMemsetAsync(arrivals_.data(), 0, steps_.groups * kDeviceLine, on_));
        check(cudaLaunchCooperativeKernel(draw_steps, dim3(groups * steps_.group_size), dim3(kThreads), arguments,
                                          shared_bytes_, on_));  // cooperative: blocks wait for each other
        check(cudaMemcpyAsync(&overflowed, overflowed_.data(), sizeof(int), cudaMemcpyDeviceToHost, on_));
        check(cudaStreamSynchronize(on_));
        if (overflowed) throw std::overflow_error("the network's logits became NaN or infinite");
    }

    /// The number of pixels of an image that the steps before `time` draw.
    static std::int64_t drawn_before(const DrawnImage& image, std::int64_t time) {
        std::int64_t pixels = 0;
        for (std::int64_t i = 0; i < image.height && kLag * i < time; ++i)
            pixels += std::min(image.width, time - kLag * i);
        return pixels;
    }

    const std::vector<DrawnImage> images_;
    const DrawJob job_;
    const std::int64_t pixels_;
    std::int64_t done_ = 0;  // pixels of the images before those that are being drawn
    const cudaStream_t on_;
    Steps steps_;
    const DeviceMemory state_, scratch_, arrivals_, overflowed_, drawn_, nats_;
    const std::int64_t shared_bytes_;
    LaunchSizer launch_sizer_;
};

class CudaPixelCnn : public PixelCnn {
  public:
    CudaPixelCnn(const PixelCnnSizes& sizes, const Packed<float>& packed, int device)
        : sizes_(sizes), device_(device), memory_(Upload(packed.network(), nullptr).bytes()) {
        network_ = Upload(packed.network(), memory_.data()).network();
        check(cudaDeviceSynchronize());  // before other streams read it
    }

    PixelCnnSizes sizes() const override { return sizes_; }

    int device() const override { return device_; }

    void draw(const DrawJob& job, int, void* stream, const ProgressCallback& progress) const override {
        check(cudaSetDevice(device_));
        DrawCall(network_, job, device_, static_cast<cudaStream_t>(stream)).run(progress);
    }

  private:
    PixelCnnSizes sizes_;
    int device_;
    DeviceMemory memory_;
    PackedNetwork<float> network_;
};

}  // namespace

std::unique_ptr<PixelCnn> make_cuda_pixelcnn(const PixelCnnSizes& sizes, const WeightLookup& weights, int device) {
    const Packed<float> packed(sizes, weights);
    check(cudaSetDevice(device));
    return std::make_unique<CudaPixelCnn>(sizes, packed, device);
}

}  // namespace pysr

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
    const WaveState<float> state(steps.network, steps.job, images, state_arena, false);
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
    const WaveState<float> state(steps.network, steps.job, steps.per_group, unused);
    SharedTile(steps, state, size);
    return size.bytes();
}

/// Divides the work: one block per multiprocessor; if images are few, several blocks share a group of them.
Steps plan(const PackedNetwork<float>& network, const DrawJob& job, int device) {
    const std::int64_t blocks = attribute(cudaDevAttrMultiProcessorCount, device);
    const std::int64_t max_shared = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    Arena unused(nullptr), state_size(nullptr), scratch_size(nullptr);
    const std::int64_t active = WaveState<float>(network, job, 1, unused).active;
    Steps steps = {};
    steps.network = network;
    steps.job = job;
    steps.per_group = std::min(std::max(kMaxTile / active, std::int64_t{1}), (job.count - 1) / blocks + 1);
    steps.groups = std::min(blocks, (job.count - 1) / steps.per_group + 1);
    const WaveState<float> state(network, job, steps.per_group, state_size, false);
    steps.group_size = std::min(blocks / steps.groups, std::max(network.layer_count, state.max_positions()));
    steps.tile = std::min(kMaxTile, state.max_positions());
    while (shared_tile_bytes(steps) > max_shared && steps.tile > 1) steps.tile = (steps.tile + 1) / 2;
    if (shared_tile_bytes(steps) > max_shared)
        throw std::invalid_argument("the network has too many channels for this GPU; draw images with device='cpu'");
    check(cudaFuncSetAttribute(draw_steps, cudaFuncAttributeMaxDynamicSharedMemorySize, max_shared));
    BlockScratch(steps, state, scratch_size);
    steps.state_bytes = state_size.bytes();
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
        : job_(job),
          on_(on),
          steps_(plan(network, job, device)),
          state_(steps_.groups * steps_.state_bytes),
          scratch_(steps_.groups * steps_.group_size * steps_.scratch_bytes),
          arrivals_(steps_.groups * kDeviceLine),
          overflowed_(sizeof(int)),
          ids_(job.count * sizeof(std::uint64_t)),
          nats_(nats_bytes()),
          shared_bytes_(shared_tile_bytes(steps_)) {
        steps_.state = state_.data();
        steps_.scratch = scratch_.data();
        steps_.arrivals = reinterpret_cast<unsigned*>(arrivals_.data());
        steps_.overflowed = reinterpret_cast<int*>(overflowed_.data());
        steps_.job.image_ids = reinterpret_cast<const std::uint64_t*>(ids_.data());
        check(
            cudaMemcpyAsync(ids_.data(), job.image_ids, job.count * sizeof(std::uint64_t), cudaMemcpyHostToDevice, on));
        check(cudaMemsetAsync(overflowed_.data(), 0, sizeof(int), on));
        if (!job.log_likelihood) return;
        steps_.job.log_likelihood = reinterpret_cast<double*>(nats_.data());
        check(cudaMemcpyAsync(nats_.data(), job.log_likelihood, nats_bytes(), cudaMemcpyHostToDevice, on));
    }

    void run(const ProgressCallback& progress) {
        const std::int64_t per_launch = steps_.groups * steps_.per_group;
        for (std::int64_t first = 0; first < job_.count; first += per_launch)
            draw(first, std::min(per_launch, job_.count - first), progress);
        if (!job_.log_likelihood) return;
        check(cudaMemcpyAsync(job_.log_likelihood, nats_.data(), nats_bytes(), cudaMemcpyDeviceToHost, on_));
        check(cudaStreamSynchronize(on_));
    }

  private:
    std::int64_t nats_bytes() const { return job_.log_likelihood ? job_.count * job_.height * sizeof(double) : 0; }

    void draw(std::int64_t first, std::int64_t images, const ProgressCallback& progress) {
        const std::int64_t end = job_.width + kLag * (job_.height - 1);
        check(cudaMemsetAsync(state_.data(), 0, steps_.groups * steps_.state_bytes, on_));
        steps_.first_image = first;
        for (steps_.from = 0; steps_.from < end; steps_.from = steps_.end) {
            steps_.end = std::min(end, steps_.from + launch_sizer_.steps());
            const auto before = std::chrono::steady_clock::now();
            launch((images - 1) / steps_.per_group + 1);
            launch_sizer_.adapt(steps_.end - steps_.from, std::chrono::steady_clock::now() - before);
            const std::int64_t done = first * job_.height * job_.width + images * drawn_before(steps_.end);
            if (!progress(done, job_.count * job_.height * job_.width)) throw Interrupted{};
        }
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
    std::int64_t drawn_before(std::int64_t time) const {
        std::int64_t pixels = 0;
        for (std::int64_t i = 0; i < job_.height && kLag * i < time; ++i)
            pixels += std::min(job_.width, time - kLag * i);
        return pixels;
    }

    const DrawJob& job_;
    const cudaStream_t on_;
    Steps steps_;
    const DeviceMemory state_, scratch_, arrivals_, overflowed_, ids_, nats_;
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

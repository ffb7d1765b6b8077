// Draws images of a PixelCNN on a CUDA device, in float32. A crew of blocks, mostly one, draws a few images from their
// first step on and never waits for other crews; the host launches some steps at a time, so that it can be stopped.
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "pixelcnn/arena.h"
#include "pixelcnn/pack.h"
#include "common/cuda_check.h"
#include "pixelcnn/wave.cuh"
#include "patches/ops.h"
#include "pixelcnn/sampler.h"

namespace pysr {

extern __shared__ float4 block_memory[];

namespace {

constexpr std::int64_t kMostTile = 64;  // positions: with eight images of 32 x 32 a whole step
constexpr std::int64_t kLine = 128;     // bytes between what different blocks write

__global__ void __launch_bounds__(kThreads, 1) draw_steps(const __grid_constant__ Steps steps) {
    const std::int64_t crew = blockIdx.x / steps.members, number = blockIdx.x % steps.members;
    const std::int64_t first_image = steps.first_image + crew * steps.together;
    const std::int64_t images = smaller(steps.together, steps.job.count - first_image);
    Carver shared(steps.shared + crew * steps.shared_bytes), own(steps.own + blockIdx.x * steps.own_bytes);
    Carver fast(reinterpret_cast<char*>(block_memory));
    const DrawMemory<float> memory(steps.network, steps.job, images, shared, false);
    const Scratch scratch(steps, memory, own);
    const Bench bench(steps, memory, fast);
    Wave wave{steps, steps.network, steps.job, first_image, memory, scratch, bench};
    unsigned* const arrivals = steps.arrivals + crew * (kLine / sizeof(unsigned));
    unsigned meetings = 0;
    for (std::int64_t time = steps.from; time < steps.end; ++time) {
        wave.find(time);
        if (!wave.all) continue;
        wave.prepare(number);
        meet(arrivals, steps.members, meetings);
        wave.draw(wave.all * number / steps.members, wave.all * (number + 1) / steps.members);
        meet(arrivals, steps.members, meetings);
    }
}

/// Memory of the current device.
class DeviceMemory {
  public:
    explicit DeviceMemory(std::int64_t bytes) { check(cudaMalloc(&data_, std::max<std::int64_t>(bytes, 1))); }
    DeviceMemory(const DeviceMemory&) = delete;
    ~DeviceMemory() { cudaFree(data_); }

    char* data() const { return static_cast<char*>(data_); }

  private:
    void* data_ = nullptr;
};

/// Puts a network's numbers into memory of the device, which a first pass with a carver without memory counts.
class Upload {
  public:
    Upload(const PackedNetwork<float>& network, char* memory) : carver_(memory), network_(network) {
        layers_.assign(network.layers, network.layers + network.layer_count);
        move(network_.first);
        network_.first_centre = copy(network.first_centre, network.planes * network.channels);
        for (GatedLayer<float>& layer : layers_) {
            move(layer.vertical);
            std::fill(std::begin(layer.paired), std::end(layer.paired), Panels<float>());  // for the processor's way
            move(layer.left);
            move(layer.centre);
            move(layer.out);
        }
        network_.layers = copy(layers_.data(), network.layer_count);
        move(network_.widen);
        move(network_.answer);
        if (network.features) move(network_.condition);
    }

    std::int64_t bytes() const { return carver_.bytes(); }
    const PackedNetwork<float>& network() const { return network_; }

  private:
    template <class Item>
    const Item* copy(const Item* from, std::int64_t count) {
        Item* const to = carver_.take<Item>(count);
        if (to) check(cudaMemcpy(to, from, count * sizeof(Item), cudaMemcpyHostToDevice));
        return to;
    }

    void move(Panels<float>& matrix) {
        const std::int64_t depth = matrix.taps * matrix.depth * kPanel, whole = whole_depth(matrix) * kPanel;
        std::vector<float> weights(matrix.panels * whole);
        for (std::int64_t panel = 0; panel < matrix.panels; ++panel)
            std::copy_n(matrix.weights + panel * depth, depth, weights.begin() + panel * whole);
        matrix.weights = copy(weights.data(), weights.size());
        matrix.bias = copy(matrix.bias, matrix.panels * kPanel);
    }

    void move(Panels<float> (&planes)[kMostPlanes]) {
        for (std::int64_t plane = 0; plane < network_.planes; ++plane) move(planes[plane]);
    }

    Carver carver_;
    PackedNetwork<float> network_;
    std::vector<GatedLayer<float>> layers_;
};

int attribute(cudaDeviceAttr name, int device) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, name, device));
    return value;
}

/// Shared memory that a block takes.
std::int64_t bench_bytes(const Steps& steps) {
    Carver nothing(nullptr), size(nullptr);
    const DrawMemory<float> memory(steps.network, steps.job, steps.together, nothing);
    Bench(steps, memory, size);
    return size.bytes();
}

/// Who draws what: each multiprocessor has one block, and where images are few, several blocks share them.
Steps plan(const PackedNetwork<float>& network, const DrawJob& job, int device) {
    const std::int64_t blocks = attribute(cudaDevAttrMultiProcessorCount, device);
    const std::int64_t most_shared = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    Carver nothing(nullptr), shared(nullptr), own(nullptr);
    const std::int64_t active = DrawMemory<float>(network, job, 1, nothing).active;
    Steps steps = {};
    steps.network = network;
    steps.job = job;
    steps.together = std::min(std::max(kMostTile / active, std::int64_t{1}), (job.count - 1) / blocks + 1);
    steps.crews = std::min(blocks, (job.count - 1) / steps.together + 1);
    const DrawMemory<float> memory(network, job, steps.together, shared, false);
    steps.members = std::min(blocks / steps.crews, std::max(network.layer_count, memory.most()));
    steps.tile = std::min(kMostTile, memory.most());
    while (bench_bytes(steps) > most_shared && steps.tile > 1) steps.tile = (steps.tile + 1) / 2;
    if (bench_bytes(steps) > most_shared)
        throw std::invalid_argument("the network has too many channels for this GPU; draw images with device='cpu'");
    check(cudaFuncSetAttribute(draw_steps, cudaFuncAttributeMaxDynamicSharedMemorySize, most_shared));
    Scratch(steps, memory, own);
    steps.shared_bytes = shared.bytes();
    steps.own_bytes = own.bytes();
    return steps;
}

/// How many steps to launch at a time, so that the host is back within some hundredths of a second.
class Pace {
  public:
    std::int64_t steps() const { return steps_; }

    /// After a launch of so many steps, fewer than `steps()` where a job had no more, that took so long.
    void adapt(std::int64_t launched, std::chrono::steady_clock::duration took) {
        if (took < std::chrono::milliseconds(20) && launched == steps_) steps_ *= 2;
        if (took > std::chrono::milliseconds(60) && steps_ > 1) steps_ /= 2;
    }

  private:
    std::int64_t steps_ = 1;
};

/// One job on its way, and the memory that it takes on the device.
class Drawing {
  public:
    Drawing(const PackedNetwork<float>& network, const DrawJob& job, int device, cudaStream_t on)
        : job_(job),
          on_(on),
          steps_(plan(network, job, device)),
          shared_(steps_.crews * steps_.shared_bytes),
          own_(steps_.crews * steps_.members * steps_.own_bytes),
          arrivals_(steps_.crews * kLine),
          overflowed_(sizeof(int)),
          ids_(job.count * sizeof(std::uint64_t)),
          nats_(nats_bytes()),
          shared_memory_(bench_bytes(steps_)) {
        steps_.shared = shared_.data();
        steps_.own = own_.data();
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

    void run(const Report& report) {
        const std::int64_t at_a_time = steps_.crews * steps_.together;
        for (std::int64_t first = 0; first < job_.count; first += at_a_time)
            draw(first, std::min(at_a_time, job_.count - first), report);
        if (!job_.log_likelihood) return;
        check(cudaMemcpyAsync(job_.log_likelihood, nats_.data(), nats_bytes(), cudaMemcpyDeviceToHost, on_));
        check(cudaStreamSynchronize(on_));
    }

  private:
    std::int64_t nats_bytes() const { return job_.log_likelihood ? job_.count * job_.height * sizeof(double) : 0; }

    void draw(std::int64_t first, std::int64_t images, const Report& report) {
        const std::int64_t end = job_.width + kLag * (job_.height - 1);
        check(cudaMemsetAsync(shared_.data(), 0, steps_.crews * steps_.shared_bytes, on_));
        steps_.first_image = first;
        for (steps_.from = 0; steps_.from < end; steps_.from = steps_.end) {
            steps_.end = std::min(end, steps_.from + pace_.steps());
            const auto before = std::chrono::steady_clock::now();
            launch((images - 1) / steps_.together + 1);
            pace_.adapt(steps_.end - steps_.from, std::chrono::steady_clock::now() - before);
            const std::int64_t done = first * job_.height * job_.width + images * drawn_before(steps_.end);
            if (!report(done, job_.count * job_.height * job_.width)) throw Interrupted{};
        }
    }

    /// Launches the steps and waits for them.
    void launch(std::int64_t crews) {
        int overflowed = 0;
        void* arguments[] = {&steps_};
        check(cudaMemsetAsync(arrivals_.data(), 0, steps_.crews * kLine, on_));
        check(cudaLaunchCooperativeKernel(draw_steps, dim3(crews * steps_.members), dim3(kThreads), arguments,
                                          shared_memory_,
                                          on_));  // all blocks at once, for they may wait for each other
        check(cudaMemcpyAsync(&overflowed, overflowed_.data(), sizeof(int), cudaMemcpyDeviceToHost, on_));
        check(cudaStreamSynchronize(on_));
        if (overflowed) throw std::overflow_error("the network's logits became infinite or no numbers");
    }

    /// Pixels of an image that steps before `time` draw.
    std::int64_t drawn_before(std::int64_t time) const {
        std::int64_t pixels = 0;
        for (std::int64_t i = 0; i < job_.height && kLag * i < time; ++i)
            pixels += std::min(job_.width, time - kLag * i);
        return pixels;
    }

    const DrawJob& job_;
    const cudaStream_t on_;
    Steps steps_;
    const DeviceMemory shared_, own_, arrivals_, overflowed_, ids_, nats_;
    const std::int64_t shared_memory_;
    Pace pace_;
};

class CudaPixelCnn : public PixelCnn {
  public:
    CudaPixelCnn(const PixelCnnSizes& sizes, const Packed<float>& packed, int device)
        : sizes_(sizes), device_(device), memory_(Upload(packed.network(), nullptr).bytes()) {
        network_ = Upload(packed.network(), memory_.data()).network();
        check(cudaDeviceSynchronize());  // other streams will read it
    }

    PixelCnnSizes sizes() const override { return sizes_; }

    int device() const override { return device_; }

    void draw(const DrawJob& job, int, void* stream, const Report& report) const override {
        check(cudaSetDevice(device_));
        Drawing(network_, job, device_, static_cast<cudaStream_t>(stream)).run(report);
    }

  private:
    PixelCnnSizes sizes_;
    int device_;
    DeviceMemory memory_;
    PackedNetwork<float> network_;
};

}  // namespace

std::unique_ptr<PixelCnn> make_cuda_pixelcnn(const PixelCnnSizes& sizes, const PixelCnn::Numbers& numbers, int device) {
    const Packed<float> packed(sizes, numbers);
    check(cudaSetDevice(device));
    return std::make_unique<CudaPixelCnn>(sizes, packed, device);
}

}  // namespace pysr

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "common/threads.h"
#include "pixelcnn/arena.h"
#include "pixelcnn/kernel_table.h"
#include "pixelcnn/pack.h"
#include "pixelcnn/sampler.h"

namespace pysr {
namespace {

/// Images that a group draws together: enough rows to reuse each loaded weight, few enough for the caches.
constexpr std::int64_t kImagesPerBlock = 4;

using AlignedBuffer = std::vector<CacheLine>;

std::vector<AlignedBuffer> make_buffers(std::int64_t count, std::int64_t bytes) {
    return {static_cast<std::size_t>(count), AlignedBuffer(bytes / kCacheLine)};
}

/// Progress and cancellation of one call, shared by its threads.
struct CallState {
    std::atomic<std::int64_t> done{0};
    StopToken stop;
};

/// How often a thread has arrived at the barrier, on its own cache line.
struct alignas(kCacheLine) Arrivals {
    std::atomic<std::int64_t> count{0};
};

/// The ThreadGroup of threads whose arrivals are consecutive.
class GroupMember {
  public:
    GroupMember(CallState& call, Arrivals* group, std::int64_t rank, std::int64_t size)
        : call_(call), group_(group), rank_(rank), size_(size) {}

    ThreadGroup handle() { return {this, rank_, size_, arrive, wait, advance}; }

  private:
    static void arrive(void* self) {
        const GroupMember& member = *static_cast<GroupMember*>(self);
        member.group_[member.rank_].count.fetch_add(1, std::memory_order_release);
    }

    static bool wait(void* self) {
        const GroupMember& member = *static_cast<GroupMember*>(self);
        const std::int64_t mine = member.group_[member.rank_].count.load(std::memory_order_relaxed);
        for (std::int64_t other = 0; other < member.size_; ++other)
            if (!member.wait_for(member.group_[other], mine)) return false;
        return true;
    }

    static bool advance(void* self, std::int64_t pixels) {
        GroupMember& member = *static_cast<GroupMember*>(self);
        member.call_.done += pixels;
        return !member.call_.stop.requested();
    }

    /// Spins for some microseconds, then yields, then sleeps: another thread may need the core more.
    bool wait_for(const Arrivals& other, std::int64_t wanted) const {
        constexpr int kSpins = 4000, kYields = 50;
        for (int turn = 0; other.count.load(std::memory_order_acquire) < wanted; ++turn) {
            if (turn < kSpins) continue;
            if (call_.stop.requested()) return false;
            if (turn < kSpins + kYields) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(std::chrono::microseconds(50));
                turn = kSpins + kYields;
            }
        }
        return true;
    }

    CallState& call_;
    Arrivals* const group_;
    const std::int64_t rank_, size_;
};

/// One call: blocks of images for groups of threads. If blocks are few, several threads form a group and share one.
template <class Element>
class DrawCall {
  public:
    DrawCall(const PackedNetwork<Element>& network, const DrawJob& job, DrawImages<Element>* draw_images, int threads)
        : network_(network),
          images_(longest_first(job)),
          job_{job.count, images_.data(), job.seed, job.inverse_temperature, job.score_only},
          draw_images_(draw_images),
          per_block_(std::min(kImagesPerBlock, (job.count + threads - 1) / threads)),
          blocks_((job.count + per_block_ - 1) / per_block_) {
        std::int64_t state_bytes = 0, scratch_bytes = 0, most_positions = 0;
        for (std::int64_t block = 0; block < blocks_; ++block) {
            Arena state_size(nullptr), scratch_size(nullptr);
            const Extent extent(images_.data() + block * per_block_, images_in(block));
            const WaveState<Element> state(network, extent, state_size);
            const StepScratch<Element> scratch(network, state, scratch_size);
            state_bytes = std::max(state_bytes, state_size.bytes());
            scratch_bytes = std::max(scratch_bytes, scratch_size.bytes());
            most_positions = std::max(most_positions, state.max_positions());
        }
        const std::int64_t useful = std::min<std::int64_t>(threads, blocks_ * most_positions);
        states_ = make_buffers(std::min(useful, blocks_), state_bytes);
        scratches_ = make_buffers(useful, scratch_bytes);
        arrivals_ = std::vector<Arrivals>(useful);
    }

    /// Draws on threads that never wait for the interpreter lock, while this one polls.
    void run(const ProgressCallback& progress) {
        const std::int64_t pixels = pixels_of(job_);
        const auto poll = [&] {
            if (!progress(state_.done, pixels)) state_.stop.request();
        };
        {
            ForkJoin threads(static_cast<std::int64_t>(arrivals_.size()),
                             [this](int thread, ForkJoin& all) { work(thread, all.size()); });
            if (threads.size() == 0)
                throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
            while (!threads.finished_within(kPollInterval)) poll();
        }
        poll();  // reports completion
        if (overflowed_) throw std::overflow_error("the network's logits became NaN or infinite");
        if (state_.stop.requested()) throw Interrupted{};
    }

  private:
    void work(std::int64_t thread, std::int64_t threads) {
        const std::int64_t group_size = std::max<std::int64_t>(1, threads / blocks_), groups = threads / group_size;
        const std::int64_t group = thread / group_size, rank = thread % group_size;
        GroupMember member(state_, &arrivals_[thread - rank], rank, group_size);
        std::int64_t before = group;
        for (std::int64_t block = group; block < blocks_ && !state_.stop.requested(); block = groups + taken_++) {
            if (!alike(before, block))  // the buffers' layout changes; a group that gets here has one thread
                for (AlignedBuffer* buffer : {&states_[group], &scratches_[thread]})
                    buffer->assign(buffer->size(), CacheLine{});
            before = block;
            const DrawResult result =
                draw_images_(network_, job_, block * per_block_, images_in(block), states_[group][0].bytes,
                             scratches_[thread][0].bytes, member.handle());
            if (result != DrawResult::overflowed) continue;
            overflowed_ = true;
            state_.stop.request();
        }
    }

    std::int64_t images_in(std::int64_t block) const { return std::min(per_block_, job_.count - block * per_block_); }

    /// Whether two blocks have images of the same shapes.
    bool alike(std::int64_t one, std::int64_t other) const {
        const DrawnImage *const first = images_.data() + one * per_block_, *const second =
                                                                               first + (other - one) * per_block_;
        return images_in(one) == images_in(other) &&
               std::equal(first, first + images_in(one), second, [](const DrawnImage& a, const DrawnImage& b) {
                   return a.height == b.height && a.width == b.width;
               });
    }

    const PackedNetwork<Element>& network_;
    const std::vector<DrawnImage> images_;
    const DrawJob job_;
    DrawImages<Element>* const draw_images_;
    const std::int64_t per_block_, blocks_;
    std::vector<AlignedBuffer> states_, scratches_;
    std::vector<Arrivals> arrivals_;
    CallState state_;
    std::atomic<bool> overflowed_{false};
    std::atomic<std::int64_t> taken_{0};  // blocks beyond the first of each group
};

template <class Element>
class CpuPixelCnn : public PixelCnn {
  public:
    CpuPixelCnn(const PixelCnnSizes& sizes, const WeightLookup& weights, DrawImages<Element>* draw_images)
        : sizes_(sizes), packed_(sizes, weights), draw_images_(draw_images) {}

    PixelCnnSizes sizes() const override { return sizes_; }

    int device() const override { return -1; }

    void draw(const DrawJob& job, int threads, void*, const ProgressCallback& progress) const override {
        DrawCall<Element>(packed_.network(), job, draw_images_, threads).run(progress);
    }

  private:
    PixelCnnSizes sizes_;
    Packed<Element> packed_;
    DrawImages<Element>* draw_images_;
};

}  // namespace

template <>
const PixelCnnKernels<float>* pixelcnn_kernels<float>() {
    return with_active_isa([](auto isa) { return &pixelcnn_kernels_of<decltype(isa)::value, float>(); });
}

template <>
const PixelCnnKernels<bfloat16>* pixelcnn_kernels<bfloat16>() {
#ifdef PYSR_X86
    if (active_isa_has_bfloat16()) return &pixelcnn_kernels_of<Isa::avx512, bfloat16>();
#endif
    return nullptr;
}

std::vector<DrawnImage> longest_first(const DrawJob& job) {
    std::vector<DrawnImage> images(job.images, job.images + job.count);
    std::stable_sort(images.begin(), images.end(), [](const DrawnImage& a, const DrawnImage& b) {
        return std::make_pair(steps_of(a), a.width) > std::make_pair(steps_of(b), b.width);
    });
    return images;
}

std::int64_t pixels_of(const DrawJob& job) {
    return std::accumulate(job.images, job.images + job.count, std::int64_t{0},
                           [](std::int64_t sum, const DrawnImage& image) { return sum + image.height * image.width; });
}

std::unique_ptr<PixelCnn> make_pixelcnn(const PixelCnnSizes& sizes, const WeightLookup& weights, bool reduced) {
    if (!reduced) return std::make_unique<CpuPixelCnn<float>>(sizes, weights, pixelcnn_kernels<float>()->draw);
    const PixelCnnKernels<bfloat16>* kernels = pixelcnn_kernels<bfloat16>();
    if (!kernels)
        throw std::invalid_argument(
            "this processor, or the instruction set in use, has no bfloat16 instructions (AVX-512 BF16); use precision "
            "'float32'");
    return std::make_unique<CpuPixelCnn<bfloat16>>(sizes, weights, kernels->draw);
}

}  // namespace pysr

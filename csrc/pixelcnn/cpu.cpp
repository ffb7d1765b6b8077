#include "pixelcnn/sampler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "pixelcnn/arena.h"
#include "patches/kernel_table.h"
#include "pixelcnn/pack.h"

namespace pysr {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(50);

/// Images that a thread draws together: enough rows for each weight that is fetched, few enough for the caches.
constexpr std::int64_t kTogether = 4;

struct alignas(64) Line {
    char bytes[64] = {};
};
using Memory = std::vector<Line>;

std::vector<Memory> rooms(std::int64_t count, const Carver& size) {
    std::vector<Memory> made;
    for (std::int64_t i = 0; i < count; ++i) made.emplace_back(size.bytes() / sizeof(Line));
    return made;
}

/// What the threads of one call share: how far they are, and whether to stop.
struct Progress {
    std::atomic<std::int64_t> done{0};
    std::atomic<bool> stop{false};
};

/// How often a thread has arrived, on a cache line of its own.
struct alignas(64) Arrivals {
    std::atomic<std::int64_t> count{0};
};

/// A Member of threads numbered by their arrivals, which lie side by side.
class InStep {
  public:
    InStep(Progress& progress, Arrivals* crew, std::int64_t number, std::int64_t members)
        : progress_(progress), crew_(crew), number_(number), members_(members) {}

    Member member() { return {this, number_, members_, arrive, wait, go_on}; }

  private:
    static void arrive(void* self) {
        InStep& at = *static_cast<InStep*>(self);
        at.crew_[at.number_].count.fetch_add(1, std::memory_order_release);
    }

    static bool wait(void* self) {
        constexpr int kTurns = 4000, kYields = 50;  // some microseconds; then another may need the processor more
        InStep& at = *static_cast<InStep*>(self);
        const std::int64_t mine = at.crew_[at.number_].count.load(std::memory_order_relaxed);
        for (std::int64_t other = 0; other < at.members_; ++other)
            for (int turn = 0; at.crew_[other].count.load(std::memory_order_acquire) < mine; ++turn) {
                if (turn < kTurns) continue;
                if (at.progress_.stop) return false;
                if (turn < kTurns + kYields) {
                    std::this_thread::yield();
                } else {
                    std::this_thread::sleep_for(std::chrono::microseconds(50));
                    turn = kTurns + kYields;
                }
            }
        return true;
    }

    static bool go_on(void* self, std::int64_t pixels) {
        InStep& at = *static_cast<InStep*>(self);
        at.progress_.done += pixels;
        return !at.progress_.stop;
    }

    Progress& progress_;
    Arrivals* const crew_;
    const std::int64_t number_, members_;
};

/// Runs work(thread, threads) on `wanted` threads that end with this call, or on as many as the system gives; meanwhile
/// calls look() every 50 ms in this one.
template <class Work, class Look>
void on_threads(int wanted, const Work& work, const Look& look) {
    std::promise<int> started;
    const std::shared_future<int> threads = started.get_future().share();
    std::mutex mutex;
    std::condition_variable ended;
    int running = 0;
    std::vector<std::thread> helpers;
    helpers.reserve(wanted);
    const auto help = [&](int number, std::shared_future<int> all) {
        work(number, all.get());
        const std::lock_guard<std::mutex> lock(mutex);
        if (--running == 0) ended.notify_one();
    };
    try {
        for (int number = 0; number < wanted; ++number) helpers.emplace_back(help, number, threads);
    } catch (const std::system_error&) {
        if (helpers.empty()) throw;
    }
    running = static_cast<int>(helpers.size());
    started.set_value(running);
    std::unique_lock<std::mutex> lock(mutex);
    while (!ended.wait_for(lock, kBetweenLooks, [&] { return running == 0; })) {
        lock.unlock();  // a thread that has ended need not wait for Python
        look();
        lock.lock();
    }
    lock.unlock();
    for (std::thread& helper : helpers) helper.join();
    look();  // the end is told too
}

template <class Element>
class PackedPixelCnn : public PixelCnn {
  public:
    PackedPixelCnn(const PixelCnnSizes& sizes, const Numbers& numbers, DrawImages<Element> draw_images)
        : sizes_(sizes), packed_(sizes, numbers), draw_images_(draw_images) {}

    PixelCnnSizes sizes() const override { return sizes_; }

    int device() const override { return -1; }

    void draw(const DrawJob& job, int wanted, void*, const Report& report) const override {
        const std::int64_t together = std::min(kTogether, (job.count + wanted - 1) / wanted);
        const std::int64_t blocks = (job.count + together - 1) / together;
        Carver shared_size(nullptr), own_size(nullptr);
        const DrawMemory<Element> sized(packed_.network(), job, together, shared_size);
        const StepMemory<Element> step(packed_.network(), sized, own_size);
        wanted = static_cast<int>(std::min<std::int64_t>(wanted, blocks * sized.most()));
        std::vector<Memory> shared = rooms(std::min<std::int64_t>(wanted, blocks), shared_size);
        std::vector<Memory> own = rooms(wanted, own_size);
        std::vector<Arrivals> arrivals(wanted);
        Progress progress;
        std::atomic<bool> overflowed{false};
        std::atomic<std::int64_t> further{0};
        const auto work = [&](int thread, int threads) {
            const std::int64_t members = std::max<std::int64_t>(1, threads / blocks), crews = threads / members;
            const std::int64_t crew = thread / members, number = thread % members;
            InStep in_step(progress, &arrivals[thread - number], number, members);
            for (std::int64_t block = crew; block < blocks && !progress.stop; block = crews + further++) {
                const std::int64_t first = block * together, images = std::min(together, job.count - first);
                if (images < together)  // the memory is carved up in another way; no crew of several does this
                    for (Memory* room : {&shared[crew], &own[thread]}) room->assign(room->size(), Line{});
                if (draw_images_(packed_.network(), job, first, images, shared[crew][0].bytes, own[thread][0].bytes,
                                 in_step.member()) == Drawn::overflowed)
                    progress.stop = overflowed = true;
            }
        };
        const std::int64_t total = job.count * job.height * job.width;
        on_threads(wanted, work, [&] {
            if (!report(progress.done, total)) progress.stop = true;
        });
        if (overflowed) throw std::overflow_error("the network's logits became infinite or no numbers");
        if (progress.stop) throw Interrupted{};
    }

  private:
    PixelCnnSizes sizes_;
    Packed<Element> packed_;
    DrawImages<Element> draw_images_;
};

}  // namespace

std::unique_ptr<PixelCnn> make_pixelcnn(const PixelCnnSizes& sizes, const PixelCnn::Numbers& numbers, bool reduced) {
    if (!reduced) return std::make_unique<PackedPixelCnn<float>>(sizes, numbers, isa().draw);
    if (!reduced_draw())
        throw std::invalid_argument(
            "this processor, or the instruction set in use, has no bfloat16 instructions (AVX-512 BF16); use precision "
            "'float32'");
    return std::make_unique<PackedPixelCnn<Bf16>>(sizes, numbers, reduced_draw());
}

}  // namespace pysr

#include "cpu/pixelcnn.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "core/draw_memory.h"
#include "cpu/isa.h"
#include "cpu/pack.h"

namespace pysr {
namespace {

constexpr auto kBetweenReports = std::chrono::milliseconds(50);

/// Images that a thread draws together: enough rows for the vectors, few enough for its caches.
template <class Element>
constexpr std::int64_t kTogether = 2;
template <>
constexpr std::int64_t kTogether<Bf16> = 4;

/// What the threads of one call share: how far they are, and whether to stop.
struct Shared {
    const Report& report;
    std::int64_t total;
    std::atomic<std::int64_t> done{0};
    std::atomic<bool> stop{false};
};

/// The Watch of one thread; the calling one also reports.
struct Watcher {
    Shared& shared;
    bool reports;
    std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();

    static bool go_on(void* self, std::int64_t pixels) {
        Watcher& watcher = *static_cast<Watcher*>(self);
        const std::int64_t done = watcher.shared.done += pixels;
        if (!watcher.reports || watcher.shared.stop) return !watcher.shared.stop;
        const auto now = std::chrono::steady_clock::now();
        if (now - watcher.last < kBetweenReports) return true;
        watcher.last = now;
        if (!watcher.shared.report(done, watcher.shared.total)) watcher.shared.stop = true;
        return !watcher.shared.stop;
    }
};

template <class Element>
class PackedPixelCnn : public PixelCnn {
  public:
    PackedPixelCnn(const PixelCnnSizes& sizes, const Numbers& numbers, DrawImages<Element> draw_images)
        : sizes_(sizes), packed_(sizes, numbers), draw_images_(draw_images) {}

    PixelCnnSizes sizes() const override { return sizes_; }

    void draw(const DrawJob& job, int threads, const Report& report) const override {
        const std::int64_t share = (job.count + threads - 1) / threads;
        const std::int64_t together = std::min<std::int64_t>(kTogether<Element>, std::max<std::int64_t>(share, 1));
        const std::int64_t blocks = (job.count + together - 1) / together;
        Shared shared{report, job.count * job.height * job.width};
        std::atomic<std::int64_t> next{0};
        std::atomic<bool> overflowed{false};
        const auto work = [&](bool reports) {
            Carver counted(nullptr);
            const DrawMemory<Element> sized(packed_.network(), job, together, counted);
            std::vector<Line> memory(counted.bytes() / sizeof(Line));
            Watcher watcher{shared, reports};
            for (std::int64_t block; !shared.stop && (block = next++) < blocks;) {
                const std::int64_t first = block * together, images = std::min(together, job.count - first);
                if (images < together) memory.assign(memory.size(), Line{});  // it is carved up in another way
                const Watch watch{&watcher, Watcher::go_on};
                if (draw_images_(packed_.network(), job, first, images, memory[0].bytes, watch) == Drawn::overflowed)
                    shared.stop = overflowed = true;
            }
        };
        on_threads(static_cast<int>(std::min<std::int64_t>(threads, blocks)), work);
        if (overflowed) throw std::overflow_error("the network's logits became infinite or no numbers");
        if (shared.stop) throw Interrupted{};
    }

  private:
    struct alignas(64) Line {
        char bytes[64] = {};
    };

    /// Runs work(reports) on this thread, which reports, and on others that end with this call.
    template <class Work>
    static void on_threads(int threads, const Work& work) {
        std::vector<std::thread> helpers;
        try {
            for (int i = 1; i < threads; ++i) helpers.emplace_back(work, false);
        } catch (const std::system_error&) {  // the system gives no more threads: the ones there are do it
        }
        work(true);
        for (std::thread& helper : helpers) helper.join();
    }

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

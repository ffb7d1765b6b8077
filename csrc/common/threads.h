#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "common/backend.h"

namespace pysr {

/// How often the calling thread polls for cancellation and reports progress.
constexpr auto kPollInterval = std::chrono::milliseconds(50);

/// Cooperative cancellation of one call: any of its threads may request it, and all of them check for it.
class StopToken {
  public:
    void request() { requested_ = true; }
    bool requested() const { return requested_; }

  private:
    std::atomic<bool> requested_{false};
};

/// Fork and join: threads that run work(index, *this). The destructor joins them, so that none exists when the process
/// is forked between two calls.
class ForkJoin {
  public:
    /// Starts `wanted` threads, or as many as the system grants.
    template <class Work>
    ForkJoin(std::int64_t wanted, const Work& work) {
        threads_.reserve(std::max<std::int64_t>(wanted, 0));
        try {
            for (int index = 0; index < wanted; ++index)
                threads_.emplace_back([this, work, index] {
                    work(index, *this);
                    finish();
                });
        } catch (const std::system_error&) {  // fewer threads do the same work
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        size_ = static_cast<int>(threads_.size());
        changed_.notify_all();
    }

    ForkJoin(const ForkJoin&) = delete;
    ForkJoin& operator=(const ForkJoin&) = delete;

    ~ForkJoin() {
        for (std::thread& thread : threads_) thread.join();
    }

    /// The number of threads; waits until all have started. May be called from any thread.
    int size() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return size_ >= 0; });
        return size_;
    }

    /// Waits for at most `time`; returns whether all threads have finished their work.
    bool finished_within(std::chrono::milliseconds time) {
        std::unique_lock<std::mutex> lock(mutex_);
        return changed_.wait_for(lock, time, [&] { return finished_ == size_; });
    }

  private:
    void finish() {
        const std::lock_guard<std::mutex> lock(mutex_);
        ++finished_;
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    int size_ = -1;  // not known yet
    int finished_ = 0;
    std::vector<std::thread> threads_;
};

/// Calls body(first, end) for pieces of [0, count), on the calling thread and helpers. When interrupted, it throws
/// Interrupted after at most kPollInterval and one piece.
template <class Body>
void for_pieces(Cpu on, std::int64_t count, std::int64_t piece, Body body) {
    std::atomic<std::int64_t> next{0};
    StopToken stop;
    const auto work = [&](const auto& after_piece) {
        for (std::int64_t first; !stop.requested() && (first = next.fetch_add(piece)) < count; after_piece())
            body(first, std::min(first + piece, count));
    };
    {
        const std::int64_t helpers = std::min<std::int64_t>(on.threads, (count + piece - 1) / piece) - 1;
        const ForkJoin joined_at_the_end(helpers, [&work](int, ForkJoin&) { work([] {}); });
        auto polled = std::chrono::steady_clock::now();
        work([&] {
            const auto now = std::chrono::steady_clock::now();
            if (now - polled < kPollInterval) return;
            polled = now;
            if (on.interrupted()) stop.request();
        });
    }
    if (stop.requested()) throw Interrupted{};
}

}  // namespace pysr

#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "patches/ops.h"

namespace pysr {
namespace {

/// Calls body(first, end) for pieces of [0, count) on threads that live as long as this call, so that a fork finds
/// none. The calling thread works too; throws Interrupted within 50 ms and one piece of being told to stop.
template <class Body>
void for_pieces(Cpu on, std::int64_t count, std::int64_t piece, Body body) {
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> stop{false};
    const auto work = [&](auto&& after_piece) {
        for (std::int64_t first; !stop && (first = next.fetch_add(piece)) < count; after_piece())
            body(first, std::min(first + piece, count));
    };
    std::vector<std::thread> helpers;
    const std::int64_t wanted = std::min<std::int64_t>(on.threads, (count + piece - 1) / piece) - 1;
    helpers.reserve(std::max<std::int64_t>(wanted, 0));
    try {
        for (std::int64_t i = 0; i < wanted; ++i) helpers.emplace_back(work, [] {});
    } catch (const std::system_error&) {  // the system gives no more threads: the ones there are do it
    }
    auto asked = std::chrono::steady_clock::now();
    work([&] {
        const auto now = std::chrono::steady_clock::now();
        if (now - asked < std::chrono::milliseconds(50)) return;
        asked = now;
        if (on.interrupted()) stop = true;
    });
    for (std::thread& helper : helpers) helper.join();
    if (stop) throw Interrupted{};
}

}  // namespace
}  // namespace pysr

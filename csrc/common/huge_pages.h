#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "common/cache_line.h"

namespace pysr {

/// Zero-initialised memory that is freed as a whole, in huge pages where the system grants them: looking up the
/// addresses of small ones costs a program that streams through 10 MB again and again some percent of its time.
class HugePages {
  public:
    /// Memory that begins on a cache line.
    char* allocate(std::int64_t bytes) {
        bytes = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
        if (bytes > left_) add_slab(std::max(kSlab, (bytes + kPage - 1) / kPage * kPage));
        char* const allocated = next_;
        next_ += bytes;
        left_ -= bytes;
        return allocated;
    }

  private:
    static constexpr std::int64_t kPage = 2 << 20, kSlab = 2 * kPage;

    struct Free {
        void operator()(char* memory) const { std::free(memory); }
    };

    void add_slab(std::int64_t bytes) {
        slabs_.emplace_back(static_cast<char*>(std::aligned_alloc(kPage, bytes)));
        if (!slabs_.back()) throw std::bad_alloc();
        next_ = slabs_.back().get();
        left_ = bytes;
#ifdef __linux__
        madvise(next_, bytes, MADV_HUGEPAGE);  // small pages do, if it is refused
#endif
        std::memset(next_, 0, bytes);
    }

    std::vector<std::unique_ptr<char, Free>> slabs_;
    char* next_ = nullptr;
    std::int64_t left_ = 0;
};

}  // namespace pysr

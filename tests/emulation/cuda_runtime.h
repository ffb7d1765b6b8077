// An emulation of the parts of CUDA that the kernels need. Of a cooperative launch, a block is a thread of the CPU, and
// its threads are fibers that switch at barriers; of other launches, which need no barriers, all threads run in turn.
// Device memory starts as NaN. ThreadSanitizer sees fibers as threads.
#pragma once
#include <ucontext.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#else
inline void* __tsan_create_fiber(unsigned) { return nullptr; }
inline void* __tsan_get_current_fiber() { return nullptr; }
inline void __tsan_destroy_fiber(void*) {}
inline void __tsan_switch_to_fiber(void*, unsigned) {}
#endif

#define __global__
#define __device__
#define __host__
#define __shared__ thread_local
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)

struct float4 {
    alignas(16) float x;
    float y, z, w;
};

struct dim3 {
    explicit dim3(unsigned across, unsigned down = 1) : x(across), y(down) {}
    unsigned x, y;
};

namespace emulation {

constexpr unsigned kWarp = 32, kSharedFloats = 60000;

struct Index {
    unsigned x, y = 0;
};

struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
};

class Barrier {
  public:
    void wait(unsigned count);

  private:
    std::atomic<unsigned> arrived_{0}, round_{0};
};

struct Warp {
    Barrier barrier;
    std::uint32_t values[kWarp];
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* tsan = nullptr;
    bool ended = false;
    std::vector<Copy> copies;
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Barrier barrier;
    ucontext_t outside;
    void* tsan_outside = nullptr;
    std::function<void()> work;
    unsigned running = 0;
};

inline thread_local Block* block = nullptr;
inline int multiprocessors = 1;
inline int launches = 0;
inline std::size_t max_shared = 200000;

}  // namespace emulation

inline thread_local emulation::Index threadIdx, blockIdx;

namespace pysr {
extern thread_local float4 block_memory[];
}

namespace emulation {

/// Switches to the next fiber of the block, or leaves the block after its last one. Only the end of a fiber orders
/// memory accesses for ThreadSanitizer.
__attribute__((no_sanitize("thread"))) inline void yield_fiber() {
    Block& at = *block;
    const unsigned mine = threadIdx.x, count = at.fibers.size();
    const unsigned no_order = at.fibers[mine].ended ? 0 : 1;
    for (unsigned next = (mine + 1) % count; at.running; next = (next + 1) % count) {
        if (at.fibers[next].ended) continue;
        if (next == mine) return;
        threadIdx.x = next;
        __tsan_switch_to_fiber(at.fibers[next].tsan, no_order);
        swapcontext(&at.fibers[mine].context, &at.fibers[next].context);
        return;
    }
    __tsan_switch_to_fiber(at.tsan_outside, no_order);
    setcontext(&at.outside);
}

inline void Barrier::wait(unsigned count) {
    const unsigned mine = round_;
    if (++arrived_ == count) {
        arrived_ = 0;
        ++round_;
    }
    while (round_ == mine) yield_fiber();
}

__attribute__((no_sanitize("thread"))) inline void run_fiber() {
    block->work();
    block->fibers[threadIdx.x].ended = true;
    --block->running;
    yield_fiber();
}

__attribute__((no_sanitize("thread"))) inline void run_block(unsigned number, unsigned threads,
                                                             const std::function<void()>& work) {
    constexpr std::size_t kStack = 1 << 17;
    Block made;
    made.fibers.resize(threads);
    made.warps = std::vector<Warp>(threads / kWarp);
    made.work = work;
    made.running = threads;
    made.tsan_outside = __tsan_get_current_fiber();
    block = &made;
    blockIdx.x = number;
    std::memset(static_cast<void*>(pysr::block_memory), 0xff, kSharedFloats * sizeof(float));
    for (Fiber& fiber : made.fibers) {
        fiber.stack.reset(new char[kStack]);
        fiber.tsan = __tsan_create_fiber(0);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, run_fiber, 0);
    }
    threadIdx.x = 0;
    volatile bool ran = false;
    getcontext(&made.outside);
    if (!ran) {
        ran = true;
        __tsan_switch_to_fiber(made.fibers[0].tsan, 0);
        setcontext(&made.fibers[0].context);
    }
    for (Fiber& fiber : made.fibers) __tsan_destroy_fiber(fiber.tsan);
}

/// The value of another lane of the warp.
inline std::uint32_t exchange(std::uint32_t value, unsigned lane) {
    Warp& warp = block->warps[threadIdx.x / kWarp];
    warp.values[threadIdx.x % kWarp] = value;
    warp.barrier.wait(kWarp);
    const std::uint32_t other = warp.values[lane];
    warp.barrier.wait(kWarp);
    return other;
}

}  // namespace emulation

inline void __syncthreads() { emulation::block->barrier.wait(emulation::block->fibers.size()); }
inline void __threadfence() {}
inline void __nanosleep(unsigned) { std::this_thread::yield(); }
inline unsigned atomicAdd(unsigned* to, unsigned value) { return __atomic_fetch_add(to, value, __ATOMIC_SEQ_CST); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

template <class Item>
Item __ldg(const Item* from) {
    return *from;
}

template <class Item>
Item __shfl_xor_sync(unsigned, Item value, int distance) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = emulation::exchange(bits, threadIdx.x % emulation::kWarp ^ distance);
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

inline bool __all_sync(unsigned, bool value) {
    for (int distance = 16; distance > 0; distance /= 2) value = __shfl_xor_sync(0, int{value}, distance) && value;
    return value;
}

// ---- The host's side ------------------------------------------------------------------------------------------------

enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;

inline const char* cudaGetErrorString(cudaError_t) { return "an error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*memory, 0xff, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaFree(void* memory) {
    std::free(memory);
    return cudaSuccess;
}

inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}

inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
    std::memset(to, value, bytes);
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
    *value = name == cudaDevAttrMultiProcessorCount ? emulation::multiprocessors : emulation::max_shared;
    return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, std::size_t) {
    return cudaSuccess;
}

template <class... Arguments, std::size_t... numbers>
void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<numbers...>) {
    kernel(*static_cast<const Arguments*>(arguments[numbers])...);
}

template <class... Arguments>
cudaError_t cudaLaunchKernel(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** arguments, std::size_t,
                             cudaStream_t) {
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x)
                call(kernel, arguments, std::index_sequence_for<Arguments...>());
    ++emulation::launches;
    return cudaSuccess;
}

template <class Argument>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(Argument), dim3 grid, dim3 block, void** arguments, std::size_t,
                                        cudaStream_t) {
    const Argument& argument = *static_cast<const Argument*>(arguments[0]);
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < grid.x; ++number)
        threads.emplace_back([&, number] { emulation::run_block(number, block.x, [&] { kernel(argument); }); });
    for (std::thread& thread : threads) thread.join();
    return cudaSuccess;
}

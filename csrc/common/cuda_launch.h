#pragma once
#include <type_traits>

#include "common/cuda_check.h"

namespace pysr {
namespace {

/// Enqueues a kernel on a stream. A function, in place of the launch syntax, so that the emulation can run it, too.
template <class... Arguments>
void launch(void (*kernel)(Arguments...), dim3 grid, int threads, void* stream,
            const std::common_type_t<Arguments>&... arguments) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
    check(cudaLaunchKernel(kernel, grid, dim3(threads), pointers, 0, static_cast<cudaStream_t>(stream)));
}

}  // namespace
}  // namespace pysr

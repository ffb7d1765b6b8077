// Asynchronous copies that arrive as late as possible: when they are waited for.
#pragma once
#include "cuda_runtime.h"

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
    emulation::block->fibers[threadIdx.x].copies.push_back({to, from, bytes});
}

inline void __pipeline_commit() {}

inline void __pipeline_wait_prior(std::size_t) {
    std::vector<emulation::Copy>& copies = emulation::block->fibers[threadIdx.x].copies;
    for (const emulation::Copy& copy : copies) std::memcpy(copy.to, copy.from, copy.bytes);
    copies.clear();
}

#pragma once
#include "common/isa.h"
#include "pixelcnn/types.h"

namespace pysr {

/// Draws images [first, first + images) of a job, or one thread's share of them. state: zeros, as many bytes as
/// WaveState takes, shared by the group. scratch: as many bytes as StepScratch takes, one per thread.
template <class Element>
using DrawImages = DrawResult(const PackedNetwork<Element>& network, const DrawJob& job, std::int64_t first,
                              std::int64_t images, char* state, char* scratch, const ThreadGroup& group);

/// Multiplies and adds in registers only, to measure a core's peak rate; returns the number of operations.
using PeakFlops = double(std::int64_t rounds);

/// The sampler's kernels for one instruction set.
template <class Element>
struct PixelCnnKernels {
    DrawImages<Element>* draw;
    PeakFlops* peak_flops;
};

/// Defined in wave.cpp, once per instruction set and element.
template <Isa isa, class Element>
const PixelCnnKernels<Element>& pixelcnn_kernels_of();

/// The kernels of the instruction set in use; null if it cannot multiply such elements.
template <class Element>
const PixelCnnKernels<Element>* pixelcnn_kernels();
template <>
const PixelCnnKernels<float>* pixelcnn_kernels<float>();
template <>
const PixelCnnKernels<bfloat16>* pixelcnn_kernels<bfloat16>();

}  // namespace pysr

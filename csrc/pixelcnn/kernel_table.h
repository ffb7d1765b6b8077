#pragma once
#include "pixelcnn/types.h"

namespace pysr {

/// Draws images [first, first + images) of a job, or a member's share of them. shared: zeros, as many bytes as
/// DrawMemory takes, the same for all members. own: as many as StepMemory takes.
template <class Element>
using DrawImages = Drawn (*)(const PackedNetwork<Element>& network, const DrawJob& job, std::int64_t first,
                             std::int64_t images, char* shared, char* own, const Member& member);

/// Multiplies and adds in registers only, the most that a thread can do; returns how many operations that were.
using Exercise = double (*)(std::int64_t rounds);

}  // namespace pysr

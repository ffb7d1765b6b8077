#pragma once
#include "core/pixelcnn.h"

namespace pysr {

/// Draws images [first, first + images) of a job. bytes: zeros, as many as DrawMemory takes.
template <class Element>
using DrawImages = Drawn (*)(const PackedNetwork<Element>& network, const DrawJob& job, std::int64_t first,
                             std::int64_t images, char* bytes, const Watch& watch);

/// Multiplies and adds in registers only, the most that a thread can do; returns how many operations that were.
using Exercise = double (*)(std::int64_t rounds);

}  // namespace pysr

// Bindings of the resampling kernel: arrays and their checks, the interpreter lock, Ctrl-C.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "python/array.h"
#include "python/bindings.h"
#include "python/borrow.h"
#include "python/unlocked.h"
#include "resample/ops.h"

namespace py = pybind11;

namespace pysr {
namespace {

/// A checked filter; `offsets` and the array must outlive it.
Filter as_filter(const std::vector<std::int64_t>& offsets, const Array& weights) {
    if (weights.shape.size() != 2) refuse("weights must have shape (scale, taps); got " + to_string(weights.shape));
    const std::int64_t scale = weights.shape[0], taps = weights.shape[1];
    if (scale < 1 || scale > kMostScale || taps < 1 || taps > kMostTaps)
        refuse("weights must have 1 to " + std::to_string(kMostScale) + " rows of 1 to " + std::to_string(kMostTaps) +
               " taps; got shape " + to_string(weights.shape));
    const Filter filter{scale, taps, offsets.data(), as_weights(weights, scale, taps)};
    if (static_cast<std::int64_t>(offsets.size()) != scale * taps)
        refuse("offsets must be " + std::to_string(scale * taps) + " numbers; got " + std::to_string(offsets.size()));
    for (const std::int64_t offset : offsets)
        if (offset < -kReach || offset > kReach)
            refuse("offsets must lie within " + std::to_string(kReach) + " pixels; got " + std::to_string(offset));
    for (std::int64_t phase = 0; phase < scale; ++phase)
        if (filter.weights[phase * taps] == 0.0f) refuse("weights must begin with one other than zero in every row");
    return filter;
}

void enlarge_image(const py::object& image, const std::vector<std::int64_t>& offsets, const py::object& weights,
                   std::int64_t first_row, bool clip, const py::object& out, int threads) {
    const Borrowed from = borrow("image", image), to = borrow("out", out), of_taps = borrow("weights", weights);
    const Image source = as_image(from), result = as_image(to);
    require_output(to);
    for (const Borrowed* array : {&from, &to, &of_taps})
        if (array->device >= 0)
            refuse(array->name + " is on a GPU, where images are not resampled; move it to the cpu");
    require_apart(to, from);
    require_apart(to, of_taps);
    const Filter filter = as_filter(offsets, of_taps);
    const std::int64_t rows = result.height / filter.scale;
    if (result.channels != source.channels || result.width != source.width * filter.scale ||
        result.height % filter.scale)
        refuse("out has shape " + to_string(to.shape) + " but an image of " + to_string(from.shape) + " asks for (" +
               std::to_string(source.channels) + ", " + std::to_string(filter.scale) + " * rows, " +
               std::to_string(source.width * filter.scale) + ")");
    if (first_row < 0 || first_row > source.height - rows)
        refuse("rows " + std::to_string(first_row) + " to " + std::to_string(first_row + rows) +
               " are asked for; the image has " + std::to_string(source.height));
    unlocked(threads, [&](Cpu on) { enlarge(on, source, filter, first_row, clip, result); });
}

}  // namespace

void add_resample(py::module_& module) {
    using py::arg;
    module.def("enlarge", enlarge_image, arg("image"), arg("offsets"), arg("weights"), arg("first_row"), arg("clip"),
               arg("out"), py::kw_only(), arg("threads"));
}

}  // namespace pysr

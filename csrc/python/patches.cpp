// Bindings of the patch kernels: arrays and their checks, the interpreter lock, Ctrl-C.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "patches/ops.h"
#include "python/array.h"
#include "python/bindings.h"
#include "python/borrow.h"
#include "python/unlocked.h"

namespace py = pybind11;

namespace pysr {
namespace {

/// Runs call(PatchOps<Backend>) on the array's device, without the interpreter lock.
template <class Call>
void on_device_of(const Array& array, int threads, std::uintptr_t stream, Call call) {
    unlocked(threads, [&](Cpu cpu) {
        if (array.device < 0) {
            call(PatchOps<Cpu>{cpu});
        } else if constexpr (kBuiltWithCuda) {
            call(PatchOps<Cuda>{{array.device, reinterpret_cast<void*>(stream)}});
        } else {
            refuse("this build of pysr has no CUDA kernels; move the tensor to the cpu");
        }
    });
}

void extract_patches(const py::object& image, const std::vector<std::int64_t>& origins, const py::object& out,
                     int threads, std::uintptr_t stream) {
    const Borrowed from = borrow("image", image), to = borrow("out", out);
    const Image source = as_image(from);
    const Batch patches = as_batch(to);
    require_float(to);
    require_output(to);
    require_same_device(from, to);
    require_apart(to, from);
    require_positions("origins", origins, false);
    if (origins.size() != 2 * static_cast<std::size_t>(patches.count) || patches.first.channels != source.channels)
        refuse("out has shape " + to_string(to.shape) + " but the image and origins ask for (" +
               std::to_string(origins.size() / 2) + ", " + std::to_string(source.channels) + ", height, width)");
    std::vector<Origin> corners;
    corners.reserve(patches.count);
    for (std::size_t i = 0; i < origins.size(); i += 2) corners.push_back({origins[i], origins[i + 1]});
    on_device_of(to, threads, stream, [&](auto ops) { ops.extract_patches(source, corners.data(), patches); });
}

std::vector<Borrowed> borrow_bands(const std::vector<py::object>& bands, const Array& out) {
    std::vector<Borrowed> borrowed;
    borrowed.reserve(bands.size());
    for (const py::object& band : bands) borrowed.push_back(borrow("bands", band));
    if (borrowed.empty()) refuse("bands is empty; pass at least one");
    for (const Borrowed& band : borrowed) {
        as_batch(band);
        require_float(band);
        require_same_device(band, out);
        require_apart(out, band);
        if (band.shape != borrowed[0].shape || band.type != borrowed[0].type)
            refuse("bands must all have one shape and dtype; got " + to_string(borrowed[0].shape) + " " +
                   name_of(borrowed[0].type) + " and " + to_string(band.shape) + " " + name_of(band.type));
    }
    return borrowed;
}

/// A checked axis of a blend; `starts` and the array must outlive it.
Axis as_axis(const std::string& name, const std::vector<std::int64_t>& starts, const Array& weights, std::int64_t count,
             std::int64_t length, const Array& out) {
    if (static_cast<std::int64_t>(starts.size()) != count)
        refuse(name + " starts must be " + std::to_string(count) + " numbers; got " + std::to_string(starts.size()));
    require_positions(name + " starts", starts, true);
    require_same_device(weights, out);
    require_apart(out, weights);
    return {starts.data(), as_weights(weights, count, length), count, length};
}

void blend_patches(const std::vector<py::object>& bands, const std::vector<std::int64_t>& row_starts,
                   const py::object& row_weights, const std::vector<std::int64_t>& column_starts,
                   const py::object& column_weights, std::int64_t first_row, bool clip, const py::object& out,
                   int threads, std::uintptr_t stream) {
    const Borrowed to = borrow("out", out);
    const Image result = as_image(to);
    require_output(to);
    const std::vector<Borrowed> from = borrow_bands(bands, to);
    std::vector<Batch> batches;
    batches.reserve(from.size());
    for (const Borrowed& band : from) batches.push_back(as_batch(band));
    if (batches[0].first.channels != result.channels)
        refuse("out has " + std::to_string(result.channels) + " channels but bands have " +
               std::to_string(batches[0].first.channels));
    require_positions("rows", {first_row}, false);
    const Borrowed down = borrow("row_weights", row_weights), across = borrow("column_weights", column_weights);
    const Axis rows =
        as_axis("row", row_starts, down, static_cast<std::int64_t>(batches.size()), batches[0].first.height, to);
    const Axis columns = as_axis("column", column_starts, across, batches[0].count, batches[0].first.width, to);
    on_device_of(to, threads, stream,
                 [&](auto ops) { ops.blend_patches(batches.data(), rows, columns, first_row, clip, result); });
}

}  // namespace

void add_patches(py::module_& module) {
    using py::arg;
    module.def("extract_patches", extract_patches, arg("image"), arg("origins"), arg("out"), py::kw_only(),
               arg("threads"), arg("stream"));
    module.def("blend_patches", blend_patches, arg("bands"), arg("row_starts"), arg("row_weights"),
               arg("column_starts"), arg("column_weights"), arg("first_row"), arg("clip"), arg("out"), py::kw_only(),
               arg("threads"), arg("stream"));
}

}  // namespace pysr

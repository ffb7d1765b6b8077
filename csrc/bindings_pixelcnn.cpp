// The PixelCNN sampler for Python: NumPy arrays in and out, their shapes, the interpreter lock, Ctrl-C and progress.
#include "bindings_pixelcnn.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <stdexcept>

#include "array.h"
#include "core/philox.h"
#include "cpu/isa.h"
#include "pixelcnn.h"

namespace py = pybind11;

namespace pysr {
namespace {

template <class Item>
using Items = py::array_t<Item, py::array::c_style>;
using Shape = std::vector<std::int64_t>;

std::string text_of(const Shape& shape) {
    std::string text;
    for (std::int64_t side : shape) text += (text.empty() ? "(" : ", ") + std::to_string(side);
    return text + ")";
}

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

void require_shape(const std::string& name, const py::array& array, const Shape& wanted) {
    if (shape_of(array) != wanted)
        refuse(name + " has shape " + text_of(shape_of(array)) + "; it must be " + text_of(wanted));
}

std::unique_ptr<PixelCnn> make(const std::map<std::string, Items<float>>& numbers, std::int64_t planes,
                               std::int64_t channels, std::int64_t layers, std::int64_t hidden, std::int64_t features,
                               bool reduced) {
    const PixelCnn::Numbers find = [&](const std::string& name, const Shape& shape) {
        const auto found = numbers.find(name);
        if (found == numbers.end()) refuse("the weights lack " + name);
        require_shape(name, found->second, shape);
        return found->second.data();
    };
    return make_pixelcnn({planes, channels, layers, hidden, features}, find, reduced);
}

/// Calls `progress` and looks for Ctrl-C; what either raises is kept until the work has stopped.
class Reporter {
  public:
    explicit Reporter(const py::object& progress) : progress_(progress) {}

    bool operator()(std::int64_t done, std::int64_t total) {
        const py::gil_scoped_acquire lock;
        try {
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            if (!progress_.is_none()) progress_(done, total);
        } catch (py::error_already_set& error) {
            raised_.emplace(std::move(error));
            return false;
        }
        return true;
    }

    void rethrow() {
        if (raised_) throw py::error_already_set(std::move(*raised_));
    }

  private:
    const py::object& progress_;
    std::optional<py::error_already_set> raised_;
};

template <class Item>
const Item* input(const std::optional<Items<Item>>& array, const char* name, const Shape& shape) {
    if (!array) return nullptr;
    require_shape(name, *array, shape);
    return array->data();
}

template <class Item>
Item* output(std::optional<Items<Item>>& array, const char* name, const Shape& shape) {
    if (!array) return nullptr;
    require_shape(name, *array, shape);
    return array->mutable_data();
}

void draw(const PixelCnn& network, Items<std::uint8_t> images, const Items<std::uint64_t>& image_ids,
          std::uint64_t seed, float inverse_temperature, std::optional<Items<float>> features,
          std::optional<Items<float>> noise, std::optional<Items<bool>> kept, bool all_kept,
          std::optional<Items<float>> logits, std::optional<Items<double>> log_likelihood, int threads,
          const py::object& progress) {
    const PixelCnnSizes sizes = network.sizes();
    const Shape shape = shape_of(images);
    if (shape.size() != 4 || shape[3] != sizes.planes)
        refuse("images has shape " + text_of(shape) + "; it must be (count, height, width, " +
               std::to_string(sizes.planes) + ")");
    if (threads < 1) refuse("threads must be at least 1; got " + std::to_string(threads));
    require_shape("image_ids", image_ids, {shape[0]});
    const Shape scores = {shape[0], shape[1] * shape[2] * shape[3], kLevels};
    if (features.has_value() != (sizes.features > 0))
        refuse("features are given, or lack, where the network says else");
    const std::int64_t sets = features && features->ndim() == 4 ? features->shape(0) : shape[0];
    const std::int64_t stride = sets == 1 ? 0 : shape[1] * shape[2] * sizes.features;
    const DrawJob job{shape[0],
                      shape[1],
                      shape[2],
                      input(features, "features", {sets == 1 ? 1 : shape[0], shape[1], shape[2], sizes.features}),
                      stride,
                      seed,
                      image_ids.data(),
                      inverse_temperature,
                      input(noise, "noise", scores),
                      images.mutable_data(),
                      input(kept, "kept", shape),
                      all_kept,
                      output(logits, "logits", scores),
                      output(log_likelihood, "log_likelihood", {shape[0], shape[1]})};
    if (images.size() == 0) return;
    Reporter reporter(progress);
    try {
        const py::gil_scoped_release unlocked;
        network.draw(job, threads, nullptr, std::ref(reporter));
    } catch (const Interrupted&) {
        reporter.rethrow();
        throw;
    }
}

/// The random words of a value's 64 blocks, (4, 64), for tests.
Items<std::uint32_t> philox_words(std::uint64_t key, std::uint32_t value, std::uint64_t image_id) {
    std::uint32_t words[4][kLevels / 4];
    philox(key, 0, value, image_id, words);
    return Items<std::uint32_t>({4, static_cast<int>(kLevels / 4)}, &words[0][0]);
}

double exercise(std::int64_t rounds, bool reduced) {
    const Exercise work = reduced ? reduced_exercise() : isa().exercise;
    return work ? work(rounds) : 0.0;
}

}  // namespace

void add_pixelcnn(py::module_& module) {
    using py::arg;
    py::class_<PixelCnn>(module, "PixelCNN")
        .def(py::init(&make), arg("numbers"), py::kw_only(), arg("planes"), arg("channels"), arg("layers"),
             arg("hidden"), arg("features"), arg("reduced"))
        .def("draw", draw, arg("images").noconvert(), arg("image_ids").noconvert(), py::kw_only(), arg("seed"),
             arg("inverse_temperature"), arg("features").noconvert(), arg("noise").noconvert(), arg("kept").noconvert(),
             arg("all_kept"), arg("logits").noconvert(), arg("log_likelihood").noconvert(), arg("threads"),
             arg("progress"));
    module.def("philox", philox_words, arg("key"), arg("value"), arg("image_id"));
    module.def("exercise", exercise, arg("rounds"), arg("reduced"));
}

}  // namespace pysr

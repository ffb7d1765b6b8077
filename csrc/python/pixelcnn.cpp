// The PixelCNN sampler for Python: arrays in and out, their shapes, the interpreter lock, Ctrl-C and progress.
#include "python/bindings.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "python/array.h"
#include "python/borrow.h"
#include "pixelcnn/philox.h"
#include "patches/kernel_table.h"
#include "pixelcnn/sampler.h"

namespace py = pybind11;

namespace pysr {
namespace {

template <class Item>
using Items = py::array_t<Item, py::array::c_style>;
using Shape = std::vector<std::int64_t>;

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

void require_shape(const std::string& name, const py::array& array, const Shape& wanted) {
    if (shape_of(array) != wanted)
        refuse(name + " has shape " + text_of(shape_of(array)) + "; it must be " + text_of(wanted));
}

std::unique_ptr<PixelCnn> make(const std::map<std::string, Items<float>>& numbers, std::int64_t planes,
                               std::int64_t channels, std::int64_t layers, std::int64_t hidden, std::int64_t features,
                               bool reduced, int device) {
    const PixelCnn::Numbers find = [&](const std::string& name, const Shape& shape) {
        const auto found = numbers.find(name);
        if (found == numbers.end()) refuse("the weights lack " + name);
        require_shape(name, found->second, shape);
        return found->second.data();
    };
    const PixelCnnSizes sizes{planes, channels, layers, hidden, features};
    return device < 0 ? make_pixelcnn(sizes, find, reduced) : make_cuda_pixelcnn(sizes, find, device);
}

/// Calls `progress` and looks for Ctrl-C; what either raises is kept until the work has stopped.
class Reporter {
  public:
    explicit Reporter(const py::object& progress) : progress_(progress) {}

    bool operator()(std::int64_t done, std::int64_t total) {
        const py::gil_scoped_acquire lock;
        if (raised_) return false;  // asked again while the other threads come to an end
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

/// What a call hands over, borrowed until it ends.
class Arrays {
  public:
    explicit Arrays(int device) : device_(device) {}

    /// Null where there is none.
    template <class Item>
    Item* take(const char* name, const py::object& object, const Shape& shape) {
        if (object.is_none()) return nullptr;
        const Borrowed& array = arrays_.emplace_back(borrow(name, object));
        if (array.device != device_) refuse(array.name + " lies on another device than the network");
        if (!std::is_const_v<Item>) require_output(array);
        return reinterpret_cast<Item*>(as_contiguous(array, sizeof(Item) == 1 ? Type::u8 : Type::f32, shape));
    }

  private:
    const int device_;
    std::deque<Borrowed> arrays_;
};

Shape shape_of_images(const py::object& images, std::int64_t planes) {
    const Shape shape = borrow("images", images).shape;
    if (shape.size() != 4 || shape[3] != planes)
        refuse("images has shape " + text_of(shape) + "; it must be (count, height, width, " + std::to_string(planes) +
               ")");
    return shape;
}

/// How many sets of features there are: one may serve all images.
std::int64_t sets_of(const py::object& features, std::int64_t count) {
    if (features.is_none()) return count;
    const Shape shape = borrow("features", features).shape;
    return shape.size() == 4 && shape[0] == 1 ? 1 : count;
}

void draw(const PixelCnn& network, const py::object& images, const Items<std::uint64_t>& image_ids, std::uint64_t seed,
          float inverse_temperature, const py::object& features, const py::object& noise, const py::object& kept,
          bool all_kept, const py::object& logits, std::optional<Items<double>> log_likelihood, int threads,
          std::uintptr_t stream, const py::object& progress) {
    const PixelCnnSizes sizes = network.sizes();
    const Shape shape = shape_of_images(images, sizes.planes);
    const Shape scores = {shape[0], shape[1] * shape[2] * shape[3], kLevels};
    if (threads < 1) refuse("threads must be at least 1; got " + std::to_string(threads));
    require_shape("image_ids", image_ids, {shape[0]});
    if (log_likelihood) require_shape("log_likelihood", *log_likelihood, {shape[0], shape[1]});
    if (features.is_none() != (sizes.features == 0)) refuse("features are given, or lack, where the network says else");
    const std::int64_t sets = sets_of(features, shape[0]);
    Arrays arrays(network.device());
    const DrawJob job{shape[0],
                      shape[1],
                      shape[2],
                      arrays.take<const float>("features", features, {sets, shape[1], shape[2], sizes.features}),
                      sets == 1 ? 0 : shape[1] * shape[2] * sizes.features,
                      seed,
                      image_ids.data(),
                      inverse_temperature,
                      arrays.take<const float>("noise", noise, scores),
                      arrays.take<std::uint8_t>("images", images, shape),
                      arrays.take<const bool>("kept", kept, shape),
                      all_kept,
                      arrays.take<float>("logits", logits, scores),
                      log_likelihood ? log_likelihood->mutable_data() : nullptr};
    if (shape[0] * shape[1] * shape[2] == 0) return;
    Reporter reporter(progress);
    try {
        const py::gil_scoped_release unlocked;
        network.draw(job, threads, reinterpret_cast<void*>(stream), std::ref(reporter));
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
             arg("hidden"), arg("features"), arg("reduced"), arg("device"))
        .def("draw", draw, arg("images"), arg("image_ids").noconvert(), py::kw_only(), arg("seed"),
             arg("inverse_temperature"), arg("features"), arg("noise"), arg("kept"), arg("all_kept"), arg("logits"),
             arg("log_likelihood").noconvert(), arg("threads"), arg("stream"), arg("progress"));
    module.def("philox", philox_words, arg("key"), arg("value"), arg("image_id"));
    module.def("exercise", exercise, arg("rounds"), arg("reduced"));
}

}  // namespace pysr

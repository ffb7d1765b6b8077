// Bindings of the PixelCNN sampler: arrays and their checks, the interpreter lock, progress, Ctrl-C.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "common/backend.h"
#include "pixelcnn/kernel_table.h"
#include "pixelcnn/philox.h"
#include "pixelcnn/sampler.h"
#include "python/array.h"
#include "python/bindings.h"
#include "python/borrow.h"

namespace py = pybind11;

namespace pysr {
namespace {

template <class Item>
using Items = py::array_t<Item, py::array::c_style>;

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

void require_shape(const std::string& name, const py::array& array, const Shape& wanted) {
    if (shape_of(array) != wanted)
        refuse(name + " has shape " + to_string(shape_of(array)) + "; it must be " + to_string(wanted));
}

std::unique_ptr<PixelCnn> make(const std::map<std::string, Items<float>>& weights, std::int64_t planes,
                               std::int64_t channels, std::int64_t layers, std::int64_t hidden, std::int64_t features,
                               bool reduced, int device) {
    const WeightLookup find = [&](const std::string& name, const Shape& shape) {
        const auto found = weights.find(name);
        if (found == weights.end()) refuse("the weights lack " + name);
        require_shape(name, found->second, shape);
        return found->second.data();
    };
    const PixelCnnSizes sizes{planes, channels, layers, hidden, features};
    if (device < 0) return make_pixelcnn(sizes, find, reduced);
    if constexpr (kBuiltWithCuda) return make_cuda_pixelcnn(sizes, find, device);
    refuse("this build of pysr has no CUDA kernels; draw images with device='cpu'");
}

/// Calls `progress` and checks for Ctrl-C. An exception from either is kept until all threads have stopped.
class Reporter {
  public:
    explicit Reporter(const py::object& progress) : progress_(progress) {}

    bool operator()(std::int64_t done, std::int64_t total) {
        const py::gil_scoped_acquire lock;
        if (raised_) return false;  // polled again while the threads stop
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

/// The arrays of one call, borrowed until it ends.
class Arrays {
  public:
    explicit Arrays(int device) : device_(device) {}

    /// The data of an array of this shape; null for None.
    template <class Item>
    Item* borrow_data(const char* name, const py::object& object, const Shape& shape) {
        if (object.is_none()) return nullptr;
        const Borrowed& array = arrays_.emplace_back(borrow(name, object));
        if (array.device != device_) refuse(array.name + " is not on the network's device; move it there");
        if (!std::is_const_v<Item>) require_output(array);
        return reinterpret_cast<Item*>(as_contiguous(array, sizeof(Item) == 1 ? DType::u8 : DType::f32, shape));
    }

  private:
    const int device_;
    std::deque<Borrowed> arrays_;
};

Shape shape_of_images(const py::object& images, std::int64_t planes) {
    const Shape shape = borrow("images", images).shape;
    if (shape.size() != 4 || shape[3] != planes)
        refuse("images has shape " + to_string(shape) + "; it must be (count, height, width, " +
               std::to_string(planes) + ")");
    return shape;
}

/// The number of feature maps: one per image, or one for all of them.
std::int64_t feature_maps_of(const py::object& features, std::int64_t count) {
    if (features.is_none()) return count;
    const Shape shape = borrow("features", features).shape;
    return shape.size() == 4 && shape[0] == 1 ? 1 : count;
}

/// Images of one size, as Python gives them.
struct DrawnBatch {
    py::object images;
    Items<std::uint64_t> image_ids;
    py::object features, noise, kept, logits;
    std::optional<Items<double>> log_likelihood;
};

template <class Item>
Item* item_of(Item* data, std::int64_t place) {
    return data ? data + place : nullptr;
}

/// Checks a batch, and appends its images.
void add_images(DrawnBatch& batch, const PixelCnnSizes& sizes, Arrays& arrays, std::vector<DrawnImage>& images) {
    const Shape shape = shape_of_images(batch.images, sizes.planes);
    const std::int64_t count = shape[0], height = shape[1], width = shape[2], values = height * width * shape[3];
    const Shape scores = {count, values, kLevels};
    require_shape("image_ids", batch.image_ids, {count});
    if (batch.log_likelihood) require_shape("log_likelihood", *batch.log_likelihood, {count, height});
    if (batch.features.is_none() != (sizes.features == 0))
        refuse(sizes.features ? "features is None, but the network is conditional; pass its features"
                              : "features are given, but the network is unconditional; pass None");
    const std::int64_t maps = feature_maps_of(batch.features, count);
    const std::int64_t feature_stride = maps == 1 ? 0 : height * width * sizes.features;
    const auto* features =
        arrays.borrow_data<const float>("features", batch.features, {maps, height, width, sizes.features});
    const auto* noise = arrays.borrow_data<const float>("noise", batch.noise, scores);
    auto* levels = arrays.borrow_data<std::uint8_t>("images", batch.images, shape);
    const auto* kept = arrays.borrow_data<const bool>("kept", batch.kept, shape);
    auto* logits = arrays.borrow_data<float>("logits", batch.logits, scores);
    double* nats = batch.log_likelihood ? batch.log_likelihood->mutable_data() : nullptr;
    if (values == 0) return;
    for (std::int64_t i = 0; i < count; ++i)
        images.push_back({height, width, batch.image_ids.data()[i], item_of(features, i * feature_stride),
                          item_of(noise, i * values * kLevels), levels + i * values, item_of(kept, i * values),
                          item_of(logits, i * values * kLevels), item_of(nats, i * height)});
}

void draw(const PixelCnn& network, std::vector<DrawnBatch> batches, std::uint64_t seed, float inverse_temperature,
          bool all_kept, int threads, std::uintptr_t stream, const py::object& progress) {
    if (threads < 1) refuse("threads must be at least 1; got " + std::to_string(threads));
    Arrays arrays(network.device());
    std::vector<DrawnImage> images;
    for (DrawnBatch& batch : batches) add_images(batch, network.sizes(), arrays, images);
    if (images.empty()) return;
    const DrawJob job{static_cast<std::int64_t>(images.size()), images.data(), seed, inverse_temperature, all_kept};
    Reporter reporter(progress);
    try {
        const py::gil_scoped_release unlocked;
        network.draw(job, threads, reinterpret_cast<void*>(stream), std::ref(reporter));
    } catch (const Interrupted&) {
        reporter.rethrow();
        throw;
    }
}

/// For tests: the random words of the 64 blocks of one value, (4, 64).
Items<std::uint32_t> philox_words(std::uint64_t key, std::uint32_t value, std::uint64_t image_id) {
    std::uint32_t words[4][kLevels / 4];
    philox(key, 0, value, image_id, words);
    return Items<std::uint32_t>({4, static_cast<int>(kLevels / 4)}, &words[0][0]);
}

/// For benchmarks: operations done in `rounds` rounds of multiply-adds; 0 without bfloat16 instructions.
double peak_flops(std::int64_t rounds, bool reduced) {
    if (!reduced) return pixelcnn_kernels<float>()->peak_flops(rounds);
    const PixelCnnKernels<bfloat16>* kernels = pixelcnn_kernels<bfloat16>();
    return kernels ? kernels->peak_flops(rounds) : 0.0;
}

}  // namespace

void add_pixelcnn(py::module_& module) {
    using py::arg;
    py::class_<DrawnBatch>(module, "DrawnBatch")
        .def(py::init<py::object, Items<std::uint64_t>, py::object, py::object, py::object, py::object,
                      std::optional<Items<double>>>(),
             arg("images"), arg("image_ids").noconvert(), py::kw_only(), arg("features"), arg("noise"), arg("kept"),
             arg("logits"), arg("log_likelihood").noconvert());
    py::class_<PixelCnn>(module, "PixelCNN")
        .def(py::init(&make), arg("numbers"), py::kw_only(), arg("planes"), arg("channels"), arg("layers"),
             arg("hidden"), arg("features"), arg("reduced"), arg("device"))
        .def("draw", draw, arg("batches"), py::kw_only(), arg("seed"), arg("inverse_temperature"), arg("all_kept"),
             arg("threads"), arg("stream"), arg("progress"));
    module.def("philox", philox_words, arg("key"), arg("value"), arg("image_id"));
    module.def("exercise", peak_flops, arg("rounds"), arg("reduced"));
}

}  // namespace pysr

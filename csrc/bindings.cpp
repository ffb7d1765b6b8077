// What Python sees of the kernels, here those of patches: arrays in and out, checks, the interpreter lock and Ctrl-C.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "array.h"
#include "bindings_pixelcnn.h"
#include "cpu/isa.h"
#include "dlpack.h"
#include "ops.h"

namespace py = pybind11;

namespace pysr {
namespace {

/// An array of Python's, borrowed for as long as this lives.
struct Borrowed : Array {
    py::object owner;                       // a DLPack capsule, which frees itself
    std::optional<py::buffer_info> buffer;  // or a view through the buffer protocol
};

Type type_of_format(const Borrowed& array, std::string format) {
    if (!format.empty() && std::string("@=^").find(format[0]) != std::string::npos) format.erase(0, 1);
    if (format == "B") return Type::u8;
    if (format == "H") return Type::u16;
    if (format == "e") return Type::f16;
    if (format == "f") return Type::f32;
    refuse(array.name + " must hold uint8, uint16, float16 or float32 in this computer's byte order; got format '" +
           format + "'");
}

Type type_of_dlpack(const Borrowed& array, const dlpack::Tensor& tensor) {
    const int code = tensor.lanes == 1 ? tensor.code : -1;
    if (code == dlpack::kUInt && tensor.bits == 8) return Type::u8;
    if (code == dlpack::kUInt && tensor.bits == 16) return Type::u16;
    if (code == dlpack::kFloat && tensor.bits == 16) return Type::f16;
    if (code == dlpack::kBfloat && tensor.bits == 16) return Type::bf16;
    if (code == dlpack::kFloat && tensor.bits == 32) return Type::f32;
    refuse(array.name + " must hold uint8, uint16, float16, bfloat16 or float32");
}

void read_buffer(Borrowed& array, const py::handle& object) {
    array.buffer = py::reinterpret_borrow<py::buffer>(object).request();
    const py::buffer_info& view = *array.buffer;
    array.type = type_of_format(array, view.format);
    array.data = static_cast<char*>(view.ptr);
    array.read_only = view.readonly;
    array.shape.assign(view.shape.begin(), view.shape.end());
    array.strides.assign(view.strides.begin(), view.strides.end());
}

void read_dlpack(Borrowed& array, const dlpack::Tensor& tensor) {
    const bool on_cuda = tensor.device_type == dlpack::kCuda;
    if (!on_cuda && tensor.device_type != dlpack::kCpu && tensor.device_type != dlpack::kCudaHost)
        refuse(array.name + " lies on a device without native kernels");
    array.type = type_of_dlpack(array, tensor);
    array.device = on_cuda ? tensor.device_id : -1;
    array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
    array.strides.resize(array.shape.size());
    std::int64_t contiguous = 1;
    for (std::size_t i = array.shape.size(); i-- > 0; contiguous *= array.shape[i])
        array.strides[i] = (tensor.strides ? tensor.strides[i] : contiguous) * size_of(array.type);
}

/// The capsule of the newest version that the array's library knows.
py::object capsule_of(const py::handle& object) {
    try {
        return object.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TypeError)) throw;
    }
    return object.attr("__dlpack__")();
}

Borrowed borrow(const char* name, const py::handle& object) {
    Borrowed array;
    array.name = name;
    if (PyObject_CheckBuffer(object.ptr())) {
        read_buffer(array, object);
    } else if (py::hasattr(object, "__dlpack__")) {
        array.owner = capsule_of(object);
        if (auto* versioned =
                PyCapsule_IsValid(array.owner.ptr(), "dltensor_versioned")
                    ? static_cast<dlpack::Versioned*>(PyCapsule_GetPointer(array.owner.ptr(), "dltensor_versioned"))
                    : nullptr) {
            if (versioned->major != 1) refuse(array.name + " comes in a version of DLPack that is not known here");
            array.read_only = versioned->flags & dlpack::kReadOnly;
            read_dlpack(array, versioned->tensor);
        } else {
            auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(array.owner.ptr(), "dltensor"));
            if (!managed) throw py::error_already_set();
            read_dlpack(array, managed->tensor);
        }
    } else {
        refuse(array.name + " must be a NumPy array or a tensor");
    }
    return array;
}

bool interrupted() {
    const py::gil_scoped_acquire lock;
    return PyErr_CheckSignals() != 0;
}

/// Runs call(Ops<Backend>) on the array's device, without the interpreter lock.
template <class Call>
void on_device_of(const Array& array, int threads, std::uintptr_t stream, Call call) {
    if (threads < 1) refuse("threads must be at least 1; got " + std::to_string(threads));
    try {
        const py::gil_scoped_release unlocked;
        if (array.device < 0) {
            call(Ops<Cpu>{{threads, interrupted}});
        } else {
            call(Ops<Cuda>{{array.device, reinterpret_cast<void*>(stream)}});
        }
    } catch (const Interrupted&) {
        throw py::error_already_set();
    }
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
        refuse("out has shape " + shape_of(to) + " but the image and origins ask for (" +
               std::to_string(origins.size() / 2) + ", " + std::to_string(source.channels) + ", height, width)");
    std::vector<Origin> corners;
    for (std::size_t i = 0; i < origins.size(); i += 2) corners.push_back({origins[i], origins[i + 1]});
    on_device_of(to, threads, stream, [&](auto ops) { ops.extract_patches(source, corners.data(), patches); });
}

std::vector<Borrowed> borrow_bands(const std::vector<py::object>& bands, const Array& out) {
    std::vector<Borrowed> borrowed;
    for (const py::object& band : bands) borrowed.push_back(borrow("bands", band));
    if (borrowed.empty()) refuse("bands is empty; hand in at least one");
    for (const Borrowed& band : borrowed) {
        as_batch(band);
        require_float(band);
        require_same_device(band, out);
        require_apart(out, band);
        if (band.shape != borrowed[0].shape || band.type != borrowed[0].type)
            refuse("bands must all have one shape and dtype; got " + shape_of(borrowed[0]) + " " +
                   name_of(borrowed[0].type) + " and " + shape_of(band) + " " + name_of(band.type));
    }
    return borrowed;
}

/// One axis of a blend, checked; `starts` and the array must outlive it.
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

std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (const Rows* const* rows = available_isas(); *rows; ++rows) names.emplace_back((*rows)->name);
    return names;
}

std::string current_isa(const std::optional<std::string>& name) {
    if (name) use_isa(name->c_str());
    return isa().name;
}

/// What C++ refuses is an InputError in Python.
void translate(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::invalid_argument& refused) {
        py::set_error(py::module_::import("pysr.errors").attr("InputError"), refused.what());
    }
}

}  // namespace
}  // namespace pysr

PYBIND11_MODULE(_kernels, module) {
    using py::arg;
    py::register_local_exception_translator(pysr::translate);
    module.attr("cuda") = pysr::built_with_cuda;
    module.def("isas", pysr::isas);
    module.def("isa", pysr::current_isa, arg("name") = py::none());
    module.def("extract_patches", pysr::extract_patches, arg("image"), arg("origins"), arg("out"), py::kw_only(),
               arg("threads"), arg("stream"));
    module.def("blend_patches", pysr::blend_patches, arg("bands"), arg("row_starts"), arg("row_weights"),
               arg("column_starts"), arg("column_weights"), arg("first_row"), arg("clip"), arg("out"), py::kw_only(),
               arg("threads"), arg("stream"));
    pysr::add_pixelcnn(module);
}

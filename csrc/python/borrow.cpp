#include "python/borrow.h"

#include "python/dlpack.h"

namespace py = pybind11;

namespace pysr {
namespace {

DType type_of_format(const Borrowed& array, std::string format) {
    if (!format.empty() && std::string("@=^").find(format[0]) != std::string::npos) format.erase(0, 1);
    if (format == "B") return DType::u8;
    if (format == "H") return DType::u16;
    if (format == "e") return DType::f16;
    if (format == "f") return DType::f32;
    refuse(array.name + " must hold uint8, uint16, float16 or float32 in this computer's byte order; got format '" +
           format + "'");
}

DType type_of_dlpack(const Borrowed& array, const dlpack::Tensor& tensor) {
    const int code = tensor.lanes == 1 ? tensor.code : -1;
    if (code == dlpack::kUInt && tensor.bits == 8) return DType::u8;
    if (code == dlpack::kUInt && tensor.bits == 16) return DType::u16;
    if (code == dlpack::kFloat && tensor.bits == 16) return DType::f16;
    if (code == dlpack::kBfloat && tensor.bits == 16) return DType::bf16;
    if (code == dlpack::kFloat && tensor.bits == 32) return DType::f32;
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
        refuse(array.name + " is on a device without native kernels; move it to the cpu");
    array.type = type_of_dlpack(array, tensor);
    array.device = on_cuda ? tensor.device_id : -1;
    array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
    array.strides.resize(array.shape.size());
    std::int64_t contiguous = 1;
    for (std::size_t i = array.shape.size(); i-- > 0; contiguous *= array.shape[i])
        array.strides[i] = (tensor.strides ? tensor.strides[i] : contiguous) * size_of(array.type);
}

/// A versioned capsule, or an unversioned one from a library that does not know the argument max_version.
py::object capsule_of(const py::handle& object) {
    try {
        return object.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TypeError)) throw;
    }
    return object.attr("__dlpack__")();
}

void read_capsule(Borrowed& array) {
    constexpr const char *kVersioned = "dltensor_versioned", *kUnversioned = "dltensor";
    PyObject* const capsule = array.owner.ptr();
    if (PyCapsule_IsValid(capsule, kVersioned)) {
        const auto* versioned = static_cast<dlpack::Versioned*>(PyCapsule_GetPointer(capsule, kVersioned));
        if (versioned->major != 1) refuse(array.name + " uses an unknown version of DLPack; pass a NumPy array");
        array.read_only = versioned->flags & dlpack::kReadOnly;
        return read_dlpack(array, versioned->tensor);
    }
    const auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule, kUnversioned));
    if (!managed) throw py::error_already_set();
    read_dlpack(array, managed->tensor);
}

}  // namespace

Borrowed borrow(const char* name, const py::handle& object) {
    Borrowed array;
    array.name = name;
    if (PyObject_CheckBuffer(object.ptr())) {
        read_buffer(array, object);
    } else if (py::hasattr(object, "__dlpack__")) {
        array.owner = capsule_of(object);
        read_capsule(array);
    } else {
        refuse(array.name + " must be a NumPy array or a tensor");
    }
    return array;
}

}  // namespace pysr

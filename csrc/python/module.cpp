// The extension module pysr._kernels; src/pysr/_kernels.pyi describes it.
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/isa.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace pysr {
namespace {

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Isa isa : kIsas)
        if (is_available(isa)) names.emplace_back(name_of(isa));
    return names;
}

std::string current_isa(const std::optional<std::string>& name) {
    if (name) use_isa(name->c_str());
    return name_of(active_isa());
}

/// std::invalid_argument becomes pysr.errors.InputError.
void translate(std::exception_ptr error) {
    try {
        std::rethrow_exception(std::move(error));
    } catch (const std::invalid_argument& refused) {
        py::set_error(py::module_::import("pysr.errors").attr("InputError"), refused.what());
    }
}

}  // namespace
}  // namespace pysr

PYBIND11_MODULE(_kernels, module) {
    py::register_local_exception_translator(pysr::translate);
    module.attr("cuda") = pysr::kBuiltWithCuda;
    module.def("isas", pysr::available_isas);
    module.def("isa", pysr::current_isa, py::arg("name") = py::none());
    pysr::add_patches(module);
    pysr::add_pixelcnn(module);
    pysr::add_resample(module);
}

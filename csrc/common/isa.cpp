#include "patches/kernel_table.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace pysr {
namespace {

const Rows& find_isa(const std::string& name) {
    std::string names;
    for (const Rows* const* rows = available_isas(); *rows; ++rows) {
        if (name == (*rows)->name) return **rows;
        names += (names.empty() ? "" : ", ") + std::string((*rows)->name);
    }
    throw std::invalid_argument("the instruction set '" + name + "' is not available here; use one of: " + names);
}

std::atomic<const Rows*> in_use{nullptr};

}  // namespace

const Rows& isa() {
    const Rows* rows = in_use;
    if (rows) return *rows;
    const char* wanted = std::getenv("PYSR_ISA");
    in_use = rows = wanted && *wanted ? &find_isa(wanted) : *available_isas();
    return *rows;
}

void use_isa(const char* name) { in_use = &find_isa(name); }

}  // namespace pysr

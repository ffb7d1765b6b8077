#include "common/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace pysr {
namespace {

constexpr int kNotChosen = -1;
std::atomic<int> active{kNotChosen};

bool supports_avx2() {
#ifdef PYSR_X86
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

bool supports_avx512() {
#ifdef PYSR_X86
    return supports_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi");
#else
    return false;
#endif
}

Isa fastest_isa() {
    for (const Isa isa : kIsas)
        if (is_available(isa)) return isa;
    return Isa::baseline;
}

Isa find_isa(const std::string& name) {
    std::string names;
    for (const Isa isa : kIsas) {
        if (!is_available(isa)) continue;
        if (name == name_of(isa)) return isa;
        names += (names.empty() ? "" : ", ") + std::string(name_of(isa));
    }
    throw std::invalid_argument("the instruction set '" + name + "' is not available here; use one of: " + names);
}

}  // namespace

const char* name_of(Isa isa) {
    switch (isa) {
        case Isa::avx512:
            return "avx512";
        case Isa::avx2:
            return "avx2";
        default:
            return "baseline";
    }
}

bool is_available(Isa isa) {
    switch (isa) {
        case Isa::avx512:
            return supports_avx512();
        case Isa::avx2:
            return supports_avx2();
        default:
            return true;
    }
}

Isa active_isa() {
    const int chosen = active;
    if (chosen != kNotChosen) return static_cast<Isa>(chosen);
    const char* wanted = std::getenv("PYSR_ISA");
    const Isa isa = wanted && *wanted ? find_isa(wanted) : fastest_isa();
    active = static_cast<int>(isa);
    return isa;
}

bool active_isa_has_bfloat16() {
#ifdef PYSR_X86
    return active_isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

void use_isa(const char* name) { active = static_cast<int>(find_isa(name)); }

}  // namespace pysr

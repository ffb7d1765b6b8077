#pragma once
#include <type_traits>

namespace pysr {

/// Instruction sets that kernels are compiled for, fastest first. PYSR_X86: whether this build has those of x86-64.
enum class Isa { avx512, avx2, baseline };
constexpr Isa kIsas[] = {Isa::avx512, Isa::avx2, Isa::baseline};

const char* name_of(Isa isa);

/// Whether this build has the instruction set and this CPU supports it.
bool is_available(Isa isa);

/// The instruction set in use: the fastest available one, or what the environment variable PYSR_ISA names.
Isa active_isa();

/// Whether the instruction set in use can multiply bfloat16 (AVX-512 BF16).
bool active_isa_has_bfloat16();

/// Makes another instruction set the one in use. Throws std::invalid_argument if it is not available.
void use_isa(const char* name);

template <Isa isa>
using IsaConstant = std::integral_constant<Isa, isa>;

/// Returns pick(IsaConstant<isa>{}) for the instruction set in use. Each family finds its kernel table with it.
template <class Pick>
decltype(auto) with_active_isa(Pick pick) {
#ifdef PYSR_X86
    if (active_isa() == Isa::avx512) return pick(IsaConstant<Isa::avx512>{});
    if (active_isa() == Isa::avx2) return pick(IsaConstant<Isa::avx2>{});
#endif
    return pick(IsaConstant<Isa::baseline>{});
}

}  // namespace pysr

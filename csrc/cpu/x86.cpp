// Which of the compiled instruction sets this x86-64 processor runs.
#include "cpu/isa.h"

namespace pysr {

extern const Rows rows_avx512, rows_avx2, rows_baseline;

namespace {

bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool runs_avx512() {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi");
}

struct Available {
    const Rows* fastest_first[4] = {};

    Available() {
        const Rows** next = fastest_first;
        if (runs_avx512()) *next++ = &rows_avx512;
        if (runs_avx2()) *next++ = &rows_avx2;
        *next = &rows_baseline;
    }
};

}  // namespace

const Rows* const* available_isas() {
    static const Available available;
    return available.fastest_first;
}

}  // namespace pysr

// Which of the compiled instruction sets this x86-64 processor runs.
#include "patches/kernel_table.h"

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

Drawn draw_avx512bf16(const PackedNetwork<Bf16>& network, const DrawJob& job, std::int64_t first, std::int64_t images,
                      char* shared, char* own, const Member& member);  // in wave.cpp
double exercise_avx512bf16(std::int64_t rounds);

namespace {

bool reduces() { return &isa() == &rows_avx512 && __builtin_cpu_supports("avx512bf16"); }

}  // namespace

DrawImages<Bf16> reduced_draw() { return reduces() ? draw_avx512bf16 : nullptr; }
Exercise reduced_exercise() { return reduces() ? exercise_avx512bf16 : nullptr; }

}  // namespace pysr

// A processor for which there is no hand-tuned member yet.
#include "patches/kernel_table.h"

namespace pysr {

extern const Rows rows_baseline;

const Rows* const* available_isas() {
    static const Rows* const baseline_alone[] = {&rows_baseline, nullptr};
    return baseline_alone;
}

DrawImages<Bf16> reduced_draw() { return nullptr; }
Exercise reduced_exercise() { return nullptr; }

}  // namespace pysr

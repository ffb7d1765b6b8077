#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "common/backend.h"
#include "python/array.h"

namespace pysr {

inline bool interrupted() {
    const pybind11::gil_scoped_acquire lock;
    return PyErr_CheckSignals() != 0;
}

/// Runs call(Cpu) without the interpreter lock. Ctrl-C raises KeyboardInterrupt.
template <class Call>
void unlocked(int threads, Call call) {
    if (threads < 1) refuse("threads must be at least 1; got " + std::to_string(threads));
    try {
        const pybind11::gil_scoped_release released;
        call(Cpu{threads, interrupted});
    } catch (const Interrupted&) {
        throw pybind11::error_already_set();
    }
}

}  // namespace pysr

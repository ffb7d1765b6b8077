#pragma once

// Where a kernel runs. The backend is part of every kernel's signature: a template with the same signature in a .cpp
// and a .cu file would become one weak symbol, and the linker could keep either definition.
namespace pysr {

/// Threads of the CPU. The calling thread polls `interrupted` every 50 ms; true cancels the call.
struct Cpu {
    int threads;
    bool (*interrupted)();
};

/// A CUDA device; kernels are enqueued on `stream`, a cudaStream_t, without waiting for them.
struct Cuda {
    int device;
    void* stream;
};

/// Thrown by a cancelled call. Its output is incomplete.
struct Interrupted {};

}  // namespace pysr

#pragma once

// Qualifiers for functions that kernels share between the CPU and the GPU.
#ifdef __CUDACC__
#define PYSR_HD __host__ __device__
#define PYSR_ALIGNED true  // device arrays are aligned, and byte-wise loads are slow there
#else
#define PYSR_HD
#define PYSR_ALIGNED false  // views of NumPy arrays may be unaligned
#endif

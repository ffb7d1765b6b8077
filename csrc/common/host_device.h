#pragma once

// What a function of core/ is compiled for: under a CUDA compiler for both sides.
#ifdef __CUDACC__
#define PYSR_HD __host__ __device__
#define PYSR_ALIGNED true  // device arrays are aligned; byte-wise loads would be slow there
#else
#define PYSR_HD
#define PYSR_ALIGNED false  // views of NumPy arrays need not be
#endif

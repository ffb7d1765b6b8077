#pragma once
#include <cstdint>

/// The parts of the DLPack interface (github.com/dmlc/dlpack, versions 0.8 and 1.x) that borrow.cpp reads.
namespace pysr::dlpack {

enum Code : std::uint8_t { kUInt = 1, kFloat = 2, kBfloat = 4 };
enum Device : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3 };
constexpr std::uint64_t kReadOnly = 1;

struct Tensor {
    void* data;
    std::int32_t device_type, device_id;
    std::int32_t ndim;
    std::uint8_t code, bits;
    std::uint16_t lanes;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: contiguous
    std::uint64_t byte_offset;
};

struct Managed {
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};

struct Versioned {
    std::uint32_t major, minor;
    void* context;
    void (*deleter)(Versioned*);
    std::uint64_t flags;
    Tensor tensor;
};

}  // namespace pysr::dlpack

// Cuts and blends the same patches with the emulated CUDA kernels and with those of the CPU, and counts the bytes that
// differ.
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "cuda_runtime.h"
#include "patches/ops.h"

thread_local float4 pysr::block_memory[emulation::kSharedFloats / 4];

namespace {

using namespace pysr;

constexpr DType kTypes[] = {DType::u8, DType::u16, DType::f16, DType::bf16, DType::f32};
constexpr DType kFloats[] = {DType::f16, DType::bf16, DType::f32};

std::mt19937 random_numbers(5);

std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_numbers);
}

std::int64_t size_of(DType type) { return type == DType::u8 ? 1 : type == DType::f32 ? 4 : 2; }

/// Some memory and images of one shape in it: planes, or interleaved pixels.
struct Memory {
    std::vector<char> bytes;
    Batch batch;

    Memory(DType type, std::int64_t count, std::int64_t channels, std::int64_t height, std::int64_t width,
           bool interleaved)
        : bytes(count * channels * height * width * size_of(type), 0x55) {
        const std::int64_t size = size_of(type), pixels = height * width;
        batch = {{bytes.data(), type, channels, height, width, interleaved ? size : pixels * size,
                  width * size * (interleaved ? channels : 1), size * (interleaved ? channels : 1)},
                 count,
                 channels * pixels * size};
    }

    /// Fills the memory with any values of integers, and with floats about [0, 1], NaN among them.
    void fill() {
        const DType type = batch.first.type;
        for (std::size_t i = 0; i < bytes.size(); i += size_of(type)) {
            const float value = between(0, 99) ? static_cast<float>(between(-20, 1300)) / 1000.0f : NAN;
            with_type(type, [&](auto kind) { store(&bytes[i], from_float<decltype(kind)>(value)); });
        }
    }
};

bool same(const char* what, DType in, DType out, const Memory& expected, const Memory& found) {
    const bool same = expected.bytes == found.bytes;
    std::printf("%s: %s of type %d to %d, %d launches\n", same ? "same" : "DIFFERENT", what, static_cast<int>(in),
                static_cast<int>(out), emulation::launches);
    emulation::launches = 0;
    return same;
}

const Cpu kCpu{1, [] { return false; }};
const Cuda kCuda{0, nullptr};

/// Patches within the image and far beyond its borders; more than one launch takes.
bool compare_extract(DType in, DType out, std::int64_t channels, bool interleaved) {
    Memory image(in, 1, channels, 19, 37, interleaved);
    image.fill();
    std::vector<Origin> origins;
    for (int i = 0; i < 131; ++i) origins.push_back({between(-60, 70), between(-200, 90)});
    const auto count = static_cast<std::int64_t>(origins.size());
    Memory expected(out, count, channels, 3, 130, false), found(out, count, channels, 3, 130, false);
    PatchOps<Cpu>{kCpu}.extract_patches(image.batch.first, origins.data(), expected.batch);
    PatchOps<Cuda>{kCuda}.extract_patches(image.batch.first, origins.data(), found.batch);
    return same("cut", in, out, expected, found);
}

/// One axis of overlapping tiles, with any weights.
struct Tiles {
    std::vector<std::int64_t> starts;
    std::vector<float> weights;
    std::int64_t length;

    Tiles(std::int64_t count, std::int64_t stride, std::int64_t side) : length(side) {
        for (std::int64_t i = 0; i < count; ++i) starts.push_back(i * stride - 2);
        for (std::int64_t i = 0; i < count * side; ++i)
            weights.push_back(between(0, 5) ? static_cast<float>(between(0, 8)) / 8.0f : 1.0f);
    }

    Axis axis() const { return {starts.data(), weights.data(), static_cast<std::int64_t>(starts.size()), length}; }
};

/// More rows and columns of tiles than one launch takes.
bool compare_blend(DType in, DType out, std::int64_t channels, bool interleaved) {
    constexpr std::int64_t kFirst = 3, kHeight = 70, kWidth = 400;
    const Tiles down(19, 4, 7), across(139, 3, 5);
    std::vector<Memory> tiles;
    std::vector<Batch> bands;
    for (std::size_t i = 0; i < down.starts.size(); ++i) {
        tiles.emplace_back(in, 139, channels, 7, 5, false);
        tiles.back().fill();
    }
    for (const Memory& band : tiles) bands.push_back(band.batch);
    const bool clip = interleaved;
    Memory expected(out, 1, channels, kHeight, kWidth, interleaved),
        found(out, 1, channels, kHeight, kWidth, interleaved);
    PatchOps<Cpu>{kCpu}.blend_patches(bands.data(), down.axis(), across.axis(), kFirst, clip, expected.batch.first);
    PatchOps<Cuda>{kCuda}.blend_patches(bands.data(), down.axis(), across.axis(), kFirst, clip, found.batch.first);
    return same("blended", in, out, expected, found);
}

}  // namespace

int main() {
    bool all = true;
    for (const DType any : kTypes)
        for (const DType floats : kFloats) {
            all = compare_extract(any, floats, 3, true) && all;
            all = compare_extract(any, floats, 2, false) && all;
            all = compare_blend(floats, any, 3, true) && all;
            all = compare_blend(floats, any, 1, false) && all;
        }
    return all ? 0 : 1;
}

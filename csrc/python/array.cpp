#include "python/array.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace pysr {
namespace {

constexpr std::int64_t kLongestSide = (std::int64_t{1} << 31) - 1;
constexpr std::int64_t kFarthest = std::int64_t{1} << 53;

/// Axes with more than one element, shortest stride first.
std::vector<std::size_t> axes_by_stride(const Array& array) {
    std::vector<std::size_t> axes;
    for (std::size_t i = 0; i < array.shape.size(); ++i)
        if (array.shape[i] > 1) axes.push_back(i);
    std::sort(axes.begin(), axes.end(), [&](std::size_t a, std::size_t b) {
        return std::llabs(array.strides[a]) < std::llabs(array.strides[b]);
    });
    return axes;
}

bool overlaps_itself(const Array& array) {
    std::int64_t span = size_of(array.type);
    for (const std::size_t axis : axes_by_stride(array)) {
        const std::int64_t stride = std::llabs(array.strides[axis]);
        if (stride < span) return true;
        span += stride * (array.shape[axis] - 1);
    }
    return false;
}

void require_sides(const Array& array, std::size_t first_axis) {
    for (std::size_t i = first_axis; i < array.shape.size(); ++i)
        if (array.shape[i] < 1 || array.shape[i] > kLongestSide)
            refuse(array.name + " has shape " + to_string(array.shape) +
                   "; every side must be at least 1 and below 2^31");
}

Image image_at(const Array& array, std::size_t axis) {
    const std::int64_t *shape = array.shape.data() + axis, *strides = array.strides.data() + axis;
    return {array.data, array.type, shape[0], shape[1], shape[2], strides[0], strides[1], strides[2]};
}

}  // namespace

void refuse(const std::string& message) { throw std::invalid_argument(message); }

std::int64_t size_of(DType type) {
    switch (type) {
        case DType::u8:
            return 1;
        case DType::f32:
            return 4;
        default:
            return 2;
    }
}

const char* name_of(DType type) {
    switch (type) {
        case DType::u8:
            return "uint8";
        case DType::u16:
            return "uint16";
        case DType::f16:
            return "float16";
        case DType::bf16:
            return "bfloat16";
        default:
            return "float32";
    }
}

std::string to_string(const Shape& shape) {
    std::string text;
    for (const std::int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
    return "(" + text + ")";
}

Extent extent_of(const Array& array) {
    std::int64_t low = 0, high = size_of(array.type);
    for (std::size_t i = 0; i < array.shape.size(); ++i) {
        std::int64_t reach;
        if (array.shape[i] == 0) return {array.data, array.data};
        const bool overflow = __builtin_mul_overflow(array.shape[i] - 1, array.strides[i], &reach) ||
                              __builtin_add_overflow(reach < 0 ? low : high, reach, reach < 0 ? &low : &high);
        if (overflow) refuse(array.name + " has strides that reach beyond the memory of any computer");
    }
    return {array.data + low, array.data + high};
}

Image as_image(const Array& array) {
    if (array.shape.size() != 3)
        refuse(array.name + " must have shape (channels, height, width); got " + to_string(array.shape));
    require_sides(array, 0);
    extent_of(array);
    return image_at(array, 0);
}

Batch as_batch(const Array& array) {
    if (array.shape.size() != 4)
        refuse(array.name + " must have shape (patches, channels, height, width); got " + to_string(array.shape));
    require_sides(array, 1);
    extent_of(array);
    return {image_at(array, 1), array.shape[0], array.strides[0]};
}

void require_float(const Array& array) {
    if (array.type == DType::u8 || array.type == DType::u16)
        refuse(array.name + " must hold float32, bfloat16 or float16; got " + name_of(array.type));
}

void require_output(const Array& out) {
    if (out.read_only) refuse(out.name + " is read-only; pass a writable array");
    if (overlaps_itself(out))
        refuse(out.name + " has elements that share memory; pass an array without repeated elements");
}

void require_apart(const Array& out, const Array& in) {
    const Extent a = extent_of(out), b = extent_of(in);
    if (out.device == in.device && a.first < b.end && b.first < a.end)
        refuse(out.name + " shares memory with " + in.name + "; pass separate memory");
}

void require_same_device(const Array& one, const Array& other) {
    if (one.device != other.device)
        refuse(one.name + " and " + other.name + " are on different devices; move them to the same one");
}

const float* as_weights(const Array& array, std::int64_t rows, std::int64_t columns) {
    const Shape wanted{rows, columns};
    if (array.type != DType::f32 || array.shape != wanted)
        refuse(array.name + " must be float32 of shape " + to_string(wanted) + "; got " + name_of(array.type) +
               " of shape " + to_string(array.shape));
    const bool contiguous = (columns < 2 || array.strides[1] == 4) && (rows < 2 || array.strides[0] == 4 * columns);
    if (!contiguous || reinterpret_cast<std::uintptr_t>(array.data) % alignof(float))
        refuse(array.name + " must be contiguous");
    return reinterpret_cast<const float*>(array.data);
}

char* as_contiguous(const Array& array, DType type, const Shape& shape) {
    if (array.type != type) refuse(array.name + " holds " + name_of(array.type) + "; it must hold " + name_of(type));
    if (array.shape != shape)
        refuse(array.name + " has shape " + to_string(array.shape) + "; it must be " + to_string(shape));
    std::int64_t stride = size_of(type);
    for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis])
        if (shape[axis] > 1 && array.strides[axis] != stride) refuse(array.name + " must be contiguous");
    if (reinterpret_cast<std::uintptr_t>(array.data) % size_of(type)) refuse(array.name + " must be aligned");
    return array.data;
}

void require_positions(const std::string& name, const std::vector<std::int64_t>& positions, bool ascending) {
    for (std::size_t i = 0; i < positions.size(); ++i) {
        if (positions[i] < -kFarthest || positions[i] > kFarthest)
            refuse(name + " must lie within 2^53 pixels of the image; got " + std::to_string(positions[i]));
        if (ascending && i && positions[i] < positions[i - 1]) refuse(name + " must ascend");
    }
}

}  // namespace pysr

// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ito/core/half.hpp"
#include "ito/core/shape.hpp"

namespace ito {

static_assert(std::endian::native == std::endian::little, "files are read and written as little-endian memory");

/// How a file stores one element.
enum class DType : std::uint8_t { boolean, u8, i8, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64 };

namespace detail {

struct DTypeFacts {
    std::string_view name;  // as in safetensors
    int bytes;
    bool floating;
};

inline constexpr std::array<DTypeFacts, 13> dtype_facts{{{"BOOL", 1, false},
                                                         {"U8", 1, false},
                                                         {"I8", 1, false},
                                                         {"U16", 2, false},
                                                         {"I16", 2, false},
                                                         {"F16", 2, true},
                                                         {"BF16", 2, true},
                                                         {"U32", 4, false},
                                                         {"I32", 4, false},
                                                         {"F32", 4, true},
                                                         {"U64", 8, false},
                                                         {"I64", 8, false},
                                                         {"F64", 8, true}}};

constexpr const DTypeFacts& facts(DType dtype) { return dtype_facts[static_cast<std::size_t>(dtype)]; }

}  // namespace detail

/// "F32", "BF16", "I64", ...
constexpr std::string_view dtype_name(DType dtype) { return detail::facts(dtype).name; }
constexpr int dtype_bytes(DType dtype) { return detail::facts(dtype).bytes; }
constexpr bool dtype_is_floating(DType dtype) { return detail::facts(dtype).floating; }

/// The dtype of that name, if ito has it.
constexpr std::optional<DType> dtype_named(std::string_view name) {
    for (std::size_t i = 0; i < detail::dtype_facts.size(); ++i)
        if (detail::dtype_facts[i].name == name) return static_cast<DType>(i);
    return std::nullopt;
}

/// The dtype that stores T as it is in memory.
template <class T>
constexpr DType dtype_of() {
    if constexpr (std::is_same_v<T, bool>)
        return DType::boolean;
    else if constexpr (std::is_same_v<T, float>)
        return DType::f32;
    else if constexpr (std::is_same_v<T, double>)
        return DType::f64;
    else {
        static_assert(std::is_integral_v<T>, "no dtype stores this type");
        constexpr bool is_signed = std::is_signed_v<T>;
        if constexpr (sizeof(T) == 1)
            return is_signed ? DType::i8 : DType::u8;
        else if constexpr (sizeof(T) == 2)
            return is_signed ? DType::i16 : DType::u16;
        else if constexpr (sizeof(T) == 4)
            return is_signed ? DType::i32 : DType::u32;
        else
            return is_signed ? DType::i64 : DType::u64;
    }
}

namespace detail {

/// Copies elements from unaligned Stored to unaligned Target memory through `convert(stored, target)`, which
/// says whether the value fits. Returns the position of the first that does not, or count.
template <class Stored, class Target, class Convert>
Index convert_elements(const void* from, void* to, Index count, Convert convert) {
    const auto* source = static_cast<const std::byte*>(from);
    auto* target = static_cast<std::byte*>(to);
    for (Index i = 0; i < count; ++i) {
        Stored stored;
        Target result{};
        std::memcpy(&stored, source + static_cast<std::size_t>(i) * sizeof(Stored), sizeof(Stored));
        if (!convert(stored, result)) return i;
        std::memcpy(target + static_cast<std::size_t>(i) * sizeof(Target), &result, sizeof(Target));
    }
    return count;
}

template <class Stored, class Target>
bool convert_number(Stored stored, Target& result) {
    if constexpr (std::is_same_v<Target, bool>) {
        result = stored != Stored(0);
    } else if constexpr (std::is_same_v<Stored, bool>) {
        result = static_cast<Target>(stored);
    } else if constexpr (std::is_integral_v<Target>) {
        if constexpr (std::is_integral_v<Stored>) {
            if (!std::in_range<Target>(stored)) return false;
            result = static_cast<Target>(stored);
        } else {
            return false;
        }
    } else {
        result = static_cast<Target>(stored);
    }
    return true;
}

}  // namespace detail

/// Elements of a file as T: count of them at `from`, which need not be aligned. Floating T takes every dtype;
/// integral T takes integers that fit. Returns the position of the first that does not fit, or count.
template <class T>
Index decode(DType dtype, const std::byte* from, T* to, Index count) {
    if (count == 0) return 0;
    const auto as = [&]<class Stored>(Stored) {
        return detail::convert_elements<Stored, T>(from, to, count, detail::convert_number<Stored, T>);
    };
    const auto as_narrow = [&](auto widen) {
        return detail::convert_elements<std::uint16_t, T>(from, to, count, [widen](std::uint16_t bits, T& result) {
            return detail::convert_number(widen(bits), result);
        });
    };
    switch (dtype) {
        case DType::boolean:
            return detail::convert_elements<std::uint8_t, T>(from, to, count, [](std::uint8_t stored, T& result) {
                result = static_cast<T>(stored != 0);
                return true;
            });
        case DType::u8:
            return as(std::uint8_t{});
        case DType::i8:
            return as(std::int8_t{});
        case DType::u16:
            return as(std::uint16_t{});
        case DType::i16:
            return as(std::int16_t{});
        case DType::f16:
            return as_narrow([](std::uint16_t bits) { return half_to_float(bits); });
        case DType::bf16:
            return as_narrow([](std::uint16_t bits) { return bfloat16_to_float(bits); });
        case DType::u32:
            return as(std::uint32_t{});
        case DType::i32:
            return as(std::int32_t{});
        case DType::f32:
            return as(float{});
        case DType::u64:
            return as(std::uint64_t{});
        case DType::i64:
            return as(std::int64_t{});
        case DType::f64:
            return as(double{});
    }
    return 0;
}

/// The opposite of decode: count elements as a file stores them, rounded to nearest even where the dtype is
/// narrower. Returns the position of the first that does not fit (an integer out of range, a finite number that half
/// precision or bfloat16 would make infinite), or count.
template <class T>
Index encode(DType dtype, const T* from, std::byte* to, Index count) {
    if (count == 0) return 0;
    const auto as = [&]<class Stored>(Stored) {
        return detail::convert_elements<T, Stored>(from, to, count, detail::convert_number<T, Stored>);
    };
    const auto as_narrow = [&](std::uint16_t infinity, auto narrow) {
        return detail::convert_elements<T, std::uint16_t>(from, to, count, [=](T value, std::uint16_t& bits) {
            bits = narrow(static_cast<double>(value));
            return (bits & 0x7fff) != infinity || std::isinf(static_cast<double>(value));
        });
    };
    switch (dtype) {
        case DType::boolean:
            return detail::convert_elements<T, std::uint8_t>(from, to, count, [](T value, std::uint8_t& stored) {
                stored = value != T(0);
                return true;
            });
        case DType::u8:
            return as(std::uint8_t{});
        case DType::i8:
            return as(std::int8_t{});
        case DType::u16:
            return as(std::uint16_t{});
        case DType::i16:
            return as(std::int16_t{});
        case DType::f16:
            return as_narrow(0x7c00, [](double value) { return half_from(value); });
        case DType::bf16:
            return as_narrow(0x7f80, [](double value) { return bfloat16_from(value); });
        case DType::u32:
            return as(std::uint32_t{});
        case DType::i32:
            return as(std::int32_t{});
        case DType::f32:
            return as(float{});
        case DType::u64:
            return as(std::uint64_t{});
        case DType::i64:
            return as(std::int64_t{});
        case DType::f64:
            return as(double{});
    }
    return 0;
}

}  // namespace ito

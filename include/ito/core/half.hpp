// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstdint>

namespace ito {

namespace detail {

/// Rounds to the nearest binary floating point number with the given numbers of exponent and fraction
/// bits, ties to even, and returns its bits. Straight from double, so that no value is rounded twice.
template <int ExponentBits, int FractionBits>
constexpr std::uint16_t narrow_float(double value) {
    constexpr int bias = (1 << (ExponentBits - 1)) - 1;
    constexpr std::uint64_t infinity = ((std::uint64_t{1} << ExponentBits) - 1) << FractionBits;
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t sign = (bits >> 63) << (ExponentBits + FractionBits);
    const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
    const int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;

    std::uint64_t magnitude = infinity;
    if (exponent == 1024 && fraction != 0) {  // NaN: quiet, leading payload kept
        magnitude = infinity | (std::uint64_t{1} << (FractionBits - 1)) | (fraction >> (52 - FractionBits));
    } else if (exponent < -bias - FractionBits) {  // below half of the smallest subnormal
        magnitude = 0;
    } else if (exponent <= bias) {
        const bool normal = exponent >= 1 - bias;
        const int shift = 52 - FractionBits + (normal ? 0 : 1 - bias - exponent);
        const std::uint64_t significand = fraction | (std::uint64_t{1} << 52);
        const std::uint64_t half = std::uint64_t{1} << (shift - 1), rest = significand & (2 * half - 1);
        magnitude = significand >> shift;
        if (rest > half || (rest == half && (magnitude & 1))) ++magnitude;
        // A carry out of the fraction runs into the exponent, which is the right answer up to infinity.
        if (normal) magnitude += static_cast<std::uint64_t>(exponent + bias - 1) << FractionBits;
    }
    return static_cast<std::uint16_t>(sign | magnitude);
}

}  // namespace detail

/// IEEE 754 binary16 bits of the nearest value, ties to even; overflow gives infinity.
constexpr std::uint16_t half_from(double value) { return detail::narrow_float<5, 10>(value); }

/// bfloat16 bits of the nearest value, ties to even; overflow gives infinity.
constexpr std::uint16_t bfloat16_from(double value) { return detail::narrow_float<8, 7>(value); }

/// Exact value of IEEE 754 binary16 bits.
constexpr float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const std::uint32_t widened = exponent == 0x1f ? 0xff : exponent + 112;
    return std::bit_cast<float>(sign | (widened << 23) | (fraction << 13));
}

/// Exact value of bfloat16 bits.
constexpr float bfloat16_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace ito

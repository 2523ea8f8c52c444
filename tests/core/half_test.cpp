// SPDX-License-Identifier: MIT
#include "ito/core/half.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"

namespace {

/// The value of narrow float bits by the definition in IEEE 754: fraction and exponent apart.
double value_of(int bits, int exponent_bits, int fraction_bits) {
    const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1),
              fraction = bits & ((1 << fraction_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = bits >> (exponent_bits + fraction_bits) ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
    return sign * std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

template <class Widen, class Narrow>
int count_wrong(int exponent_bits, int fraction_bits, Widen widen, Narrow narrow) {
    int wrong = 0;
    const double inf = std::numeric_limits<double>::infinity();
    for (int bits = 0; bits < 65536; ++bits) {
        const double value = value_of(bits, exponent_bits, fraction_bits);
        const float widened = widen(static_cast<std::uint16_t>(bits));
        if (std::isnan(value)) {
            wrong += !std::isnan(widened) || !std::isnan(widen(narrow(widened)));
            continue;
        }
        wrong += !(static_cast<double>(widened) == value && std::signbit(widened) == std::signbit(value));
        wrong += narrow(value) != bits;
        // Halfway to the next magnitude goes to the even one; a hair off it, to the nearer one.
        if (std::isinf(value)) continue;
        double next = value_of(bits + 1, exponent_bits, fraction_bits);
        if (std::isinf(next)) next = std::copysign(std::ldexp(1.0, 1 << (exponent_bits - 1)), value);
        const double middle = value + (next - value) / 2;
        wrong += narrow(middle) != (bits & 1 ? bits + 1 : bits);
        wrong += narrow(std::nextafter(middle, std::copysign(inf, value))) != bits + 1;
        wrong += narrow(std::nextafter(middle, 0.0)) != bits;
    }
    return wrong;
}

}  // namespace

TEST_CASE("every half and bfloat16 converts exactly and rounds to nearest even") {
    CHECK(count_wrong(5, 10, ito::half_to_float, ito::half_from) == 0);
    CHECK(count_wrong(8, 7, ito::bfloat16_to_float, ito::bfloat16_from) == 0);
}

TEST_CASE("halves at the edges") {
    CHECK(ito::half_from(65504) == 0x7bff);
    CHECK(ito::half_from(65519.99) == 0x7bff);
    CHECK(ito::half_from(65520) == 0x7c00);
    CHECK(ito::half_from(1e300) == 0x7c00);
    CHECK(ito::half_from(-std::numeric_limits<double>::infinity()) == 0xfc00);
    CHECK(ito::half_from(std::numeric_limits<double>::denorm_min()) == 0);
    CHECK(ito::half_from(-0.0) == 0x8000);
    CHECK(ito::half_from(0x1p-24) == 1);
    CHECK(ito::bfloat16_from(std::numeric_limits<float>::max()) == 0x7f80);
    // Through float this would round twice: first up to the tie, then to even.
    CHECK(ito::half_from(1.0 + 0x1p-11 + 0x1p-40) == 0x3c01);
}

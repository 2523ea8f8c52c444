// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/simd/lanes.hpp"

// Kernels over rows of numbers, written once for float, which goes through a register of lanes at a time, and for
// double, which goes one by one through the functions of the standard library: the twin that the float kernels are
// tested against. What is left at the end of a row takes the same path in a register filled up with zeros, so a number
// has the same bits wherever it stands.
namespace ito::simd {

/// What a kernel over T works on at a time, and how many numbers that is.
template <class T>
struct Register;
template <>
struct Register<float> {
    using type = Floats;
    static constexpr Index width = lanes;
};
template <>
struct Register<double> {
    using type = double;
    static constexpr Index width = 1;
};
template <class T>
using Vector = typename Register<T>::type;
template <class T>
inline constexpr Index width = Register<T>::width;

ITO_SIMD_INLINE double load(const double* p) { return *p; }
ITO_SIMD_INLINE void store(double v, double* p) { *p = v; }
template <std::same_as<double> D>  // a number of any other kind is broadcast as float
ITO_SIMD_INLINE double broadcast(D x) {
    return x;
}
ITO_SIMD_INLINE double add(double a, double b) { return a + b; }
ITO_SIMD_INLINE double subtract(double a, double b) { return a - b; }
ITO_SIMD_INLINE double multiply(double a, double b) { return a * b; }
ITO_SIMD_INLINE double divide(double a, double b) { return a / b; }
ITO_SIMD_INLINE double maximum(double a, double b) { return a > b ? a : b; }
ITO_SIMD_INLINE double minimum(double a, double b) { return a < b ? a : b; }
ITO_SIMD_INLINE double multiply_add(double a, double b, double c) { return a * b + c; }
ITO_SIMD_INLINE double negative_multiply_add(double a, double b, double c) { return c - a * b; }

ITO_SIMD_INLINE double load_part(const double* p, Index) { return *p; }
ITO_SIMD_INLINE void store_part(double v, double* p, Index) { *p = v; }

/// A constant of the kind that the first argument is.
ITO_SIMD_INLINE Floats constant(Floats, double value) { return broadcast(static_cast<float>(value)); }
ITO_SIMD_INLINE double constant(double, double value) { return value; }

#if ITO_SIMD_HIGHWAY
ITO_SIMD_INLINE Floats square_root(Floats x) { return hn::Sqrt(x); }
ITO_SIMD_INLINE Floats absolute(Floats x) { return hn::Abs(x); }
/// a < b ? x : y
ITO_SIMD_INLINE Floats where_less(Floats a, Floats b, Floats x, Floats y) { return hn::IfThenElse(hn::Lt(a, b), x, y); }
/// 2^n for the whole number n that was added to 1.5 * 2^23 + 127: the last bits of the sum are those of a float's exponent.
ITO_SIMD_INLINE Floats power_of_two(Floats shifted) {
    return hn::BitCast(FloatTag(), hn::ShiftLeft<23>(hn::BitCast(IntTag(), shifted)));
}
/// The largest of a register's numbers.
ITO_SIMD_INLINE float largest(Floats x) { return hn::GetLane(hn::MaxOfLanes(FloatTag(), x)); }
#else
ITO_SIMD_INLINE Floats square_root(Floats x) {
    for (int i = 0; i < lanes; ++i) x[i] = std::sqrt(x[i]);
    return x;
}
ITO_SIMD_INLINE Floats absolute(Floats x) { return x < 0 ? -x : x; }
ITO_SIMD_INLINE Floats where_less(Floats a, Floats b, Floats x, Floats y) { return a < b ? x : y; }
ITO_SIMD_INLINE Floats power_of_two(Floats shifted) {
    using Ints = std::uint32_t __attribute__((vector_size(16)));
    Ints bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    std::memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}
ITO_SIMD_INLINE float largest(Floats x) {
    float most = x[0];
    for (int i = 1; i < lanes; ++i) most = std::max(most, x[i]);
    return most;
}
#endif
ITO_SIMD_INLINE double square_root(double x) { return std::sqrt(x); }
ITO_SIMD_INLINE double absolute(double x) { return std::abs(x); }
ITO_SIMD_INLINE double where_less(double a, double b, double x, double y) { return a < b ? x : y; }

/// 1.5 * 2^23 + 127: adding it rounds to a whole number, see power_of_two.
inline constexpr float exponent_shift = 12583039.0f;

/// e^x to 2 ulp: 2^n e^r with x = n ln 2 + r. Below -87.33 zero, from 88.37 on
/// what it is there, 2.4e38; NaN stays.
ITO_SIMD_INLINE Floats exponential(Floats x) {
    const Floats lowest = broadcast(-87.33f);
    const Floats bounded = minimum(broadcast(88.37f), maximum(lowest, x));
    const Floats shift = broadcast(exponent_shift);
    const Floats shifted = multiply_add(bounded, broadcast(1.44269504f), shift), n = subtract(shifted, shift);
    Floats r = negative_multiply_add(n, broadcast(0.693359375f), bounded);
    r = negative_multiply_add(n, broadcast(-2.12194440e-4f), r);
    // minimax on |r| <= ln 2 / 2 after the first two terms; relative error 4e-9
    Floats p = broadcast(0.0013951717f);
    p = multiply_add(p, r, broadcast(0.0083695985f));
    p = multiply_add(p, r, broadcast(0.041666187f));
    p = multiply_add(p, r, broadcast(0.16666512f));
    p = multiply_add(p, r, broadcast(0.5f));
    p = multiply_add(p, multiply(r, r), r);
    const Floats scale = power_of_two(shifted);
    return where_less(x, lowest, broadcast(0.0f), multiply_add(p, scale, scale));
}
ITO_SIMD_INLINE double exponential(double x) { return std::exp(x); }

/// 2^x to 2 ulp for x < 127.5; below -126 what it is there, 1.2e-38; NaN stays.
ITO_SIMD_INLINE Floats two_to_the(Floats x) {
    const Floats bounded = maximum(broadcast(-126.0f), x), shift = broadcast(exponent_shift);
    const Floats shifted = add(bounded, shift), r = subtract(bounded, subtract(shifted, shift));
    // minimax on |r| <= 1/2; relative error 2e-8 with the coefficients rounded
    Floats p = broadcast(0.00015353362f);
    p = multiply_add(p, r, broadcast(0.0013398875f));
    p = multiply_add(p, r, broadcast(0.00961843692f));
    p = multiply_add(p, r, broadcast(0.0555033237f));
    p = multiply_add(p, r, broadcast(0.240226477f));
    p = multiply_add(p, r, broadcast(0.693147182f));
    const Floats scale = power_of_two(shifted);
    return multiply_add(multiply(p, r), scale, scale);
}

/// 1 / (1 + 2^x); NaN stays.
ITO_SIMD_INLINE Floats logistic_of_two(Floats x) {
    const Floats one = broadcast(1.0f), bounded = minimum(broadcast(126.0f), x);
#if ITO_SIMD_HIGHWAY && HWY_CAP_GE512
    // Half of the time that two_to_the and a division take: the machine splits x and scales by 2^n itself.
    const Floats r{_mm512_reduce_ps(bounded.raw, 9)};  // x - floor(x)
    // minimax on [0, 1) after the first term, relative error 1.4e-8 with the coefficients rounded
    Floats p = broadcast(0.00021612919f);
    p = multiply_add(p, r, broadcast(0.0012467846f));
    p = multiply_add(p, r, broadcast(0.009675452f));
    p = multiply_add(p, r, broadcast(0.055485282f));
    p = multiply_add(p, r, broadcast(0.24022931f));
    p = multiply_add(p, r, broadcast(0.69314706f));
    p = multiply_add(p, r, one);
    const Floats below = add(one, Floats{_mm512_scalef_ps(p.raw, bounded.raw)});
    const Floats close = hn::ApproximateReciprocal(below);  // to 2^-14
    return multiply(close, negative_multiply_add(below, close, broadcast(2.0f)));
#else
    return divide(one, add(one, two_to_the(bounded)));
#endif
}

/// The two tails of the normal distribution beyond |x|, halved: Phi(-|x|), given e^(-x^2 / 2).
ITO_SIMD_INLINE Floats normal_tail(Floats x, Floats e) {
    // erfc(z) = e^(-z^2) times a polynomial in 1 / (1 + 0.3275911 z), fitted to 7e-8 for z <= 10.
    const Floats t = divide(broadcast(1.0f), multiply_add(absolute(x), broadcast(0.3275911f * 0.70710678f), broadcast(1.0f)));
    Floats p = broadcast(-0.14704825f);
    p = multiply_add(p, t, broadcast(0.52400672f));
    p = multiply_add(p, t, broadcast(-0.45947608f));
    p = multiply_add(p, t, broadcast(0.51148432f));
    p = multiply_add(p, t, broadcast(-0.012932967f));
    p = multiply_add(p, t, broadcast(0.22155698f));
    p = multiply_add(p, t, broadcast(0.17685711f));
    p = multiply_add(p, t, broadcast(0.18558280f));
    p = multiply_add(p, t, broadcast(-3.0736093e-5f));
    return multiply(multiply(p, e), broadcast(0.5f));
}
ITO_SIMD_INLINE double normal_tail(double x, double) { return 0.5 * std::erfc(std::abs(x) / std::sqrt(2.0)); }

/// f of each number, where there is no kernel for it.
template <class F>
ITO_SIMD_INLINE Floats each(Floats x, F&& f) {
    alignas(64) float room[lanes];
    store(x, room);
    for (float& v : room) v = f(v);
    return load(room);
}
template <class F>
ITO_SIMD_INLINE double each(double x, F&& f) {
    return f(x);
}

/// The sum of a register's numbers, in a fixed order, in double.
ITO_SIMD_INLINE double sum(Floats x) {
    alignas(64) float room[lanes];
    store(x, room);
    double total = 0;
    for (float v : room) total += static_cast<double>(v);
    return total;
}
ITO_SIMD_INLINE double sum(double x) { return x; }

/// y[i] = f(x[i]..) for i in [0, count); y may be one of x.
template <class T, class F, class... X>
ITO_SIMD_INLINE void map(Index count, T* y, F&& f, const X*... x) {
    for (Index i = 0; i < count; i += width<T>) store_part(f(load_part(x + i, count - i)...), y + i, count - i);
}

/// Numbers that a thread takes at a time.
inline constexpr Index map_grain = 1 << 14;

/// y[i] = f(x[i]..) for all of a tensor, on all threads.
template <class T, class F, class... X>
void map_all(Tensor<T>& y, F f, const X*... x) {
    parallel_for(y.size(), map_grain, [&](Index begin, Index end) { map(end - begin, y.data() + begin, f, (x + begin)...); });
}

/// The sum of f(x[i]..) for i in [0, count), where f(0..) is 0: short runs in single precision, added up in double.
template <class F, class T, class... X>
double sum_of(Index count, F&& f, const T* x, const X*... more) {
    constexpr Index run = 64 * width<T>;
    double total = 0;
    for (Index begin = 0; begin < count; begin += run) {
        const Index end = std::min(count, begin + run);
        Vector<T> partial = broadcast(T(0));
        for (Index i = begin; i < end; i += width<T>)
            partial = add(partial, f(load_part(x + i, end - i), load_part(more + i, end - i)...));
        total += sum(partial);
    }
    return total;
}

}  // namespace ito::simd

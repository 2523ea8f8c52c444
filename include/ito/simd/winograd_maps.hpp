// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/lanes.hpp"

// Convolution of M + 2 numbers with 3 into M by M + 2 products instead of 3 M: Winograd, "Arithmetic complexity of
// computations" (1980), as Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), use it. Polynomials
// are multiplied by their values at M + 1 points and infinity. With N_i the product of p_i - p_j over the other points:
//
//     input:   coefficients of the product of (x - p_j), j != i, along the line; at infinity of all (x - p_j)
//     kernel:  sum g_k p_i^k; at infinity the last one
//     output:  y_k = sum over i of m_i p_i^k / N_i, to the last one what infinity gave
//
// Points come in pairs: 0 and infinity, which are the first and the last, and then p and -p, which share what is even.
//
// The gradient of the kernel is the convolution of the same M + 2 inputs with M gradients into 3, so the same input is
// used: gradient() is the kernel's formula for M numbers, kernel_sum() the output's for 3.
namespace ito::simd {

template <int M>
struct WinogradMap;

/// Points 0, 1, -1 (the sign of N_0 is in the input).
template <>
struct WinogradMap<2> {
    ITO_SIMD_INLINE static void input(const Floats (&d)[4], Floats (&t)[4]) {
        t[0] = subtract(d[0], d[2]);
        t[1] = add(d[1], d[2]);
        t[2] = subtract(d[2], d[1]);
        t[3] = subtract(d[3], d[1]);
    }
    static constexpr float point(int) { return 1; }
    ITO_SIMD_INLINE static void output(const Floats (&m)[4], Floats (&y)[2]) {
        const Floats half = broadcast(0.5f);
        y[0] = multiply_add(half, add(m[1], m[2]), m[0]);
        y[1] = multiply_add(half, subtract(m[1], m[2]), m[3]);
    }
    ITO_SIMD_INLINE static void gradient(const Floats (&g)[2], Floats (&u)[4]) {
        u[0] = g[0];
        u[1] = add(g[0], g[1]);
        u[2] = subtract(g[0], g[1]);
        u[3] = g[1];
    }
    ITO_SIMD_INLINE static void kernel_sum(const Floats (&m)[4], Floats (&y)[3]) {
        const Floats half = broadcast(0.5f), even = add(m[1], m[2]);
        y[0] = multiply_add(half, even, m[0]);
        y[1] = multiply(half, subtract(m[1], m[2]));
        y[2] = multiply_add(half, even, m[3]);
    }
};

/// Points 0, +-3/4, +-3/2: their constants are exact in binary, and products come out about five times as accurate as
/// from the usual 0, +-1, +-2.
template <>
struct WinogradMap<4> {
    static constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b;
    static constexpr float at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));  // 1 / N

    ITO_SIMD_INLINE static void input(const Floats (&d)[6], Floats (&t)[6]) {
        const Floats sum = broadcast(a2 + b2), product = broadcast(a2 * b2);
        t[0] = multiply_add(product, d[0], negative_multiply_add(sum, d[2], d[4]));
        t[5] = multiply_add(product, d[1], negative_multiply_add(sum, d[3], d[5]));
        pair(a, negative_multiply_add(broadcast(b2), d[2], d[4]), negative_multiply_add(broadcast(b2), d[1], d[3]), t[1], t[2]);
        pair(b, negative_multiply_add(broadcast(a2), d[2], d[4]), negative_multiply_add(broadcast(a2), d[1], d[3]), t[3], t[4]);
    }
    static constexpr float point(int pair) { return pair == 1 ? a : b; }
    ITO_SIMD_INLINE static void output(const Floats (&m)[6], Floats (&y)[4]) {
        const Floats even_a = add(m[1], m[2]), odd_a = subtract(m[1], m[2]);
        const Floats even_b = add(m[3], m[4]), odd_b = subtract(m[3], m[4]);
        y[0] = multiply_add(broadcast(at_0), m[0], sum(at_a, even_a, at_b, even_b));
        y[1] = sum(a * at_a, odd_a, b * at_b, odd_b);
        y[2] = sum(a2 * at_a, even_a, b2 * at_b, even_b);
        y[3] = add(m[5], sum(a * a2 * at_a, odd_a, b * b2 * at_b, odd_b));
    }
    ITO_SIMD_INLINE static void gradient(const Floats (&g)[4], Floats (&u)[6]) {
        u[0] = g[0];
        pair(a, multiply_add(broadcast(a2), g[2], g[0]), multiply_add(broadcast(a2), g[3], g[1]), u[1], u[2]);
        pair(b, multiply_add(broadcast(b2), g[2], g[0]), multiply_add(broadcast(b2), g[3], g[1]), u[3], u[4]);
        u[5] = g[3];
    }
    ITO_SIMD_INLINE static void kernel_sum(const Floats (&m)[6], Floats (&y)[3]) {
        const Floats even_a = add(m[1], m[2]), even_b = add(m[3], m[4]);
        y[0] = multiply_add(broadcast(at_0), m[0], sum(at_a, even_a, at_b, even_b));
        y[1] = sum(a * at_a, subtract(m[1], m[2]), b * at_b, subtract(m[3], m[4]));
        y[2] = add(m[5], sum(a2 * at_a, even_a, b2 * at_b, even_b));
    }

  private:
    /// even +- p * odd
    ITO_SIMD_INLINE static void pair(float p, Floats even, Floats odd, Floats& plus, Floats& minus) {
        plus = multiply_add(broadcast(p), odd, even);
        minus = negative_multiply_add(broadcast(p), odd, even);
    }
    ITO_SIMD_INLINE static Floats sum(float scale, Floats m, float other_scale, Floats other) {
        return multiply_add(broadcast(other_scale), other, multiply(broadcast(scale), m));
    }
};

/// A line of the kernel at the first pair of points, 0 and infinity.
struct KernelAtEnds {
    ITO_SIMD_INLINE void operator()(const Floats (&g)[3], Floats (&u)[2]) const {
        u[0] = g[0];
        u[1] = g[2];
    }
};

/// At p and -p.
struct KernelAtPair {
    Floats p, square;

    explicit KernelAtPair(float p) : p(broadcast(p)), square(broadcast(p * p)) {}

    ITO_SIMD_INLINE void operator()(const Floats (&g)[3], Floats (&u)[2]) const {
        const Floats even = multiply_add(square, g[2], g[0]);
        u[0] = multiply_add(p, g[1], even);
        u[1] = negative_multiply_add(p, g[1], even);
    }
};

/// At all points, with the same bits.
template <int M>
struct KernelAtAll {
    ITO_SIMD_INLINE void operator()(const Floats (&g)[3], Floats (&u)[M + 2]) const {
        Floats two[2];
        KernelAtEnds()(g, two);
        u[0] = two[0];
        u[M + 1] = two[1];
        unrolled<M / 2>([&](auto i) __attribute__((always_inline)) {
            KernelAtPair(WinogradMap<M>::point(i + 1))(g, two);
            u[2 * i + 1] = two[0];
            u[2 * i + 2] = two[1];
        });
    }
};

/// Rows of a square that are computed together: as many as the registers hold, and those next to each other whose
/// formulas share terms.
template <int In, int Out>
struct RowGroups {
    static constexpr bool whole = In * Out <= 18;
    static constexpr int count = whole ? 1 : Out / 2, rows = whole ? Out : 2;
    static constexpr int row(int group, int r) {
        if (whole) return r;
        if (Out == 6) return group == 0 ? 5 * r : 2 * group - 1 + r;
        return group + 2 * r;
    }
};

/// Applies a map to columns, then to rows: get(i, j) -> element of the square [In, In], put(i, j, v) takes the square
/// [Out, Out]. A map is one of the functions above. get may be called more than once for an element.
template <int In, int Out, class Map, class Get, class Put>
ITO_SIMD_INLINE void map_square(Map&& map, Get&& get, Put&& put) {
    using Groups = RowGroups<In, Out>;
    unrolled<Groups::count>([&](auto group) __attribute__((always_inline)) {
        Floats room[Groups::rows][In];
        unrolled<In>([&](auto j) __attribute__((always_inline)) {
            Floats from[In], to[Out];
            unrolled<In>([&](auto i) __attribute__((always_inline)) { from[i] = get(i, j); });
            map(from, to);  // what no row of the group needs is not computed
            unrolled<Groups::rows>([&](auto r) __attribute__((always_inline)) { room[r][j] = to[Groups::row(group, r)]; });
        });
        unrolled<Groups::rows>([&](auto r) __attribute__((always_inline)) {
            Floats to[Out];
            map(room[r], to);
            unrolled<Out>([&](auto j) __attribute__((always_inline)) { put(Groups::row(group, r), j, to[j]); });
        });
    });
}

}  // namespace ito::simd

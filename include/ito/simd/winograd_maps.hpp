// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/lanes.hpp"

// Convolution of M + 2 numbers with 3 into M by M + 2 products instead of 3 M: Winograd, "Arithmetic complexity of
// computations" (1980), as Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016), use it. Polynomials
// are multiplied by their values at M + 1 points and infinity. With N_i the product of p_i - p_j over the other points:
//
//     input:   coefficients of the product of (x - p_j), j != i, along the line; at infinity of all (x - p_j)
//     kernel:  sum g_k p_i^k / N_i; at infinity the last one
//     output:  y_k = sum over i of m_i p_i^k, to the last one what infinity gave
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
    ITO_SIMD_INLINE static void kernel(const Floats (&g)[3], Floats (&u)[4]) {
        const Floats half = broadcast(0.5f), even = multiply(half, add(g[0], g[2])), odd = multiply(half, g[1]);
        u[0] = g[0];
        u[1] = add(even, odd);
        u[2] = subtract(even, odd);
        u[3] = g[2];
    }
    ITO_SIMD_INLINE static void output(const Floats (&m)[4], Floats (&y)[2]) {
        y[0] = add(m[0], add(m[1], m[2]));
        y[1] = add(m[3], subtract(m[1], m[2]));
    }
    ITO_SIMD_INLINE static void gradient(const Floats (&g)[2], Floats (&u)[4]) {
        const Floats half = broadcast(0.5f);
        u[0] = g[0];
        u[1] = multiply(half, add(g[0], g[1]));
        u[2] = multiply(half, subtract(g[0], g[1]));
        u[3] = g[1];
    }
    ITO_SIMD_INLINE static void kernel_sum(const Floats (&m)[4], Floats (&y)[3]) {
        const Floats even = add(m[1], m[2]);
        y[0] = add(m[0], even);
        y[1] = subtract(m[1], m[2]);
        y[2] = add(m[3], even);
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
    ITO_SIMD_INLINE static void kernel(const Floats (&g)[3], Floats (&u)[6]) {
        u[0] = multiply(broadcast(at_0), g[0]);
        scaled_pair(at_a, a, multiply_add(broadcast(a2), g[2], g[0]), g[1], u[1], u[2]);
        scaled_pair(at_b, b, multiply_add(broadcast(b2), g[2], g[0]), g[1], u[3], u[4]);
        u[5] = g[2];
    }
    ITO_SIMD_INLINE static void output(const Floats (&m)[6], Floats (&y)[4]) {
        const Floats even_a = add(m[1], m[2]), odd_a = subtract(m[1], m[2]);
        const Floats even_b = add(m[3], m[4]), odd_b = subtract(m[3], m[4]);
        y[0] = add(m[0], add(even_a, even_b));
        y[1] = multiply_add(broadcast(b), odd_b, multiply(broadcast(a), odd_a));
        y[2] = multiply_add(broadcast(b2), even_b, multiply(broadcast(a2), even_a));
        y[3] = multiply_add(broadcast(b * b2), odd_b, multiply_add(broadcast(a * a2), odd_a, m[5]));
    }
    ITO_SIMD_INLINE static void gradient(const Floats (&g)[4], Floats (&u)[6]) {
        u[0] = multiply(broadcast(at_0), g[0]);
        scaled_pair(at_a, a, multiply_add(broadcast(a2), g[2], g[0]), multiply_add(broadcast(a2), g[3], g[1]), u[1], u[2]);
        scaled_pair(at_b, b, multiply_add(broadcast(b2), g[2], g[0]), multiply_add(broadcast(b2), g[3], g[1]), u[3], u[4]);
        u[5] = g[3];
    }
    ITO_SIMD_INLINE static void kernel_sum(const Floats (&m)[6], Floats (&y)[3]) {
        const Floats even_a = add(m[1], m[2]), even_b = add(m[3], m[4]);
        y[0] = add(m[0], add(even_a, even_b));
        y[1] = multiply_add(broadcast(b), subtract(m[3], m[4]), multiply(broadcast(a), subtract(m[1], m[2])));
        y[2] = multiply_add(broadcast(b2), even_b, multiply_add(broadcast(a2), even_a, m[5]));
    }

  private:
    /// even +- p * odd
    ITO_SIMD_INLINE static void pair(float p, Floats even, Floats odd, Floats& plus, Floats& minus) {
        plus = multiply_add(broadcast(p), odd, even);
        minus = negative_multiply_add(broadcast(p), odd, even);
    }
    ITO_SIMD_INLINE static void scaled_pair(float scale, float p, Floats even, Floats odd, Floats& plus, Floats& minus) {
        pair(p, even, odd, plus, minus);
        plus = multiply(broadcast(scale), plus);
        minus = multiply(broadcast(scale), minus);
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

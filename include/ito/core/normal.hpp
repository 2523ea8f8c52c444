// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Philox and Box-Muller on registers of single-precision numbers. Every operation is rounded by itself (products are not
// fused with sums), in the same order whatever the width: any machine and any compiler gives the same bits.
namespace ito::detail {

#if defined(__AVX2__)
inline constexpr int normal_lanes = 8;
#else
inline constexpr int normal_lanes = 4;
#endif

using NormalFloats [[gnu::vector_size(4 * normal_lanes)]] = float;
using NormalWords [[gnu::vector_size(4 * normal_lanes)]] = std::uint32_t;
using NormalInts [[gnu::vector_size(4 * normal_lanes)]] = std::int32_t;

#define ITO_NORMAL_INLINE inline __attribute__((always_inline))

/// The same product, which the compiler may not fuse with a sum.
ITO_NORMAL_INLINE NormalFloats rounded(NormalFloats product) {
#if defined(__FMA__)
    asm("" : "+x"(product));
#elif defined(__aarch64__)
    asm("" : "+w"(product));
#elif !defined(__x86_64__)
    asm("" : "+m"(product));
#endif
    return product;
}

/// Of numbers below 2^31, as the conversion is signed.
ITO_NORMAL_INLINE NormalFloats to_floats(NormalWords words) {
    return __builtin_convertvector(reinterpret_cast<NormalInts>(words), NormalFloats);
}

ITO_NORMAL_INLINE NormalFloats square_root(NormalFloats v) {
#if defined(__AVX2__)
    return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(v);
#else
    for (int i = 0; i < normal_lanes; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}

/// Words in lanes of 64 bits, of which the upper halves do not count: products fit, and need no packing between rounds.
using WideWords [[gnu::vector_size(4 * normal_lanes)]] = std::uint64_t;

/// The full product of the lower halves.
ITO_NORMAL_INLINE WideWords multiply(WideWords words, std::uint32_t constant) {
#if defined(__AVX2__)
    return reinterpret_cast<WideWords>(_mm256_mul_epu32(reinterpret_cast<__m256i>(words), _mm256_set1_epi32(static_cast<int>(constant))));
#elif defined(__SSE2__)
    return reinterpret_cast<WideWords>(_mm_mul_epu32(reinterpret_cast<__m128i>(words), _mm_set1_epi32(static_cast<int>(constant))));
#else
    return (words & 0xFFFFFFFF) * std::uint64_t{constant};
#endif
}

/// even 0, odd 0, even 1, odd 1, ..
ITO_NORMAL_INLINE NormalWords packed(WideWords even, WideWords odd) {
    return reinterpret_cast<NormalWords>((even & 0xFFFFFFFF) | (odd << 32));
}

/// p q + c
ITO_NORMAL_INLINE NormalFloats horner(NormalFloats p, NormalFloats q, float c) { return rounded(p * q) + c; }

// sqrt(-2 log u) for u = (a + 1/2) / 2^32, by the series of 2 atanh(s) with s = f / (2 + f) for the mantissa 1 + f in
// [1/sqrt 2, sqrt 2), and cos and sin of 2 pi b / 2^32: in parts, which normal_groups puts together.

/// f, and -2 log 2 times the exponent. Near u = 1, f is taken from 2^32 - a, which loses nothing.
ITO_NORMAL_INLINE void split_length(NormalWords a, NormalFloats& f, NormalFloats& whole_part) {
    const NormalFloats whole = rounded(to_floats(a >> 16) * 65536.0f) + to_floats(a & 0xFFFF) + 0.5f;
    const NormalWords bits = reinterpret_cast<NormalWords>(whole);
    const NormalInts exponent = reinterpret_cast<NormalInts>(bits - 0x3F3504F3u) >> 23;  // of 2^32 u over 1/sqrt 2
    const NormalFloats mantissa = reinterpret_cast<NormalFloats>(bits - (reinterpret_cast<NormalWords>(exponent) << 23));
    const NormalFloats below_one = (to_floats(~a & 0x7FFFFFFFu) + 0.5f) * -0x1p-32f;
    f = exponent == 32 ? below_one : mantissa - 1.0f;
    whole_part = __builtin_convertvector(exponent - 32, NormalFloats) * -1.38629436111989062f;
}

/// atanh(s)
ITO_NORMAL_INLINE NormalFloats half_log(NormalFloats s) {
    const NormalFloats q = rounded(s * s);
    NormalFloats p = rounded(q * (1.0f / 11)) + 1.0f / 9;
    p = horner(p, q, 1.0f / 7);
    p = horner(p, q, 1.0f / 5);
    p = horner(p, q, 1.0f / 3);
    return rounded(rounded(s * q) * p) + s;
}

/// Cosine and sine of x in [-pi/4, pi/4], where the angle is quadrant * pi/2 + x.
ITO_NORMAL_INLINE void on_circle(NormalWords b, NormalFloats& cosine, NormalFloats& sine) {
    const NormalFloats x = rounded(__builtin_convertvector(reinterpret_cast<NormalInts>(b << 2), NormalFloats) * (1.57079632679489661923f * 0x1p-32f));
    const NormalFloats q = rounded(x * x);
    NormalFloats s = rounded(q * (1.0f / 362880)) - 1.0f / 5040;
    NormalFloats c = rounded(q * (-1.0f / 3628800)) + 1.0f / 40320;
    s = horner(s, q, 1.0f / 120);
    c = horner(c, q, -1.0f / 720);
    s = horner(s, q, -1.0f / 6);
    c = horner(c, q, 1.0f / 24);
    c = horner(c, q, -0.5f);
    cosine = horner(c, q, 1.0f);
    sine = rounded(rounded(x * q) * s) + x;
}

/// Negative where the highest bit is set.
ITO_NORMAL_INLINE NormalFloats signed_by(NormalFloats v, NormalWords bits) {
    return reinterpret_cast<NormalFloats>(reinterpret_cast<NormalWords>(v) ^ (bits & 0x80000000u));
}

/// Odd quadrants swap sine and cosine; the signs follow: the cosine's in the middle two, the sine's in the last two.
ITO_NORMAL_INLINE void turn(NormalFloats radius, NormalWords b, NormalFloats cosine, NormalFloats sine, NormalFloats& first, NormalFloats& second) {
    const NormalWords turned = b + 0x20000000u;
    const NormalInts odd = reinterpret_cast<NormalInts>(turned << 1);
    first = radius * signed_by(odd < 0 ? sine : cosine, turned + 0x40000000u);
    second = radius * signed_by(odd < 0 ? cosine : sine, turned);
}

/// a0 b0 c0 d0 a1 b1 ..
ITO_NORMAL_INLINE void store_interleaved(NormalFloats a, NormalFloats b, NormalFloats c, NormalFloats d, float* out) {
#if defined(__AVX2__)
    const auto pairs = [](__m256 x, __m256 y, bool upper) {
        return _mm256_castps_pd(upper ? _mm256_unpackhi_ps(x, y) : _mm256_unpacklo_ps(x, y));
    };
    const __m256d ab = pairs(a, b, false), ab2 = pairs(a, b, true), cd = pairs(c, d, false), cd2 = pairs(c, d, true);
    const __m256d q0 = _mm256_unpacklo_pd(ab, cd), q1 = _mm256_unpackhi_pd(ab, cd);  // elements 0 and 4, 1 and 5
    const __m256d q2 = _mm256_unpacklo_pd(ab2, cd2), q3 = _mm256_unpackhi_pd(ab2, cd2);
    _mm256_storeu_ps(out, _mm256_castpd_ps(_mm256_permute2f128_pd(q0, q1, 0x20)));
    _mm256_storeu_ps(out + 8, _mm256_castpd_ps(_mm256_permute2f128_pd(q2, q3, 0x20)));
    _mm256_storeu_ps(out + 16, _mm256_castpd_ps(_mm256_permute2f128_pd(q0, q1, 0x31)));
    _mm256_storeu_ps(out + 24, _mm256_castpd_ps(_mm256_permute2f128_pd(q2, q3, 0x31)));
#else
    for (int i = 0; i < normal_lanes; ++i) out[4 * i] = a[i], out[4 * i + 1] = b[i], out[4 * i + 2] = c[i], out[4 * i + 3] = d[i];
#endif
}

/// The keys of Philox's ten rounds.
struct NormalKeys {
    WideWords first[10], second[10];

    explicit NormalKeys(std::array<std::uint32_t, 2> key) {
        for (int round = 0; round < 10; ++round, key[0] += 0x9E3779B9, key[1] += 0xBB67AE85) first[round] = WideWords{} + key[0], second[round] = WideWords{} + key[1];
    }
};

/// Counters of normal_lanes / 2 blocks on their way through the rounds.
struct WideCounters {
    WideWords c0, c1, c2, c3;

    ITO_NORMAL_INLINE void round(WideWords key0, WideWords key1) {
        const WideWords product0 = multiply(c0, 0xD2511F53), product1 = multiply(c2, 0xCD9E8D57);
        c0 = (product1 >> 32) ^ (c1 ^ key0), c1 = product1;
        c2 = (product0 >> 32) ^ (c3 ^ key1), c3 = product0;
    }
};

inline constexpr int most_normal_groups = 8;

/// The normals of `groups` (at most most_normal_groups) times normal_lanes blocks from `block` on, four a block. In loops of
/// short bodies, of which the machine runs many at once where one long body would wait for each of its results.
inline void normal_groups(const std::array<std::uint32_t, 4>& counter, const NormalKeys& keys, std::uint32_t block, int groups, float* out) {
    NormalWords lengths[2 * most_normal_groups], angles[2 * most_normal_groups];  // of words 0 and 1, of words 2 and 3, by turns
    WideWords places{};
    for (int i = 0; i < normal_lanes / 2; ++i) places[i] = static_cast<std::uint64_t>(2 * i);
    const WideWords c1 = WideWords{} + counter[1], c2 = WideWords{} + counter[2], c3 = WideWords{} + counter[3];
    for (int g = 0; g < groups; ++g) {
        WideCounters even{places + (std::uint64_t{block} + static_cast<std::uint64_t>(g * normal_lanes)), c1, c2, c3}, odd{even.c0 + 1, c1, c2, c3};
        for (int round = 0; round < 10; ++round) {
            even.round(keys.first[round], keys.second[round]);
            odd.round(keys.first[round], keys.second[round]);
        }
        lengths[2 * g] = packed(even.c0, odd.c0), lengths[2 * g + 1] = packed(even.c2, odd.c2);
        angles[2 * g] = packed(even.c1, odd.c1), angles[2 * g + 1] = packed(even.c3, odd.c3);
    }
    const int n = 2 * groups;
    NormalFloats fractions[2 * most_normal_groups], exponents[2 * most_normal_groups], radii[2 * most_normal_groups];
    for (int i = 0; i < n; ++i) split_length(lengths[i], fractions[i], exponents[i]);
    for (int i = 0; i < n; ++i) fractions[i] = fractions[i] / (2.0f + fractions[i]);
    for (int i = 0; i < n; ++i) radii[i] = half_log(fractions[i]);
    for (int i = 0; i < n; ++i) radii[i] = square_root(exponents[i] - rounded(4.0f * radii[i]));
    NormalFloats sines[2 * most_normal_groups], cosines[2 * most_normal_groups];
    for (int i = 0; i < n; ++i) on_circle(angles[i], cosines[i], sines[i]);
    for (int g = 0; g < groups; ++g) {
        NormalFloats n0, n1, n2, n3;
        turn(radii[2 * g], angles[2 * g], cosines[2 * g], sines[2 * g], n0, n1);
        turn(radii[2 * g + 1], angles[2 * g + 1], cosines[2 * g + 1], sines[2 * g + 1], n2, n3);
        store_interleaved(n0, n1, n2, n3, out + 4 * normal_lanes * g);
    }
}

#undef ITO_NORMAL_INLINE

}  // namespace ito::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 suspects its own intrinsics, whose unused operands are undefined
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// Philox and Box-Muller on registers of single-precision numbers. Every operation is rounded by itself (products are not
// fused with sums), in the same order whatever the width: any machine and any compiler gives the same bits.
namespace ito::detail {

// Registers of a long chain of operations, each of which waits for the one before, are worked on side by side.
#if defined(__AVX512F__)
inline constexpr int normal_lanes = 16, normal_side = 4;
#elif defined(__AVX2__)
inline constexpr int normal_lanes = 8, normal_side = 4;
#else
inline constexpr int normal_lanes = 4, normal_side = 1;
#endif

using NormalFloats [[gnu::vector_size(4 * normal_lanes)]] = float;
using NormalWords [[gnu::vector_size(4 * normal_lanes)]] = std::uint32_t;
using NormalInts [[gnu::vector_size(4 * normal_lanes)]] = std::int32_t;

#define ITO_NORMAL_INLINE inline __attribute__((always_inline))

/// The same product, which the compiler may not fuse with a sum.
ITO_NORMAL_INLINE NormalFloats rounded(NormalFloats product) {
#if defined(__FMA__)
    asm("" : "+v"(product));
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
#if defined(__AVX512F__)
    return _mm512_sqrt_ps(v);
#elif defined(__AVX2__)
    return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(v);
#else
    for (int i = 0; i < normal_lanes; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}

/// The upper and the lower half of every word's product.
ITO_NORMAL_INLINE void multiply(NormalWords v, std::uint32_t constant, NormalWords& high, NormalWords& low) {
#if defined(__AVX512F__)
    const auto words = reinterpret_cast<__m512i>(v), factor = _mm512_set1_epi32(static_cast<int>(constant));
    const __m512i even = _mm512_mul_epu32(words, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(words, 32), factor);
    high = reinterpret_cast<NormalWords>(_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd));
    low = reinterpret_cast<NormalWords>(_mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32)));
#elif defined(__AVX2__)
    const auto words = reinterpret_cast<__m256i>(v), factor = _mm256_set1_epi32(static_cast<int>(constant));
    const __m256i even = _mm256_mul_epu32(words, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(words, 32), factor);
    high = reinterpret_cast<NormalWords>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
    low = reinterpret_cast<NormalWords>(_mm256_mullo_epi32(words, factor));
#else
    using Wide [[gnu::vector_size(4 * normal_lanes)]] = std::uint64_t;
    const auto product = [&](Wide w) {
#if defined(__SSE2__)
        return reinterpret_cast<Wide>(_mm_mul_epu32(reinterpret_cast<__m128i>(w), _mm_set1_epi32(static_cast<int>(constant))));
#else
        return (w & 0xFFFFFFFF) * std::uint64_t{constant};
#endif
    };
    const Wide words = reinterpret_cast<Wide>(v), even = product(words), odd = product(words >> 32);
    high = reinterpret_cast<NormalWords>((even >> 32) | (odd & 0xFFFFFFFF00000000));
    low = reinterpret_cast<NormalWords>((even & 0xFFFFFFFF) | (odd << 32));
#endif
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

#define ITO_NORMAL_EACH _Pragma("GCC unroll 4") for (int i = 0; i < N; ++i)

/// Cosine and sine of x in [-pi/4, pi/4], where the angle is quadrant * pi/2 + x; of N registers.
template <int N>
ITO_NORMAL_INLINE void on_circle(const NormalWords* b, NormalFloats* cosine, NormalFloats* sine) {
    NormalFloats x[N], q[N], s[N], c[N];
    ITO_NORMAL_EACH x[i] = rounded(__builtin_convertvector(reinterpret_cast<NormalInts>(b[i] << 2), NormalFloats) * (1.57079632679489661923f * 0x1p-32f));
    ITO_NORMAL_EACH q[i] = rounded(x[i] * x[i]);
    ITO_NORMAL_EACH s[i] = rounded(q[i] * (1.0f / 362880)) - 1.0f / 5040;
    ITO_NORMAL_EACH c[i] = rounded(q[i] * (-1.0f / 3628800)) + 1.0f / 40320;
    ITO_NORMAL_EACH s[i] = horner(s[i], q[i], 1.0f / 120);
    ITO_NORMAL_EACH c[i] = horner(c[i], q[i], -1.0f / 720);
    ITO_NORMAL_EACH s[i] = horner(s[i], q[i], -1.0f / 6);
    ITO_NORMAL_EACH c[i] = horner(c[i], q[i], 1.0f / 24);
    ITO_NORMAL_EACH c[i] = horner(c[i], q[i], -0.5f);
    ITO_NORMAL_EACH cosine[i] = horner(c[i], q[i], 1.0f);
    ITO_NORMAL_EACH sine[i] = rounded(rounded(x[i] * q[i]) * s[i]) + x[i];
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
#if defined(__AVX512F__)
    const auto pairs = [](__m512 x, __m512 y, bool upper) {
        return _mm512_castps_pd(upper ? _mm512_unpackhi_ps(x, y) : _mm512_unpacklo_ps(x, y));
    };
    const __m512d ab = pairs(a, b, false), ab2 = pairs(a, b, true), cd = pairs(c, d, false), cd2 = pairs(c, d, true);
    // Quarters of these are the elements k, 4 + k, 8 + k and 12 + k of all four: a transposition of quarters is left.
    const __m512 q0 = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), q1 = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
    const __m512 q2 = _mm512_castpd_ps(_mm512_unpacklo_pd(ab2, cd2)), q3 = _mm512_castpd_ps(_mm512_unpackhi_pd(ab2, cd2));
    const __m512 low01 = _mm512_shuffle_f32x4(q0, q1, 0x44), high01 = _mm512_shuffle_f32x4(q0, q1, 0xEE);
    const __m512 low23 = _mm512_shuffle_f32x4(q2, q3, 0x44), high23 = _mm512_shuffle_f32x4(q2, q3, 0xEE);
    _mm512_storeu_ps(out, _mm512_shuffle_f32x4(low01, low23, 0x88));
    _mm512_storeu_ps(out + 16, _mm512_shuffle_f32x4(low01, low23, 0xDD));
    _mm512_storeu_ps(out + 32, _mm512_shuffle_f32x4(high01, high23, 0x88));
    _mm512_storeu_ps(out + 48, _mm512_shuffle_f32x4(high01, high23, 0xDD));
#elif defined(__AVX2__)
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

/// What the blocks of a sequence share: the keys of Philox's ten rounds, and what its first rounds make of all of the
/// counter but the block.
struct NormalKeys {
    std::array<std::uint32_t, 10> first, second;
    std::uint32_t second_c1, second_c2, first_c3, third_c2;

    NormalKeys(std::array<std::uint32_t, 2> key, const std::array<std::uint32_t, 4>& counter) {
        for (std::size_t round = 0; round < 10; ++round, key[0] += 0x9E3779B9, key[1] += 0xBB67AE85) first[round] = key[0], second[round] = key[1];
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * counter[2];
        const std::uint64_t product0 = std::uint64_t{0xD2511F53} * (static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ first[0]);
        first_c3 = counter[3] ^ second[0], second_c1 = static_cast<std::uint32_t>(product1) ^ first[1];
        second_c2 = static_cast<std::uint32_t>(product0 >> 32) ^ second[1], third_c2 = static_cast<std::uint32_t>(product0) ^ second[2];
    }
};

/// Philox of N times normal_lanes blocks from `block` on: words 0 and 2 and words 1 and 3, by turns.
template <int N>
ITO_NORMAL_INLINE void philox_blocks(const NormalKeys& keys, std::uint32_t block, NormalWords* lengths, NormalWords* angles) {
    constexpr std::uint32_t m0 = 0xD2511F53, m1 = 0xCD9E8D57;
    NormalWords places{};
    for (int i = 0; i < normal_lanes; ++i) places[i] = static_cast<std::uint32_t>(i);
    NormalWords c0[N], c1[N], c2[N], c3[N];
    ITO_NORMAL_EACH {  // three rounds, in which only what the block has changed is a register
        NormalWords high, low, high1, low1;
        multiply(places + (block + static_cast<std::uint32_t>(i * normal_lanes)), m0, high, low);
        multiply(high ^ keys.first_c3, m1, high1, low1);
        multiply(high1 ^ keys.second_c1, m0, c2[i], c3[i]);
        multiply(low ^ keys.second_c2, m1, c0[i], c1[i]);
        c0[i] ^= low1 ^ keys.first[2], c2[i] ^= keys.third_c2;
    }
    _Pragma("GCC unroll 7") for (std::size_t round = 3; round < 10; ++round) {
        ITO_NORMAL_EACH {
            NormalWords high0, low0, high1, low1;
            multiply(c0[i], m0, high0, low0);
            multiply(c2[i], m1, high1, low1);
            c0[i] = high1 ^ (c1[i] ^ keys.first[round]), c1[i] = low1;
            c2[i] = high0 ^ (c3[i] ^ keys.second[round]), c3[i] = low0;
        }
    }
    ITO_NORMAL_EACH lengths[2 * i] = c0[i], lengths[2 * i + 1] = c2[i], angles[2 * i] = c1[i], angles[2 * i + 1] = c3[i];
}

inline constexpr int most_normal_groups = 8;

/// The normals of `groups` (at most most_normal_groups) times normal_lanes blocks from `block` on, four a block. In loops of
/// short bodies, of which the machine runs many at once where one long body would wait for each of its results.
inline void normal_groups(const NormalKeys& keys, std::uint32_t block, int groups, float* out) {
    NormalWords lengths[2 * most_normal_groups], angles[2 * most_normal_groups];
    int done = 0;
    const auto philox = [&](auto side) {
        for (; done + side <= groups; done += side)
            philox_blocks<side>(keys, block + static_cast<std::uint32_t>(done * normal_lanes), lengths + 2 * done, angles + 2 * done);
    };
    philox(std::integral_constant<int, normal_side>{});
    philox(std::integral_constant<int, 1>{});
    const int n = 2 * groups;
    NormalFloats fractions[2 * most_normal_groups], exponents[2 * most_normal_groups], radii[2 * most_normal_groups];
    for (int i = 0; i < n; ++i) split_length(lengths[i], fractions[i], exponents[i]);
    // Divisions and square roots are made beside other work, which does not wait for them.
    NormalFloats sines[2 * most_normal_groups], cosines[2 * most_normal_groups];
    done = 0;
    const auto circle = [&](auto side) {
        for (; done + side <= n; done += side) {
            for (int i = done; i < done + side; ++i) fractions[i] = fractions[i] / (2.0f + fractions[i]);
            on_circle<side>(angles + done, cosines + done, sines + done);
        }
    };
    circle(std::integral_constant<int, normal_side>{});
    circle(std::integral_constant<int, 1>{});
    for (int i = 0; i < n; ++i) radii[i] = exponents[i] - rounded(4.0f * half_log(fractions[i]));
    for (int g = 0; g < groups; ++g) {
        radii[2 * g] = square_root(radii[2 * g]), radii[2 * g + 1] = square_root(radii[2 * g + 1]);
        NormalFloats n0, n1, n2, n3;
        turn(radii[2 * g], angles[2 * g], cosines[2 * g], sines[2 * g], n0, n1);
        turn(radii[2 * g + 1], angles[2 * g + 1], cosines[2 * g + 1], sines[2 * g + 1], n2, n3);
        store_interleaved(n0, n1, n2, n3, out + 4 * normal_lanes * g);
    }
}

#undef ITO_NORMAL_EACH
#undef ITO_NORMAL_INLINE

}  // namespace ito::detail

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

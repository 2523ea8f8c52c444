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

/// High and low half of words times a constant.
ITO_NORMAL_INLINE void multiply(NormalWords words, std::uint32_t constant, NormalWords& high, NormalWords& low) {
#if defined(__AVX2__)
    const __m256i v = reinterpret_cast<__m256i>(words), c = _mm256_set1_epi32(static_cast<int>(constant));
    const __m256i even = _mm256_mul_epu32(v, c), odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), c);
    low = reinterpret_cast<NormalWords>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
    high = reinterpret_cast<NormalWords>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
#elif defined(__SSE2__)
    const __m128i v = reinterpret_cast<__m128i>(words), c = _mm_set1_epi32(static_cast<int>(constant));
    const __m128i even = _mm_mul_epu32(v, c), odd = _mm_mul_epu32(_mm_srli_epi64(v, 32), c), lower = _mm_set1_epi64x(0xFFFFFFFF);
    low = reinterpret_cast<NormalWords>(_mm_or_si128(_mm_and_si128(even, lower), _mm_slli_epi64(odd, 32)));
    high = reinterpret_cast<NormalWords>(_mm_or_si128(_mm_srli_epi64(even, 32), _mm_andnot_si128(lower, odd)));
#else
    for (int i = 0; i < normal_lanes; ++i) {
        const std::uint64_t product = std::uint64_t{words[i]} * constant;
        high[i] = static_cast<std::uint32_t>(product >> 32);
        low[i] = static_cast<std::uint32_t>(product);
    }
#endif
}

// One register at a time would wait for each operation's result; with `normal_registers` side by side the machine is busy.
#if defined(__clang__)
#define ITO_NORMAL_EACH _Pragma("clang loop unroll(full)") for (int j = 0; j < normal_registers; ++j)
#else
#define ITO_NORMAL_EACH _Pragma("GCC unroll 2") for (int j = 0; j < normal_registers; ++j)
#endif
inline constexpr int normal_registers = 2;

/// p q + c
ITO_NORMAL_INLINE void horner(NormalFloats* p, const NormalFloats* q, float c) { ITO_NORMAL_EACH p[j] = rounded(p[j] * q[j]) + c; }

/// sqrt(-2 log u) for u = (a + 1/2) / 2^32, by the series of 2 atanh(s) with s = f / (2 + f) for the mantissa 1 + f in
/// [1/sqrt 2, sqrt 2). Near u = 1, f is taken from 2^32 - a, which loses nothing.
ITO_NORMAL_INLINE void normal_radius(const NormalWords* a, NormalFloats* radius) {
    constexpr int n = normal_registers;
    NormalFloats whole[n], f[n], s[n], q[n], p[n];
    NormalInts exponent[n];
    ITO_NORMAL_EACH whole[j] = rounded(to_floats(a[j] >> 16) * 65536.0f) + to_floats(a[j] & 0xFFFF) + 0.5f;
    // Of 2^32 u over 1/sqrt 2.
    ITO_NORMAL_EACH exponent[j] = reinterpret_cast<NormalInts>(reinterpret_cast<NormalWords>(whole[j]) - 0x3F3504F3u) >> 23;
    ITO_NORMAL_EACH {
        const NormalWords scaled = reinterpret_cast<NormalWords>(whole[j]) - (reinterpret_cast<NormalWords>(exponent[j]) << 23);
        const NormalFloats below_one = (to_floats(~a[j] & 0x7FFFFFFFu) + 0.5f) * -0x1p-32f, mantissa = reinterpret_cast<NormalFloats>(scaled);
        const NormalWords near_one = reinterpret_cast<NormalWords>(exponent[j] == 32);
        f[j] = reinterpret_cast<NormalFloats>((near_one & reinterpret_cast<NormalWords>(below_one)) |
                                              (~near_one & reinterpret_cast<NormalWords>(mantissa - 1.0f)));
    }
    ITO_NORMAL_EACH s[j] = f[j] / (2.0f + f[j]);
    ITO_NORMAL_EACH q[j] = s[j] * s[j];
    ITO_NORMAL_EACH p[j] = rounded(q[j] * (1.0f / 11)) + 1.0f / 9;
    horner(p, q, 1.0f / 7);
    horner(p, q, 1.0f / 5);
    horner(p, q, 1.0f / 3);
    ITO_NORMAL_EACH {
        const NormalFloats half_log = rounded(rounded(s[j] * q[j]) * p[j]) + s[j];
        const NormalFloats whole_part = rounded(__builtin_convertvector(exponent[j] - 32, NormalFloats) * -1.38629436111989062f);
        radius[j] = square_root(whole_part - rounded(4.0f * half_log));
    }
}

/// (cos, sin) of 2 pi b / 2^32, times the radius.
ITO_NORMAL_INLINE void on_circle(const NormalFloats* radius, const NormalWords* b, NormalFloats* first, NormalFloats* second) {
    constexpr int n = normal_registers;
    NormalWords turned[n];
    NormalFloats x[n], q[n], s[n], c[n];
    // The angle is quadrant * pi/2 + x with x in [-pi/4, pi/4].
    ITO_NORMAL_EACH turned[j] = b[j] + 0x20000000u;
    ITO_NORMAL_EACH x[j] = __builtin_convertvector(reinterpret_cast<NormalInts>(turned[j] & 0x3FFFFFFFu) - 0x20000000, NormalFloats) *
                           (1.57079632679489661923f * 0x1p-30f);
    ITO_NORMAL_EACH q[j] = x[j] * x[j];
    ITO_NORMAL_EACH s[j] = rounded(q[j] * (1.0f / 362880)) - 1.0f / 5040;
    ITO_NORMAL_EACH c[j] = rounded(q[j] * (-1.0f / 3628800)) + 1.0f / 40320;
    horner(s, q, 1.0f / 120);
    horner(c, q, -1.0f / 720);
    horner(s, q, -1.0f / 6);
    horner(c, q, 1.0f / 24);
    horner(c, q, -0.5f);
    horner(c, q, 1.0f);
    ITO_NORMAL_EACH {
        s[j] = rounded(rounded(x[j] * q[j]) * s[j]) + x[j];
        // Odd quadrants swap sine and cosine; the signs follow.
        const NormalWords quadrant = turned[j] >> 30, sine = reinterpret_cast<NormalWords>(s[j]), cosine = reinterpret_cast<NormalWords>(c[j]);
        const NormalWords changed = (sine ^ cosine) & (0u - (quadrant & 1u));
        first[j] = radius[j] * reinterpret_cast<NormalFloats>((cosine ^ changed) ^ (((quadrant + 1u) & 2u) << 30));
        second[j] = radius[j] * reinterpret_cast<NormalFloats>((sine ^ changed) ^ ((quadrant & 2u) << 30));
    }
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

/// Blocks that are made at a time, of four normals each.
inline constexpr int normal_blocks_at_once = normal_lanes * normal_registers;

/// The normals of blocks `block`, block + 1, .. of a key: 4 normal_blocks_at_once of them. `counter` is that of block 0.
ITO_NORMAL_INLINE void normal_blocks(const std::array<std::uint32_t, 4>& counter, std::array<std::uint32_t, 2> key, std::uint32_t block, float* out) {
    constexpr int n = normal_registers;
    NormalWords places, c0[n], c1[n], c2[n], c3[n];
    for (int i = 0; i < normal_lanes; ++i) places[i] = static_cast<std::uint32_t>(i);
    ITO_NORMAL_EACH {
        c0[j] = places + (block + static_cast<std::uint32_t>(j * normal_lanes));
        c1[j] = NormalWords{} + counter[1], c2[j] = NormalWords{} + counter[2], c3[j] = NormalWords{} + counter[3];
    }
    for (int round = 0; round < 10; ++round) {  // Philox::round and next_round
        ITO_NORMAL_EACH {
            NormalWords high0, low0, high1, low1;
            multiply(c0[j], 0xD2511F53, high0, low0);
            multiply(c2[j], 0xCD9E8D57, high1, low1);
            c0[j] = high1 ^ c1[j] ^ key[0], c1[j] = low1, c2[j] = high0 ^ c3[j] ^ key[1], c3[j] = low0;
        }
        key[0] += 0x9E3779B9, key[1] += 0xBB67AE85;
    }
    NormalFloats r0[n], r1[n], n0[n], n1[n], n2[n], n3[n];
    normal_radius(c0, r0);
    normal_radius(c2, r1);
    on_circle(r0, c1, n0, n1);
    on_circle(r1, c3, n2, n3);
    ITO_NORMAL_EACH store_interleaved(n0[j], n1[j], n2[j], n3[j], out + 4 * normal_lanes * j);
}

#undef ITO_NORMAL_EACH
#undef ITO_NORMAL_INLINE

}  // namespace ito::detail

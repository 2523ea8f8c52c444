// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

// Highway 1.0 stops where the compiler's baseline has more than the targets that it considers.
#if defined(__AVX512VBMI2__) && defined(__AVX512BITALG__) && defined(__VAES__) && !defined(HWY_WANT_AVX3_DL)
#define HWY_WANT_AVX3_DL
#endif
// It wants AES for AVX2, which -march=haswell and x86-64-v3 do not give, and would halve the registers.
#if defined(__AVX2__) && !defined(__AES__) && !defined(HWY_DISABLE_PCLMUL_AES)
#define HWY_DISABLE_PCLMUL_AES
#endif
#include <hwy/highway.h>

#include "ito/core/shape.hpp"

#define ITO_SIMD_INLINE inline __attribute__((always_inline))

// One register of floats, as wide as the instructions that the compiler may use (-march): Highway's vectors, or four
// floats of the compiler's own where Highway would have single floats (x86-64 without any -march) or vectors without a
// size (SVE, RISC-V). Kernels are written once over this.
namespace ito::simd {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128 || HWY_HAVE_SCALABLE
#define ITO_SIMD_HIGHWAY 0
#else
#define ITO_SIMD_HIGHWAY 1
#endif

#if ITO_SIMD_HIGHWAY
namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::ScalableTag<std::int32_t>;
inline constexpr int lanes = HWY_LANES(float);
using Floats = hn::Vec<FloatTag>;

ITO_SIMD_INLINE Floats load(const float* p) { return hn::LoadU(FloatTag(), p); }
ITO_SIMD_INLINE void store(Floats v, float* p) { hn::StoreU(v, FloatTag(), p); }
ITO_SIMD_INLINE Floats broadcast(float x) { return hn::Set(FloatTag(), x); }
ITO_SIMD_INLINE Floats add(Floats a, Floats b) { return hn::Add(a, b); }
ITO_SIMD_INLINE Floats subtract(Floats a, Floats b) { return hn::Sub(a, b); }
ITO_SIMD_INLINE Floats multiply(Floats a, Floats b) { return hn::Mul(a, b); }
ITO_SIMD_INLINE Floats divide(Floats a, Floats b) { return hn::Div(a, b); }
ITO_SIMD_INLINE Floats maximum(Floats a, Floats b) { return hn::Max(a, b); }
ITO_SIMD_INLINE Floats minimum(Floats a, Floats b) { return hn::Min(a, b); }
/// a * b + c, rounded once where the machine can.
ITO_SIMD_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return hn::MulAdd(a, b, c); }
/// c - a * b
ITO_SIMD_INLINE Floats negative_multiply_add(Floats a, Floats b, Floats c) { return hn::NegMulAdd(a, b, c); }

/// As many pairs of bfloat16 numbers as a register has floats.
using Bf16Pairs = hn::Vec<hn::ScalableTag<std::uint32_t>>;
ITO_SIMD_INLINE Bf16Pairs load_pairs(const std::uint16_t* pairs) {
    return hn::LoadU(hn::ScalableTag<std::uint32_t>(), reinterpret_cast<const std::uint32_t*>(pairs));
}
ITO_SIMD_INLINE Bf16Pairs broadcast_pair(std::uint32_t pair) { return hn::Set(hn::ScalableTag<std::uint32_t>(), pair); }
ITO_SIMD_INLINE Floats first_of(Bf16Pairs pairs) { return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(pairs)); }
ITO_SIMD_INLINE Floats second_of(Bf16Pairs pairs) { return hn::BitCast(FloatTag(), hn::And(pairs, broadcast_pair(0xFFFF0000u))); }
#else
inline constexpr int lanes = 4;
using Floats = float __attribute__((vector_size(16)));

ITO_SIMD_INLINE Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
ITO_SIMD_INLINE void store(Floats v, float* p) { std::memcpy(p, &v, sizeof v); }
ITO_SIMD_INLINE Floats broadcast(float x) { return Floats{x, x, x, x}; }
ITO_SIMD_INLINE Floats add(Floats a, Floats b) { return a + b; }
ITO_SIMD_INLINE Floats subtract(Floats a, Floats b) { return a - b; }
ITO_SIMD_INLINE Floats multiply(Floats a, Floats b) { return a * b; }
ITO_SIMD_INLINE Floats divide(Floats a, Floats b) { return a / b; }
ITO_SIMD_INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
ITO_SIMD_INLINE Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
ITO_SIMD_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
ITO_SIMD_INLINE Floats negative_multiply_add(Floats a, Floats b, Floats c) { return c - a * b; }

using Bf16Pairs = std::uint32_t __attribute__((vector_size(16)));
ITO_SIMD_INLINE Bf16Pairs load_pairs(const std::uint16_t* pairs) {
    Bf16Pairs v;
    std::memcpy(&v, pairs, sizeof v);
    return v;
}
ITO_SIMD_INLINE Bf16Pairs broadcast_pair(std::uint32_t pair) { return Bf16Pairs{pair, pair, pair, pair}; }
ITO_SIMD_INLINE Floats first_of(Bf16Pairs pairs) {
    pairs <<= 16;
    Floats v;
    std::memcpy(&v, &pairs, sizeof v);
    return v;
}
ITO_SIMD_INLINE Floats second_of(Bf16Pairs pairs) {
    pairs &= 0xFFFF0000u;
    Floats v;
    std::memcpy(&v, &pairs, sizeof v);
    return v;
}
#endif

/// Registers of floats that the machine has: what the accumulators of a kernel must fit into.
#if (ITO_SIMD_HIGHWAY && HWY_CAP_GE512) || defined(__aarch64__)
inline constexpr int registers = 32;
#else
inline constexpr int registers = 16;
#endif

namespace detail {
[[gnu::noinline, gnu::cold]] inline Floats load_few(const float* p, Index count) {
    alignas(64) float room[lanes] = {};
    for (Index i = 0; i < count; ++i) room[i] = p[i];
    return load(room);
}
[[gnu::noinline, gnu::cold]] inline void store_few(Floats v, float* p, Index count) {
    alignas(64) float room[lanes];
    store(v, room);
    for (Index i = 0; i < count; ++i) p[i] = room[i];
}
}  // namespace detail

/// The first `count` of a register's floats, the others zero; all of them where count >= lanes.
ITO_SIMD_INLINE Floats load_part(const float* p, Index count) { return count >= lanes ? load(p) : detail::load_few(p, count); }
ITO_SIMD_INLINE void store_part(Floats v, float* p, Index count) {
    if (count >= lanes) store(v, p);
    else detail::store_few(v, p, count);
}

/// f(0), f(1), .. f(N - 1), unrolled: an array of registers stays in registers only if every loop over it is. A loop and
/// not a pack of constants, for each of which the compiler would make and inline another function.
template <int N, class F>
ITO_SIMD_INLINE void unrolled(F&& f) {
#if defined(__clang__)
#pragma unroll
#else
#pragma GCC unroll 64
#endif
    for (int i = 0; i < N; ++i) f(i);
}

/// f(n) with n, which is in [1, N], as a constant.
template <int N, class F>
ITO_SIMD_INLINE void with_constant(Index n, F&& f) {
    [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
        ((I + 1 == n ? f(std::integral_constant<int, I + 1>()) : void()), ...);
    }(std::make_integer_sequence<int, N>());
}

}  // namespace ito::simd

// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ito/core/shape.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

// What a processor has for products of bfloat16 numbers that are summed in float. These functions carry their
// instruction set themselves and are chosen when the program runs, so that a program compiled for any x86-64 has them.
// A lambda would not inherit the instruction set: hence loops.
namespace ito::simd {

/// Columns of the right matrix that a block takes.
inline constexpr Index bf16_columns = 32;
/// Rows of a block, and numbers of a row that are multiplied at a time: rows are filled up with zeros to a multiple.
inline constexpr Index bf16_rows = 32, bf16_depth = 32;

/// What the memory is asked for while blocks are computed, a little with every step, because it comes next: cache lines
/// of b that follow each other, and rows of results and of what is added to them, of two lines each.
struct Bf16Ahead {
    const char* b = nullptr;
    Index lines = 0, lines_a_step = 0;
    const char *result = nullptr, *residual = nullptr;
    Index rows = 0, rows_a_step = 0, row_bytes = 0;

    inline __attribute__((always_inline)) void ask() {
        for (Index i = std::min(lines, lines_a_step); i > 0; --i, --lines, b += 64) __builtin_prefetch(b, 0, 2);
        for (Index i = std::min(rows, rows_a_step); i > 0; --i, --rows, result += row_bytes) {
            __builtin_prefetch(result, 0, 2);
            __builtin_prefetch(result + 64, 0, 2);
            if (!residual) continue;
            __builtin_prefetch(residual, 0, 2);
            __builtin_prefetch(residual + 64, 0, 2);
            residual += row_bytes;
        }
    }
};

/// c [rows, width] = or += the sum over taps t of a(t) [rows, depth] times b(t) [depth, width].
struct Bf16Block {
    const std::uint16_t* a;   // row r of a(t) is at a + offsets[t] + r * row_stride
    const Index* offsets;     // [taps]
    Index taps, depth, row_stride;
    const std::uint16_t* b;   // [taps, depth / 2, width, 2]: pairs of rows
    Index width;              // 16 or 32
    Index rows;               // up to bf16_rows; rows of a and c up to a multiple of 16 can be read and written
    float* c;
    Index c_stride;
    bool adds;
    Bf16Ahead* ahead;         // or null
};

/// One way to compute with bfloat16. Sums differ between them in their order only.
struct Bf16Path {
    const char* name;
    /// to[0..count) = from, rounded to nearest, ties to even; NaN stays NaN. Subnormal numbers may become zero.
    void (*round)(const float* from, Index count, std::uint16_t* to);
    /// Rounds two rows and lays them as pairs: to [count, 2].
    void (*round_pairs)(const float* even, const float* odd, Index count, std::uint16_t* to);
    void (*block)(const Bf16Block& block);
    /// Around blocks, in the thread that computes them.
    void (*begin)();
    void (*end)();

    /// Between these the thread may compute blocks.
    class Scope {
      public:
        explicit Scope(const Bf16Path& path) : path_(path) { path_.begin(); }
        ~Scope() { path_.end(); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        const Bf16Path& path_;
    };
};

namespace detail {

#if defined(__x86_64__)
#define ITO_BF16_DOT __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define ITO_BF16_TILES __attribute__((target("amx-tile,amx-bf16")))

ITO_BF16_DOT inline void round_to_bf16_avx512(const float* from, Index count, std::uint16_t* to) {
    Index i = 0;
    for (; i + 16 <= count; i += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
    if (i == count) return;
    const auto rest = static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm256_mask_storeu_epi16(to + i, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, from + i)));
}

/// Rounded, in the lower half of 32 bits each.
ITO_BF16_DOT inline __m512i rounded_to_bf16_avx512(__m512 x) {
    return _mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)_mm512_cvtneps_pbh(x));  // without a mask g++ 12 warns
}

ITO_BF16_DOT inline void round_pairs_to_bf16_avx512(const float* even, const float* odd, Index count,
                                                    std::uint16_t* to) {
    for (Index i = 0; i < count; i += 16) {
        const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1);
        const __m512i low = rounded_to_bf16_avx512(_mm512_maskz_loadu_ps(mask, even + i));
        const __m512i high = rounded_to_bf16_avx512(_mm512_maskz_loadu_ps(mask, odd + i));
        _mm512_mask_storeu_epi32(to + 2 * i, mask, _mm512_or_si512(low, _mm512_maskz_slli_epi32(0xffff, high, 16)));
    }
}

/// Rows [row, row + Rows) of a block by VDPBF16PS.
template <int Rows, int Vectors>
ITO_BF16_DOT void bf16_rows_avx512(const Bf16Block& s, Index row) {
    __m512 sum[Rows][Vectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v)
            sum[r][v] = s.adds ? _mm512_loadu_ps(s.c + (row + r) * s.c_stride + v * 16) : _mm512_setzero_ps();
    const std::uint16_t* b = s.b;
    for (Index tap = 0; tap < s.taps; ++tap) {
        const std::uint16_t* const a = s.a + s.offsets[tap] + row * s.row_stride;
        for (Index k = 0; k < s.depth; k += 2, b += Vectors * 32) {
            __m512i right[Vectors];
#pragma GCC unroll 2
            for (int v = 0; v < Vectors; ++v) right[v] = _mm512_loadu_si512(b + v * 32);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r) {
                int pair;
                std::memcpy(&pair, a + r * s.row_stride + k, sizeof pair);
                const __m512i left = _mm512_set1_epi32(pair);
#pragma GCC unroll 2
                for (int v = 0; v < Vectors; ++v)
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)left, (__m512bh)right[v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) _mm512_storeu_ps(s.c + (row + r) * s.c_stride + v * 16, sum[r][v]);
}

inline void bf16_block_avx512(const Bf16Block& s) {
    for (Index row = 0; row < s.rows; row += 8) {
        if (s.width == 32) bf16_rows_avx512<8, 2>(s, row);
        else bf16_rows_avx512<8, 1>(s, row);
    }
}

/// Rows and Columns count tiles of 16.
template <int Rows, int Columns>
ITO_BF16_TILES void bf16_tiles(const Bf16Block& s) {
    const Index a_stride = 2 * s.row_stride, b_stride = Columns * 64, c_stride = 4 * s.c_stride;
    float *const c = s.c, *const lower = s.c + 16 * s.c_stride;
    asm volatile("" ::: "memory");  // g++'s loads of tiles do not tell that they read memory
    if (s.adds) {
        _tile_loadd(0, c, c_stride);
        if constexpr (Columns == 2) _tile_loadd(1, c + 16, c_stride);
        if constexpr (Rows == 2) _tile_loadd(2, lower, c_stride);
        if constexpr (Rows == 2 && Columns == 2) _tile_loadd(3, lower + 16, c_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    Bf16Ahead nothing, &ahead = s.ahead ? *s.ahead : nothing;
    const std::uint16_t* b = s.b;
    for (Index tap = 0; tap < s.taps; ++tap) {
        const std::uint16_t* a = s.a + s.offsets[tap];
        for (Index k = 0; k < s.depth; k += bf16_depth, a += bf16_depth, b += bf16_depth * 16 * Columns) {
            ahead.ask();
            _tile_loadd(6, b, b_stride);
            if constexpr (Columns == 2) _tile_loadd(7, b + 32, b_stride);
            _tile_loadd(4, a, a_stride);
            if constexpr (Rows == 2) _tile_loadd(5, a + 16 * s.row_stride, a_stride);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (Columns == 2) _tile_dpbf16ps(1, 4, 7);
            if constexpr (Rows == 2) _tile_dpbf16ps(2, 5, 6);
            if constexpr (Rows == 2 && Columns == 2) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, c_stride);
    if constexpr (Columns == 2) _tile_stored(1, c + 16, c_stride);
    if constexpr (Rows == 2) _tile_stored(2, lower, c_stride);
    if constexpr (Rows == 2 && Columns == 2) _tile_stored(3, lower + 16, c_stride);
    asm volatile("" ::: "memory");
}

inline void bf16_block_amx(const Bf16Block& s) {
    if (s.rows > 16) {
        if (s.width == 32) bf16_tiles<2, 2>(s);
        else bf16_tiles<2, 1>(s);
    } else {
        if (s.width == 32) bf16_tiles<1, 2>(s);
        else bf16_tiles<1, 1>(s);
    }
}

ITO_BF16_TILES inline void begin_amx() {
    // Intel's manual, volume 1, 18.3: palette 1, then the bytes of a row (from byte 16 on) and the rows of each tile.
    struct alignas(64) {
        std::uint8_t palette, start, reserved[14];
        std::uint16_t row_bytes[16];
        std::uint8_t rows[16];
    } config = {};
    config.palette = 1;
    for (int i = 0; i < 8; ++i) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    asm volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}
ITO_BF16_TILES inline void end_amx() { _tile_release(); }

inline bool has_avx512_bf16() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16");
}

/// Whether processor and system have tiles: Linux gives their registers to a process that asks for them once.
inline bool has_amx() {
#if defined(__linux__)
    unsigned a, b, c, d;
    if (!has_avx512_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned bf16_bit = 1u << 22, tile_bit = 1u << 24;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return (d & bf16_bit) && (d & tile_bit) && ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

#undef ITO_BF16_DOT
#undef ITO_BF16_TILES
#endif

}  // namespace detail

/// The paths for which this processor has instructions, the best first.
inline std::vector<Bf16Path> native_bf16_paths() {
    std::vector<Bf16Path> found;
#if defined(__x86_64__)
    using namespace detail;
    constexpr auto round = round_to_bf16_avx512;
    constexpr auto round_pairs = round_pairs_to_bf16_avx512;
    if (has_amx()) found.push_back({"AMX", round, round_pairs, bf16_block_amx, begin_amx, end_amx});
    if (has_avx512_bf16()) found.push_back({"AVX512_BF16", round, round_pairs, bf16_block_avx512, [] {}, [] {}});
#endif
    return found;
}

}  // namespace ito::simd

// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "ito/core/normal.hpp"
#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"

namespace ito {

/// Philox 4x32-10: a bijection of 128-bit counters chosen by a 64-bit key.
/// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3.
struct Philox {
    using Counter = std::array<std::uint32_t, 4>;
    using Key = std::array<std::uint32_t, 2>;

    static constexpr void round(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2, std::uint32_t& c3,
                                std::uint32_t k0, std::uint32_t k1) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
        c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<std::uint32_t>(p1);
        c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<std::uint32_t>(p0);
    }

    static constexpr void next_round(Key& k) {
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }

    static constexpr Counter apply(Counter c, Key k) {
        for (int i = 0; i < 10; ++i, next_round(k)) round(c[0], c[1], c[2], c[3], k[0], k[1]);
        return c;
    }
};

/// Who asks for random numbers: streams of different purpose never meet, whatever their seed, sample and step.
enum class Stream : std::uint16_t { initial, step, data, timestep, noise, dropout, parameter, augment, label, probe, path, user = 1024 };

/// Names one sequence of random numbers. Equal keys give equal numbers on every machine, in any order of asking.
struct RandomKey {
    std::uint64_t seed = 0;
    std::uint64_t sample = 0;  // below 2^48
    std::uint32_t step = 0;
    Stream stream = Stream::step;

    constexpr Philox::Key philox_key() const {
        return {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
    }
    constexpr Philox::Counter counter(std::uint32_t block) const {
        return {block, step, static_cast<std::uint32_t>(sample),
                (static_cast<std::uint32_t>(sample >> 32) & 0xFFFF) | static_cast<std::uint32_t>(stream) << 16};
    }

    /// The four 32-bit numbers of the given block.
    constexpr Philox::Counter numbers(std::uint32_t block) const { return Philox::apply(counter(block), philox_key()); }
};

namespace detail {

/// log(x) for normal x > 0, to 2 ulp, by the series of 2 atanh((m-1)/(m+1)): no libm, so that the compiler can
/// vectorise it and every machine gives the same noise.
inline double log_positive(double x) {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    // Exponent such that the mantissa m lies in [1/sqrt 2, sqrt 2).
    const std::uint64_t shifted = bits - 0x3FE6A09E667F3BCD;
    const std::uint64_t e = (shifted >> 52) & 0xFFF;
    const double m = std::bit_cast<double>(bits - (e << 52));
    // e is a 12-bit two's complement number; read it as a double without a 64-bit conversion.
    const double exponent = std::bit_cast<double>(0x4330000000000000 | (e ^ 0x800)) - (4503599627370496.0 + 2048.0);
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 1.0 / 23;
    p = p * q + 1.0 / 21;
    p = p * q + 1.0 / 19;
    p = p * q + 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    return exponent * 0.69314718055994530942 + 2 * (s + s * q * p);
}

// Box and Muller (1958): two independent standard normals, sqrt(-2 log u) (cos, sin)(2 pi v), of two 32-bit numbers,
// in two parts, because a square root that may set errno would not vectorise.

/// -2 log u for u = (a + 1/2) / 2^32.
inline double squared_radius(std::uint32_t a) {
    const double whole = std::bit_cast<double>(0x4330000000000000 | std::uint64_t{a}) - 4503599627370496.0;
    return -2 * log_positive((whole + 0.5) * 0x1p-32);
}

/// (cos, sin) of 2 pi b / 2^32, times the radius.
inline void on_circle(double radius, std::uint32_t b, double& first, double& second) {
    // The angle 2 pi b / 2^32 is quadrant * pi/2 + x with x in [-pi/4, pi/4].
    const std::uint32_t turned = b + 0x20000000, quadrant = turned >> 30;
    const double fraction =
        std::bit_cast<double>(0x4330000000000000 | std::uint64_t{turned & 0x3FFFFFFF}) - (4503599627370496.0 + 536870912.0);
    const double x = fraction * (1.57079632679489661923 * 0x1p-30), q = x * x;
    double s = -1.0 / 1307674368000;
    s = s * q + 1.0 / 6227020800;
    s = s * q - 1.0 / 39916800;
    s = s * q + 1.0 / 362880;
    s = s * q - 1.0 / 5040;
    s = s * q + 1.0 / 120;
    s = s * q - 1.0 / 6;
    s = x + x * q * s;
    double c = 1.0 / 20922789888000;
    c = c * q - 1.0 / 87178291200;
    c = c * q + 1.0 / 479001600;
    c = c * q - 1.0 / 3628800;
    c = c * q + 1.0 / 40320;
    c = c * q - 1.0 / 720;
    c = c * q + 1.0 / 24;
    c = c * q - 1.0 / 2;
    c = 1 + q * c;
    // Odd quadrants swap sine and cosine; the signs follow. In integers, because branches would not vectorise.
    const auto sine = std::bit_cast<std::uint64_t>(s), cosine = std::bit_cast<std::uint64_t>(c);
    const std::uint64_t changed = (sine ^ cosine) & (0 - std::uint64_t{quadrant & 1});
    const std::uint64_t negative_cosine = std::uint64_t{(quadrant + 1) & 2} << 62, negative_sine = std::uint64_t{quadrant & 2} << 62;
    first = radius * std::bit_cast<double>((cosine ^ changed) ^ negative_cosine);
    second = radius * std::bit_cast<double>((sine ^ changed) ^ negative_sine);
}

/// Of an even number of values, rounded exactly.
template <std::size_t N>
void square_roots(std::array<double, N>& values) {
#if defined(__SSE2__)
    for (std::size_t i = 0; i < N; i += 2) _mm_storeu_pd(&values[i], _mm_sqrt_pd(_mm_loadu_pd(&values[i])));
#else
    for (double& v : values) v = std::sqrt(v);
#endif
}

/// Normals of `double_lanes` counters from `block` on, in double precision: enough at a time for the compiler to
/// vectorise. Never inlined, because compilers contract to fused multiply-adds differently from place to place.
inline constexpr std::size_t double_lanes = 16;
[[gnu::noinline]] inline void normal_blocks_in_double(const RandomKey& key, std::uint32_t block,
                                                      std::array<double, 4 * double_lanes>& normals) {
    std::array<std::uint32_t, double_lanes> c0, c1, c2, c3;
    for (std::size_t i = 0; i < double_lanes; ++i) {
        const auto c = key.counter(block + static_cast<std::uint32_t>(i));
        c0[i] = c[0], c1[i] = c[1], c2[i] = c[2], c3[i] = c[3];
    }
    auto k = key.philox_key();
    for (int round = 0; round < 10; ++round, Philox::next_round(k))
        for (std::size_t i = 0; i < double_lanes; ++i) Philox::round(c0[i], c1[i], c2[i], c3[i], k[0], k[1]);
    std::array<double, double_lanes> first, second;
    for (std::size_t i = 0; i < double_lanes; ++i) first[i] = squared_radius(c0[i]), second[i] = squared_radius(c2[i]);
    square_roots(first);
    square_roots(second);
    for (std::size_t i = 0; i < double_lanes; ++i) {
        on_circle(first[i], c1[i], normals[4 * i], normals[4 * i + 1]);
        on_circle(second[i], c3[i], normals[4 * i + 2], normals[4 * i + 3]);
    }
}

/// Normals in double precision.
template <class T>
void fill_normal_in_double(std::span<T> out, const RandomKey& key, std::size_t first) {
    std::array<double, 4 * double_lanes> normals;
    for (std::size_t start = 0; start < out.size(); start += normals.size()) {
        normal_blocks_in_double(key, static_cast<std::uint32_t>((first + start) / 4), normals);
        const std::size_t count = std::min(normals.size(), out.size() - start);
        std::transform(normals.begin(), normals.begin() + static_cast<std::ptrdiff_t>(count),
                       out.begin() + static_cast<std::ptrdiff_t>(start), [](double n) { return static_cast<T>(n); });
    }
}

}  // namespace detail

/// Standard normals: out[i] is element first + i of the key's sequence, which depends on the key and the place only.
/// `first` must be a multiple of 4. Floats are computed in single precision with the same bits on every machine (see
/// normal.hpp), within 1e-6 of the doubles, which are computed in double precision.
template <class T>
void fill_normal(std::span<T> out, const RandomKey& key, std::size_t first = 0) {
    static_assert(std::is_floating_point_v<T>);
    if constexpr (std::is_same_v<T, float>) {
        const detail::NormalKeys keys(key.philox_key(), key.counter(0));
        constexpr std::size_t group = 4 * detail::normal_lanes, most = group * detail::most_normal_groups;
        for (std::size_t start = 0; start < out.size(); start += most) {
            const std::size_t count = std::min(most, out.size() - start), whole = count / group;
            const auto block = static_cast<std::uint32_t>((first + start) / 4);
            detail::normal_groups(keys, block, static_cast<int>(whole), out.data() + start);
            if (whole * group == count) continue;
            std::array<float, group> rest;
            detail::normal_groups(keys, block + static_cast<std::uint32_t>(whole * detail::normal_lanes), 1, rest.data());
            std::copy_n(rest.begin(), count - whole * group, out.data() + start + whole * group);
        }
    } else {
        detail::fill_normal_in_double(out, key, first);
    }
}

/// Uniform numbers in [0, 1) with 24 (float) or 32 (double) random bits: element i depends on the key and i only.
template <class T>
void fill_uniform(std::span<T> out, const RandomKey& key) {
    static_assert(std::is_floating_point_v<T>);
    for (std::size_t i = 0; i < out.size(); i += 4) {
        const auto r = key.numbers(static_cast<std::uint32_t>(i / 4));
        for (std::size_t j = 0; j < 4 && i + j < out.size(); ++j)
            out[i + j] = std::is_same_v<T, float> ? static_cast<T>(r[j] >> 8) * T(0x1p-24) : static_cast<T>(r[j]) * T(0x1p-32);
    }
}

/// Standard normals for x [N, ...]: sample k (row k) is keyed by (seed, first_sample + k, step, stream), so it does not
/// depend on the size of the batch that it is in.
template <class T>
void fill_normal(Tensor<T>& x, std::uint64_t seed, std::uint64_t first_sample = 0, std::uint32_t step = 0,
                 Stream stream = Stream::step) {
    const Index samples = x.rank() ? x.dim(0) : 1, size = samples ? x.size() / samples : 0;
    parallel_for(samples, std::max<Index>(1, 4096 / std::max<Index>(1, size)), [&](Index begin, Index end) {
        for (Index k = begin; k < end; ++k)
            fill_normal(std::span<T>(x.data() + k * size, static_cast<std::size_t>(size)),
                    RandomKey{seed, first_sample + static_cast<std::uint64_t>(k), step, stream});
    });
}

/// Uniform numbers in [0, 1) for x [N, ...], keyed as fill_normal does.
template <class T>
void fill_uniform(Tensor<T>& x, std::uint64_t seed, std::uint64_t first_sample = 0, std::uint32_t step = 0,
                  Stream stream = Stream::step) {
    const Index samples = x.rank() ? x.dim(0) : 1, size = samples ? x.size() / samples : 0;
    parallel_for(samples, std::max<Index>(1, 4096 / std::max<Index>(1, size)), [&](Index begin, Index end) {
        for (Index k = begin; k < end; ++k)
            fill_uniform(std::span<T>(x.data() + k * size, static_cast<std::size_t>(size)),
                    RandomKey{seed, first_sample + static_cast<std::uint64_t>(k), step, stream});
    });
}

/// Numbers one after another from one key: for shuffles, choices and single draws. Its whole state is public and
/// small, so that a checkpoint can hold it.
struct Random {
    RandomKey key;
    std::uint64_t position = 0;  // 32-bit words drawn so far

    std::uint32_t next() {
        const auto word = key.numbers(static_cast<std::uint32_t>(position / 4))[position % 4];
        ++position;
        return word;
    }

    /// In [0, 1), 53 random bits.
    double uniform() {
        const std::uint64_t high = next(), low = next();
        return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
    }

    double normal() {
        const std::uint32_t a = next(), b = next();
        double first, second;
        detail::on_circle(std::sqrt(detail::squared_radius(a)), b, first, second);
        return first;
    }

    /// In [0, count), from 64 random bits, so the bias is below 2^-32. Throws ArgumentError unless 0 < count < 2^32.
    Index below(Index count) {
        if (count <= 0 || count > 0xFFFFFFFF)
            throw ArgumentError("a random choice among " + std::to_string(count) + " things");
        const auto n = static_cast<std::uint64_t>(count);
        const std::uint64_t high = next(), low = next();
        return static_cast<Index>((high * n + (low * n >> 32)) >> 32);
    }

    /// A uniformly random order (Fisher and Yates).
    template <class V>
    void shuffle(std::span<V> values) {
        for (std::size_t i = values.size(); i > 1; --i)
            std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<Index>(i)))]);
    }
};

}  // namespace ito

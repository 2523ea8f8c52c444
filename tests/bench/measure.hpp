// SPDX-License-Identifier: MIT
// What the benchmarks measure with: repeats, the machine's multiply-add peak, memory.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/simd/lanes.hpp"

namespace bench {

using ito::Index;

/// Milliseconds that f takes.
template <class F>
double milliseconds(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

/// Adds to times the milliseconds of as many calls as fit into the budget, and of `least` calls at least.
template <class F>
void repeat(double seconds, Index least, std::vector<double>& times, F&& f) {
    double spent = 0;
    for (Index i = 0; i < least || spent < seconds * 1000; ++i) {
        times.push_back(milliseconds(f));
        spent += times.back();
    }
}

inline double best(const std::vector<double>& times) { return *std::min_element(times.begin(), times.end()); }

inline double median(std::vector<double> times) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
}

/// GF/s of multiply-adds that touch nothing but registers, on every thread of the current pool: the best of pieces of
/// about a millisecond over the given time.
inline double peak_gflops(double seconds) {
    namespace simd = ito::simd;
    constexpr int registers = 12;
    constexpr Index rounds = 4000, pieces = 16;
    std::vector<float> sinks(static_cast<std::size_t>(pieces * simd::lanes));
    volatile float almost_one = 0.999f;
    const float factor = almost_one;
    const auto spin = [&](Index piece) {
        simd::Floats sums[registers];
        simd::unrolled<registers>([&](auto r) __attribute__((always_inline)) { sums[r] = simd::broadcast(factor * float(r)); });
        const simd::Floats f = simd::broadcast(factor);
        for (Index i = 0; i < rounds; ++i)
            simd::unrolled<registers>([&](auto r) __attribute__((always_inline)) { sums[r] = simd::multiply_add(sums[r], f, f); });
        simd::unrolled<registers - 1>([&](auto r) __attribute__((always_inline)) { sums[0] = simd::add(sums[0], sums[r + 1]); });
        simd::store(sums[0], sinks.data() + piece * simd::lanes);
    };
    const Index count = pieces * ito::ThreadPool::current().threads();
    const auto all = [&] {
        auto piece = [&](Index i) { spin(i % pieces); };
        ito::ThreadPool::current().run(count, piece);
    };
    const double flops = 2.0 * registers * simd::lanes * static_cast<double>(rounds * count);
    std::vector<double> times;
    repeat(seconds, 5, times, all);
    return flops / best(times) * 1e-6;
}

/// Resident memory of this process in MB (10^6 bytes): now ("VmRSS") or the most so far ("VmHWM"); 0 where Linux does not say.
inline double resident_mb(const std::string& key) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind(key + ":", 0) == 0) return std::stod(line.substr(key.size() + 1)) * 1024e-6;
    return 0;
}

/// First touches of pages since the process began: fresh memory shows here however it was asked for.
inline Index page_faults() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

}  // namespace bench

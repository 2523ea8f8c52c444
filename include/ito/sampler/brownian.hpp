// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/sampler/sampler.hpp"

namespace ito {

/// Noise as a path: one Brownian motion W for each element of each sample, over the signal-to-noise ratio
/// u = alpha^2 / sigma^2, in which the noise of the reverse SDE adds up exactly. Whatever levels a run stops at, it
/// sees the same path: with more steps it follows the same trajectory more closely. Sample k's path depends on the seed
/// and first_sample + k alone. Nothing is kept between calls: a virtual tree (Li et al., "Scalable gradients for
/// stochastic differential equations", 2020, section 4) finds W by bridges between halves in log u, and linearly between
/// neighbours less than 1e-6 apart. As NoiseOf it gives the increment over an interval divided by its deviation; draws
/// beside the step's own are white noise.
struct BrownianPath {
    std::uint64_t seed = 0;
    std::uint64_t first_sample = 0;

    /// N(0, 1) for each element of z [N, ...]. Throws ArgumentError for levels outside of what the tree covers,
    /// sigma / alpha from 1.2e-7 (or exactly 0) up.
    template <class T>
    void operator()(Tensor<T>& z, const Interval& interval) const {
        if (interval.draw > 0) return WhiteNoise{seed, first_sample}(z, interval);
        const double gained = ratio(interval.to) - ratio(interval.from);
        if (!std::isfinite(gained)) return for_each_sample(z, [&](std::span<T> row, std::uint64_t sample) {
            fill_normal(row, key(sample, beyond));  // what comes later outweighs all before
        });
        fill(z, interval, gained == 0 ? 0 : 1 / std::sqrt(std::abs(gained)));
    }

    /// W at the interval's end less W at its start: of deviation sqrt(u_to - u_from), negative times of an interval
    /// turned round. W(a, c) = W(a, b) + W(b, c) to rounding. Throws as above, and where sigma = 0.
    template <class T>
    void increment(Tensor<T>& w, const Interval& interval) const {
        fill(w, interval, 1);
    }

  private:
    static constexpr int depth = 25;
    static constexpr double half_range = 16;  // of log(alpha / sigma)
    static constexpr std::uint32_t lowest = 0, highest = 0x80000000u, beyond = 0x80000001u;  // inner nodes are 1 .. 2^depth - 1

    RandomKey key(std::uint64_t sample, std::uint32_t node) const { return {seed, sample, node, Stream::path}; }

    static double ratio(const NoiseLevel& level) { return level.alpha * level.alpha / (level.sigma * level.sigma); }

    template <class T, class F>
    void for_each_sample(Tensor<T>& z, F f) const {
        const Index samples = z.rank() ? z.dim(0) : 1, size = z.size() / std::max<Index>(1, samples);
        parallel_for(samples, std::max<Index>(1, 256 / std::max<Index>(1, size)), [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k)
                f(std::span<T>(z.data() + k * size, static_cast<std::size_t>(size)), first_sample + static_cast<std::uint64_t>(k));
        });
    }

    template <class T>
    void fill(Tensor<T>& z, const Interval& interval, double scale) const {
        const std::array<double, 2> ends{half_log_snr(interval.from), half_log_snr(interval.to)};
        for (const double end : ends)
            if (!(end <= half_range))
                throw ArgumentError("a Brownian path has no noise up to log(alpha / sigma) = " + std::to_string(end));
        for_each_sample(z, [&](std::span<T> row, std::uint64_t sample) {
            Eigen::ArrayXd from(row.size()), to(row.size());
            find(from, sample, ends[0]);
            find(to, sample, ends[1]);
            ArrayMap<T>(row.data(), static_cast<Index>(row.size())) = (scale * (to - from)).template cast<T>();
        });
    }

    /// w = W at log(alpha / sigma) = lambda for every element of the sample.
    void find(Eigen::ArrayXd& w, std::uint64_t sample, double lambda) const {
        const auto size = w.size();
        Eigen::ArrayXd normal(size), other(size);
        const auto draw = [&](std::uint32_t node) { fill_normal(std::span<double>(normal.data(), static_cast<std::size_t>(size)), key(sample, node)); };
        const auto u_of = [](double at) { return std::exp(2 * at); };

        double low = -half_range, high = half_range, u_low = u_of(low), u_high = u_of(high);
        draw(lowest);
        w = std::sqrt(u_low) * normal;
        if (lambda <= low) {  // before the tree: linear from W(0) = 0
            w *= u_of(lambda) / u_low;
            return;
        }
        draw(highest);
        other = w + std::sqrt(u_high - u_low) * normal;  // W at the high end, w at the low one
        std::uint32_t node = 1;
        for (int level = 0; level < depth; ++level) {
            const double middle = (low + high) / 2, u = u_of(middle), share = (u - u_low) / (u_high - u_low);
            draw(node);
            normal = w + share * (other - w) + std::sqrt(share * (u_high - u)) * normal;
            const bool upper = lambda >= middle;
            if (upper) {
                w.swap(normal);
                low = middle, u_low = u;
            } else {
                other.swap(normal);
                high = middle, u_high = u;
            }
            node = 2 * node + (upper ? 1 : 0);
        }
        w += (u_of(lambda) - u_low) / (u_high - u_low) * (other - w);
    }
};

}  // namespace ito

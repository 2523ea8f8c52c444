// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/activation.hpp"
#include "ito/ops/dispatch.hpp"
#include "ito/simd/group_norm.hpp"

namespace ito::ops {

struct GroupNorm {
    Index groups = 32;
    double epsilon = 1e-5;
    Activation activation = Activation::none;
};

namespace detail {

/// How a group norm goes through `samples` samples of x [N, .., C] from `first` on: `rows` rows of C channels a sample,
/// in strips.
struct Strips {
    Index first, samples, rows, channels, groups;
    Index height = simd::strip_rows(channels), count = (rows + height - 1) / height;

    Index width() const { return channels / groups; }

    /// f(strips of some of the samples), on all threads, for work that goes through a sample more than once: a thread
    /// that has samples of its own finds them in its cache.
    template <class F>
    void for_samples(F&& f) const {
        const Index threads = ThreadPool::current().threads();
        const Index together = samples % threads == 0 || samples >= 4 * threads ? 1 : samples;
        parallel_for(samples, together, [&](Index begin, Index end) { f(Strips{first + begin, end - begin, rows, channels, groups}); });
    }

    /// f(sample, strip, offset of its first number, its rows), on all threads.
    template <class F>
    void for_each(F&& f) const {
        parallel_for(samples * count, 1, [&](Index begin, Index end) {
            for (Index piece = begin; piece < end; ++piece) {
                const Index n = first + piece / count, strip = piece % count, row = strip * height;
                f(n, strip, (n * rows + row) * channels, std::min(height, rows - row));
            }
        });
    }
};

/// What y = act(x * slope + shift) takes for each sample and channel. [N, 4, C]
template <class T>
class NormFactors {
  public:
    NormFactors(Index samples, Index channels) : channels_(channels), values_({samples, 4, channels}) {}

    T* mean(Index n) { return at(n, 0); }
    T* inverse(Index n) { return at(n, 1); }  // of the deviation
    T* slope(Index n) { return at(n, 2); }
    T* shift(Index n) { return at(n, 3); }

  private:
    T* at(Index n, Index row) { return values_.data() + (n * 4 + row) * channels_; }

    Index channels_;
    Tensor<T> values_;
};

/// Mean and inverse deviation of every group, repeated over its channels. Every strip has its own mean and squared
/// distances from it, and these are put together in double (Chan, Golub and LeVeque 1979): one pass over memory, and
/// nothing is lost where the mean is far larger than the deviation. Returns the means before they were rounded, [samples, groups].
template <class T>
Tensor<double> find_moments(const Strips& s, const T* x, double epsilon, NormFactors<T>& factors) {
    Tensor<double> moments({s.samples, s.count, s.groups, 2});
    s.for_each([&](Index n, Index strip, Index offset, Index rows) {
        Tensor<T> means({s.channels}), squares({s.channels});
        simd::strip_moments(x + offset, rows, s.channels, means.data(), squares.data());
        double* to = moments.data() + ((n - s.first) * s.count + strip) * s.groups * 2;
        const T *mean = means.data(), *square = squares.data();
        for (Index group = 0; group < s.groups; ++group, mean += s.width(), square += s.width()) {
            double total = 0, apart = 0;
            for (Index c = 0; c < s.width(); ++c) total += static_cast<double>(mean[c]);
            total /= static_cast<double>(s.width());
            for (Index c = 0; c < s.width(); ++c) {
                const double d = static_cast<double>(mean[c]) - total;
                apart += static_cast<double>(square[c]) + static_cast<double>(rows) * d * d;
            }
            *to++ = total;
            *to++ = apart;
        }
    });
    Tensor<double> exact({s.samples, s.groups});
    parallel_for(s.samples * s.groups, 64, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            const Index n = s.first + i / s.groups, group = i % s.groups;
            const double* strip = moments.data() + (i / s.groups * s.count * s.groups + group) * 2;
            double count = 0, mean = 0, apart = 0;
            for (Index k = 0; k < s.count; ++k, strip += s.groups * 2) {
                const double more = static_cast<double>(std::min(s.height, s.rows - k * s.height) * s.width());
                const double d = strip[0] - mean;
                mean += d * more / (count + more);
                apart += strip[1] + d * d * count * more / (count + more);
                count += more;
            }
            exact[i] = mean;
            std::fill_n(factors.mean(n) + group * s.width(), s.width(), static_cast<T>(mean));
            std::fill_n(factors.inverse(n) + group * s.width(), s.width(), static_cast<T>(1 / std::sqrt(apart / count + epsilon)));
        }
    });
    return exact;
}

}  // namespace detail

/// Group normalisation (Wu and He 2018), an optional scale and shift per sample, and an activation, in one operation:
/// y = act((x - mean_g) / sqrt(var_g + epsilon) * gamma * (1 + scale) + beta * (1 + scale) + shift).
/// x [N, .., C], gamma and beta [C], scale_shift [N, 2 C] (scales first) or empty -> [N, .., C]. An x that is moved here and
/// that nobody else has becomes the result.
/// Throws ShapeError if C is not a multiple of the groups or a parameter does not fit.
template <class T>
Var<T> group_norm(Var<T> x, const Parameter<T>& gamma, const Parameter<T>& beta, const GroupNorm& how,
                  const Var<T>& scale_shift = {}) {
    const Index n = x->dim(0), channels = x->dim(-1);
    if (how.groups < 1 || channels % how.groups != 0)
        throw ShapeError("group norm: " + std::to_string(how.groups) + " groups do not divide the channels of " + x.shape().str());
    require_shape("group norm: weight", {channels}, gamma.value.shape());
    require_shape("group norm: bias", {channels}, beta.value.shape());
    if (scale_shift) require_shape("group norm: scale and shift", {n, 2 * channels}, scale_shift.shape());
    const detail::Strips strips{0, n, x->size() ? x->size() / (n * channels) : 0, channels, how.groups};
    const Activation activation = how.activation;

    const Profile::Timer timer("group norm", x.shape());
    detail::NormFactors<T> factors(n, channels);
    Tensor<T>* const spare = scale_shift.tape() ? nullptr : x.spare();
    Tensor<T> y = spare ? Tensor<T>() : Tensor<T>(x.shape());
    const T* const from = x->data();
    T* const to = spare ? spare->data() : y.data();
    strips.for_samples([&](const detail::Strips& some) {
        const Tensor<double> means = detail::find_moments(some, from, how.epsilon, factors);
        for (Index k = 0; k < some.samples; ++k) {
            const Index i = some.first + k;
            const T* scales = scale_shift ? scale_shift->data() + i * 2 * channels : nullptr;
            for (Index c = 0; c < channels; ++c) {
                const T scale = scales ? T(1) + scales[c] : T(1), offset = scales ? scales[channels + c] : T(0);
                factors.slope(i)[c] = gamma.value[c] * scale * factors.inverse(i)[c];
                // In double, so that x = mean gives 0 to one rounding, however far the mean is from 0.
                const double of_mean = means[k * how.groups + c / strips.width()] * static_cast<double>(factors.slope(i)[c]);
                factors.shift(i)[c] = static_cast<T>(static_cast<double>(beta.value[c] * scale + offset) - of_mean);
            }
        }
        some.for_each([&](Index i, Index, Index offset, Index rows) {
            simd::affine_rows(activation, from + offset, rows, channels, factors.slope(i), factors.shift(i), to + offset);
        });
    });
    if (spare) return x;

    Tape<T>* tape = common_tape(x, scale_shift);
    if (!tape) return Var<T>(std::move(y));
    const Var<T> g = use(tape, gamma), b = use(tape, beta);
    auto pullback = [=, factors = std::move(factors)](Tensor<T>& dy) mutable {
        const Profile::Timer timer("group norm backward", x.shape());
        // Sums over the rows of a sample of da, the gradient of the activation's argument, and of da * normal, with
        // normal = (x - mean) * inverse.
        Tensor<T> partial({n, strips.count, 2, channels}), plain({n, channels}), weighted({n, channels});
        strips.for_each([&](Index i, Index strip, Index offset, Index rows) {
            T* to = partial.data() + (i * strips.count + strip) * 2 * channels;
            simd::affine_gradient_sums(activation, x->data() + offset, rows, channels, factors.slope(i), factors.shift(i),
                                       factors.mean(i), dy.data() + offset, to, to + channels);
        });
        // dx = (dn - mean(dn) - normal * mean(dn * normal)) * inverse with dn = da * slope / inverse, means over a group
        Tensor<T> constant({n, channels}), by_x({n, channels});
        parallel_for(n * how.groups, 16, [&](Index begin, Index end) {
            for (Index piece = begin; piece < end; ++piece) {
                const Index i = piece / how.groups, first = piece % how.groups * strips.width();
                const T *slope = factors.slope(i), inverse = factors.inverse(i)[first], mean = factors.mean(i)[first];
                double dn = 0, dn_normal = 0;
                for (Index c = first; c < first + strips.width(); ++c) {
                    double sum = 0, product = 0;
                    for (Index strip = 0; strip < strips.count; ++strip) {
                        const T* from = partial.data() + (i * strips.count + strip) * 2 * channels + c;
                        sum += static_cast<double>(from[0]);
                        product += static_cast<double>(from[channels]);
                    }
                    product *= static_cast<double>(inverse);
                    plain(i, c) = static_cast<T>(sum);
                    weighted(i, c) = static_cast<T>(product);
                    dn += sum * static_cast<double>(slope[c]);
                    dn_normal += product * static_cast<double>(slope[c]);
                }
                const double count = static_cast<double>(strips.rows * strips.width());
                const T factor = static_cast<T>(dn_normal / count) * inverse;
                std::fill_n(&by_x(i, first), strips.width(), factor);
                std::fill_n(&constant(i, first), strips.width(), static_cast<T>(dn / count) - mean * factor);
            }
        });
        Tensor<T> dgamma = Tensor<T>::zeros({channels}), dbeta = Tensor<T>::zeros({channels});
        Tensor<T> dscale_shift = scale_shift ? Tensor<T>(scale_shift.shape()) : Tensor<T>();
        for (Index i = 0; i < n; ++i)
            for (Index c = 0; c < channels; ++c) {
                const T scale = scale_shift ? T(1) + (*scale_shift)(i, c) : T(1);
                dgamma[c] += weighted(i, c) * scale;
                dbeta[c] += plain(i, c) * scale;
                if (!scale_shift) continue;
                dscale_shift(i, c) = weighted(i, c) * (*g)[c] + plain(i, c) * (*b)[c];
                dscale_shift(i, channels + c) = plain(i, c);
            }
        if (x.tracked()) {
            strips.for_each([&](Index i, Index, Index offset, Index rows) {
                simd::affine_gradient_rows(x->data() + offset, rows, channels, factors.slope(i), &constant(i, 0), &by_x(i, 0),
                                           dy.data() + offset);
            });
            tape->add(x, std::move(dy));
        }
        tape->add(g, std::move(dgamma));
        tape->add(b, std::move(dbeta));
        if (scale_shift) tape->add(scale_shift, std::move(dscale_shift));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, g, scale_shift);
}

}  // namespace ito::ops

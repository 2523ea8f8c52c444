// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/denoise/denoiser.hpp"
#include "ito/ops/elementwise.hpp"
#include "ito/ops/loss.hpp"
#include "ito/schedule/schedule.hpp"

namespace ito {

namespace detail {

/// How a level looks to a network that is shown x divided by a scale, and that scale.
inline std::pair<NoiseLevel, double> as_shown(const Reading& reading, const NoiseLevel& level) {
    const double s = reading.scaled_input ? std::hypot(level.alpha, level.sigma) : 1;
    return {{level.time, level.alpha / s, level.sigma / s}, s};
}

}  // namespace detail

/// Mean squared error in each sample of network(what it is shown, times) -> Var<T>, where it is shown x_t = alpha x0 +
/// sigma eps, scaled if the reading says so, and should say what the reading asks for.
/// x0, eps [N, ..], one level a sample -> [N]. Throws ShapeError if they do not fit, ArgumentError for the score without
/// noise.
template <class T, class Network>
Var<T> prediction_errors(const Reading& reading, Network&& network, Tape<T>& tape, const Tensor<T>& x0, const Tensor<T>& eps,
                         std::span<const NoiseLevel> levels) {
    std::vector<NoiseLevel> shown;
    std::vector<T> times;
    for (const NoiseLevel& level : levels) {
        shown.push_back(detail::as_shown(reading, level).first);
        times.push_back(static_cast<T>(level.time));
    }
    const Var<T> said = network(tape.constant(add_noise<T>(x0, eps, shown)), std::span<const T>(times));
    return ops::squared_errors(reading.learned_variance ? ops::leading_channels(said, x0.dim(-1)) : said,
                               prediction_target<T>(reading.prediction, x0, eps, shown));
}

/// The squared error of what a network says, weighed over noise levels. For epsilon it is the simple loss of Ho et al.
/// (2020), equation 14; for flow the conditional flow matching of Lipman et al. (2023), equation 23, and Liu et al. (2023),
/// equation 1, on levels of alpha = 1 - sigma; for a reading of EDM the loss of Karras et al. (2022), equation 8, whose
/// weight 1 / c_out^2 of the error of x0 is 1 for the network's own.
struct DenoisingLoss {
    Reading reading;

    /// Weighs the error of x0 by min(SNR, gamma): Hang et al., "Efficient diffusion training via min-SNR weighting
    /// strategy" (2023), section 3.4, whatever is predicted. Empty: every level counts alike.
    std::optional<double> min_snr_gamma;

    DenoisingLoss(const Reading& reading = {}, std::optional<double> min_snr_gamma = {})
        : reading(reading), min_snr_gamma(min_snr_gamma) {}
    DenoisingLoss(Prediction prediction, std::optional<double> min_snr_gamma = {})
        : reading{prediction}, min_snr_gamma(min_snr_gamma) {}

    /// Weight of the squared error of the network's output at one level.
    double weight(const NoiseLevel& level) const {
        if (!min_snr_gamma) return 1;
        const double ratio = level.alpha / level.sigma, error_of_x0 = detail::decoding(reading, level).x0_of_out;
        return std::min(ratio * ratio, *min_snr_gamma) * error_of_x0 * error_of_x0;
    }

    /// Mean weighted squared error -> [1]: see prediction_errors.
    template <class T, class Network>
    Var<T> operator()(Network&& network, Tape<T>& tape, const Tensor<T>& x0, const Tensor<T>& eps,
                      std::span<const NoiseLevel> levels) const {
        std::vector<T> weights;
        for (const NoiseLevel& level : levels) weights.push_back(static_cast<T>(weight(level)));
        return ops::weighted_mean<T>(prediction_errors(reading, network, tape, x0, eps, levels), weights);
    }
};

/// A uniformly drawn time of a discrete schedule for each of `count` samples; sample k is keyed by first_sample + k.
inline std::vector<NoiseLevel> random_levels(const DiscreteSchedule& schedule, Index count, std::uint64_t seed,
                                             std::uint64_t first_sample) {
    std::vector<NoiseLevel> levels;
    for (Index k = 0; k < count; ++k) {
        Random random{{seed, first_sample + static_cast<std::uint64_t>(k), 0, Stream::timestep}};
        levels.push_back(schedule.level(random.below(schedule.size())));
    }
    return levels;
}

}  // namespace ito

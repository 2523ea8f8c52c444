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

/// Mean squared error in each sample of network(what it is shown, times) -> Var<T>, where it is shown x_t = alpha x0 +
/// sigma eps, scaled if the reading says so, and should say what the reading asks for.
/// x0, eps [N, ..], one level a sample -> [N]. Throws ShapeError if they do not fit, ArgumentError for the score without
/// noise and for a consistency model, which is not trained this way.
template <class T, class Network>
Var<T> prediction_errors(const Reading& reading, Network&& network, Tape<T>& tape, const Tensor<T>& x0, const Tensor<T>& eps,
                         std::span<const NoiseLevel> levels) {
    if (reading.smallest_ratio != 0) throw ArgumentError("the denoising loss of a consistency model");
    const double data = reading.sigma_data, sign = reading.negated ? -1 : 1;
    Tensor<T> shown = detail::mix(x0, eps, levels.size(), [&](std::size_t k) {
        const double s = reading.input_scale(levels[k]);
        return std::pair(levels[k].alpha / s, levels[k].sigma / s);
    });
    const Tensor<T> target = detail::mix(x0, eps, levels.size(), [&](std::size_t k) {
        const auto& [time, alpha, sigma] = levels[k];
        const double s = reading.input_scale(levels[k]);
        const auto [of_x0, of_eps] = encoding(reading.prediction, {time, alpha * data / s, sigma / s});
        return std::pair(sign * of_x0 / data, sign * of_eps);
    });
    std::vector<T> times;
    for (const NoiseLevel& level : levels) times.push_back(static_cast<T>(level.time));
    const Var<T> said = network(tape.constant(std::move(shown)), std::span<const T>(times));
    return ops::squared_errors(reading.learned_variance ? ops::leading_channels(said, x0.dim(-1)) : said, target);
}

/// What a network of EDM says: Karras et al. (2022), table 1. Its levels are those of Edm.
inline Reading edm_reading(double sigma_data = 0.5) {
    return {.prediction = Prediction::edm, .scaled_input = true, .sigma_data = sigma_data};
}

/// The squared error of what a network says, weighed over noise levels. For epsilon it is the simple loss of Ho et al.
/// (2020), equation 14; for flow the conditional flow matching of Lipman et al. (2023), equation 23, and Liu et al. (2023),
/// equation 1, on levels of alpha = 1 - sigma; for edm_reading the loss of Karras et al. (2022), equation 8, whose
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

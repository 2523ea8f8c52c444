// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "ito/core/random.hpp"
#include "ito/denoise/prediction.hpp"
#include "ito/ops/loss.hpp"
#include "ito/schedule/schedule.hpp"

namespace ito {

/// How the error of a prediction is weighed over noise levels.
struct DenoisingLoss {
    Prediction prediction = Prediction::epsilon;

    /// Weighs the error of x0 by min(SNR, gamma): Hang et al., "Efficient diffusion training via min-SNR weighting
    /// strategy" (2023), section 3.4, whatever is predicted. Empty: every prediction counts alike, which for epsilon is
    /// the simple loss of Ho et al. (2020), equation 14.
    std::optional<double> min_snr_gamma = std::nullopt;

    /// Weight of the squared error of the network's output at one level.
    double weight(const NoiseLevel& level) const {
        if (!min_snr_gamma) return 1;
        const double ratio = level.alpha / level.sigma, error_of_x0 = decoding(prediction, level).x0_of_out;
        return std::min(ratio * ratio, *min_snr_gamma) * error_of_x0 * error_of_x0;
    }

    /// Mean weighted squared error of network(x_t, times) -> Var<T>, where x_t = alpha x0 + sigma eps.
    /// x0, eps [N, ..], one level a sample -> [1]. Throws ShapeError if they do not fit.
    template <class T, class Network>
    Var<T> operator()(Network&& network, Tape<T>& tape, const Tensor<T>& x0, const Tensor<T>& eps,
                      std::span<const NoiseLevel> levels) const {
        std::vector<T> times, weights;
        for (const NoiseLevel& level : levels) {
            times.push_back(static_cast<T>(level.time));
            weights.push_back(static_cast<T>(weight(level)));
        }
        const Var<T> said = network(tape.constant(add_noise(x0, eps, levels)), std::span<const T>(times));
        return ops::squared_error<T>(said, prediction_target(prediction, x0, eps, levels), weights);
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

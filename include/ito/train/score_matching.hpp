// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "ito/schedule/sde.hpp"
#include "ito/train/denoising_loss.hpp"

// Denoising score matching: E lambda |s(x_t, t) - grad log p(x_t | x0)|^2, with grad log p(x_t | x0) = -eps / sigma. Song et
// al., "Score-based generative modeling through stochastic differential equations" (2021), equation 7.
namespace ito {

/// lambda = sigma^2, one a level: the discrete losses of SMLD and of DDPM (Song et al. 2021, equations 1 and 3) and the
/// usual one of the continuous SDEs; lambda |..|^2 = |sigma s + eps|^2.
inline std::vector<double> smld_weights(std::span<const NoiseLevel> levels) {
    std::vector<double> weights;
    for (const NoiseLevel& level : levels) weights.push_back(level.sigma * level.sigma);
    return weights;
}

/// lambda = g(t)^2, with which the loss bounds the negative log-likelihood: Song et al., "Maximum likelihood training of
/// score-based diffusion models" (2021), equation 7. One a time. Throws ArgumentError where the schedule has alpha = 0.
template <Schedule S>
std::vector<double> likelihood_weights(const S& schedule, std::span<const double> times) {
    std::vector<double> weights;
    for (const double t : times) weights.push_back(std::pow(diffusion(schedule, t), 2));
    return weights;
}

/// Mean over all elements of lambda |s - grad log p|^2, where the score s is what the reading makes of the network's
/// words, whatever they are. (The papers' sum over elements with a factor of 1/2 is this times elements / 2.)
struct ScoreMatchingLoss {
    Reading reading{Prediction::score};

    /// x0, eps [N, ..], a level and a lambda a sample -> [1]. Throws ShapeError if they do not fit, ArgumentError without
    /// noise.
    template <class T, class Network>
    Var<T> operator()(Network&& network, Tape<T>& tape, const Tensor<T>& x0, const Tensor<T>& eps,
                      std::span<const NoiseLevel> levels, std::span<const double> lambdas) const {
        if (levels.size() != lambdas.size())
            throw ShapeError(std::to_string(lambdas.size()) + " weights for " + std::to_string(levels.size()) + " noise levels");
        std::vector<T> weights;
        for (std::size_t k = 0; k < levels.size(); ++k) {
            if (levels[k].sigma == 0) throw ArgumentError("score matching at time " + std::to_string(levels[k].time) + " without noise");
            const double score_of_out = detail::decoding(reading, levels[k]).eps_of_out / levels[k].sigma;
            weights.push_back(static_cast<T>(lambdas[k] * score_of_out * score_of_out));
        }
        return ops::weighted_mean<T>(prediction_errors(reading, network, tape, x0, eps, levels), weights);
    }
};

}  // namespace ito

// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <utility>

#include "ito/sampler/langevin.hpp"
#include "ito/schedule/sde.hpp"

// Predictors of Song et al. (2021), each a sampler like any other, and their composition with a corrector. Their ancestral
// predictor (equation 47 for VE, 4 for VP) is Ddpm: of fixed_small variance for VE, of fixed_large for VP. The last step, to
// sigma = 0, adds no noise unless asked to: their final denoising.
namespace ito {

/// x' = (2 - a) x + b score + sqrt(b) z for the forward step x = a x' + sqrt(b) z: the reverse diffusion predictor, Song et
/// al. (2021), equation 46.
struct ReverseDiffusion {
    bool noisy_end = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        require_noise(interval);
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const auto [alpha, variance] = transition(interval);
        const T of_x = static_cast<T>(2 - alpha), of_eps = static_cast<T>(-variance / interval.from.sigma);
        advance(x, estimate, of_x, of_eps, interval.to.sigma > 0 || noisy_end ? std::sqrt(variance) : 0, interval, noise);
    }

    /// of_x x + of_eps eps + of_z z, drawing z only where it counts.
    template <class T, NoiseOf<T> Z>
    static void advance(Tensor<T>& x, const Estimate<T>& estimate, T of_x, T of_eps, double of_z, const Interval& interval, Z& noise) {
        T* out = x.data();
        const T deviation = static_cast<T>(of_z);
        for_each_element(x, estimate, of_z != 0, noise, interval,
                         [=](Index i, T, T eps, T z) { out[i] = of_x * out[i] + of_eps * eps + deviation * z; });
    }
};

/// Euler and Maruyama's method on the reverse SDE dx = (f x - g^2 score) dt + g dw (Song et al. 2021, equation 6), of weak
/// order 1. The times of the levels are found by their ratio sigma / alpha.
template <Schedule S>
struct EulerMaruyama {
    S schedule{};
    bool noisy_end = false;
    /// Every one of N steps takes last_time() / N, whatever the levels, as in released code.
    bool equal_steps = false;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z& noise) const {
        const double t = time_of(schedule, interval.from);
        const double dt = equal_steps ? schedule.last_time() / static_cast<double>(interval.count) : t - time_of(schedule, interval.to);
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const double f = drift(schedule, t), g = diffusion(schedule, t);
        const T of_x = static_cast<T>(1 - f * dt), of_eps = static_cast<T>(-g * g * dt / interval.from.sigma);
        ReverseDiffusion::advance(x, estimate, of_x, of_eps, interval.to.sigma > 0 || noisy_end ? g * std::sqrt(dt) : 0, interval, noise);
    }
};

template <Schedule S>
EulerMaruyama(S) -> EulerMaruyama<S>;

/// Moves on to the next level and leaves x as it is, so that a corrector alone makes the run; the last step, to sigma = 0,
/// gives x0 (in score terms x + sigma^2 score for alpha = 1), as Jolicoeur-Martineau et al. (2020) end Langevin dynamics.
struct NoPredictor {
    bool denoise_end = true;

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z&) const {
        if (interval.to.sigma > 0 || !denoise_end) return;
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const T alpha = static_cast<T>(interval.to.alpha);
        T* out = x.data();
        for_each_element(x, estimate, [=](Index i, T x0, T) { out[i] = alpha * x0; });
    }
};

/// Corrects at the level of a step, then predicts the next: Song et al. (2021), algorithm 1. (1 + corrector steps) network
/// evaluations a step.
///   PredictorCorrector{ReverseDiffusion{}, Langevin{.snr = 0.16}}
///   PredictorCorrector{NoPredictor{}, NcsnLangevin{}}   annealed Langevin dynamics on ncsn_steps
template <Sampler Predictor, class Corrector>
struct PredictorCorrector {
    Predictor predictor{};
    Corrector corrector{};

    template <class T>
    using State = typename Predictor::template State<T>;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z& noise) const {
        Tensor<T> corrected = x;  // so that a network that throws leaves x as it was
        corrector.correct(corrected, interval, denoise, noise);
        predictor.step(corrected, state, interval, denoise, noise);
        x.swap(corrected);
    }
};

template <class Predictor, class Corrector>
PredictorCorrector(Predictor, Corrector) -> PredictorCorrector<Predictor, Corrector>;

}  // namespace ito

// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include "ito/sampler/runge_kutta.hpp"
#include "ito/sampler/sampler.hpp"
#include "ito/schedule/sde.hpp"

// The probability-flow ODE dx/dt = f x - g^2 score / 2 = alpha' x0 + sigma' eps, which has the marginals of the SDE: Song et
// al. (2021), equation 13. Without noise of its own, it takes data to codes and back.
namespace ito {

/// The velocity of the flow according to a denoiser, sample k of x [N, ...] at times[k] of the schedule. The denoiser is
/// referred to. Asked with a time a sample, it is faster where its network can be (see denoise_each).
template <Schedule S, class D>
class FlowVelocity {
  public:
    FlowVelocity(S schedule, D& denoise) : schedule_(std::move(schedule)), denoise_(denoise) {}

    /// Throws ArgumentError at a time without noise.
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, std::span<const double> times) {
        std::vector<NoiseLevel> levels;
        std::vector<FlowRates> rates;
        for (const double t : times) {
            levels.push_back(level_at(schedule_, t));
            rates.push_back(flow_rates(schedule_, t));
        }
        const Estimate<T> estimate = denoise_each(denoise_, x, std::span<const NoiseLevel>(levels));
        const Index size = x.size() / x.dim(0);
        Tensor<T> velocity(x.shape());
        T* out = velocity.data();
        for_each_element(x, estimate, [&](Index i, T x0, T eps) {
            const FlowRates& rate = rates[static_cast<std::size_t>(i / size)];
            out[i] = static_cast<T>(rate.of_x0) * x0 + static_cast<T>(rate.of_eps) * eps;
        });
        return velocity;
    }

  private:
    S schedule_;
    D& denoise_;
};

/// Where the flow takes x [N, ...] from time `from` to time `to`, forwards or backwards, in steps chosen for each sample:
/// sampling with from = last_time(), encoding with to = last_time(). Throws as integrate_adaptively does.
template <class T, Schedule S, DenoiserOf<T> D>
Integrated<T> flow(const S& schedule, D&& denoise, Tensor<T> x, double from, double to, const StepControl& control = fine_steps(),
                   const std::stop_token& stop = {}) {
    return integrate_adaptively<T>(FlowVelocity<S, D>(schedule, denoise), std::move(x), from, to, control, tableaux::dormand_prince, stop);
}

/// The flow by any Runge-Kutta method as a sampler, one step an interval; the last step, to sigma = 0, takes x0.
///   ProbabilityFlow{ContinuousVp{}, tableaux::classic4}
template <Schedule S, std::size_t Stages>
struct ProbabilityFlow {
    S schedule{};
    Tableau<Stages> tableau{};

    template <class T>
    using State = NoState;

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, NoState&, const Interval& interval, D& denoise, Z&) const {
        if (interval.to.sigma == 0) {
            const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
            const T alpha = static_cast<T>(interval.to.alpha);
            T* out = x.data();
            for_each_element(x, estimate, [=](Index i, T x0, T) { out[i] = alpha * x0; });
            return;
        }
        const std::vector<double> times{time_of(schedule, interval.from), time_of(schedule, interval.to)};
        x = integrate(tableau, FlowVelocity<S, D>(schedule, denoise), x, std::span<const double>(times));
    }
};

template <class S, std::size_t Stages>
ProbabilityFlow(S, Tableau<Stages>) -> ProbabilityFlow<S, Stages>;

}  // namespace ito

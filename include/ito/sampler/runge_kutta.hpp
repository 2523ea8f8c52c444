// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/progress.hpp"
#include "ito/sampler/step_control.hpp"

namespace ito {

/// An explicit Runge-Kutta method as its Butcher tableau. A method with `embedded` weights has a second solution, of lower
/// order, whose distance from the first estimates the error; its error falls as size^(embedded_order + 1).
template <std::size_t Stages>
struct Tableau {
    std::array<std::array<double, Stages>, Stages> a{};  // strictly lower triangular
    std::array<double, Stages> b{}, c{}, embedded{};
    int order = 1, embedded_order = 0;

    /// Whether the last stage is the first one of the next step.
    constexpr bool first_same_as_last() const { return Stages > 1 && a[Stages - 1] == b; }
};

namespace tableaux {

inline constexpr Tableau<1> euler{{{{0}}}, {1}, {0}, {}, 1};
inline constexpr Tableau<2> heun{{{{0}, {1}}}, {0.5, 0.5}, {0, 1}, {}, 2};
inline constexpr Tableau<2> midpoint{{{{0}, {0.5}}}, {0, 1}, {0, 0.5}, {}, 2};
inline constexpr Tableau<3> kutta3{{{{0}, {0.5}, {-1, 2}}}, {1.0 / 6, 2.0 / 3, 1.0 / 6}, {0, 0.5, 1}, {}, 3};
inline constexpr Tableau<4> classic4{{{{0}, {0.5}, {0, 0.5}, {0, 0, 1}}}, {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}, {0, 0.5, 0.5, 1}, {}, 4};

/// Bogacki and Shampine, "A 3(2) pair of Runge-Kutta formulas" (1989).
inline constexpr Tableau<4> bogacki_shampine{{{{0}, {0.5}, {0, 0.75}, {2.0 / 9, 1.0 / 3, 4.0 / 9}}},
                                             {2.0 / 9, 1.0 / 3, 4.0 / 9, 0},
                                             {0, 0.5, 0.75, 1},
                                             {7.0 / 24, 0.25, 1.0 / 3, 0.125},
                                             3,
                                             2};

/// Dormand and Prince, "A family of embedded Runge-Kutta formulae" (1980): RK5(4)7M, known as RK45 and dopri5.
inline constexpr Tableau<7> dormand_prince{{{{0},
                                             {1.0 / 5},
                                             {3.0 / 40, 9.0 / 40},
                                             {44.0 / 45, -56.0 / 15, 32.0 / 9},
                                             {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
                                             {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
                                             {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}}},
                                           {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84, 0},
                                           {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1},
                                           {5179.0 / 57600, 0, 7571.0 / 16695, 393.0 / 640, -92097.0 / 339200, 187.0 / 2100, 1.0 / 40},
                                           5,
                                           4};

}  // namespace tableaux

// A velocity is anything that gives dx/dt, as x, for velocity(x [N, ...], times): sample k is at times[k].

/// One step: sample k of x [N, ...] goes from times[k] to times[k] + sizes[k].
template <class T>
struct RungeKuttaStep {
    Tensor<T> x;            // the solution
    Tensor<T> embedded;     // the second one, empty without
    Tensor<T> first, last;  // velocities of the first and the last stage
};

/// `first` is the velocity at x where it is already known.
template <class T, std::size_t Stages, class Velocity>
RungeKuttaStep<T> runge_kutta_step(const Tableau<Stages>& tableau, Velocity& velocity, const Tensor<T>& x,
                                   std::span<const double> times, std::span<const double> sizes, const Tensor<T>& first = {}) {
    const Index samples = x.dim(0), size = samples ? x.size() / samples : 0;
    std::vector<Tensor<T>> slopes;
    // x + sum of weights[j] slopes[j] times each sample's size
    const auto moved = [&](const std::array<double, Stages>& weights) {
        Tensor<T> result = x;
        for (std::size_t j = 0; j < slopes.size(); ++j) {
            if (weights[j] == 0) continue;
            for (Index k = 0; k < samples; ++k)
                result.array().segment(k * size, size) +=
                    static_cast<T>(weights[j] * sizes[static_cast<std::size_t>(k)]) * slopes[j].array().segment(k * size, size);
        }
        return result;
    };
    std::vector<double> at(times.begin(), times.end());
    for (std::size_t stage = 0; stage < Stages; ++stage) {
        if (stage == 0 && !first.empty()) {
            slopes.push_back(first);
            continue;
        }
        for (std::size_t k = 0; k < at.size(); ++k) at[k] = times[k] + tableau.c[stage] * sizes[k];
        const Tensor<T> here = moved(tableau.a[stage]);
        slopes.push_back(velocity(here, std::span<const double>(at)));
        require_shape("velocity", x.shape(), slopes.back().shape());
    }
    RungeKuttaStep<T> result{moved(tableau.b), {}, slopes.front(), slopes.back()};
    if (tableau.embedded_order > 0) result.embedded = moved(tableau.embedded);
    return result;
}

/// Follows the velocity from x [N, ...] at the first of the given times to the last, one step between any two.
/// Throws ArgumentError without a time.
template <class T, std::size_t Stages, class Velocity>
Tensor<T> integrate(const Tableau<Stages>& tableau, Velocity&& velocity, Tensor<T> x, std::span<const double> times) {
    if (times.empty()) throw ArgumentError("integrating over no times");
    const auto samples = static_cast<std::size_t>(x.dim(0));
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
        const std::vector<double> at(samples, times[i]), sizes(samples, times[i + 1] - times[i]);
        x = runge_kutta_step(tableau, velocity, x, std::span<const double>(at), std::span<const double>(sizes)).x;
    }
    return x;
}

/// What an adaptive solver did.
template <class T>
struct Integrated {
    Tensor<T> x;
    Index evaluations = 0;              // of the velocity for the whole batch
    std::vector<Index> steps, rejected;  // of each sample
};

/// The tolerances of Song et al. (2021), appendix D.2: 1e-5 both.
inline StepControl fine_steps(double tolerance = 1e-5) { return {.relative = tolerance, .absolute = tolerance, .first_size = 0.01}; }

/// Follows the velocity from x [N, ...] at time `from` to time `to` in steps that keep the error within the tolerances of
/// the control: each sample has its own (unless whole_batch), and one that has arrived waits for the others.
/// Throws ToleranceError with the samples and times reached if one needs more tries than control.max_tries or steps too
/// small to change its time, ArgumentError for a control that is none, Cancelled between steps.
template <class T, class Velocity, std::size_t Stages = 7>
Integrated<T> integrate_adaptively(Velocity&& velocity, Tensor<T> x, double from, double to, const StepControl& control = fine_steps(),
                                   const Tableau<Stages>& tableau = tableaux::dormand_prince, const std::stop_token& stop = {}) {
    validate(control);
    if (tableau.embedded_order < 1) throw ArgumentError("choosing steps needs a method with an embedded one");
    const auto samples = static_cast<std::size_t>(x.dim(0));
    const Index size = samples ? x.size() / x.dim(0) : 0;
    const double direction = to < from ? -1 : 1;
    std::vector<double> times(samples, from), sizes(samples);
    std::vector<StepControl::State> states(samples, control.start());
    Integrated<T> result;
    const auto give_up = [&](std::size_t k) {
        std::vector<NoiseLevel> levels;
        for (const double t : times) levels.push_back({t, 1, 0});
        throw ToleranceError<T>("sample " + std::to_string(k) + " cannot keep the tolerance beyond time " + std::to_string(times[k]) + " after " +
                                    std::to_string(states[k].accepted + states[k].rejected) + " tries",
                                std::move(x), std::move(levels));
    };
    const auto arrived = [&](std::size_t k) { return times[k] == to; };
    Tensor<T> slope;
    while (true) {
        bool done = true;
        for (std::size_t k = 0; k < samples; ++k) {
            sizes[k] = 0;
            if (arrived(k)) continue;
            done = false;
            states[k].size = std::min(states[k].size, std::abs(to - times[k]));
            sizes[k] = direction * states[k].size;
            if (states[k].accepted + states[k].rejected >= control.max_tries || times[k] + sizes[k] == times[k]) give_up(k);
        }
        if (done) break;
        stop_if_requested(stop, "integration", {result.evaluations, control.max_tries});
        result.evaluations += static_cast<Index>(Stages) - (slope.empty() ? 0 : 1);
        RungeKuttaStep<T> step = runge_kutta_step(tableau, velocity, x, std::span<const double>(times), std::span<const double>(sizes), slope);
        const std::vector<double> errors = control.errors(step.embedded, step.x, x);
        if (tableau.first_same_as_last() && slope.empty()) slope = std::move(step.first);
        for (std::size_t k = 0; k < samples; ++k) {
            if (arrived(k) || !control.accept(states[k], errors[k], tableau.embedded_order + 1)) continue;
            times[k] = std::abs(to - times[k]) <= std::abs(sizes[k]) ? to : times[k] + sizes[k];
            const Index row = static_cast<Index>(k) * size;
            x.array().segment(row, size) = step.x.array().segment(row, size);
            if (!slope.empty()) slope.array().segment(row, size) = step.last.array().segment(row, size);
        }
    }
    for (const StepControl::State& state : states) {
        result.steps.push_back(state.accepted);
        result.rejected.push_back(state.rejected);
    }
    result.x = std::move(x);
    return result;
}

}  // namespace ito

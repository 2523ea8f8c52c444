// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ito/core/tensor.hpp"
#include "ito/schedule/level.hpp"

namespace ito {

/// A solver that chooses its own steps could not keep its tolerance within the work allowed. It carries the samples and
/// the levels that they have reached.
template <class T>
struct ToleranceError : NumericError {
    ToleranceError(const std::string& what, Tensor<T> reached, std::vector<NoiseLevel> at)
        : NumericError(what), x(std::move(reached)), levels(std::move(at)) {}

    Tensor<T> x;                     // [N, ...]
    std::vector<NoiseLevel> levels;  // [N]
};

/// Chooses the size of a step from the errors of those before: the PID controller of Soederlind, "Digital filters in
/// adaptive time-stepping" (2003), with the limiter of Soederlind and Wang, "Adaptive time-stepping and computational
/// stability" (2006), section 5. A solver keeps one State a sample, so that no sample depends on its batch:
///   const std::vector<double> errors = control.errors(low, high, before);
///   if (control.accept(state[k], errors[k], order)) ...  // state[k].size is that of the next try either way
struct StepControl {
    double relative = 0.05, absolute = 0.0078;  // an element may err by max(absolute, relative |x|) a step
    double first_size = 0.05;
    double proportional = 0, integral = 1, derivative = 0;
    double accept_from = 0.81;  // a step is accepted if the next may be at least this times as large
    Index max_tries = 10000;    // of a sample in an interval, accepted or not
    /// One error for the whole batch, the root mean square over it, as the released codes have it: all samples make
    /// the same steps, which depend on all of them.
    bool whole_batch = false;

    struct State {
        double size = 0;
        std::array<double, 3> inverse_errors{};  // newest first; zeros before the first step
        Index accepted = 0, rejected = 0;
    };

    State start() const { return {first_size, {}, 0, 0}; }

    /// Whether a step with this error (in tolerances) of a method whose error falls as size^order is accepted. Changes
    /// the size for the next try. An error that is no number is rejected.
    bool accept(State& state, double error, double order) const {
        const double inverse = 1 / (error + 1e-8);
        if (!(inverse >= 0)) {
            state.size /= 4;
            ++state.rejected;
            return false;
        }
        auto& e = state.inverse_errors;
        if (e[1] == 0) e = {inverse, inverse, inverse};
        e[0] = inverse;
        const double wanted = std::pow(e[0], (proportional + integral + derivative) / order) *
                              std::pow(e[1], -(proportional + 2 * derivative) / order) * std::pow(e[2], derivative / order);
        const double factor = 1 + std::atan(wanted - 1);
        state.size *= factor;
        if (factor < accept_from) {
            ++state.rejected;
            return false;
        }
        e = {e[0], e[0], e[1]};
        ++state.accepted;
        return true;
    }

    /// For each sample of low, high, before [N, ...] the root mean square of (low - high) in tolerances, which grow with
    /// the larger of |low| and |before|.
    template <class T>
    std::vector<double> errors(const Tensor<T>& low, const Tensor<T>& high, const Tensor<T>& before) const {
        require_shape("the second solution", low.shape(), high.shape());
        require_shape("the solution before", low.shape(), before.shape());
        const Index samples = low.rank() ? low.dim(0) : 1, size = low.size() / std::max<Index>(1, samples);
        std::vector<double> result;
        for (Index k = 0; k < samples; ++k) {
            const auto a = low.array().segment(k * size, size), b = high.array().segment(k * size, size);
            const auto c = before.array().segment(k * size, size);
            const auto tolerance = (a.abs().max(c.abs()) * static_cast<T>(relative)).max(static_cast<T>(absolute));
            result.push_back(static_cast<double>(((a - b) / tolerance).square().mean()));
        }
        if (whole_batch) {
            double mean = 0;
            for (const double square : result) mean += square / static_cast<double>(samples);
            std::fill(result.begin(), result.end(), mean);
        }
        for (double& square : result) square = std::sqrt(square);
        return result;
    }
};

/// Throws ArgumentError unless tolerances and sizes are positive.
inline void validate(const StepControl& control) {
    const bool valid = control.relative >= 0 && control.absolute >= 0 && control.relative + control.absolute > 0 &&
                       control.first_size > 0 && control.max_tries > 0;
    if (!valid) throw ArgumentError("step control needs a positive tolerance, first size and number of tries");
}

}  // namespace ito

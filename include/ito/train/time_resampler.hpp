// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ito/grad/tape.hpp"

namespace ito {

/// Draws times of a discrete schedule in proportion to the root of the mean squared loss that they had lately, and weighs
/// them so that the mean loss stays as it is: Nichol and Dhariwal, "Improved denoising diffusion probabilistic models"
/// (2021), section 3.3 and equation 18. Uniform until every time has a full history.
/// Its state is named as a module's is, for Trainer::save.
template <class T>
class TimeResampler {
  public:
    struct Drawn {
        std::vector<Index> times;
        std::vector<T> weights;  // 1 / (p(t) number of times)
    };

    TimeResampler() = default;

    /// For times 0 .. times - 1. `uniform` is the share of draws that are uniform. Throws ArgumentError unless times and
    /// history are positive and uniform is in [0, 1].
    explicit TimeResampler(Index times, Index history = 10, double uniform = 0.001) : uniform_(uniform) {
        if (times < 1 || history < 1 || !(uniform >= 0 && uniform <= 1))
            throw ArgumentError("a resampler of " + std::to_string(times) + " times with " + std::to_string(history) + " losses each");
        losses_.change() = Tensor<T>::zeros({times, history});
        seen_.change() = Tensor<T>::zeros({times});
    }

    /// The probability of each time.
    std::vector<double> probabilities() const {
        const Index times = losses_.value.dim(0), history = losses_.value.dim(1);
        const double even = 1 / static_cast<double>(times);
        std::vector<double> p(static_cast<std::size_t>(times), even);
        if (seen_.value.array().minCoeff() < static_cast<T>(history)) return p;
        const Eigen::ArrayXd root = losses_.value.matrix().template cast<double>().rowwise().squaredNorm().array().sqrt();
        const double sum = root.sum();
        if (!(sum > 0) || !std::isfinite(sum)) return p;
        for (Index t = 0; t < times; ++t) p[static_cast<std::size_t>(t)] = (1 - uniform_) * root[t] / sum + uniform_ * even;
        return p;
    }

    /// One time for each number in [0, 1).
    Drawn draw(std::span<const double> numbers) const {
        const std::vector<double> p = probabilities();
        Drawn drawn;
        for (const double u : numbers) {
            double below = 0;
            std::size_t t = 0;
            while (t + 1 < p.size() && u >= below + p[t]) below += p[t++];
            drawn.times.push_back(static_cast<Index>(t));
            drawn.weights.push_back(static_cast<T>(1 / (p[t] * static_cast<double>(p.size()))));
        }
        return drawn;
    }

    /// Remembers the losses [N] of these times, unweighted. Throws ShapeError if the numbers differ, ArgumentError for a
    /// time that is not there or a memory (out of a damaged file) that counts no losses; nothing is changed then.
    void update(std::span<const Index> times, const Tensor<T>& losses) {
        require_shape("losses of times", {static_cast<Index>(times.size())}, losses.shape());
        Tensor<T>&memory = losses_.change(), &seen = seen_.change();
        const Index history = memory.dim(1);
        for (const Index t : times) {
            if (t < 0 || t >= memory.dim(0))
                throw ArgumentError("time " + std::to_string(t) + " is outside 0 to " + std::to_string(memory.dim(0) - 1));
            if (!(seen[t] >= 0 && seen[t] < static_cast<T>(2 * history)))
                throw ArgumentError("a memory of losses that has seen " + std::to_string(seen[t]) + " at time " + std::to_string(t));
        }
        for (std::size_t k = 0; k < times.size(); ++k) {
            T& count = seen[times[k]];
            memory(times[k], static_cast<Index>(count) % history) = losses[static_cast<Index>(k)];
            // The count goes on within one turn of the history, to stay exact.
            count = count + 1 < static_cast<T>(2 * history) ? count + 1 : static_cast<T>(history);
        }
    }

    static void fields(auto& self, auto&& visit) {
        visit("losses", self.losses_);
        visit("seen", self.seen_);
    }

  private:
    Parameter<T> losses_, seen_;  // [times, history], [times]
    double uniform_ = 0.001;
};

}  // namespace ito

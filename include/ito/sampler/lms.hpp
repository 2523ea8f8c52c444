// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

/// Linear multistep (Adams-Bashforth with steps of any length) on dy/ds = (y - x0) / s of y = x / alpha over
/// s = sigma / alpha: Hairer, Norsett and Wanner, "Solving ordinary differential equations I", section III.5. The slope is
/// replaced by the polynomial through the latest ones. One evaluation a step, of the order given once it has its history.
struct Lms {
    int order = 4;  // 1 (Euler) to 4

    /// The slopes before this step, newest first, with the s where they were taken.
    template <class T>
    struct State {
        std::array<Tensor<T>, 3> slopes;
        std::array<double, 3> at{};
        int count = 0;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z&) const {
        const NoiseLevel &from = interval.from, &to = interval.to;
        if (order < 1 || order > 4) throw ArgumentError("LMS has no order " + std::to_string(order));
        if (from.alpha == 0) throw ArgumentError("LMS cannot start without signal (alpha = 0)");
        const Estimate<T> estimate = denoise(std::as_const(x), from);

        const int use = std::min(order, state.count + 1);
        const std::array<double, 4> at{from.sigma / from.alpha, state.at[0], state.at[1], state.at[2]};
        std::array<T, 4> w{};
        for (int j = 0; j < use; ++j) w[static_cast<std::size_t>(j)] = static_cast<T>(to.alpha * integral(at, use, j, to.sigma / to.alpha));

        Tensor<T> newest(x.shape());
        const T of_x = static_cast<T>(to.alpha / from.alpha), alpha = static_cast<T>(from.alpha), sigma = static_cast<T>(from.sigma);
        const T *d1 = use > 1 ? state.slopes[0].data() : nullptr, *d2 = use > 2 ? state.slopes[1].data() : nullptr;
        const T* d3 = use > 3 ? state.slopes[2].data() : nullptr;
        T *out = x.data(), *d0 = newest.data();
        for_each_element(x, estimate, [=](Index i, T x0, T) {
            const T d = (out[i] - alpha * x0) / sigma;
            T next = of_x * out[i] + w[0] * d;
            if (d1) next += w[1] * d1[i];
            if (d2) next += w[2] * d2[i];
            if (d3) next += w[3] * d3[i];
            d0[i] = d;
            out[i] = next;
        });
        for (std::size_t j = 2; j > 0; --j) state.slopes[j] = std::move(state.slopes[j - 1]);
        state.slopes[0] = std::move(newest);
        state.at = {at[0], at[1], at[2]};
        state.count = std::min(state.count + 1, 3);
    }

  private:
    /// Of the j-th Lagrange polynomial through the first `use` nodes, from the first node to `end`: of degree 3 at most,
    /// which Gauss's two points integrate exactly.
    static double integral(const std::array<double, 4>& at, int use, int j, double end) {
        const double middle = (at[0] + end) / 2, half = (end - at[0]) / 2;
        double sum = 0;
        for (const double s : {middle - half / std::sqrt(3.0), middle + half / std::sqrt(3.0)}) {
            double value = 1;
            for (int k = 0; k < use; ++k)
                if (k != j) value *= (s - at[static_cast<std::size_t>(k)]) / (at[static_cast<std::size_t>(j)] - at[static_cast<std::size_t>(k)]);
            sum += value;
        }
        return half * sum;
    }
};

}  // namespace ito

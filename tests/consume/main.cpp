// SPDX-License-Identifier: MIT
// Samples N(3, 0.5^2) with DDIM: for Gaussian data the best denoiser is a formula, here in place of a network.
#include "ito/ito.hpp"

#include <cmath>
#include <cstdio>

int main() {
    const ito::DiscreteSchedule schedule(ito::linear_betas<double>(1000));
    const auto epsilon = [](const ito::Tensor<float>& x, const ito::NoiseLevel& level) {
        const double variance = level.alpha * level.alpha * 0.25 + level.sigma * level.sigma;
        ito::Tensor<float> eps(x.shape());
        eps.array() = (x.array() - float(level.alpha * 3)) * float(level.sigma / variance);
        return eps;
    };
    const auto x = ito::sample<float>(ito::Denoiser{epsilon, ito::Reading{}}, ito::Ddim{}, ito::trailing(schedule, 250),
                                      {4000, 1});
    const double mean = x.array().mean(), deviation = std::sqrt((x.array() - float(mean)).square().mean());
    std::printf("ito %s: mean %.2f, standard deviation %.2f\n", ito::version, mean, deviation);
    return std::abs(mean - 3) < 0.02 && std::abs(deviation - 0.5) < 0.02 ? 0 : 1;
}

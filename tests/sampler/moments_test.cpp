// SPDX-License-Identifier: MIT
// Mean and covariance of 100,000 samples of a mixture in the plane, within their statistical error.
#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/ddpm.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_blocks.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/pndm.hpp"
#include "ito/sampler/sa_solver.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/sampler/unipc.hpp"

using namespace ito;

namespace {

struct Blob {
    double weight;
    std::array<double, 2> mean, variance;
};
constexpr std::array<Blob, 2> blobs{{{0.4, {-1, 0.5}, {0.09, 0.3}}, {0.6, {0.8, -0.2}, {0.2, 0.05}}}};

GaussianMixture target() {
    std::vector<GaussianMixture::Component> parts;
    for (const Blob& b : blobs)
        parts.push_back({b.weight, Eigen::Vector2d(b.mean[0], b.mean[1]), Eigen::Vector2d(b.variance[0], b.variance[1]), {}});
    return GaussianMixture(parts);
}

/// The same denoiser as the mixture's own in plain arithmetic, by blocks: there are 1e8 questions.
struct Fast {
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& l) const {
        std::array<double, 2> constant{};
        std::array<std::array<double, 2>, 2> per_variance{}, shift{}, gain{};
        for (std::size_t c = 0; c < 2; ++c) {
            constant[c] = std::log(blobs[c].weight);
            for (std::size_t i = 0; i < 2; ++i) {
                const double v = l.alpha * l.alpha * blobs[c].variance[i] + l.sigma * l.sigma;
                constant[c] -= 0.5 * std::log(v);
                per_variance[c][i] = 0.5 / v;
                shift[c][i] = l.alpha * blobs[c].mean[i];
                gain[c][i] = l.alpha * blobs[c].variance[i] / v;
            }
        }
        Tensor<T> out(x.shape());
        const auto cast = [](double v) { return static_cast<T>(v); };
        parallel_for(x.size() / 2, 4096, [&](Index begin, Index end) {
            constexpr Index block = 512;
            Eigen::Array<T, block, 2> at;
            Eigen::Array<T, block, 1> share;
            for (Index first = begin; first < end; first += block) {
                const Index count = std::min(block, end - first);
                for (Index k = 0; k < block; ++k)
                    for (Index i = 0; i < 2; ++i) at(k, i) = x[2 * (first + std::min(k, count - 1)) + i];
                share.setConstant(cast(constant[1] - constant[0]));
                for (std::size_t i = 0; i < 2; ++i) {
                    const auto one = at.col(static_cast<Index>(i));
                    share += cast(per_variance[0][i]) * (one - cast(shift[0][i])).square() - cast(per_variance[1][i]) * (one - cast(shift[1][i])).square();
                }
                share = T(1) / (T(1) + share.min(T(60)).exp());
                for (Index k = 0; k < count; ++k)
                    for (std::size_t i = 0; i < 2; ++i) {
                        const T v = at(k, static_cast<Index>(i)), s = share[k];
                        out[2 * (first + k) + static_cast<Index>(i)] = s * cast(blobs[0].mean[i] + gain[0][i] * (static_cast<double>(v) - shift[0][i])) +
                                                                       (1 - s) * cast(blobs[1].mean[i] + gain[1][i] * (static_cast<double>(v) - shift[1][i]));
                    }
            }
        });
        return out;
    }
};

NoiseLevel at(double lambda) { return level_of_ratio(-lambda, std::exp(-lambda)); }

template <class S>
void check(const char* name, const S& sampler, Index count) {
    INFO(name);
    std::vector<NoiseLevel> levels;
    for (Index i = 0; i <= count; ++i) levels.push_back(at(-3 + 6 * static_cast<double>(i) / static_cast<double>(count)));
    constexpr Index n = 100000;
    const GaussianMixture exact = target();
    Fast network;
    Denoiser denoise{network, Reading{.prediction = Prediction::sample}};
    WhiteNoise noise{21, 0};
    // As one sample of n points: elementwise samplers do not care, and the noise of small samples would be most of the time.
    Sampling<float, S> sampling(sampler, steps_between(levels), exact.draw<float>(n, 33, levels.front()).reshaped({1, n, 2}));
    sampling.run(denoise, noise);
    const Tensor<float>& x = sampling.x();

    std::array<double, 2> mean{};
    for (Index k = 0; k < n; ++k)
        for (std::size_t i = 0; i < 2; ++i) mean[i] += static_cast<double>(x[2 * k + static_cast<Index>(i)]) / n;
    const Eigen::VectorXd expected_mean = exact.mean(levels.back());
    const Eigen::MatrixXd expected = exact.covariance(levels.back());
    for (std::size_t i = 0; i < 2; ++i) {
        const auto row = static_cast<Index>(i);
        CAPTURE(i);
        CHECK(std::abs(mean[i] - expected_mean[row]) < 5 * std::sqrt(expected(row, row) / n));
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = 0, square = 0;
            for (Index k = 0; k < n; ++k) {
                const double product = (static_cast<double>(x[2 * k + static_cast<Index>(i)]) - mean[i]) * (static_cast<double>(x[2 * k + static_cast<Index>(j)]) - mean[j]);
                sum += product / n;
                square += product * product / n;
            }
            CAPTURE(j);
            CHECK(std::abs(sum - expected(row, static_cast<Index>(j))) < 5 * std::sqrt((square - sum * sum) / n));
        }
    }
}

}  // namespace

TEST_CASE("the plain denoiser is the mixture's") {
    const Tensor<double> x = Tensor<double>::from({3, 2}, {0.3, 0.1, -2, 1, 4, -4});
    CHECK((Fast{}(x, at(-0.4)).array() - target()(x, at(-0.4)).array()).abs().maxCoeff() < 1e-12);
}

TEST_CASE("a hundred thousand samples have the mean and covariance of the data", "[slow]") {
    using Solver = DpmSolverMultistep;
    check("Heun", Heun{}, 80);
    check("DPM2", Dpm2{}, 80);
    check("LMS", Lms{}, 80);
    check("DPM-Solver-fast", DpmSolverFast{.evaluations = 180}, 61);
    check("DPM-Solver-23", DpmSolverAdaptive{.control = {.relative = 1e-3, .absolute = 1e-3, .whole_batch = true}}, 1);
    check("2M", Solver{.lower_order_final = false}, 120);
    check("Heun with churn", Heun{.churn = {.amount = 20, .min = 0.1, .max = 10}}, 120);
    check("DPM2 ancestral", Dpm2{.eta = 1}, 100);
    check("2S ancestral", Dpmpp2SAncestral{}, 100);
    check("2S ancestral, eta 0.5", Dpmpp2SAncestral{.eta = 0.5}, 100);
    check("SDE", DpmppSde{}, 100);
    check("2M SDE", Solver{.stochastic = true, .lower_order_final = false}, 150);
    check("3M SDE", Solver{.order = 3, .stochastic = true, .lower_order_final = false}, 150);
    check("3S", DpmSolverSinglestep{.order = 3}, 90);
    check("DEIS", deis(3), 80);
    check("UniPC", UniPc{.order = 3}, 80);
    check("PNDM", Pndm{}, 120);
    check("SA-Solver", SaSolver{}, 150);
    check("DDPM", Ddpm{}, 500);
    check("DDIM", Ddim{}, 500);
    check("DDIM with noise", Ddim{.eta = 1}, 500);
    check("Euler", Euler{}, 500);
    check("Euler ancestral", EulerAncestral{}, 500);
}

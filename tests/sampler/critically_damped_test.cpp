// SPDX-License-Identifier: MIT
// Critically-damped Langevin diffusion: its moments, its targets, and its samplers on data whose score is known.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <Eigen/Cholesky>

#include "catch.hpp"
#include "ito/sampler/critically_damped.hpp"
#include "ito/sampler/likelihood.hpp"
#include "ito/sampler/sample.hpp"

using namespace ito;

namespace {

const CriticallyDamped sde;

/// d/dt of the covariance (Lyapunov's equation) of the forward SDE.
PhaseCovariance slope(const PhaseCovariance& s, double t) {
    const double b = sde.beta(t), m = b / sde.mass, f = sde.friction() * m;
    return {2 * m * s.xv, m * s.vv - b * s.xx - f * s.xv, -2 * b * s.xv - 2 * f * s.vv + 2 * sde.friction() * b};
}

/// By RK4.
PhaseCovariance integrated(PhaseCovariance s, double from, double to, int steps) {
    const double h = (to - from) / steps;
    const auto plus = [](const PhaseCovariance& a, const PhaseCovariance& d, double w) {
        return PhaseCovariance{a.xx + w * d.xx, a.xv + w * d.xv, a.vv + w * d.vv};
    };
    for (int i = 0; i < steps; ++i) {
        const double t = from + i * h;
        const auto k1 = slope(s, t), k2 = slope(plus(s, k1, h / 2), t + h / 2), k3 = slope(plus(s, k2, h / 2), t + h / 2),
                   k4 = slope(plus(s, k3, h), t + h);
        s = plus(plus(plus(plus(s, k1, h / 6), k2, h / 3), k3, h / 3), k4, h / 6);
    }
    return s;
}

/// A mixture of normal distributions of positions; velocities start from N(0, gamma M). Its score of v is exact.
struct Exact {
    std::vector<double> weights{1}, means{0.7};
    double variance = 0.16;

    struct At {
        double density = 0, score = 0;
    };
    At at(double x, double v, double t) const {
        return at(x, v, sde.mean(sde.total_beta(0, t)), sde.covariance(t, variance, sde.initial_variance()));
    }
    At at(double x, double v, const PhaseMap& a, const PhaseCovariance& s) const {
        const double det = s.xx * s.vv - s.xv * s.xv;
        const auto log_term = [&](std::size_t c) {
            const double dx = x - a.xx * means[c], dv = v - a.vx * means[c];
            return std::log(weights[c]) - (s.vv * dx * dx - 2 * s.xv * dx * dv + s.xx * dv * dv) / (2 * det);
        };
        double largest = log_term(0);
        for (std::size_t c = 1; c < means.size(); ++c) largest = std::max(largest, log_term(c));
        At result;
        for (std::size_t c = 0; c < means.size(); ++c) {
            const double term = std::exp(log_term(c) - largest);
            result.density += term;
            result.score -= term * (s.xx * (v - a.vx * means[c]) - s.xv * (x - a.xx * means[c])) / det;
        }
        result.score /= result.density;
        result.density *= std::exp(largest) / (2 * std::numbers::pi * std::sqrt(det));
        return result;
    }
    template <class T>
    Estimate<T> operator()(const Tensor<T>& z, const NoiseLevel& level) const {
        Estimate<T> estimate;
        const Index channels = z.dim(-1) / 2, rows = z.size() / (2 * channels);
        const PhaseMap a = sde.mean(sde.total_beta(0, level.time));
        const PhaseCovariance s = sde.covariance(level.time, variance, sde.initial_variance());
        estimate.output = Tensor<T>(z.shape().with(-1, channels));
        for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < channels; ++c)
                estimate.output[r * channels + c] =
                    static_cast<T>(at(z[2 * r * channels + c], z[(2 * r + 1) * channels + c], a, s).score);
        return estimate;
    }
};

/// Runs a sampler on one-dimensional data and gives mean and covariance of (x, v) that follow from it exactly: a step is
/// affine in z and its noise.
struct PhaseMoments {
    double x = 0, v = 0;
    PhaseCovariance s{1, 0, sde.mass};
};

template <class S>
PhaseMoments moments_of(const S& sampler, const Steps& steps, PhaseMoments now = {}, Exact score = {}) {
    for (const Interval& interval : steps.intervals) {
        // From the origin, from a unit of x, from one of v; and from the origin with a unit of each normal number.
        Tensor<double> z = Tensor<double>::from({7, 2}, {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0});
        Index draw = 3;
        auto noise = [&](Tensor<double>& w, const Interval&) {
            w.array() = 0;
            w(draw++, 0) = 1;
            w(draw++, 1) = 1;
        };
        NoState none;
        sampler.step(z, none, interval, score, noise);
        for (Index k = 1; k < 7; ++k) z(k, 0) -= z(0, 0), z(k, 1) -= z(0, 1);
        const double xx = z(1, 0), vx = z(1, 1), xv = z(2, 0), vv = z(2, 1);
        PhaseMoments next{z(0, 0) + xx * now.x + xv * now.v, z(0, 1) + vx * now.x + vv * now.v, {}};
        next.s.xx = xx * xx * now.s.xx + 2 * xx * xv * now.s.xv + xv * xv * now.s.vv;
        next.s.xv = xx * vx * now.s.xx + (xx * vv + xv * vx) * now.s.xv + xv * vv * now.s.vv;
        next.s.vv = vx * vx * now.s.xx + 2 * vx * vv * now.s.xv + vv * vv * now.s.vv;
        for (Index k = 3; k < 7; ++k) {
            next.s.xx += z(k, 0) * z(k, 0);
            next.s.xv += z(k, 0) * z(k, 1);
            next.s.vv += z(k, 1) * z(k, 1);
        }
        now = next;
    }
    return now;
}

double distance(const PhaseMoments& got) {
    return std::abs(got.x - 0.7) + std::abs(got.s.xx - 0.16);
}

/// 2-Wasserstein distance of positions to normal data.
double wasserstein(const PhaseMoments& got, const Exact& data) {
    return std::hypot(got.x - data.means[0], std::sqrt(got.s.xx) - std::sqrt(data.variance));
}

std::vector<double> positions(const Tensor<double>& z) {
    std::vector<double> xs;
    for (Index k = 0; k < z.dim(0); ++k) xs.push_back(z(k, 0));
    return xs;
}

}  // namespace

TEST_CASE("the moments of critically-damped diffusion are exact") {
    const PhaseCovariance a = sde.hybrid_covariance(0.3), b = sde.hybrid_covariance(1);
    CHECK(a.xx == Approx(0.85935691).margin(1e-7 * 0.5));
    CHECK(a.xv == Approx(0.04685030).margin(1e-7 * 0.5));
    CHECK(a.vv == Approx(0.23427789).margin(1e-7 * 0.5));
    CHECK(b.xx == Approx(0.99998397).margin(1e-7 * 0.5));
    CHECK(b.xv == Approx(7.08e-6).margin(1e-7 * 0.5));
    CHECK(b.vv == Approx(0.24999688).margin(1e-7 * 0.5));
    CHECK(score_factor(a) == Approx(2.077374).epsilon(1e-6));

    for (const double t : {0.01, 0.3, 1.0}) {
        const PhaseCovariance numeric = integrated({0.16, 0, 0.01}, 0, t, 2000), exact = sde.covariance(t, 0.16, 0.01);
        CHECK(exact.xx == Approx(numeric.xx).epsilon(1e-10));
        CHECK(exact.xv == Approx(numeric.xv).epsilon(1e-10).margin(1e-13));
        CHECK(exact.vv == Approx(numeric.vv).epsilon(1e-10));
    }
    // Where t is small the published form loses everything: xx is (4 B / Gamma)^3 / 6 to first order.
    CHECK(sde.covariance(1e-7, 0, 0).xx == Approx(std::pow(16e-7, 3) / 6).epsilon(1e-5));
    CriticallyDamped growing{.beta_0 = 1, .beta_1 = 6};
    CHECK(growing.covariance(1, 0, 0.01).xx == Approx(sde.covariance(1, 0, 0.01).xx));
    CHECK(growing.total_beta(0.5, 1) == Approx(0.5 + 6 * 0.375));
}

TEST_CASE("the moments of critically-damped diffusion are those of the simulated SDE", "[slow]") {
    constexpr int paths = 100000, steps = 100;
    const double last = 0.3, dt = last / steps;
    Tensor<double> x({1, paths}), v({1, paths}), w({1, paths});
    fill_normal(x, 1, 0, 0, Stream::initial);
    fill_normal(v, 1, 0, 1, Stream::initial);
    x.array() = 0.7 + 0.4 * x.array();
    v.array() *= std::sqrt(sde.initial_variance());
    for (int i = 0; i < steps; ++i) {  // the scheme of order 2 in the drift, so that its own error stays below the statistical one
        const double b = sde.beta_0, m = b / sde.mass, f = sde.friction() * m;
        fill_normal(w, 1, 0, static_cast<std::uint32_t>(i));
        const Eigen::ArrayXd kick = std::sqrt(2 * sde.friction() * b * dt) * w.array();
        const Eigen::ArrayXd ax = m * v.array(), av = -b * x.array() - f * v.array();
        const Eigen::ArrayXd x1 = x.array() + dt * ax, v1 = v.array() + dt * av + kick;
        x.array() += dt / 2 * (ax + m * v1);
        v.array() += dt / 2 * (av - b * x1 - f * v1) + kick;
    }
    const PhaseCovariance s = sde.covariance(last, 0.16, sde.initial_variance());
    const PhaseMap a = sde.mean(sde.total_beta(0, last));
    const double n = paths, mx = x.array().mean(), mv = v.array().mean();
    CHECK(std::abs(mx - a.xx * 0.7) < 5 * std::sqrt(s.xx / n));
    CHECK(std::abs(mv - a.vx * 0.7) < 5 * std::sqrt(s.vv / n));
    CHECK(std::abs((x.array() - mx).square().mean() - s.xx) < 5 * s.xx * std::sqrt(2 / n));
    CHECK(std::abs((v.array() - mv).square().mean() - s.vv) < 5 * s.vv * std::sqrt(2 / n));
    CHECK(std::abs(((x.array() - mx) * (v.array() - mv)).mean() - s.xv) < 5 * std::sqrt((s.xx * s.vv + s.xv * s.xv) / n));
}

TEST_CASE("targets are scores of the kernels and networks are read back to them") {
    for (const bool mixed : {false, true}) {
        const PhaseReading reading{sde, mixed};
        const std::vector<double> times{0.05, 0.6};
        const Tensor<double> x0 = Tensor<double>::from({2, 1}, {0.7, -0.2}), eps = Tensor<double>::from({2, 2}, {0.3, -1.1, 0.8, 0.5});
        const PhaseExample<double> hybrid = hybrid_example<double>(reading, x0, eps, times);
        for (std::size_t k = 0; k < 2; ++k) {
            const Exact kernel{{1}, {x0[static_cast<Index>(k)]}, 0};  // given x0, velocities averaged over
            const double x = hybrid.z(static_cast<Index>(k), 0), v = hybrid.z(static_cast<Index>(k), 1), h = 1e-5;
            const double numeric = (std::log(kernel.at(x, v + h, times[k]).density) - std::log(kernel.at(x, v - h, times[k]).density)) / (2 * h);
            // A network that says its target has the kernel's score.
            auto network = [&](const Tensor<double>& z, const NoiseLevel&) {
                Tensor<double> said({z.dim(0), 1});
                said[0] = hybrid.target[static_cast<Index>(k)];
                return said;
            };
            VelocityScore read{network, reading};
            const Tensor<double> score = read(Tensor<double>::from({1, 2}, {x, v}), level_at(sde, times[k])).output;
            CHECK(score[0] == Approx(numeric).epsilon(1e-6));
            CHECK(score[0] == Approx(kernel.at(x, v, times[k]).score).epsilon(1e-9));
        }
        // Hybrid and denoising score matching have one expected target: fit a line in z to each.
        constexpr Index n = 200000;
        Tensor<double> data({n, 1}), v0({n, 1}), noise({n, 2});
        fill_normal(data, 1, 0, 0, Stream::data);
        fill_normal(v0, 2, 0, 0, Stream::data);
        fill_normal(noise, 3, 0, 0, Stream::noise);
        v0.array() *= std::sqrt(sde.initial_variance());
        const std::vector<double> at(n, 0.2);
        const auto fit = [&](const PhaseExample<double>& example) -> Eigen::Vector2d {
            const Eigen::MatrixXd z = example.z.matrix();
            const Eigen::VectorXd y = example.target.matrix();
            return (z.transpose() * z).ldlt().solve(z.transpose() * y);
        };
        const Eigen::Vector2d one = fit(hybrid_example<double>(reading, data, noise, at)), other = fit(denoising_example<double>(reading, data, v0, noise, at));
        CHECK((one - other).norm() < 0.03);
        const Exact normal{{1}, {0}, 1};
        const double ell = score_factor(sde.hybrid_covariance(0.2)), share = mixed ? 1 / (ell * sde.hybrid_covariance(0.2).vv) : 0;
        CHECK(one[0] == Approx(-normal.at(1, 0, 0.2).score / ell).margin(0.02));
        CHECK(one[1] == Approx(-normal.at(0, 1, 0.2).score / ell - share).margin(0.02));
    }
}

TEST_CASE("samplers of critically-damped diffusion converge to the data") {
    const auto error = [](const auto& sampler, int count) { return distance(moments_of(sampler, phase_steps(sde, count, 1, 1e-5))); };
    const auto order = [&](const auto& sampler, int count) { return std::log2(error(sampler, count) / error(sampler, 2 * count)); };
    CHECK(error(PhaseEulerMaruyama{}, 4000) < 2e-2);
    CHECK(error(Sscs{}, 4000) < 2e-3);
    CHECK(error(PhaseFlow{sde, tableaux::classic4}, 400) < 1e-3);
    CHECK(order(PhaseEulerMaruyama{}, 1000) == Approx(1).margin(0.2));
    CHECK(order(Sscs{}, 500) == Approx(1).margin(0.2));
    CHECK(order(Sscs{sde, true}, 150) == Approx(2).margin(0.2));
    // The flow forgets nothing: from the exact distribution at t = 1, of which the prior lacks 0.003.
    const PhaseMap a = sde.mean(sde.total_beta(0, 1));
    const PhaseMoments start{a.xx * 0.7, a.vx * 0.7, sde.covariance(1, 0.16, sde.initial_variance())};
    const auto flow_error = [&](const auto& tableau, int count) {
        const Steps steps = phase_steps(sde, count, 1, 0.05);
        const PhaseMoments got = moments_of(PhaseFlow{sde, tableau}, steps, start), fine = moments_of(PhaseFlow{sde, tableaux::classic4}, phase_steps(sde, 1000, 1, 0.05), start);
        return std::abs(got.x - fine.x) + std::abs(got.s.xx - fine.s.xx);
    };
    CHECK(std::log2(flow_error(tableaux::heun, 200) / flow_error(tableaux::heun, 400)) == Approx(2).margin(0.2));
    CHECK(std::log2(flow_error(tableaux::classic4, 100) / flow_error(tableaux::classic4, 200)) == Approx(4).margin(0.2));
    const Steps quadratic = phase_steps(sde, 4, 2);
    CHECK(quadratic.count() == 5);
    CHECK(quadratic.intervals[1].from.time == Approx(0.001 + 0.999 * 0.5625));
    CHECK(quadratic.intervals[4].to.time == 0);
    CHECK_THROWS_AS(phase_steps(sde, 0), ArgumentError);
}

TEST_CASE("SSCS is ahead of Euler-Maruyama at equal evaluations") {
    // Without statistical error. As the paper compares: equal or quadratic steps to 0.001, then one without noise.
    struct Errors {
        double euler, published, second_order;
    };
    const auto errors = [](const Exact& data, double power, int evaluations) {
        const auto error = [&](const auto& sampler, int steps) {
            return wasserstein(moments_of(sampler, phase_steps(sde, steps, power), {}, data), data);
        };
        return Errors{error(PhaseEulerMaruyama{}, evaluations), error(Sscs{}, evaluations),
                      error(Sscs{sde, true}, evaluations / 2)};
    };
    const Exact wide{{1}, {0}, 1}, data{{1}, {0.7}, 0.16}, narrow{{1}, {0.5}, 0.0016};
    for (const double power : {1.0, 2.0}) {
        for (const int evaluations : {10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 276, 500, 1000, 2000}) {
            CAPTURE(power, evaluations);
            const Errors w = errors(wide, power, evaluations), d = errors(data, power, evaluations);
            CHECK(w.published < 0.15 * w.euler);
            CHECK(w.second_order < 0.1 * w.euler);
            CHECK(d.second_order < 0.3 * d.euler);
            if (evaluations <= 40) CHECK(d.published < 0.9 * d.euler);
        }
        // One mode of the diamond, 0.04 wide. Its score is stiff in v: between, Euler-Maruyama is ahead mostly.
        for (const int evaluations : {10, 20, 150, 200, 276, 500, 1000, 2000}) {
            CAPTURE(power, evaluations);
            const Errors n = errors(narrow, power, evaluations);
            if (evaluations <= 20) CHECK(n.published < 0.95 * n.euler);
            else if (power == 2 || evaluations >= 500) CHECK(n.second_order < n.euler);
        }
    }
}

TEST_CASE("SSCS is ahead of Euler-Maruyama at equal evaluations on a mixture") {
    // Average distance between quantiles of the samples and of the data, which are symmetric; so are the samples, of
    // which one half has the other's noise with its sign turned.
    const auto error = [](const auto& sampler, Index count, Exact score) {
        constexpr Index n = 10000;
        const auto mirror = [](Tensor<double>& w) { w.array().tail(n) = -w.array().head(n); };
        using S = std::decay_t<decltype(sampler)>;
        Tensor<double> start = initial_phase<double>(sde, {n, 2}, 1);
        mirror(start);
        Sampling<double, S> sampling(sampler, phase_steps(sde, count), start);
        WhiteNoise white{1};
        auto noise = [&](Tensor<double>& w, const Interval& interval) {
            white(w, interval);
            mirror(w);
        };
        sampling.run(score, noise);
        std::vector<double> got = positions(sampling.x());
        std::sort(got.begin(), got.end());
        const auto share_below = [&](double x) {
            double share = 0;
            for (std::size_t c = 0; c < score.means.size(); ++c)
                share += score.weights[c] * std::erfc((score.means[c] - x) / std::sqrt(2 * score.variance)) / 2;
            return share;
        };
        double total = 0;
        for (Index k = 0; k < n; ++k) {
            double low = -4, high = 4;
            const double share = (static_cast<double>(k) + 0.5) / n;
            for (int i = 0; i < 30; ++i) (share_below((low + high) / 2) < share ? low : high) = (low + high) / 2;
            total += std::abs(got[static_cast<std::size_t>(k)] - low) / n;
        }
        return total;
    };
    const Exact narrow{{0.5, 0.5}, {-1, 1}, 0.01}, wide{{0.5, 0.5}, {-0.5, 0.5}, 0.09};
    for (const Index count : {30, 40}) {
        const double em = error(PhaseEulerMaruyama{}, count, narrow), sscs = error(Sscs{}, count, narrow);
        CAPTURE(count, sscs, em);
        CHECK(sscs < 0.8 * em);
    }
    for (const Index count : {20, 50}) {
        const double em = error(PhaseEulerMaruyama{}, count, wide), sscs = error(Sscs{sde, true}, count / 2, wide);
        CAPTURE(count, sscs, em);
        CHECK(sscs < 0.5 * em);
    }
}

TEST_CASE("100,000 samples of critically-damped diffusion have the moments that follow from the steps") {
    const auto check = [](const auto& sampler) {
        const Steps steps = phase_steps(sde, 25, 2);
        using S = std::decay_t<decltype(sampler)>;
        Sampling<double, S> sampling(sampler, steps, initial_phase<double>(sde, {1000, 200}, 1));
        Exact score;
        WhiteNoise noise{1};
        sampling.run(score, noise);
        const auto [x, v] = split_phase(sampling.x());
        const PhaseMoments expected = moments_of(sampler, steps);
        const double n = 1e5, mean = x.array().mean(), variance = (x.array() - mean).square().mean();
        CHECK(std::abs(mean - expected.x) < 5 * std::sqrt(expected.s.xx / n));
        CHECK(std::abs(variance - expected.s.xx) < 5 * expected.s.xx * std::sqrt(2 / n));
        CHECK(std::abs((v.array() - v.array().mean()).square().mean() - expected.s.vv) < 5 * expected.s.vv * std::sqrt(2 / n));
    };
    check(Sscs{});
    check(Sscs{sde, true});
    check(PhaseEulerMaruyama{});
    check(PhaseFlow{sde, tableaux::heun});
}

TEST_CASE("the flow of critically-damped diffusion is a round trip and gives the likelihood") {
    Exact score{{0.3, 0.7}, {-1, 1}, 0.04};
    PhaseVelocity<Exact> velocity(sde, score);
    const Tensor<double> z = Tensor<double>::from({3, 2}, {0.9, 0.1, -1.2, 0, -0.7, -0.15});
    const auto code = integrate_adaptively<double>(velocity, z, 1e-5, 1, fine_steps(1e-7));
    const auto back = integrate_adaptively<double>(velocity, code.x, 1, 1e-5, fine_steps(1e-7));
    for (Index i = 0; i < z.size(); ++i) CHECK(back.x[i] == Approx(z[i]).margin(1e-3));
    const auto prior = [](const Tensor<double>& end) { return phase_log_density(sde, end); };
    const auto nats = log_likelihood<double>(exact_divergence<double>(velocity, z.shape()), z, 1e-5, 1, prior, fine_steps(1e-7)).nats;
    // What is left of the data in the prior at t = 1 is 0.003 of the position.
    for (Index k = 0; k < 3; ++k) CHECK(nats[static_cast<std::size_t>(k)] == Approx(std::log(score.at(z(k, 0), z(k, 1), 1e-5).density)).margin(2e-2));
    const auto exact = [&](const Tensor<double>& end) {
        std::vector<double> result;
        for (Index k = 0; k < 3; ++k) result.push_back(std::log(score.at(end(k, 0), end(k, 1), 1).density));
        return result;
    };
    const auto precise = log_likelihood<double>(exact_divergence<double>(velocity, z.shape()), z, 1e-5, 1, exact, fine_steps(1e-7)).nats;
    for (Index k = 0; k < 3; ++k) CHECK(precise[static_cast<std::size_t>(k)] == Approx(std::log(score.at(z(k, 0), z(k, 1), 1e-5).density)).margin(1e-4));
}

TEST_CASE("the flow of critically-damped diffusion converges with the order of its method on a mixture") {
    Exact score{{0.3, 0.7}, {-1, 1}, 0.04};
    const Tensor<double> z = Tensor<double>::from({3, 2}, {0.9, 0.1, -1.2, 0, -0.7, -0.15});
    PhaseVelocity<Exact> velocity(sde, score);
    const Tensor<double> exact = integrate_adaptively<double>(velocity, z, 1, 0.1, fine_steps(1e-12)).x;
    const auto order = [&](const auto& tableau, int count) {
        const auto error = [&](int n) {
            std::vector<double> times;
            for (int i = 0; i <= n; ++i) times.push_back(1 - 0.9 * i / n);
            return std::sqrt((integrate(tableau, velocity, z, std::span<const double>(times)).array() - exact.array()).square().mean());
        };
        return std::log2(error(count) / error(2 * count));
    };
    CHECK(order(tableaux::euler, 800) == Approx(1).margin(0.2));
    CHECK(order(tableaux::heun, 200) == Approx(2).margin(0.2));
    CHECK(order(tableaux::classic4, 100) == Approx(4).margin(0.2));
}

TEST_CASE("sample k of critically-damped diffusion is the same in any batch") {
    const auto check = [](const auto& sampler) {
        using S = std::decay_t<decltype(sampler)>;
        const auto draw = [&](Index count, std::uint64_t first) {
            Sampling<float, S> sampling(sampler, phase_steps(sde, 6, 2), initial_phase<float>(sde, {count, 4}, 1, first));
            Exact score;
            WhiteNoise noise{1, first};
            sampling.run(score, noise);
            return sampling.x();
        };
        const Tensor<float> all = draw(9, 0), one = draw(1, 7);
        CHECK(std::equal(one.begin(), one.end(), all.begin() + 7 * 4));
    };
    check(Sscs{});
    check(Sscs{sde, true});
    check(PhaseEulerMaruyama{});
    check(PhaseFlow{sde, tableaux::heun});
}

TEST_CASE("phases are joined and split and refused where they do not fit") {
    const Tensor<float> x = Tensor<float>::from({2, 2}, {1, 2, 3, 4}), v = Tensor<float>::from({2, 2}, {5, 6, 7, 8});
    const Tensor<float> z = join_phase(x, v);
    CHECK(z(1, 1) == 4);
    CHECK(z(1, 2) == 7);
    CHECK(split_phase(z).second(0, 1) == 6);
    CHECK_THROWS_AS(join_phase(x, z), ShapeError);
    CHECK_THROWS_AS(split_phase(Tensor<float>::zeros({2, 3})), ShapeError);
    CHECK_THROWS_AS(initial_phase<float>(sde, {2, 3}, 1), ArgumentError);
    const Tensor<float> many = initial_phase<float>(sde, {20000, 2}, 1), one = initial_phase<float>(sde, {1, 2}, 1, 7);
    CHECK(many(7, 1) == one(0, 1));
    CHECK(many.matrix().col(1).squaredNorm() / 20000 == Approx(sde.mass).epsilon(0.05));
    const std::vector<double> times{0.5};
    CHECK_THROWS_AS(hybrid_example<float>(PhaseReading{}, x, z, times), ShapeError);
    CHECK_THROWS_AS(denoising_example<float>(PhaseReading{}, x, z, z, times), ShapeError);
}

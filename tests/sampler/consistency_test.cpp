// SPDX-License-Identifier: MIT
// Consistency sampling, TCD and RePaint against normal data.
#include <cmath>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "ito/sampler/consistency.hpp"
#include "ito/sampler/ddim.hpp"
#include "ito/sampler/repaint.hpp"
#include "ito/schedule/sigmas.hpp"
#include "ito/schedule/steps.hpp"
#include "sampler/gaussian.hpp"

using namespace ito;
using namespace ito::test;

namespace {

/// Where the probability flow of normal data ends, from any level: the exact consistency function.
struct FlowEnd {
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& l) const {
        Tensor<T> x0(x.shape());
        x0.array() = static_cast<T>(m) + static_cast<T>(s / deviation(l)) * (x.array() - static_cast<T>(l.alpha * m));
        return x0;
    }
};

const DiscreteSchedule& schedule() {
    static const DiscreteSchedule linear(linear_betas<double>(1000));
    return linear;
}

}  // namespace

TEST_CASE("an exact consistency model draws from the data in any number of steps") {
    FlowEnd exact;
    for (Index count : {1, 4}) {
        check_normal(sample<float>(Denoiser{exact, says_x0}, Consistency{}, trailing(schedule(), count), {100000, 1}, {.seed = 2}), {m, s * s});
        // Without a boundary at time 0, c_out is nearly 1 at all others.
        check_normal(sample<float>(Denoiser{exact, says_x0}, latent_consistency(1e6), trailing(schedule(), count), {100000, 1}, {.seed = 2}), {m, s * s});
    }
    // Noise is added from the smallest ratio: what is there already is not added again.
    const double smallest = 0.5;
    Steps steps = steps_between({level_of_ratio(1, 80), level_of_ratio(0, 2)});
    FlowEnd start;
    const auto x = sample<float>(Denoiser{start, says_x0}, Consistency{.smallest_ratio = smallest}, steps, {100000, 1}, {.seed = 4});
    const NoiseLevel to = steps.intervals.back().to;
    check_normal(x, {to.alpha * m, to.alpha * to.alpha * (s * s - smallest * smallest) + to.sigma * to.sigma});
}

TEST_CASE("the reading of a consistency model says x itself at its smallest ratio") {
    const Reading reading{.prediction = Prediction::edm, .scaled_input = true, .sigma_data = 0.5, .smallest_ratio = 0.002};
    auto network = [](const Tensor<double>& x, const NoiseLevel&) { return Tensor<double>::full(x.shape(), 0.7); };
    Denoiser denoise{network, reading};
    const auto x = Tensor<double>::full({1, 1}, 1.5);
    CHECK(estimated_x0(x, denoise(x, {0, 1, 0.002}))[0] == Approx(1.5).epsilon(1e-12));
    // c_skip x + c_out F of the paper.
    const double sigma = 3, d = 0.5, above = sigma - 0.002;
    const double expected = d * d / (above * above + d * d) * 1.5 + above * d / std::sqrt(sigma * sigma + d * d) * 0.7;
    const Estimate<double> estimate = denoise(x, {0, 1, sigma});
    CHECK(estimated_x0(x, estimate)[0] == Approx(expected).epsilon(1e-12));
    CHECK(estimated_eps(x, estimate)[0] == Approx((1.5 - expected) / sigma).epsilon(1e-12));
}

TEST_CASE("TCD lies between DDIM and consistency sampling") {
    FlowEnd exact;
    const Steps steps = steps_at(schedule(), {999, 700, 300}, End::first_level);
    const auto draw = [&](auto sampler) { return sample<double>(Denoiser{exact, says_x0}, sampler, steps, {50, 1}, {.seed = 6}); };
    const auto same = [](const Tensor<double>& a, const Tensor<double>& b) {
        for (Index i = 0; i < a.size(); ++i) CHECK(a[i] == Approx(b[i]).epsilon(1e-9));
    };
    same(draw(Tcd{schedule(), 0}), draw(Ddim{}));
    CHECK_THROWS_AS(draw(Tcd{schedule(), 1.5}), ArgumentError);
    CHECK_THROWS_AS(draw(Tcd{schedule(), -0.1}), ArgumentError);
    // The moments that follow from the steps: x0 = m + k (x - alpha m), eps = (x - alpha x0) / sigma, all linear in x.
    Gaussian mean;
    for (double eta : {0.3, 1.0}) {
        Moments now{0, 1};
        for (const Interval& i : steps.intervals) {
            const bool last = i.index == i.count - 1;
            const NoiseLevel reached = last ? i.to : schedule().level(static_cast<Index>(std::floor((1 - eta) * i.to.time)));
            const double alpha = i.from.alpha, sigma = i.from.sigma, k = alpha * s * s / std::pow(deviation(i.from), 2);
            const double keep = i.to.alpha / reached.alpha, added = i.to.sigma * i.to.sigma - std::pow(keep * reached.sigma, 2);
            const double slope = keep * (reached.alpha * k + reached.sigma * (1 - alpha * k) / sigma);
            const double shift = keep * (reached.alpha - reached.sigma * alpha / sigma) * m * (1 - k * alpha);
            now = {slope * now.mean + shift, slope * slope * now.variance + added};
        }
        check_normal(sample<float>(Denoiser{mean, says_x0}, Tcd{schedule(), eta}, steps, {100000, 1}, {.seed = 7}), now);
    }
}

TEST_CASE("RePaint's jumps are the paper's") {
    const auto times = repaint_times(250, 10, 10);
    CHECK(times.size() == 4570);
    Index up = 0;
    for (std::size_t i = 1; i < times.size(); ++i) up += times[i] > times[i - 1];
    CHECK(up == 2160);
    CHECK(repaint_times(3, 5, 5) == std::vector<Index>{2, 1, 0});
    CHECK_THROWS_AS(repaint_times(0), ArgumentError);
    CHECK_THROWS_AS(repaint_times(10, 0), ArgumentError);
}

TEST_CASE("RePaint fills in what belongs to what is known, the better the more it jumps") {
    // Two values of one normal distribution with correlation rho; the first is known.
    const double rho = 0.9, known = 1.2;
    auto network = [&](const Tensor<float>& x, const NoiseLevel& l) {
        // E[x0 | x] = alpha C (alpha^2 C + sigma^2)^-1 x in the axes (1, 1) and (1, -1), of variances 1 + rho and 1 - rho.
        const auto gain = [&](double variance) { return l.alpha * variance / (l.alpha * l.alpha * variance + l.sigma * l.sigma); };
        const auto a = static_cast<float>((gain(1 + rho) + gain(1 - rho)) / 2), b = static_cast<float>((gain(1 + rho) - gain(1 - rho)) / 2);
        Tensor<float> x0(x.shape());
        for (Index k = 0; k < x.dim(0); ++k) {
            x0(k, 0) = a * x(k, 0) + b * x(k, 1);
            x0(k, 1) = b * x(k, 0) + a * x(k, 1);
        }
        return x0;
    };
    constexpr Index count = 50;
    const auto paint = [&](Index jumps, double eta) {
        const auto at = [&](Index t) { return t >= 0 ? schedule().level(t * 20 + 19) : NoiseLevel{0, 1, 0}; };
        Steps steps;
        steps.may_rise = true;
        Index last = count;
        for (Index t : repaint_times(count, 5, jumps)) {
            if (t < last) steps.intervals.push_back({at(t), at(t - 1)});
            else steps.intervals.push_back({at(t - 2), at(t - 1)});
            last = t;
        }
        for (std::size_t i = 0; i < steps.intervals.size(); ++i)
            steps.intervals[i].index = static_cast<Index>(i), steps.intervals[i].count = steps.count();
        RePaint sampler{Tensor<float>::full({4000, 2}, static_cast<float>(known)), Tensor<float>::from({1, 2}, std::vector<float>{1, 0}), eta};
        return sample<float>(Denoiser{network, says_x0}, sampler, steps, {4000, 2}, {.seed = 8});
    };
    const auto second = [](const Tensor<float>& x) {
        Tensor<float> values({x.dim(0)});
        for (Index k = 0; k < x.dim(0); ++k) values[k] = x(k, 1);
        return moments(values);
    };
    for (double eta : {0.0, 1.0}) {
        CAPTURE(eta);
        const auto once = paint(1, eta), often = paint(10, eta);
        for (Index k = 0; k < 4000; ++k) REQUIRE(often(k, 0) == static_cast<float>(known));
        const double expected = rho * known, error_once = std::abs(second(once).mean - expected), error_often = std::abs(second(often).mean - expected);
        CAPTURE(second(once).mean, second(often).mean, second(often).variance);
        CHECK(error_often < 0.5 * error_once);
        CHECK(error_often < 0.1);
    }
    const auto run = [&](const RePaint& sampler) {
        return sample<float>(Denoiser{network, says_x0}, sampler, trailing(schedule(), 5), {3, 2});
    };
    const auto picture = Tensor<float>::zeros({3, 2}), mask = Tensor<float>::zeros({3, 1});
    CHECK_NOTHROW(run(RePaint{picture, mask}));
    CHECK_THROWS_AS(run(RePaint{}), ArgumentError);
    CHECK_THROWS_AS(run(RePaint{Tensor<float>::zeros({2, 2}), mask}), ShapeError);
    CHECK_THROWS_AS(run(RePaint{picture, Tensor<float>::zeros({3, 3})}), ShapeError);
}

TEST_CASE("sample k of consistency sampling and TCD and RePaint is the same in any batch") {
    constexpr Index size = 12;
    const Steps steps = trailing(schedule(), 5);
    const auto row = [](const Tensor<float>& x, Index k) { return std::vector<float>(x.data() + k * size, x.data() + (k + 1) * size); };
    Gaussian exact;
    const auto check = [&](const auto& sampler_of) {
        const auto draw = [&](Index count, Index first) {
            return sample<float>(Denoiser{exact, says_x0}, sampler_of(count, first), steps, {count, 2, 2, 3}, {.seed = 9, .first_sample = static_cast<std::uint64_t>(first)});
        };
        const Tensor<float> all = draw(70, 0);
        for (const Index k : {0, 1, 69}) CHECK(row(draw(1, k), 0) == row(all, k));
        CHECK(row(draw(3, 40), 2) == row(all, 42));
    };
    check([](Index, Index) { return Consistency{.smallest_ratio = 0.01}; });
    check([](Index, Index) { return latent_consistency(); });
    check([](Index, Index) { return Tcd{schedule(), 0.4}; });
    check([](Index count, Index first) {  // each with a picture and a mask of its own
        Tensor<float> pictures({count, 2, 2, 3}), masks({count, 2, 2, 1});
        fill_normal(pictures, 4, static_cast<std::uint64_t>(first));
        for (Index i = 0; i < masks.size(); ++i) masks[i] = (i + 4 * first) % 3 == 0 ? 1 : 0;
        return RePaint{pictures, masks, 0.5};
    });
}

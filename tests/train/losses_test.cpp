// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "gradient_check.hpp"
#include "ito/denoise/analytic.hpp"
#include "ito/nn/module.hpp"
#include "ito/ops/linear.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/schedule/edm.hpp"
#include "ito/schedule/rectified_flow.hpp"
#include "ito/train/score_matching.hpp"
#include "ito/train/time_resampler.hpp"
#include "ito/train/times.hpp"
#include "ito/train/variational_loss.hpp"

using namespace ito;

namespace {

constexpr double mean = 0.4, variance = 0.25;  // of the data, N(mean, variance)

/// Data and noise at one deviation to either side, in all pairs: quadratic functions of both have here their exact mean.
struct Pairs {
    Tensor<double> x0{Shape{4, 1}}, eps{Shape{4, 1}};
    Pairs() {
        for (Index i = 0; i < 4; ++i) {
            x0[i] = mean + (i % 2 ? 1 : -1) * std::sqrt(variance);
            eps[i] = i / 2 ? 1 : -1;
        }
    }
};

/// A network that is linear in what it is shown.
struct Line {
    Parameter<double> slope{Tensor<double>::full({1, 1}, 0)}, offset{Tensor<double>::full({1}, 0)};
    Var<double> operator()(const Var<double>& x, std::span<const double>) const { return ops::linear(x, slope, &offset); }
};

/// The line that says E[x0 | x] for normal data.
Line optimum(const Reading& reading, const NoiseLevel& level) {
    const Decoding decode = detail::decoding(reading, level);
    const double gain = level.alpha * variance / (level.alpha * level.alpha * variance + level.sigma * level.sigma);
    Line line;
    line.slope.change()[0] = (gain - decode.x0_of_x) / decode.x0_of_out * reading.input_scale(level);
    line.offset.change()[0] = (1 - gain * level.alpha) * mean / decode.x0_of_out;
    return line;
}

/// Value and gradient of a loss(line, tape) at the line, the gradient also by central differences.
template <class Loss>
std::array<double, 3> value_and_gradient(Line& line, Loss&& loss) {
    Tape<double> tape;
    const Var<double> value = loss(line, tape);
    tape.backward(value);
    std::array<double, 3> result{(*value)[0], (*tape.gradient(line.slope))[0], (*tape.gradient(line.offset))[0]};
    for (int i = 0; i < 2; ++i) {
        Parameter<double>& parameter = i ? line.offset : line.slope;
        const double old = parameter.value[0], step = 1e-5;
        const auto at = [&](double v) {
            parameter.change()[0] = v;
            Tape<double> other;
            return (*loss(line, other))[0];
        };
        const double difference = (at(old + step) - at(old - step)) / (2 * step);
        parameter.change()[0] = old;
        CHECK(std::abs(difference - result[static_cast<std::size_t>(i) + 1]) < 1e-8 * (1 + std::abs(difference)));
    }
    return result;
}

double error_of_x0(const NoiseLevel& level) {  // Var(x0 | x)
    const double noise = level.sigma * level.sigma;
    return variance * noise / (level.alpha * level.alpha * variance + noise);
}

}  // namespace

TEST_CASE("every prediction's loss is least at the exact denoiser, by the known amount") {
    const Pairs data;
    std::vector<Reading> readings{edm_reading(0.5), edm_reading(1.3), {.prediction = Prediction::v, .scaled_input = true, .negated = true}};
    for (const Prediction prediction : {Prediction::epsilon, Prediction::sample, Prediction::v, Prediction::score, Prediction::flow})
        for (const bool scaled : {false, true}) readings.push_back({.prediction = prediction, .scaled_input = scaled});
    for (const Reading& reading : readings)
        for (const NoiseLevel& level : {NoiseLevel{3, 0.8, 0.6}, level_at(Edm{}, 0.7), level_at(RectifiedFlow{}, 0.3)}) {
            CAPTURE(int(reading.prediction), reading.scaled_input, level.alpha, level.sigma);
            const std::vector<NoiseLevel> levels(4, level);
            Line line = optimum(reading, level);
            const auto loss = [&](const Line& net, Tape<double>& tape) {
                return DenoisingLoss(reading, 2.0)(net, tape, data.x0, data.eps, levels);
            };
            const auto [value, by_slope, by_offset] = value_and_gradient(line, loss);
            const double snr = std::pow(level.alpha / level.sigma, 2);
            CHECK(value == Approx(std::min(snr, 2.0) * error_of_x0(level)));
            CHECK(std::abs(by_slope) < 1e-12);
            CHECK(std::abs(by_offset) < 1e-12);
            line.slope.change()[0] += 0.1;
            CHECK(value_and_gradient(line, loss)[0] > value);
        }
    // Karras et al. (2022), equation 8: the network's own error is that of x0 times (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    const NoiseLevel level = level_at(Edm{}, 0.7);
    Line line = optimum(edm_reading(0.5), level);
    const auto loss = [&](const Line& net, Tape<double>& tape) {
        return DenoisingLoss(edm_reading(0.5))(net, tape, data.x0, data.eps, std::vector<NoiseLevel>(4, level));
    };
    CHECK(value_and_gradient(line, loss)[0] == Approx((0.49 + 0.25) / (0.49 * 0.25) * error_of_x0(level)));
}

TEST_CASE("score matching is least at the exact score, by the known amount, under every weighting") {
    const Pairs data;
    const ContinuousVp vp;
    const ContinuousSubVp sub_vp;
    const ContinuousVe ve;
    const auto check = [&](const auto& schedule, double t) {
        const NoiseLevel level = level_at(schedule, t);
        const std::vector<NoiseLevel> levels(4, level);
        const std::vector<double> times(4, t);
        for (const Prediction prediction : {Prediction::score, Prediction::epsilon, Prediction::v})
            for (const auto& lambdas : {smld_weights(levels), likelihood_weights(schedule, times)}) {
                CAPTURE(t, int(prediction), lambdas[0]);
                Line line = optimum(Reading{prediction}, level);
                const auto loss = [&](const Line& net, Tape<double>& tape) {
                    return ScoreMatchingLoss{Reading{prediction}}(net, tape, data.x0, data.eps, levels, lambdas);
                };
                const auto [value, by_slope, by_offset] = value_and_gradient(line, loss);
                // E |s - grad log p(x|x0)|^2 = alpha^2 / sigma^4 Var(x0 | x)
                CHECK(value == Approx(lambdas[0] * std::pow(level.alpha, 2) / std::pow(level.sigma, 4) * error_of_x0(level)));
                CHECK(std::abs(by_slope) < 1e-10 * (1 + value));
                CHECK(std::abs(by_offset) < 1e-10 * (1 + value));
            }
    };
    for (const double t : {0.1, 0.5, 1.0}) {
        check(vp, t);
        check(sub_vp, t);
        check(ve, t);
    }
    CHECK(smld_weights(std::vector<NoiseLevel>{{0, 1, 3}})[0] == 9);
    CHECK(likelihood_weights(vp, std::vector<double>{0.5})[0] == Approx(0.1 + 19.9 * 0.5));
    const Line line;
    Tape<double> tape;
    CHECK_THROWS_AS(ScoreMatchingLoss{}(line, tape, data.x0, data.eps, std::vector<NoiseLevel>(4), std::vector<double>(4, 1)), ArgumentError);
}

TEST_CASE("terms of the variational bound are those of the definition") {
    const DiscreteSchedule schedule(linear_betas<double>(20, 1e-3, 0.3));
    const Reading reading{.learned_variance = true};
    const std::vector<Index> times{0, 1, 7, 19, 0, 0};
    Tensor<double> x0 = test::numbers({6, 2, 3}, 1), eps = test::numbers({6, 2, 3}, 2), said = test::numbers({6, 2, 6}, 3);
    x0.array() = (x0.array() * 127).round() / 127.5;
    for (Index i = 0; i < 6; ++i) x0[24 + i] = 1, x0[30 + i] = -1;
    std::vector<NoiseLevel> levels;
    for (const Index t : times) levels.push_back(schedule.level(t));
    const Tensor<double> x_t = add_noise<double>(x0, eps, levels);
    const Var<double> terms = bound_terms<double>(reading, schedule, said, x_t, x0, times);
    for (Index k = 0; k < 6; ++k) {
        const Index t = times[static_cast<std::size_t>(k)];
        const auto bar = [&](Index s) { return s < 0 ? 1 : schedule.alphas_cumprod()[static_cast<std::size_t>(s)]; };
        const double alpha = bar(t) / bar(t - 1), beta = 1 - alpha;
        double sum = 0;
        for (Index i = 0; i < 6; ++i) {
            const double x = x_t[6 * k + i], at = said(k, i / 3, i % 3), v = said(k, i / 3, 3 + i % 3);
            const double x0_said = (x - std::sqrt(1 - bar(t)) * at) / std::sqrt(bar(t));
            // The posterior as a product of q(x_t | x_{t-1}) and q(x_{t-1} | x0), in precisions.
            const auto posterior = [&](double picture, Index s) {
                const double step = 1 - bar(s) / bar(s - 1), precision = (1 - step) / step + 1 / (1 - bar(s - 1));
                return std::pair((std::sqrt(1 - step) / step * x + std::sqrt(bar(s - 1)) / (1 - bar(s - 1)) * picture) / precision, 1 / precision);
            };
            const double small = posterior(0, std::max<Index>(t, 1)).second;
            const double deviation = std::sqrt(std::exp((v + 1) / 2 * std::log(beta) + (1 - v) / 2 * std::log(small)));
            if (t > 0) {
                const double q = posterior(x0[6 * k + i], t).first, p = posterior(x0_said, t).first;
                sum += std::log(deviation / std::sqrt(small)) + (small + (q - p) * (q - p)) / (2 * deviation * deviation) - 0.5;
            } else {
                const double low = x0[6 * k + i] < -0.999 ? -50 : x0[6 * k + i] - 1.0 / 255, high = x0[6 * k + i] > 0.999 ? 50 : x0[6 * k + i] + 1.0 / 255;
                const auto below = [&](double y) { return 0.5 * (1 + std::erf((y - x0_said) / deviation / std::numbers::sqrt2)); };
                sum -= std::log(std::max(below(high) - below(low), 1e-12));
            }
        }
        CAPTURE(t);
        CHECK((*terms)[k] == Approx(sum / 6 / std::numbers::ln2).epsilon(1e-9));
    }
    test::check_gradients([&](const std::vector<Var<double>>& in) { return bound_terms(reading, schedule, in[0], x_t, x0, times); }, {said});

    Tape<double> tape;
    const Var<double> input = tape.input(said);
    tape.backward(bound_terms(reading, schedule, input, x_t, x0, times, BoundGradient::variance));
    const Tensor<double>& g = *tape.gradient(input);
    CHECK(g.matrix().leftCols(3).cwiseAbs().maxCoeff() == 0);
    CHECK(g.matrix().rightCols(3).cwiseAbs().minCoeff() > 0);
    CHECK_THROWS_AS(bound_terms<double>(reading, schedule, said, x_t, x0, std::vector<Index>(6, 20)), ArgumentError);
    CHECK_THROWS_AS(bound_terms<double>(reading, schedule, x0, x_t, x0, times), ShapeError);
}

TEST_CASE("the bound vanishes for data of one point that the network knows, and sums to the entropy for normal data") {
    const DiscreteSchedule schedule(linear_betas<double>(1000));
    const Reading reading{.prediction = Prediction::sample, .learned_variance = true};
    const Tensor<double> x0 = Tensor<double>::full({3, 1}, 0.2), eps = test::numbers({3, 1}, 2);
    const std::vector<Index> times{1, 500, 999};
    std::vector<NoiseLevel> levels;
    for (const Index t : times) levels.push_back(schedule.level(t));
    Tensor<double> said({3, 2});
    for (Index i = 0; i < 3; ++i) said(i, 0) = 0.2, said(i, 1) = -1;
    const Var<double> terms = bound_terms<double>(reading, schedule, said, add_noise<double>(x0, eps, levels), x0, times);
    CHECK((*terms).array().abs().maxCoeff() < 1e-9);

    // N(mean, variance) data, the exact denoiser and the reverse step's exact variance: the bound is then tight up to the
    // prior and the bins, -log2 of the density times the width of a bin.
    const Pairs data;
    double bits = 0;
    for (Index t = 0; t < 1000; ++t) {
        const NoiseLevel level = schedule.level(t);
        const std::vector<NoiseLevel> same(4, level);
        const Tensor<double> x_t = add_noise<double>(data.x0, data.eps, same);
        Tensor<double> words({4, 2});
        const double gain = level.alpha * variance / (level.alpha * level.alpha * variance + level.sigma * level.sigma);
        const Interval step = t > 0 ? Interval{level, schedule.level(t - 1)} : Interval{schedule.level(1), schedule.level(0)};
        const double beta = transition({level, t > 0 ? schedule.level(t - 1) : NoiseLevel{}}).variance;
        const double small = transition(step).variance * std::pow(step.to.sigma / step.from.sigma, 2);
        const double spread = t > 0 ? step.to.alpha * beta / (level.sigma * level.sigma) : 1;
        const double exact = (t > 0 ? small : 0) + spread * spread * error_of_x0(level);
        for (Index i = 0; i < 4; ++i) {
            words(i, 0) = mean + gain * (x_t[i] - level.alpha * mean);
            words(i, 1) = 2 * std::log(exact / small) / std::log(beta / small) - 1;
        }
        const Var<double> each = bound_terms<double>(reading, schedule, words, x_t, data.x0, std::vector<Index>(4, t));
        bits += (*each).array().mean();
    }
    const double entropy = 0.5 * std::log2(2 * std::numbers::pi * std::numbers::e * variance) + std::log2(127.5);
    CHECK(bits == Approx(entropy).margin(0.01));
}

TEST_CASE("the hybrid loss is the simple loss and a thousandth of the bound, which leaves the mean alone") {
    const DiscreteSchedule schedule(linear_betas<double>(20, 1e-3, 0.3));
    const std::vector<Index> times{3, 0, 19};
    const Tensor<double> x0 = test::numbers({3, 2}, 1), eps = test::numbers({3, 2}, 2);
    Parameter<double> words{test::numbers({3, 4}, 3)};
    const auto network = [&](const Var<double>& x, std::span<const double>) { return x.tape()->use(words); };
    Tape<double> tape, simple, vlb;
    const Var<double> hybrid = VariationalLoss{}(network, tape, schedule, x0, eps, times);
    tape.backward(hybrid);
    std::vector<NoiseLevel> levels;
    for (const Index t : times) levels.push_back(schedule.level(t));
    const Reading reading{.learned_variance = true};
    const Var<double> mse = DenoisingLoss(reading)(network, simple, x0, eps, levels);
    simple.backward(mse);
    const Var<double> bound = VariationalLoss{VariationalLoss::Kind::vlb}(network, vlb, schedule, x0, eps, times);
    vlb.backward(bound);
    CHECK((*hybrid)[0] == Approx((*mse)[0] + 0.001 * (*bound)[0]));
    const auto gradient = [&](Tape<double>& of) { return of.gradient(words)->matrix(); };
    CHECK((gradient(tape).leftCols(2) - gradient(simple).leftCols(2)).cwiseAbs().maxCoeff() < 1e-14);
    CHECK((gradient(tape).rightCols(2) - 0.001 * gradient(vlb).rightCols(2)).cwiseAbs().maxCoeff() < 1e-14);
    CHECK(gradient(vlb).leftCols(2).cwiseAbs().maxCoeff() > 0);
}

TEST_CASE("a resampled time's weight makes up for its probability") {
    TimeResampler<float> resampler(5, 3);
    const std::vector<double> numbers = stratified_numbers(10000, 1, 0);
    CHECK(resampler.draw(numbers).weights[0] == 1);
    for (Index round = 0; round < 3; ++round)
        for (Index t = 0; t < 5; ++t)
            resampler.update(std::vector<Index>{t}, Tensor<float>::full({1}, static_cast<float>(t * t + (round == 2 && t == 0))));
    const std::vector<double> p = resampler.probabilities();
    CHECK(p[4] / p[3] == Approx(16.0 / 9).epsilon(1e-3));
    CHECK(p[0] == Approx(0.001 / 5 + 0.999 * std::sqrt(1.0) / (1 + std::sqrt(3.0) * (1 + 4 + 9 + 16))));
    const auto drawn = resampler.draw(numbers);
    std::vector<double> frequency(5), weighted(5);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto t = static_cast<std::size_t>(drawn.times[i]);
        frequency[t] += 1.0 / 10000;
        weighted[t] += drawn.weights[i] / 10000;
    }
    for (std::size_t t = 0; t < 5; ++t) {
        CHECK(std::abs(frequency[t] - p[t]) < 2e-4);
        CHECK(weighted[t] == Approx(0.2).epsilon(0.05));  // one draw in ten thousand is 5% of the rarest
    }
    for (int i = 0; i < 100; ++i) resampler.update(std::vector<Index>{0}, Tensor<float>::full({1}, 7.0f));
    CHECK(resampler.probabilities()[0] == Approx(0.001 / 5 + 0.999 * 7 / 37).epsilon(1e-5));
    CHECK_THROWS_AS(TimeResampler<float>(0), ArgumentError);
    CHECK_THROWS_AS(resampler.update(std::vector<Index>{0, 1}, Tensor<float>::zeros({1})), ShapeError);
    for (const Index outside : {-1, 5})
        CHECK_THROWS_AS(resampler.update(std::vector<Index>{outside}, Tensor<float>::zeros({1})), ArgumentError);
    nn::for_each_parameter(resampler, [](const std::string& name, Parameter<float>& p) {
        if (name == "seen") p.change()[2] = -3;
    });
    CHECK_THROWS_AS(resampler.update(std::vector<Index>{2}, Tensor<float>::zeros({1})), ArgumentError);
}

TEST_CASE("numbers for times are uniform, stratified, and have the quantiles of their laws") {
    const std::vector<double> independent = uniform_numbers(4, 3, 10), other = uniform_numbers(2, 3, 12);
    CHECK(independent[2] == other[0]);
    std::set<int> parts;
    double sum = 0;
    for (Index batch = 0; batch < 500; ++batch) {
        const std::vector<double> numbers = stratified_numbers(8, 3, static_cast<std::uint64_t>(batch));
        parts.clear();
        for (const double u : numbers) parts.insert(static_cast<int>(u * 8));
        CHECK(parts.size() == 8);
        sum += numbers[3] / 500;
    }
    CHECK(sum == Approx(0.5).margin(0.06));
    for (const double z : {-6.0, -1.5, 0.0, 0.3, 4.0}) CHECK(normal_quantile(0.5 * std::erfc(-z / std::numbers::sqrt2)) == Approx(z).margin(1e-9));
    CHECK(std::isfinite(normal_quantile(0)));
    CHECK(lognormal_quantile(0.5) == Approx(std::exp(-1.2)));
    CHECK(lognormal_quantile(0.5 * std::erfc(-1 / std::numbers::sqrt2)) == Approx(1));
    CHECK(logit_normal_quantile(0.5, 1) == Approx(1 / (1 + std::exp(-1.0))));
}

// SPDX-License-Identifier: MIT
// Runs the samplers of k-diffusion on its recorded noise: the results and the tables of sigmas must come out.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "golden/golden.hpp"
#include "ito/io/safetensors.hpp"
#include "ito/sampler/dpm2.hpp"
#include "ito/sampler/dpm_solver.hpp"
#include "ito/sampler/dpm_solver_singlestep.hpp"
#include "ito/sampler/dpmpp_sde.hpp"
#include "ito/sampler/euler.hpp"
#include "ito/sampler/euler_ancestral.hpp"
#include "ito/sampler/heun.hpp"
#include "ito/sampler/lms.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/schedule/sigmas.hpp"

using namespace ito;

namespace {

/// D(x, s) = x - s sin(1.3 x / sqrt(1 + s^2) + 0.5 ln s)
struct Recorded {
    Tensor<float> operator()(const Tensor<float>& x, const NoiseLevel& level) const {
        const auto s = static_cast<float>(level.sigma);
        Tensor<float> x0(x.shape());
        for (Index i = 0; i < x.size(); ++i) x0[i] = x[i] - s * std::sin(1.3f * x[i] / std::sqrt(1 + s * s) + 0.5f * std::log(s));
        return x0;
    }
};

/// The draws of a run in call order: one a step, or two where the first part of a step has its own.
struct RecordedNoise {
    std::vector<Tensor<float>> draws;
    Index a_step = 1;

    void operator()(Tensor<float>& z, const Interval& interval) const {
        const Index draw = a_step * interval.index + (interval.share < 1 ? 0 : a_step - 1);
        REQUIRE(draw < static_cast<Index>(draws.size()));
        z = draws[static_cast<std::size_t>(draw)];
    }
};

/// Entry k of a recording [K, ...].
Tensor<float> entry(const Tensor<float>& recording, Index k) {
    const Index size = recording.size() / recording.dim(0);
    const auto values = std::span<const float>(recording.data() + k * size, static_cast<std::size_t>(size));
    return Tensor<float>::from({recording.dim(1), size / recording.dim(1)}, values);
}

/// The arguments of a function, each taken once; what is left over is unknown.
class Arguments {
  public:
    explicit Arguments(const nlohmann::json& json) : json_(json) {}

    template <class V>
    V take(const char* name, V otherwise) {
        if (!json_.contains(name)) return otherwise;
        const V value = json_[name].get<V>();
        json_.erase(name);
        return value;
    }
    double number(const char* name, double otherwise) { return take(name, otherwise); }
    Churn churn() {
        constexpr double everywhere = std::numeric_limits<double>::infinity();
        return {number("s_churn", 0), number("s_tmin", 0), number("s_tmax", everywhere), number("s_noise", 1)};
    }
    std::string unknown() const { return json_.empty() ? "" : json_.dump(); }

  private:
    nlohmann::json json_;
};

Steps steps_of(const std::vector<double>& sigmas) {
    std::vector<NoiseLevel> levels;
    for (const double sigma : sigmas) levels.push_back({sigma, 1, sigma});
    return steps_between(levels);
}

using Ran = std::variant<Euler, EulerAncestral, Heun, Dpm2, Lms, Dpmpp2SAncestral, DpmppSde, DpmSolverMultistep, DpmSolverFast, DpmSolverAdaptive>;

struct Case {
    Ran sampler;
    Steps steps;
    Index draws_a_step = 1;
};

/// A function of k_diffusion/sampling.py in ito's terms. `sigmas` end with zero.
Case case_of(const std::string& function, Arguments& arguments, const std::vector<double>& sigmas) {
    Steps steps = steps_of(sigmas);
    const auto sde = [&](DpmSolverMultistep solver) {
        solver.stochastic = true;
        solver.eta = arguments.number("eta", 1);
        solver.noise = arguments.number("s_noise", 1);
        solver.lower_order_final = false;
        return Case{solver, steps};
    };
    const auto ancestral = [&](auto sampler) {
        sampler.eta = arguments.number("eta", 1);
        sampler.noise = arguments.number("s_noise", 1);
        return Case{sampler, steps};
    };
    // These two go from one level to another, above zero.
    const double first = arguments.number("sigma_max", sigmas.front()), last = arguments.number("sigma_min", sigmas[sigmas.size() - 2]);

    if (function == "sample_euler") return {Euler{arguments.churn()}, steps};
    if (function == "sample_heun") return {Heun{arguments.churn()}, steps};
    if (function == "sample_dpm_2") return {Dpm2{.churn = arguments.churn()}, steps};
    if (function == "sample_lms") return {Lms{arguments.take("order", 4)}, steps};
    if (function == "sample_euler_ancestral") return ancestral(EulerAncestral{});
    if (function == "sample_dpm_2_ancestral") return ancestral(Dpm2{});
    if (function == "sample_dpmpp_2s_ancestral") return ancestral(Dpmpp2SAncestral{});
    if (function == "sample_dpmpp_sde") {
        Case chosen = ancestral(DpmppSde{.r = arguments.number("r", 0.5)});
        chosen.draws_a_step = 2;
        return chosen;
    }
    if (function == "sample_dpmpp_2m") return {DpmSolverMultistep{.lower_order_final = false}, steps};
    if (function == "sample_dpmpp_2m_sde") {
        using Type = DpmSolverMultistep::Type;
        const std::string type = arguments.take<std::string>("solver_type", "midpoint");
        REQUIRE((type == "midpoint" || type == "heun"));
        return sde({.type = type == "heun" ? Type::heun : Type::midpoint});
    }
    if (function == "sample_dpmpp_3m_sde")
        return sde({.order = 3, .type = DpmSolverMultistep::Type::heun, .halved_third_order = true});
    if (function == "sample_dpm_fast") {
        DpmSolverFast fast{.evaluations = arguments.take<Index>("n", 0), .eta = arguments.number("eta", 0)};
        fast.noise = arguments.number("s_noise", 1);
        fast.floor = last;
        return {fast, steps_of(exponential_sigmas(last, first, fast.step_count() + 1))};
    }
    if (function == "sample_dpm_adaptive") {
        DpmSolverAdaptive adaptive{.order = arguments.take("order", 3), .eta = arguments.number("eta", 0)};
        adaptive.noise = arguments.number("s_noise", 1);
        StepControl& control = adaptive.control;
        control = {.relative = arguments.number("rtol", 0.05),
                   .absolute = arguments.number("atol", 0.0078),
                   .first_size = std::abs(arguments.number("h_init", 0.05)),
                   .proportional = arguments.number("pcoeff", 0),
                   .integral = arguments.number("icoeff", 1),
                   .derivative = arguments.number("dcoeff", 0),
                   .accept_from = arguments.number("accept_safety", 0.81),
                   .whole_batch = true};
        arguments.take("return_info", false);
        return {adaptive, steps_of({first, last})};
    }
    FAIL("no sampler for " << function);
    return {Euler{}, steps};
}

std::vector<double> values_of(const SafeTensors& file, const std::string& name) {
    const auto table = file.load<double>(name);
    return {table.begin(), table.end()};
}

}  // namespace

TEST_CASE("k-diffusion's samplers are reproduced on its noise") {
    const auto folder = test::goldens() / "k_diffusion";
    std::ifstream input(folder / "cases.json");
    REQUIRE(input.good());
    const auto cases = nlohmann::json::parse(input);
    const auto file = SafeTensors::open(folder / "samples.safetensors");
    const auto sigmas = values_of(file, "sigmas/karras");
    const auto x0 = file.load<float>("x0");
    const Index size = x0.size() / x0.dim(0);
    Recorded network;
    Denoiser denoise{network, Reading{.prediction = Prediction::sample}};

    for (const auto& test : cases) {
        const std::string name = test["name"];
        INFO(name);
        try {
            Arguments arguments(test["args"]);
            const Case chosen = case_of(test["function"], arguments, sigmas);
            INFO("unknown arguments " << arguments.unknown());
            CHECK(arguments.unknown().empty());
            RecordedNoise noise{{}, chosen.draws_a_step};
            if (file.contains(name + "/noise")) {
                const auto recording = file.load<float>(name + "/noise");
                for (Index k = 0; k < recording.dim(0); ++k) noise.draws.push_back(entry(recording, k));
            }
            CHECK(static_cast<Index>(noise.draws.size()) == test["noise_calls"].get<Index>());
            const Tensor<float> start = x0.reshaped({x0.dim(0), size});
            const Tensor<float> got = std::visit(
                [&](const auto& sampler) {
                    Sampling<float, std::decay_t<decltype(sampler)>> sampling(sampler, chosen.steps, start);
                    sampling.run(denoise, noise);
                    return std::move(sampling).x();
                },
                chosen.sampler);
            const auto expected = file.load<float>(name + "/x").reshaped({x0.dim(0), size});
            const double error = test::relative_error(got, expected);
            CHECK(error <= 1e-4);
            std::printf("k-diffusion case %s (%s): largest error %.1e\n", name.c_str(), test["function"].get<std::string>().c_str(), error);
        } catch (const Error& error) {
            FAIL_CHECK(name << ": " << error.what());
        }
    }
}

TEST_CASE("k-diffusion's tables of sigmas are reproduced") {
    const auto file = SafeTensors::open(test::goldens() / "k_diffusion/samples.safetensors");
    const auto compare = [&](const char* name, auto make) {
        INFO(name);
        std::vector<double> expected = values_of(file, std::string("sigmas/") + name);
        REQUIRE(expected.size() > 1);
        CHECK(expected.back() == 0);
        expected.pop_back();
        const std::vector<double> got = make(expected);
        REQUIRE(got.size() == expected.size());
        double worst = 0;
        for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] / expected[i] - 1));
        CHECK(worst <= 1e-6);
        std::printf("k-diffusion sigmas %s: largest relative error %.1e\n", name, worst);
    };
    // The files do not say what the tables were made of. The ends are their first and last entry, rho is what gives the
    // middle one, all three to the digits that somebody would write; the other entries must follow.
    const auto written = [](double value, int digits) {
        char text[32];
        std::snprintf(text, sizeof text, "%.*g", digits, value);
        return std::strtod(text, nullptr);
    };
    const auto by_rho = [=](auto table) {
        return [=](const std::vector<double>& expected) {
            const double min = written(expected.back(), 5), max = written(expected.front(), 6);
            const auto count = static_cast<Index>(expected.size());
            const std::size_t middle = expected.size() / 2;
            double low = 0.1, high = 20;
            const bool falls = table(min, max, count, low)[middle] > table(min, max, count, high)[middle];
            for (int i = 0; i < 60; ++i) {
                const double rho = (low + high) / 2;
                ((table(min, max, count, rho)[middle] > expected[middle]) == falls ? low : high) = rho;
            }
            return table(min, max, count, written(low, 3));
        };
    };
    compare("karras", by_rho([](double min, double max, Index count, double rho) { return karras_sigmas<float>(min, max, count, rho); }));
    compare("polyexponential", by_rho([](double min, double max, Index count, double rho) { return polyexponential_sigmas(min, max, count, rho); }));
    compare("exponential", [=](const std::vector<double>& expected) {
        return exponential_sigmas(written(expected.back(), 5), written(expected.front(), 6), static_cast<Index>(expected.size()));
    });
    compare("vp", [](const std::vector<double>& expected) { return vp_sigmas<float>(static_cast<Index>(expected.size())); });
}

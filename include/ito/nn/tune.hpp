// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "ito/core/pool.hpp"
#include "ito/core/profile.hpp"
#include "ito/core/progress.hpp"
#include "ito/nn/module.hpp"
#include "ito/simd/precision.hpp"

namespace ito::nn {

/// How often each choice of algorithms is timed: in `turns` turns, of which each makes one pass that packs the weights and
/// `passes` that are timed.
struct TuneOptions {
    Index turns = 4;
    Index passes = 4;
};

/// What timing found: the algorithms to use, and the seconds of the fastest pass with the cost model's choice and with that of
/// the layers' times.
struct Tuned {
    ConvAlgorithms algorithms;  ///< empty where the cost model's choice was not slower
    double cost_model_seconds = 0, timed_seconds = 0;
};

namespace detail {

/// What tuned does, compiled once for all networks. forget() drops what was derived from the weights.
inline Tuned tune(const std::function<void()>& pass, const std::function<void()>& forget, const TuneOptions& options,
                  const std::function<void(const Progress&)>& observe) {
    if (options.turns < 1 || options.passes < 1) throw ArgumentError("tuned: turns and passes must be positive");
    if (PrecisionScope::current() != Precision::fast) throw ArgumentError("tuned: only Precision::fast has algorithms to choose from");
    static constexpr std::array candidates{ConvAlgorithm::direct, ConvAlgorithm::winograd2, ConvAlgorithm::winograd4};
    constexpr Index choices = candidates.size() + 2;
    Progress progress{0, choices * options.turns * (options.passes + 1)};
    const auto done = [&] {
        ++progress.done;
        if (observe) observe(progress);
    };
    // One packed form of the weights is there at a time: those of all candidates would take seven times the weights' memory.
    const auto turn = [&](const ConvAlgorithms& algorithms, auto&& timed) {
        const PrecisionScope scope(&algorithms);
        forget();
        pass();
        done();
        for (Index i = 0; i < options.passes; ++i) {
            timed();
            done();
        }
    };
    struct Forgetting {  // also where a pass or an observer throws
        const std::function<void()>& forget;
        ~Forgetting() {
            forget();
            release_cached_memory();
        }
    } const forgetting{forget};

    struct Timed {
        ConvLayer layer;
        std::array<double, candidates.size()> seconds;
    };
    std::vector<Timed> layers;
    const auto rows_of = [&] {
        Profile profile;
        const Profile::Scope scope(profile);
        pass();
        return profile.rows();
    };
    {
        const ConvAlgorithms none;
        const PrecisionScope scope(&none);
        for (const Profile::Row& row : rows_of()) {
            if (row.operation != "conv2d" || row.weight[0] != 3 || row.weight[1] != 3) continue;
            // Layers of stride 2 make a quarter of the pixels; a row may have both kinds.
            const Index pixels = row.calls * row.input[0] * row.input[1] * row.input[2];
            if (row.multiply_adds <= 0.25 * static_cast<double>(pixels * row.weight.size())) continue;
            layers.push_back({{row.input[1], row.input[2], row.weight[2], row.weight[3]}, {}});
            layers.back().seconds.fill(std::numeric_limits<double>::infinity());
        }
    }
    for (Index t = 0; t < options.turns; ++t)
        for (std::size_t c = 0; c < candidates.size(); ++c) {
            ConvAlgorithms all;
            for (const Timed& timed : layers) all.choose(timed.layer, candidates[c]);
            turn(all, [&] {
                for (const Profile::Row& row : rows_of())
                    for (Timed& timed : layers)
                        if (row.operation == "conv2d" && row.weight == Shape{3, 3, timed.layer.in, timed.layer.out} &&
                            row.input[1] == timed.layer.height && row.input[2] == timed.layer.width)
                            timed.seconds[c] = std::min(timed.seconds[c], row.seconds);
            });
        }

    Tuned result{{}, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
    for (const Timed& timed : layers) {
        const auto fastest = std::min_element(timed.seconds.begin(), timed.seconds.end()) - timed.seconds.begin();
        result.algorithms.choose(timed.layer, candidates[static_cast<std::size_t>(fastest)]);
    }
    const ConvAlgorithms none;
    for (Index t = 0; t < options.turns; ++t)
        for (const bool chosen : {false, true}) {
            double& best = chosen ? result.timed_seconds : result.cost_model_seconds;
            turn(chosen ? result.algorithms : none, [&] {
                const auto begun = std::chrono::steady_clock::now();
                pass();
                best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
            });
        }
    if (!(result.timed_seconds < result.cost_model_seconds)) result.algorithms = {};
    return result;
}

}  // namespace detail

/// Times the 3x3 convolutions of a network by every algorithm, in the network's own order and with its own weights: hot
/// repeats of one layer mislead, because in a network its weights come from memory. pass() runs the network once, on the
/// batch and threads that it is tuned for; layers of one shape share a choice. The whole network then decides between what
/// was fastest for each layer and the cost model. The network's packed weights are made anew by the next pass; peak
/// memory is that of Winograd's F(4x4, 3x3) for every layer, four times the weights.
/// observe(progress) after every pass; what it throws ends the tuning. Throws ArgumentError for options that time
/// nothing and where PrecisionScope has another precision than fast.
///     unet.set_algorithms(nn::tuned(unet, [&] { unet(x, times); }).algorithms);
template <Module Network>
Tuned tuned(Network& network, const std::function<void()>& pass, const TuneOptions& options = {},
            const std::function<void(const Progress&)>& observe = {}) {
    const std::function<void()> forget = [&] { for_each_parameter(network, [](const std::string&, auto& p) { p.change(); }); };
    return detail::tune(pass, forget, options, observe);
}

}  // namespace ito::nn

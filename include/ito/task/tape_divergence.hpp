// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "ito/grad/tape.hpp"
#include "ito/sampler/likelihood.hpp"

namespace ito {

/// The probability flow of a network and its divergence by automatic differentiation, for log_likelihood: e^T J e takes one
/// forward and one backward pass a probe e. The flow is linear in x and the network's word, so only the network is
/// differentiated. The state may be in another precision (double) than the network.
///   TapeDivergence<float, ContinuousVp, decltype(network)&> flow{schedule, network, reading, make_probes<float>(x.shape(), 1, Probe::rademacher, seed)};
///   log_likelihood<double>(flow, x, 1e-5, 1, prior);
template <class T, Schedule S, class Network>
struct TapeDivergence {
    S schedule;
    Network network;  // (Var<T> x, std::span<const T> times) -> Var<T>
    Reading reading;  // its clipping is left out: a clipped flow has no smooth density
    std::vector<Tensor<T>> probes;
    bool exact = false;  // the probes are unit_probes

    template <class U>
    Expansion<U> operator()(const Tensor<U>& x, std::span<const double> times) {
        const Index samples = x.dim(0), size = x.size() / samples, channels = x.dim(-1);
        Tensor<T> shown(x.shape());
        std::vector<T> labels;
        std::vector<double> of_x, of_out, scales;
        for (std::size_t k = 0; k < times.size(); ++k) {
            const NoiseLevel level = level_at(schedule, times[k]);
            const FlowRates rates = flow_rates(schedule, times[k]);
            const Decoding decode = detail::decoding(reading, level);
            labels.push_back(static_cast<T>(level.time));
            of_x.push_back(rates.of_x0 * decode.x0_of_x + rates.of_eps * decode.eps_of_x);
            of_out.push_back(rates.of_x0 * decode.x0_of_out + rates.of_eps * decode.eps_of_out);
            scales.push_back(1 / reading.input_scale(level));
            const Index row = static_cast<Index>(k) * size;
            for (Index i = row; i < row + size; ++i) shown[i] = static_cast<T>(scales[k] * static_cast<double>(x[i]));
        }
        Expansion<U> result{Tensor<U>(x.shape()), std::vector<double>(times.size())};
        const Shape said = reading.learned_variance ? x.shape().with(-1, 2 * channels) : x.shape();
        for (std::size_t p = 0; p < probes.size(); ++p) {
            Tape<T> tape(Track::inputs);
            const Var<T> in = tape.input(shown), out = network(in, std::span<const T>(labels));
            require_shape("network output", said, out.shape());
            require_shape("probe", x.shape(), probes[p].shape());
            Tensor<T> seed = Tensor<T>::zeros(said);
            seed.matrix().leftCols(channels) = probes[p].matrix();
            tape.backward(out, std::move(seed));
            const Tensor<T>* slope = tape.gradient(in);
            for (std::size_t k = 0; k < times.size(); ++k) {
                double product = 0;
                for (Index i = static_cast<Index>(k) * size; slope && i < static_cast<Index>(k + 1) * size; ++i)
                    product += static_cast<double>((*slope)[i]) * static_cast<double>(probes[p][i]);
                result.divergence[k] += of_out[k] * scales[k] * product / (exact ? 1.0 : static_cast<double>(probes.size()));
            }
            if (p > 0) continue;
            for (Index i = 0; i < x.size(); ++i) {
                const auto k = static_cast<std::size_t>(i / size);
                const Index at = i / channels * said[-1] + i % channels;
                result.velocity[i] = static_cast<U>(of_x[k] * static_cast<double>(x[i]) + of_out[k] * static_cast<double>((*out)[at]));
            }
        }
        for (std::size_t k = 0; k < times.size(); ++k) result.divergence[k] += of_x[k] * static_cast<double>(size);
        return result;
    }
};

}  // namespace ito

// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "ito/sampler/sampler.hpp"

namespace ito {

namespace detail {

/// x' = x-weight x + eps-weight eps: with eps constant the solution of the flow from one level to another (Liu et al. 2022,
/// equation 11).
struct PseudoMove {
    double x, eps;
};
inline PseudoMove pseudo_move(const NoiseLevel& from, const NoiseLevel& to) {
    if (from.alpha == 0) throw ArgumentError("PNDM cannot start without signal (alpha = 0)");
    const double stretch = to.alpha / from.alpha;
    return {stretch, to.sigma - stretch * from.sigma};
}

/// Adams-Bashforth of orders 1 to 4, newest first.
inline constexpr double adams_bashforth[4][4] = {{1, 0, 0, 0},
                                                 {3.0 / 2, -1.0 / 2, 0, 0},
                                                 {23.0 / 12, -16.0 / 12, 5.0 / 12, 0},
                                                 {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24}};

/// The latest three of something, newest first.
template <class T>
struct Latest {
    std::array<Tensor<T>, 3> outputs;
    int count = 0;

    void push(Tensor<T> newest) {
        outputs[2] = std::move(outputs[1]);
        outputs[1] = std::move(outputs[0]);
        outputs[0] = std::move(newest);
        count = std::min(count + 1, 3);
    }
};

}  // namespace detail

/// Pseudo linear multistep: Liu et al., "Pseudo numerical methods for diffusion models on manifolds" (2022). The noise eps of
/// the last four steps is extrapolated as Adams and Bashforth do (equation 12), and x moved by it with DDIM's transfer
/// (equation 11). Of second order: the transfer is exact for constant eps only, and time is taken as equally spaced.
/// Algorithm 2 begins with three pseudo Runge-Kutta steps; PLMS of latent diffusion with one improved Euler step; iPNDM
/// (Zhang and Chen 2023, appendix H.2) with the multistep method of what is known.
struct Pndm {
    /// runge_kutta: three steps of two intervals and four evaluations each, with the node in the middle;
    /// improved_euler: two evaluations in the first interval.
    enum class Start { runge_kutta, improved_euler, multistep } start = Start::runge_kutta;
    /// A first step without signal (alpha = 0) takes x0 = 0, as released iPNDM does, in place of what the network says.
    bool blind_start = false;

    /// The latest epsilons, newest first; inside of a Runge-Kutta step also where it began and the weighted sum so far.
    template <class T>
    struct State {
        detail::Latest<T> past;
        Tensor<T> start, sum;
        NoiseLevel start_level{};
        int halves = 0;  // intervals spent in Runge-Kutta steps
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z&) const {
        require_noise(interval);
        if (start == Start::runge_kutta && state.halves < 6) {
            if (interval.count < 6) throw ArgumentError("PNDM begins with three Runge-Kutta steps: it needs at least 6 intervals");
            if (state.halves % 2 == 0) first_half(x, state, interval, denoise);
            else second_half(x, state, interval, denoise);
            return;
        }
        const Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        Tensor<T> newest(x.shape());
        const bool improve = start == Start::improved_euler && state.past.count == 0 && interval.to.sigma > 0;
        if (improve) {
            const Tensor<T> begin = x;
            Tensor<T> ahead(x.shape());
            transfer(ahead, begin, estimate, newest, state, 1, interval);
            const Estimate<T> second = denoise(std::as_const(ahead), interval.to);
            const detail::PseudoMove move = detail::pseudo_move(interval.from, interval.to);
            const T of_x = static_cast<T>(move.x), of_eps = static_cast<T>(move.eps / 2);
            const T *begins = begin.data(), *news = newest.data();
            T* out = x.data();
            for_each_element(ahead, second, [=](Index i, T, T eps) { out[i] = of_x * begins[i] + of_eps * (news[i] + eps); });
        } else {
            transfer(x, x, estimate, newest, state, std::min(state.past.count + 1, 4), interval);
        }
        state.past.push(std::move(newest));
    }

  private:
    /// Moves `from` by the extrapolation of `use` epsilons; notes the newest.
    template <class T>
    void transfer(Tensor<T>& out, const Tensor<T>& from, const Estimate<T>& estimate, Tensor<T>& newest, const State<T>& state,
                  int use, const Interval& interval) const {
        T *outs = out.data(), *news = newest.data();
        const T* xs = from.data();
        if (interval.from.alpha == 0 && state.past.count == 0 && start == Start::multistep) {  // eps = x
            const T of_x0 = static_cast<T>(blind_start ? 0 : interval.to.alpha), of_eps = static_cast<T>(interval.to.sigma);
            for_each_element(from, estimate, [=](Index i, T x0, T eps) {
                news[i] = eps;
                outs[i] = of_x0 * x0 + of_eps * eps;
            });
            return;
        }
        const detail::PseudoMove move = detail::pseudo_move(interval.from, interval.to);
        const auto weight = [&](std::size_t k) { return static_cast<T>(move.eps * detail::adams_bashforth[use - 1][k]); };
        const T wx = static_cast<T>(move.x), w0 = weight(0), w1 = weight(1), w2 = weight(2), w3 = weight(3);
        const T *e1 = use > 1 ? state.past.outputs[0].data() : nullptr, *e2 = use > 2 ? state.past.outputs[1].data() : nullptr;
        const T* e3 = use > 3 ? state.past.outputs[2].data() : nullptr;
        for_each_element(from, estimate, [=](Index i, T, T eps) {
            T next = wx * xs[i] + w0 * eps;
            if (e1) next += w1 * e1[i];
            if (e2) next += w2 * e2[i];
            if (e3) next += w3 * e3[i];
            news[i] = eps;
            outs[i] = next;
        });
    }

    /// Of the classical Runge-Kutta method (equation 13): e1 at the start, e2 in the middle.
    template <class T, class D>
    static void first_half(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise) {
        const detail::PseudoMove move = detail::pseudo_move(interval.from, interval.to);
        const T of_x = static_cast<T>(move.x), of_eps = static_cast<T>(move.eps);
        Tensor<T> e1(x.shape()), sum(x.shape()), middle(x.shape()), begin = x;
        T *e1s = e1.data(), *sums = sum.data(), *middles = middle.data(), *out = x.data();
        const T* begins = begin.data();
        const Estimate<T> first = denoise(std::as_const(begin), interval.from);
        for_each_element(begin, first, [=](Index i, T, T eps) {
            e1s[i] = eps;
            middles[i] = of_x * begins[i] + of_eps * eps;
        });
        const Estimate<T> second = denoise(std::as_const(middle), interval.to);
        for_each_element(middle, second, [=](Index i, T, T eps) {
            sums[i] = e1s[i] / 6 + eps / 3;
            out[i] = of_x * begins[i] + of_eps * eps;
        });
        state.start = std::move(begin);
        state.start_level = interval.from;
        state.sum = std::move(sum);
        state.past.push(std::move(e1));
        ++state.halves;
    }

    /// e3 in the middle again, e4 at the end; the step is made with (e1 + 2 e2 + 2 e3 + e4) / 6.
    template <class T, class D>
    static void second_half(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise) {
        const detail::PseudoMove move = detail::pseudo_move(state.start_level, interval.to);
        const T of_x = static_cast<T>(move.x), of_eps = static_cast<T>(move.eps);
        Tensor<T> e3(x.shape()), end(x.shape());
        T *e3s = e3.data(), *ends = end.data(), *out = x.data();
        const T *begins = state.start.data(), *sums = state.sum.data();
        const Estimate<T> third = denoise(std::as_const(x), interval.from);
        for_each_element(x, third, [=](Index i, T, T eps) {
            e3s[i] = eps;
            ends[i] = of_x * begins[i] + of_eps * eps;
        });
        const Estimate<T> fourth = denoise(std::as_const(end), interval.to);
        for_each_element(end, fourth, [=](Index i, T, T eps) {
            out[i] = of_x * begins[i] + of_eps * (sums[i] + e3s[i] / 3 + eps / 6);
        });
        ++state.halves;
    }
};

/// PNDM as it was released, in latent diffusion and diffusers: every evaluation has an interval of its own, whose `from` is the
/// level where the pseudo step began with the time that the network is told, and whose `to` is where it leads. What the
/// network says is averaged as it is and read at the start of the step, which is the paper's method for networks that say
/// epsilon, and for others of first order.
struct ReleasedPndm {
    Pndm::Start start = Pndm::Start::runge_kutta;  // four intervals a step, three times; or the first step in two

    template <class T>
    struct State {
        detail::Latest<T> past;  // what the network said
        Tensor<T> start, sum;
        int evaluations = 0;
    };

    template <class T, DenoiserOf<T> D, NoiseOf<T> Z>
    void step(Tensor<T>& x, State<T>& state, const Interval& interval, D& denoise, Z&) const {
        require_noise(interval);
        Estimate<T> estimate = denoise(std::as_const(x), interval.from);
        const bool warming = start == Pndm::Start::runge_kutta && state.evaluations < 12;
        const bool improving = start == Pndm::Start::improved_euler && state.evaluations == 1;
        const int stage = warming ? state.evaluations % 4 : 0, use = warming || improving ? 1 : state.past.count + 1;
        if (stage == 0 && !improving) state.start = x;

        const detail::PseudoMove move = detail::pseudo_move(interval.from, interval.to);
        // What is moved along, of what was said now, before and in the sum.
        const double* weights = detail::adams_bashforth[use - 1];
        const T now = static_cast<T>(improving ? 0.5 : stage == 3 ? 1.0 / 6 : weights[0]), summed = static_cast<T>(stage == 3);
        const T w1 = static_cast<T>(improving ? 0.5 : weights[1]), w2 = static_cast<T>(weights[2]), w3 = static_cast<T>(weights[3]);
        const T into_sum = static_cast<T>(stage == 0 ? 1.0 / 6 : 1.0 / 3);
        const T of_x = static_cast<T>(move.x), of_eps = static_cast<T>(move.eps);
        const T c = static_cast<T>(estimate.decode.eps_of_x), d = static_cast<T>(estimate.decode.eps_of_out);
        const bool fresh = stage == 0;
        if (warming && fresh) state.sum = Tensor<T>(x.shape());
        const auto& past = state.past.outputs;
        const T *m1 = use > 1 || improving ? past[0].data() : nullptr, *m2 = use > 2 ? past[1].data() : nullptr;
        const T *m3 = use > 3 ? past[2].data() : nullptr, *said = estimate.output.data(), *starts = state.start.data();
        T *out = x.data(), *sums = warming ? state.sum.data() : nullptr;
        for_each_element(x, estimate, [=](Index i, T, T) {
            T mean = now * said[i];
            if (m1) mean += w1 * m1[i];
            if (m2) mean += w2 * m2[i];
            if (m3) mean += w3 * m3[i];
            if (sums) {
                mean += summed * (fresh ? T(0) : sums[i]);
                sums[i] = into_sum * said[i] + (fresh ? T(0) : sums[i]);
            }
            out[i] = of_x * starts[i] + of_eps * (c * starts[i] + d * mean);
        });
        if (stage == 0 && !improving) state.past.push(std::move(estimate.output));
        ++state.evaluations;
    }
};

}  // namespace ito

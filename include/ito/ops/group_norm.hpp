// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include "ito/core/profile.hpp"
#include "ito/grad/tape.hpp"
#include "ito/ops/activation.hpp"

namespace ito::ops {

struct GroupNorm {
    Index groups = 32;
    double epsilon = 1e-5;
    Activation activation = Activation::none;
};

namespace detail {

/// [C] sums over the rows of f(row), in strips short enough for single precision, added up in double.
template <class T, class RowFunction>
Eigen::ArrayXd sum_rows(Index rows, Index channels, RowFunction&& f) {
    Eigen::ArrayXd total = Eigen::ArrayXd::Zero(channels);
    Eigen::Array<T, 1, Eigen::Dynamic> strip(channels);
    for (Index begin = 0; begin < rows; begin += 32) {
        strip.setZero();
        for (Index row = begin; row < std::min(rows, begin + 32); ++row) strip += f(row);
        total += strip.transpose().template cast<double>();
    }
    return total;
}

}  // namespace detail

/// Group normalisation (Wu and He 2018), an optional scale and shift per sample, and an activation, in one operation:
/// y = act((x - mean_g) / sqrt(var_g + epsilon) * gamma * (1 + scale) + beta * (1 + scale) + shift).
/// x [N, .., C], gamma and beta [C], scale_shift [N, 2 C] (scales first) or empty -> [N, .., C].
/// Throws ShapeError if C is not a multiple of the groups or a parameter does not fit.
template <class T>
Var<T> group_norm(const Var<T>& x, const Parameter<T>& gamma, const Parameter<T>& beta, const GroupNorm& how,
                  const Var<T>& scale_shift = {}) {
    using Row = Eigen::Array<T, 1, Eigen::Dynamic>;
    const Index n = x->dim(0), channels = x->dim(-1), groups = how.groups;
    if (groups < 1 || channels % groups != 0)
        throw ShapeError("group norm: " + std::to_string(groups) + " groups do not divide the channels of " + x.shape().str());
    require_shape("group norm: weight", {channels}, gamma.value.shape());
    require_shape("group norm: bias", {channels}, beta.value.shape());
    if (scale_shift) require_shape("group norm: scale and shift", {n, 2 * channels}, scale_shift.shape());
    const Index rows = x->size() ? x->size() / (n * channels) : 0, width = channels / groups;
    const Activation activation = how.activation;

    const Profile::Timer timer("group norm", x.shape());
    Tape<T>* tape = common_tape(x, scale_shift);
    const Var<T> g = use(tape, gamma), b = use(tape, beta);

    // y = act(normal * factor + offset) with normal = x * inverse - mean * inverse, all of them per sample and channel.
    Tensor<T> statistics({n, 2, channels});  // mean and 1 / deviation, repeated over the channels of a group
    auto affine = [=](Index i, Row& factor, Row& offset) {
        factor = g->array().transpose();
        offset = b->array().transpose();
        if (!scale_shift) return;
        const auto scale = scale_shift->matrix().row(i).head(channels).array();
        factor *= T(1) + scale;
        offset = offset * (T(1) + scale) + scale_shift->matrix().row(i).tail(channels).array();
    };

    Tensor<T> y(x.shape());
    parallel_for(n, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            const MatrixMap<const T> in(x->data() + i * rows * channels, rows, channels);
            MatrixMap<T> out(y.data() + i * rows * channels, rows, channels);
            MatrixMap<T> stats(statistics.data() + i * 2 * channels, 2, channels);
            const double count = static_cast<double>(rows * width);
            const Eigen::ArrayXd sums = detail::sum_rows<T>(rows, channels, [&](Index r) { return in.row(r).array(); });
            for (Index group = 0; group < groups; ++group)
                stats.row(0).segment(group * width, width).setConstant(T(sums.segment(group * width, width).sum() / count));
            const Row mean = stats.row(0);
            const Eigen::ArrayXd squares =
                detail::sum_rows<T>(rows, channels, [&](Index r) { return (in.row(r).array() - mean).square(); });
            for (Index group = 0; group < groups; ++group) {
                const double variance = squares.segment(group * width, width).sum() / count;
                stats.row(1).segment(group * width, width).setConstant(T(1.0 / std::sqrt(variance + how.epsilon)));
            }
            Row factor, offset;
            affine(i, factor, offset);
            factor *= stats.row(1).array();
            offset -= mean * factor;
            for (Index r = 0; r < rows; ++r) {
                out.row(r) = in.row(r).array() * factor + offset;
                detail::activate<T>(activation, ArrayMap<T>(out.row(r).data(), channels));
            }
        }
    });

    auto pullback = [=, statistics = std::move(statistics)](Tensor<T>& dy) {
        const Profile::Timer timer("group norm backward", x.shape());
        Tensor<T> sums({n, 2, channels});  // of da * normal and of da, over the rows of a sample
        Tensor<T> dx(x.shape());
        parallel_for(n, 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) {
                const MatrixMap<const T> in(x->data() + i * rows * channels, rows, channels);
                MatrixMap<T> da(dy.data() + i * rows * channels, rows, channels);
                MatrixMap<T> out(dx.data() + i * rows * channels, rows, channels);
                const Row mean = MatrixMap<const T>(statistics.data() + i * 2 * channels, 2, channels).row(0);
                const Row inverse = MatrixMap<const T>(statistics.data() + i * 2 * channels, 2, channels).row(1);
                Row factor, offset, argument(channels);
                affine(i, factor, offset);
                const Row slope = factor * inverse, shift = offset - mean * slope;
                if (activation != Activation::none)
                    for (Index r = 0; r < rows; ++r) {
                        argument = in.row(r).array() * slope + shift;
                        detail::multiply_by_derivative<T>(activation, {argument.data(), channels}, {da.row(r).data(), channels});
                    }
                const Eigen::ArrayXd plain = detail::sum_rows<T>(rows, channels, [&](Index r) { return da.row(r).array(); });
                const Eigen::ArrayXd weighted = detail::sum_rows<T>(
                    rows, channels, [&](Index r) { return da.row(r).array() * (in.row(r).array() - mean) * inverse; });
                MatrixMap<T> sum(sums.data() + i * 2 * channels, 2, channels);
                sum.row(0) = weighted.template cast<T>().matrix().transpose();
                sum.row(1) = plain.template cast<T>().matrix().transpose();
                if (!x.tracked()) continue;
                // dx = (dn - mean(dn) - normal * mean(dn * normal)) / deviation with dn = da * factor, means over a group
                Row mean_dn(channels), mean_dn_normal(channels);
                const double count = static_cast<double>(rows * width);
                for (Index group = 0; group < groups; ++group) {
                    const auto part = factor.segment(group * width, width).transpose().template cast<double>();
                    mean_dn.segment(group * width, width)
                        .setConstant(T((plain.segment(group * width, width) * part).sum() / count));
                    mean_dn_normal.segment(group * width, width)
                        .setConstant(T((weighted.segment(group * width, width) * part).sum() / count));
                }
                const Row by_x = inverse.square() * mean_dn_normal, constant = mean_dn * inverse - mean * by_x;
                for (Index r = 0; r < rows; ++r)
                    out.row(r) = da.row(r).array() * slope - constant - in.row(r).array() * by_x;
            }
        });
        if (x.tracked()) tape->add(x, std::move(dx));
        Tensor<T> dgamma = Tensor<T>::zeros({channels}), dbeta = Tensor<T>::zeros({channels});
        Tensor<T> dscale_shift = scale_shift ? Tensor<T>(scale_shift.shape()) : Tensor<T>();
        for (Index i = 0; i < n; ++i) {
            const ArrayMap<const T> weighted(sums.data() + i * 2 * channels, channels);
            const ArrayMap<const T> plain(sums.data() + (i * 2 + 1) * channels, channels);
            if (!scale_shift) {
                dgamma.array() += weighted;
                dbeta.array() += plain;
                continue;
            }
            const ArrayMap<const T> scale(scale_shift->data() + i * 2 * channels, channels);
            dgamma.array() += weighted * (T(1) + scale);
            dbeta.array() += plain * (T(1) + scale);
            ArrayMap<T>(dscale_shift.data() + i * 2 * channels, channels) = weighted * g->array() + plain * b->array();
            ArrayMap<T>(dscale_shift.data() + (i * 2 + 1) * channels, channels) = plain;
        }
        tape->add(g, std::move(dgamma));
        tape->add(b, std::move(dbeta));
        if (scale_shift) tape->add(scale_shift, std::move(dscale_shift));
    };
    return result_of(std::move(y), tape, std::move(pullback), x, g, scale_shift);
}

}  // namespace ito::ops

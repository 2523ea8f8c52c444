// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "ito/core/parallel.hpp"
#include "ito/core/random.hpp"
#include "ito/core/tensor.hpp"
#include "ito/schedule/level.hpp"

namespace ito {

namespace detail {

/// Turns a symmetric matrix into a diagonal one and gives the axes, in columns: plane rotations that make one pair of
/// elements zero after another (Jacobi; Golub and Van Loan 2013, section 8.5). Eigen's solver would cost every program
/// that includes this seconds to compile.
inline Eigen::MatrixXd diagonalise(Eigen::MatrixXd& a) {
    const Index n = a.rows();
    Eigen::MatrixXd axes = Eigen::MatrixXd::Identity(n, n);
    for (int sweep = 0; sweep < 60; ++sweep) {
        double beside = 0, on = 0;
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j <= i; ++j) (i == j ? on : beside) += a(i, j) * a(i, j);
        if (!(beside > 1e-40 * on)) break;
        for (Index p = 0; p < n; ++p)
            for (Index q = p + 1; q < n; ++q) {
                if (a(p, q) == 0) continue;
                const double ratio = (a(q, q) - a(p, p)) / (2 * a(p, q));
                const double t = (ratio < 0 ? -1 : 1) / (std::abs(ratio) + std::hypot(1.0, ratio));
                const double c = 1 / std::hypot(1.0, t), s = t * c;
                const auto rotate = [c, s](double& u, double& v) {
                    const double old = u;
                    u = c * old - s * v;
                    v = s * old + c * v;
                };
                for (Index k = 0; k < n; ++k) rotate(a(k, p), a(k, q));
                for (Index k = 0; k < n; ++k) rotate(a(p, k), a(q, k));
                for (Index k = 0; k < n; ++k) rotate(axes(k, p), axes(k, q));
            }
    }
    return axes;
}

}  // namespace detail

/// Data whose diffusion is known in closed form: a mixture of normal distributions in D dimensions. At every level
/// x = alpha x0 + sigma eps is again such a mixture, so the best denoiser, the score, the density and (for one normal
/// or in one dimension) the probability flow are exact: samplers, losses and likelihoods can be tested to rounding.
/// It is a network that says x0:
///   GaussianMixture target{{.weight = 1, .mean = mean, .variances = variances}};
///   sample<double>(Denoiser{target, Reading{.prediction = Prediction::sample}}, Heun{}, steps, {100000, 2});
/// Tensors are [N, ...] with D elements a sample; everything is computed in double precision.
class GaussianMixture {
  public:
    /// One normal distribution: its covariance is axes diag(variances) axes^T, with no axes those of the coordinates.
    struct Component {
        double weight = 1;
        Eigen::VectorXd mean;
        Eigen::VectorXd variances;
        Eigen::MatrixXd axes{};  // columns are orthonormal

        /// From a symmetric covariance [D, D]. Throws ArgumentError for a shape that does not fit.
        static Component of_covariance(double weight, const Eigen::VectorXd& mean, const Eigen::MatrixXd& covariance) {
            if (covariance.rows() != mean.size() || covariance.cols() != mean.size())
                throw ArgumentError("a covariance that does not fit its mean");
            Eigen::MatrixXd diagonal = covariance;
            Eigen::MatrixXd axes = detail::diagonalise(diagonal);
            return {weight, mean, diagonal.diagonal(), std::move(axes)};
        }
    };

    /// Weights need not sum to one. Throws ArgumentError unless all components have one dimension, positive weights and
    /// variances that are not negative.
    GaussianMixture(std::vector<Component> components) : components_(std::move(components)) {
        if (components_.empty()) throw ArgumentError("a mixture without components");
        double total = 0;
        for (Component& c : components_) {
            const bool fits = c.mean.size() == dimension() && c.variances.size() == dimension() &&
                              (c.axes.size() == 0 || (c.axes.rows() == dimension() && c.axes.cols() == dimension()));
            // The eigenvalues of a singular covariance may be negative by rounding.
            const bool valid = c.weight > 0 && (c.variances.array() >= -1e-12).all();
            if (dimension() == 0 || !fits || !valid) throw ArgumentError("a component of a mixture is no normal distribution of its dimension");
            c.variances = c.variances.cwiseMax(0);
            total += c.weight;
        }
        for (Component& c : components_) c.weight /= total;
    }

    /// One normal distribution with independent elements.
    static GaussianMixture normal(const Eigen::VectorXd& mean, const Eigen::VectorXd& variances) {
        return GaussianMixture({Component{1, mean, variances}});
    }

    Index dimension() const { return components_.front().mean.size(); }
    const std::vector<Component>& components() const { return components_; }

    /// E[x0 | x], as x. Throws ShapeError unless x has D elements a sample.
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, const NoiseLevel& level) const {
        return (*this)(x, levels_of(x, level));
    }

    /// The same with sample k at levels[k].
    template <class T>
    Tensor<T> operator()(const Tensor<T>& x, std::span<const NoiseLevel> levels) const {
        Tensor<T> x0(x.shape());
        for_each_sample(x, levels, [&](Index k, const Eigen::VectorXd& xk, const NoiseLevel& level) {
            row(x0, k) = posterior_mean(xk, level).template cast<T>();
        });
        return x0;
    }

    /// The gradient of log p(x) at the level, as x: what a network of Prediction::score says.
    template <class T>
    Tensor<T> score(const Tensor<T>& x, const NoiseLevel& level) const {
        Tensor<T> result(x.shape());
        for_each_sample(x, levels_of(x, level), [&](Index k, const Eigen::VectorXd& xk, const NoiseLevel& at) {
            const std::vector<double> shares = responsibilities(xk, at).second;
            Eigen::VectorXd gradient = Eigen::VectorXd::Zero(dimension());
            for (std::size_t c = 0; c < components_.size(); ++c)
                gradient -= shares[c] * out_of_axes(c, (into_axes(c, xk, at).array() / spread(c, at)).matrix());
            row(result, k) = gradient.template cast<T>();
        });
        return result;
    }

    /// log p(x) at the level in nats, one a sample; without noise that of the data.
    template <class T>
    std::vector<double> log_density(const Tensor<T>& x, const NoiseLevel& level = {}) const {
        std::vector<double> result(static_cast<std::size_t>(x.dim(0)));
        for_each_sample(x, levels_of(x, level), [&](Index k, const Eigen::VectorXd& xk, const NoiseLevel& at) {
            result[static_cast<std::size_t>(k)] = responsibilities(xk, at).first;
        });
        return result;
    }

    /// `count` independent draws [count, D] at the level, keyed as fill_normal is.
    template <class T>
    Tensor<T> draw(Index count, std::uint64_t seed, const NoiseLevel& level = {}, std::uint64_t first_sample = 0) const {
        Tensor<T> x({count, dimension()});
        for (Index k = 0; k < count; ++k) {
            Random random{{seed, first_sample + static_cast<std::uint64_t>(k), 0, Stream::data}};
            double left = random.uniform();
            std::size_t c = 0;
            while (c + 1 < components_.size() && left >= components_[c].weight) left -= components_[c++].weight;
            Eigen::VectorXd y(dimension());
            const Eigen::ArrayXd deviations = spread(c, level).sqrt();
            for (Index i = 0; i < dimension(); ++i) y[i] = deviations[i] * random.normal();
            row(x, k) = (level.alpha * components_[c].mean + out_of_axes(c, y)).template cast<T>();
        }
        return x;
    }

    Eigen::VectorXd mean(const NoiseLevel& level = {}) const {
        Eigen::VectorXd result = Eigen::VectorXd::Zero(dimension());
        for (const Component& c : components_) result += c.weight * level.alpha * c.mean;
        return result;
    }

    Eigen::MatrixXd covariance(const NoiseLevel& level = {}) const {
        const Eigen::VectorXd middle = mean(level);
        Eigen::MatrixXd result = Eigen::MatrixXd::Zero(dimension(), dimension());
        for (std::size_t c = 0; c < components_.size(); ++c) {
            const Component& component = components_[c];
            const Eigen::ArrayXd spreads = spread(c, level);
            const Eigen::VectorXd away = level.alpha * component.mean - middle;
            for (Index i = 0; i < dimension(); ++i)
                for (Index j = 0; j < dimension(); ++j) {
                    double sum = component.axes.size() == 0 && i == j ? spreads[i] : 0.0;
                    for (Index k = 0; k < component.axes.cols(); ++k) sum += component.axes(i, k) * spreads[k] * component.axes(j, k);
                    result(i, j) += component.weight * (sum + away[i] * away[j]);
                }
        }
        return result;
    }

    /// The probability that x at the level is below the given number, in one dimension. Throws ArgumentError in more.
    double cumulative(double x, const NoiseLevel& level = {}) const {
        if (dimension() != 1) throw ArgumentError("a cumulative distribution in " + std::to_string(dimension()) + " dimensions");
        double result = 0;
        for (std::size_t c = 0; c < components_.size(); ++c) {
            const double away = x - level.alpha * components_[c].mean[0];
            result += 0.5 * components_[c].weight * std::erfc(-away / std::sqrt(2 * spread(c, level)[0]));
        }
        return result;
    }

    /// Where the probability flow (Song et al. 2021, equation 13) takes x from one level to another, as x: along each
    /// axis it keeps the distance in deviations, in one dimension it keeps the cumulative probability.
    /// Throws ArgumentError for several components in more than one dimension, where there is no closed form.
    template <class T>
    Tensor<T> flow(const Tensor<T>& x, const NoiseLevel& from, const NoiseLevel& to) const {
        if (components_.size() > 1 && dimension() != 1)
            throw ArgumentError("the flow of a mixture in several dimensions has no closed form");
        Tensor<T> result(x.shape());
        for_each_sample(x, levels_of(x, from), [&](Index k, const Eigen::VectorXd& xk, const NoiseLevel&) {
            if (components_.size() == 1) {
                const Eigen::ArrayXd stretch = (spread(0, to) / spread(0, from)).sqrt();
                const Eigen::VectorXd y = (into_axes(0, xk, from).array() * stretch).matrix();
                row(result, k) = (to.alpha * components_[0].mean + out_of_axes(0, y)).template cast<T>();
            } else {
                row(result, k)[0] = static_cast<T>(same_probability(xk[0], from, to));
            }
        });
        return result;
    }

  private:
    template <class T>
    static std::vector<NoiseLevel> levels_of(const Tensor<T>& x, const NoiseLevel& level) {
        return std::vector<NoiseLevel>(static_cast<std::size_t>(x.rank() ? x.dim(0) : 0), level);
    }

    template <class T>
    auto row(Tensor<T>& x, Index k) const {
        return Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1>>(x.data() + k * dimension(), dimension());
    }

    /// f(k, sample k, its level)
    template <class T, class F>
    void for_each_sample(const Tensor<T>& x, std::span<const NoiseLevel> levels, F f) const {
        if (x.rank() == 0 || x.size() != x.dim(0) * dimension() || static_cast<Index>(levels.size()) != x.dim(0))
            throw ShapeError("a mixture in " + std::to_string(dimension()) + " dimensions was asked about " + x.shape().str() + " at " +
                             std::to_string(levels.size()) + " levels");
        parallel_for(x.dim(0), std::max<Index>(1, 1024 / dimension()), [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k) {
                const Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>> xk(x.data() + k * dimension(), dimension());
                f(k, xk.template cast<double>(), levels[static_cast<std::size_t>(k)]);
            }
        });
    }

    /// Variances of x at the level along the axes of component c.
    Eigen::ArrayXd spread(std::size_t c, const NoiseLevel& level) const {
        return level.alpha * level.alpha * components_[c].variances.array() + level.sigma * level.sigma;
    }
    Eigen::VectorXd into_axes(std::size_t c, const Eigen::VectorXd& x, const NoiseLevel& level) const {
        const Eigen::VectorXd away = x - level.alpha * components_[c].mean;
        if (components_[c].axes.size() == 0) return away;
        return components_[c].axes.transpose().lazyProduct(away);  // compiles in a tenth of the time of Eigen's blocks
    }
    Eigen::VectorXd out_of_axes(std::size_t c, const Eigen::VectorXd& y) const {
        if (components_[c].axes.size() == 0) return y;
        return components_[c].axes.lazyProduct(y);
    }

    /// log p(x) and each component's share in p(x).
    std::pair<double, std::vector<double>> responsibilities(const Eigen::VectorXd& x, const NoiseLevel& level) const {
        std::vector<double> logs;
        for (std::size_t c = 0; c < components_.size(); ++c) {
            const Eigen::ArrayXd variances = spread(c, level), y = into_axes(c, x, level).array();
            logs.push_back(std::log(components_[c].weight) -
                           0.5 * ((y.square() / variances).sum() + (variances * 6.283185307179586477).log().sum()));
        }
        const double largest = *std::max_element(logs.begin(), logs.end());
        for (double& share : logs) share = std::exp(share - largest);
        const double sum = std::accumulate(logs.begin(), logs.end(), 0.0);
        for (double& share : logs) share /= sum;
        return {largest + std::log(sum), std::move(logs)};
    }

    Eigen::VectorXd posterior_mean(const Eigen::VectorXd& x, const NoiseLevel& level) const {
        const std::vector<double> shares = responsibilities(x, level).second;
        Eigen::VectorXd result = Eigen::VectorXd::Zero(dimension());
        for (std::size_t c = 0; c < components_.size(); ++c) {
            const Eigen::ArrayXd gain = level.alpha * components_[c].variances.array() / spread(c, level);
            result += shares[c] * (components_[c].mean + out_of_axes(c, (gain * into_axes(c, x, level).array()).matrix()));
        }
        return result;
    }

    /// y with P(x' < y) at `to` = P(x' < x) at `from`, by bisection; above the median through -x, to resolve that tail.
    double same_probability(double x, const NoiseLevel& from, const NoiseLevel& to) const {
        const double p = cumulative(x, from);
        if (p > 0.5) {
            std::vector<Component> turned = components_;
            for (Component& c : turned) c.mean = -c.mean;
            return -GaussianMixture(std::move(turned)).same_probability(-x, from, to);
        }
        double low = 0, high = 0;
        for (std::size_t c = 0; c < components_.size(); ++c) {
            const double middle = to.alpha * components_[c].mean[0], far = 40 * std::sqrt(spread(c, to)[0]);
            low = std::min(low, middle - far), high = std::max(high, middle + far);
        }
        for (int i = 0; i < 200 && low < high; ++i) {
            const double middle = (low + high) / 2;
            (cumulative(middle, to) < p ? low : high) = middle;
        }
        return (low + high) / 2;
    }

    std::vector<Component> components_;
};

}  // namespace ito

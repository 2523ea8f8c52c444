// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "ito/core/tensor.hpp"

namespace ito {

namespace detail {

// Plain loops: one such number a run is worth no matrix library in every program that includes this.

/// Mean [D] of the rows of x [N, D], and their covariance [D, D].
inline void fit_gaussian(const Tensor<float>& x, std::vector<double>& mean, Tensor<double>& covariance) {
    const Index n = x.dim(0), d = x.dim(1);
    mean.assign(static_cast<std::size_t>(d), 0.0);
    for (Index row = 0; row < n; ++row)
        for (Index i = 0; i < d; ++i) mean[static_cast<std::size_t>(i)] += x(row, i);
    for (double& m : mean) m /= static_cast<double>(n);
    covariance = Tensor<double>::zeros({d, d});
    std::vector<double> centred(static_cast<std::size_t>(d));
    for (Index row = 0; row < n; ++row) {
        for (std::size_t i = 0; i < centred.size(); ++i) centred[i] = x(row, static_cast<Index>(i)) - mean[i];
        for (Index i = 0; i < d; ++i)
            for (Index j = 0; j <= i; ++j)
                covariance(i, j) += centred[static_cast<std::size_t>(i)] * centred[static_cast<std::size_t>(j)];
    }
    for (Index i = 0; i < d; ++i)
        for (Index j = 0; j <= i; ++j) covariance(j, i) = covariance(i, j) /= static_cast<double>(n - 1);
}

/// L with L L^T = a, zero above the diagonal, for a symmetric a without negative eigenvalues; columns that rounding
/// would decide are zero (Golub and Van Loan 2013, algorithm 4.2.11 without exchanges).
inline Tensor<double> semidefinite_root(const Tensor<double>& a) {
    const Index n = a.dim(0);
    double largest = 0;
    for (Index i = 0; i < n; ++i) largest = std::max(largest, a(i, i));
    Tensor<double> root = Tensor<double>::zeros(a.shape());
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j <= i; ++j) {
            double rest = a(i, j);
            for (Index k = 0; k < j; ++k) rest -= root(i, k) * root(j, k);
            const bool certain = !(rest <= static_cast<double>(n) * 0x1p-52 * largest);  // NaN stays
            if (i == j) root(i, i) = certain ? std::sqrt(rest) : 0.0;
            else root(i, j) = root(j, j) == 0 ? 0.0 : rest / root(j, j);
        }
    return root;
}

/// Makes a symmetric matrix tridiagonal by Householder's reflections, in place (Golub and Van Loan 2013, algorithm
/// 8.3.1): afterwards its diagonal and the one below hold the result.
inline void tridiagonalise(Tensor<double>& a) {
    const Index n = a.dim(0);
    std::vector<double> v(static_cast<std::size_t>(n)), w(v);
    for (Index k = 0; k + 2 < n; ++k) {
        double rest = 0;
        for (Index i = k + 2; i < n; ++i) rest += a(i, k) * a(i, k);
        if (rest == 0) continue;
        const double x = a(k + 1, k), norm = std::copysign(std::sqrt(x * x + rest), x);
        const double square = rest + (x + norm) * (x + norm);
        for (Index i = k + 1; i < n; ++i) v[static_cast<std::size_t>(i)] = a(i, k);
        v[static_cast<std::size_t>(k + 1)] = x + norm;
        double inner = 0;
        for (Index i = k + 1; i < n; ++i) {
            double sum = 0;
            for (Index j = k + 1; j < n; ++j) sum += a(i, j) * v[static_cast<std::size_t>(j)];
            w[static_cast<std::size_t>(i)] = 2 * sum / square;
            inner += w[static_cast<std::size_t>(i)] * v[static_cast<std::size_t>(i)];
        }
        for (Index i = k + 1; i < n; ++i) w[static_cast<std::size_t>(i)] -= inner / square * v[static_cast<std::size_t>(i)];
        for (Index i = k + 1; i < n; ++i)
            for (Index j = k + 1; j < n; ++j)
                a(i, j) -= v[static_cast<std::size_t>(i)] * w[static_cast<std::size_t>(j)] +
                           w[static_cast<std::size_t>(i)] * v[static_cast<std::size_t>(j)];
        a(k + 1, k) = -norm;
    }
}

/// Sum of the square roots of the positive eigenvalues of a symmetric matrix. Each is found by bisection: the pivots of
/// A - x tell how many lie below x (Golub and Van Loan 2013, section 8.4.1).
inline double sum_of_root_eigenvalues(Tensor<double> a) {
    const Index n = a.dim(0);
    tridiagonalise(a);
    double bound = 0;
    for (Index i = 0; i < n; ++i)
        bound = std::max(bound, std::abs(a(i, i)) + (i > 0 ? std::abs(a(i, i - 1)) : 0.0) + (i + 1 < n ? std::abs(a(i + 1, i)) : 0.0));
    const auto below = [&](double x) {
        Index count = 0;
        double pivot = 1;
        for (Index i = 0; i < n; ++i) {
            const double beside = i > 0 ? a(i, i - 1) : 0.0;
            pivot = a(i, i) - x - (i > 0 ? beside * beside / pivot : 0.0);
            if (pivot == 0) pivot = -0x1p-60 * bound;
            count += pivot < 0;
        }
        return count;
    };
    double sum = 0;
    for (Index k = below(0.0); k < n; ++k) {
        double low = 0, high = bound;
        for (int i = 0; i < 64 && high - low > 0x1p-53 * high; ++i) {
            const double middle = low + (high - low) / 2;
            (below(middle) > k ? high : low) = middle;
        }
        sum += std::sqrt(low + (high - low) / 2);
    }
    return sum;
}

}  // namespace detail

/// Fréchet distance of the Gaussians fitted to two sets of features, x [N, D] and y [M, D]:
/// |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, section 3), in double.
/// It grows with small N and M, so compare only distances of equal numbers; features that are not finite give one that
/// is not. Throws ShapeError if D differs or there are fewer than two rows.
inline double frechet_distance(const Tensor<float>& x, const Tensor<float>& y) {
    if (x.rank() != 2 || y.rank() != 2 || x.dim(1) != y.dim(1) || x.dim(0) < 2 || y.dim(0) < 2)
        throw ShapeError("Frechet distance of features " + x.shape().str() + " and " + y.shape().str());
    const Index d = x.dim(1);
    std::vector<double> mean_x, mean_y;
    Tensor<double> cx, cy;
    detail::fit_gaussian(x, mean_x, cx);
    detail::fit_gaussian(y, mean_y, cy);
    // tr (C_x C_y)^(1/2) = tr (L^T C_y L)^(1/2) with L L^T = C_x, and this product is symmetric.
    const Tensor<double> root = detail::semidefinite_root(cx);
    Tensor<double> right = Tensor<double>::zeros({d, d}), product = right;
    for (Index i = 0; i < d; ++i)
        for (Index k = 0; k < d; ++k)
            for (Index j = 0; j <= k; ++j) right(i, j) += cy(i, k) * root(k, j);
    for (Index k = 0; k < d; ++k)
        for (Index i = 0; i <= k; ++i)
            for (Index j = 0; j < d; ++j) product(i, j) += root(k, i) * right(k, j);
    double distance = 0;
    for (Index i = 0; i < d; ++i) {
        const double apart = mean_x[static_cast<std::size_t>(i)] - mean_y[static_cast<std::size_t>(i)];
        distance += apart * apart + cx(i, i) + cy(i, i);
    }
    return distance - 2 * detail::sum_of_root_eigenvalues(std::move(product));
}

}  // namespace ito

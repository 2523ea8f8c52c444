// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <Eigen/Eigenvalues>

#include "ito/core/tensor.hpp"

namespace ito {

/// Fréchet distance of the Gaussians fitted to two sets of features, x [N, D] and y [M, D]:
/// |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, section 3), in double.
/// It grows with small N and M, so compare only distances of equal numbers. Throws ShapeError if D differs or there are
/// fewer than two rows.
inline double frechet_distance(const Tensor<float>& x, const Tensor<float>& y) {
    using Matrix = Eigen::MatrixXd;
    if (x.rank() != 2 || y.rank() != 2 || x.dim(1) != y.dim(1) || x.dim(0) < 2 || y.dim(0) < 2)
        throw ShapeError("Frechet distance of features " + x.shape().str() + " and " + y.shape().str());
    const auto moments = [](const Tensor<float>& features, Eigen::RowVectorXd& mean) {
        Matrix centred = features.matrix().cast<double>();
        mean = centred.colwise().mean();
        centred.rowwise() -= mean;
        return Matrix(centred.transpose() * centred / static_cast<double>(features.dim(0) - 1));
    };
    Eigen::RowVectorXd mean_x, mean_y;
    const Matrix cx = moments(x, mean_x), cy = moments(y, mean_y);
    // tr (C_x C_y)^(1/2) = tr (R C_y R)^(1/2) with R = C_x^(1/2), and this product is symmetric.
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(cx);
    const Matrix root = solver.eigenvectors() * solver.eigenvalues().cwiseMax(0).cwiseSqrt().asDiagonal() * solver.eigenvectors().transpose();
    const Matrix product = root * cy * root;
    const Eigen::SelfAdjointEigenSolver<Matrix> common(0.5 * (product + product.transpose()), Eigen::EigenvaluesOnly);
    return (mean_x - mean_y).squaredNorm() + cx.trace() + cy.trace() - 2 * common.eigenvalues().cwiseMax(0).cwiseSqrt().sum();
}

}  // namespace ito

// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <type_traits>

#include <unsupported/Eigen/CXX11/Tensor>

#include "ito/core/tensor.hpp"

namespace ito {

namespace detail {

template <int Rank>
std::array<Index, Rank> eigen_extents(const Shape& shape) {
    if (shape.rank() != Rank)
        throw ShapeError("an Eigen tensor of rank " + std::to_string(Rank) + " asked of shape " + shape.str());
    std::array<Index, Rank> extents{};
    for (int i = 0; i < Rank; ++i) extents[static_cast<std::size_t>(i)] = shape[i];
    return extents;
}

template <class Source>
Shape shape_of_eigen(const Source& source) {
    std::array<Index, Source::NumDimensions> extents{};
    for (int i = 0; i < Source::NumDimensions; ++i) extents[static_cast<std::size_t>(i)] = source.dimension(i);
    return Shape(std::span<const Index>(extents));
}

}  // namespace detail

/// View of a tensor as Eigen sees one: same memory, same indices. Throws ShapeError if the rank differs.
template <int Rank, class T>
Eigen::TensorMap<Eigen::Tensor<T, Rank, Eigen::RowMajor, Index>> as_eigen(Tensor<T>& tensor) {
    return {tensor.data(), detail::eigen_extents<Rank>(tensor.shape())};
}
template <int Rank, class T>
Eigen::TensorMap<const Eigen::Tensor<T, Rank, Eigen::RowMajor, Index>> as_eigen(const Tensor<T>& tensor) {
    return {tensor.data(), detail::eigen_extents<Rank>(tensor.shape())};
}

/// A copy as an Eigen tensor of either layout: result(i, j, ..) == tensor(i, j, ..).
template <int Rank, int Layout = Eigen::ColMajor, class T>
Eigen::Tensor<T, Rank, Layout, Index> to_eigen(const Tensor<T>& tensor) {
    const auto view = as_eigen<Rank>(tensor);
    if constexpr (Layout == int(Eigen::RowMajor)) {
        return view;
    } else {
        std::array<int, Rank> reversed{};
        for (int i = 0; i < Rank; ++i) reversed[static_cast<std::size_t>(i)] = Rank - 1 - i;
        return view.swap_layout().shuffle(reversed);
    }
}

/// A copy of an Eigen::Tensor or TensorMap of either layout: result(i, j, ..) == source(i, j, ..).
template <class Source>
auto from_eigen(const Source& source) {
    using T = std::remove_const_t<typename Source::Scalar>;
    constexpr int Rank = Source::NumDimensions;
    Tensor<T> result(detail::shape_of_eigen(source));
    auto view = as_eigen<Rank>(result);
    if constexpr (int(Source::Layout) == int(Eigen::RowMajor)) {
        view = source;
    } else {
        std::array<int, Rank> reversed{};
        for (int i = 0; i < Rank; ++i) reversed[static_cast<std::size_t>(i)] = Rank - 1 - i;
        view = source.swap_layout().shuffle(reversed);
    }
    return result;
}

}  // namespace ito

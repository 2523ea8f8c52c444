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

/// Swapping the layout of an Eigen tensor reverses its axes; this shuffle puts them back.
template <int Rank>
std::array<int, Rank> reversed_axes() {
    std::array<int, Rank> axes{};
    for (int i = 0; i < Rank; ++i) axes[static_cast<std::size_t>(i)] = Rank - 1 - i;
    return axes;
}

}  // namespace detail

/// View of a tensor as Eigen sees one: same memory, same indices. Throws ShapeError if the rank differs.
/// For scalars (rank 0) there is no view: use to_eigen.
template <int Rank, class T>
    requires(Rank > 0)
Eigen::TensorMap<Eigen::Tensor<T, Rank, Eigen::RowMajor, Index>> as_eigen(Tensor<T>& tensor) {
    return {tensor.data(), detail::eigen_extents<Rank>(tensor.shape())};
}
template <int Rank, class T>
    requires(Rank > 0)
Eigen::TensorMap<const Eigen::Tensor<T, Rank, Eigen::RowMajor, Index>> as_eigen(const Tensor<T>& tensor) {
    return {tensor.data(), detail::eigen_extents<Rank>(tensor.shape())};
}

template <int Rank, class T>
void as_eigen(const Tensor<T>&&) = delete;  // the view would outlive the tensor

/// A copy as an Eigen tensor of either layout: result(i, j, ..) == tensor(i, j, ..).
template <int Rank, int Layout = Eigen::ColMajor, class T>
Eigen::Tensor<T, Rank, Layout, Index> to_eigen(const Tensor<T>& tensor) {
    if constexpr (Rank == 0) {  // Eigen's own conversions read past an array of no extents
        detail::eigen_extents<0>(tensor.shape());
        Eigen::Tensor<T, 0, Layout, Index> scalar;
        scalar() = tensor[0];
        return scalar;
    } else if constexpr (Layout == int(Eigen::RowMajor)) {
        return as_eigen<Rank>(tensor);
    } else {
        return as_eigen<Rank>(tensor).swap_layout().shuffle(detail::reversed_axes<Rank>());
    }
}

/// A copy of an Eigen::Tensor or TensorMap of either layout: result(i, j, ..) == source(i, j, ..).
template <class Source>
auto from_eigen(const Source& source) {
    using T = std::remove_const_t<typename Source::Scalar>;
    constexpr int Rank = Source::NumDimensions;
    if constexpr (Rank == 0) {
        return Tensor<T>::full({}, source());
    } else {
        Tensor<T> result(detail::shape_of_eigen(source));
        auto view = as_eigen<Rank>(result);
        if constexpr (int(Source::Layout) == int(Eigen::RowMajor))
            view = source;
        else
            view = source.swap_layout().shuffle(detail::reversed_axes<Rank>());
        return result;
    }
}

}  // namespace ito

// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

#include <Eigen/Core>

#include "ito/core/pool.hpp"
#include "ito/core/shape.hpp"

namespace ito {

template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Row-major view of a matrix [rows, columns]; constness follows T.
template <class T>
using MatrixMap = Eigen::Map<std::conditional_t<std::is_const_v<T>, const RowMatrix<std::remove_const_t<T>>, RowMatrix<T>>>;

/// View of consecutive elements for coefficient-wise work; constness follows T.
template <class T>
using ArrayMap = Eigen::Map<std::conditional_t<std::is_const_v<T>, const Eigen::Array<std::remove_const_t<T>, Eigen::Dynamic, 1>,
                                               Eigen::Array<T, Eigen::Dynamic, 1>>>;

/// Dense row-major array that owns its memory. Images are [N, H, W, C], sequences [N, L, C]: channels last,
/// so that a linear map, an attention or a 1x1 convolution is a plain matrix product on it.
/// Copies are deep; moves are free; a moved-from or default tensor is empty (shape [0]).
/// Memory comes from a pool, 64-byte aligned and uninitialised.
template <class T>
class Tensor {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    using value_type = T;

    Tensor() = default;

    /// Uninitialised. Throws ShapeError for an impossible shape, std::bad_alloc without memory.
    explicit Tensor(const Shape& shape) : shape_(shape), size_(shape.size()) {
        if (size_) data_ = static_cast<T*>(detail::MemoryPool::instance().take(bytes()));
    }

    Tensor(const Tensor& other) : Tensor(other.shape_) { std::copy_n(other.data_, size_, data_); }
    Tensor(Tensor&& other) noexcept { swap(other); }
    Tensor& operator=(const Tensor& other) {
        if (this == &other) return *this;
        if (size_ == other.size_) {
            shape_ = other.shape_;
            std::copy_n(other.data_, size_, data_);
        } else {
            Tensor(other).swap(*this);
        }
        return *this;
    }
    Tensor& operator=(Tensor&& other) noexcept {
        Tensor(std::move(other)).swap(*this);
        return *this;
    }
    ~Tensor() {
        if (data_) detail::MemoryPool::instance().give(data_, bytes());
    }

    static Tensor zeros(const Shape& shape) { return full(shape, T(0)); }

    static Tensor full(const Shape& shape, T value) {
        Tensor result(shape);
        std::fill_n(result.data_, result.size_, value);
        return result;
    }

    /// Elements in row-major order. Throws ShapeError if their number is not the shape's.
    static Tensor from(const Shape& shape, std::span<const T> values) {
        if (static_cast<Index>(values.size()) != shape.size())
            throw ShapeError("tensor of shape " + shape.str() + " from " + std::to_string(values.size()) + " values");
        Tensor result(shape);
        std::copy(values.begin(), values.end(), result.data_);
        return result;
    }
    static Tensor from(const Shape& shape, std::initializer_list<T> values) {
        return from(shape, std::span<const T>(values.begin(), values.size()));
    }

    const Shape& shape() const { return shape_; }
    Index dim(int axis) const { return shape_[axis]; }
    int rank() const { return shape_.rank(); }
    Index size() const { return size_; }
    bool empty() const { return size_ == 0; }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + size_; }
    std::span<T> span() { return {data_, static_cast<std::size_t>(size_)}; }
    std::span<const T> span() const { return {data_, static_cast<std::size_t>(size_)}; }

    /// Element by its row-major position. Unchecked.
    T& operator[](Index i) { return data_[i]; }
    const T& operator[](Index i) const { return data_[i]; }

    /// Element by one index an axis. Unchecked.
    template <class... I>
        requires(std::is_integral_v<I> && ...)
    T& operator()(I... indices) {
        return data_[offset(indices...)];
    }
    template <class... I>
        requires(std::is_integral_v<I> && ...)
    const T& operator()(I... indices) const {
        return data_[offset(indices...)];
    }

    /// The same elements under another shape; from an rvalue the memory moves along.
    /// Throws ShapeError if the numbers of elements differ.
    Tensor reshaped(const Shape& shape) const& { return Tensor(*this).reshaped(shape); }
    Tensor reshaped(const Shape& shape) && {
        if (shape.size() != size_) throw ShapeError("cannot reshape " + shape_.str() + " to " + shape.str());
        Tensor result(std::move(*this));
        result.shape_ = shape;
        return result;
    }

    ArrayMap<T> array() { return {data_, size_}; }
    ArrayMap<const T> array() const { return {data_, size_}; }

    /// [product of the leading axes, last axis]; a scalar is [1, 1]
    MatrixMap<T> matrix() { return {data_, leading(), rank() ? shape_[-1] : 1}; }
    MatrixMap<const T> matrix() const { return {data_, leading(), rank() ? shape_[-1] : 1}; }

    template <class U>
    Tensor<U> cast() const {
        Tensor<U> result(shape_);
        std::transform(begin(), end(), result.data(), [](T v) { return static_cast<U>(v); });
        return result;
    }

    void swap(Tensor& other) noexcept {
        std::swap(shape_, other.shape_);
        std::swap(size_, other.size_);
        std::swap(data_, other.data_);
    }

  private:
    std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

    Index leading() const {
        Index product = 1;
        for (int axis = 0; axis + 1 < rank(); ++axis) product *= shape_[axis];
        return product;
    }

    template <class... I>
    Index offset(I... indices) const {
        Index result = 0;
        int axis = 0;
        ((result = result * shape_[axis++] + static_cast<Index>(indices)), ...);
        return result;
    }

    Shape shape_{0};
    Index size_ = 0;
    T* data_ = nullptr;
};

}  // namespace ito

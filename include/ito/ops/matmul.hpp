// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/grad/parameter.hpp"
#include "ito/simd/bf16.hpp"
#include "ito/simd/gemm.hpp"
#include "ito/simd/gemm_transposed.hpp"
#include "ito/simd/precision.hpp"

// Matrix products on all threads, for the operations beside it. How the work is cut depends on the shapes alone.
namespace ito::ops::detail {

/// Whether operations on T run on the kernels of simd/. Others run on plain code, which the kernels are tested against.
template <class T>
inline constexpr bool has_kernels = std::is_same_v<T, float>;

/// Forms of a weight that are kept beside it, of the convolution and of its transpose.
template <class Kernel>
struct Forward {
    Kernel kernel;
};
template <class Kernel>
struct Backward {
    Kernel kernel;
};

/// The weight as a kernel wants it, made once.
template <class Kernel>
const Kernel& kernel_of(const Parameter<float>& weight, const simd::WeightView& view, bool transposed) {
    if (transposed) return weight.derived<Backward<Kernel>>([&] { return Backward<Kernel>{Kernel(view.transposed())}; }).kernel;
    return weight.derived<Forward<Kernel>>([&] { return Forward<Kernel>{Kernel(view)}; }).kernel;
}

/// Rows that one thread takes at a time, so that a piece has about a million multiply-adds.
inline Index rows_per_piece(Index depth, Index columns) {
    return std::clamp<Index>((Index{1} << 20) / std::max<Index>(1, depth * columns), 16, 4096);
}

/// Calls work(begin, end, sum) on up to eight pieces of [0, rows), each with a zeroed tensor of its own, and returns
/// the sum of these in order: a reduction over rows that is the same for any number of threads.
template <class T, class Work>
Tensor<T> sum_over_rows(Index rows, const Shape& shape, Work&& work) {
    const Index piece = std::max<Index>(64, (rows + 7) / 8);
    const Index pieces = std::max<Index>(1, (rows + piece - 1) / piece);
    std::vector<Tensor<T>> partial(static_cast<std::size_t>(pieces));
    parallel_for(pieces, 1, [&](Index begin, Index) {
        Tensor<T> sum = Tensor<T>::zeros(shape);
        work(begin * piece, std::min(rows, (begin + 1) * piece), sum);
        partial[static_cast<std::size_t>(begin)] = std::move(sum);
    });
    Tensor<T> total = std::move(partial[0]);
    if (pieces > 1)
        parallel_for(total.size(), 1 << 14, [&](Index begin, Index end) {
            for (Index i = 1; i < pieces; ++i)
                total.array().segment(begin, end - begin) +=
                    partial[static_cast<std::size_t>(i)].array().segment(begin, end - begin);
        });
    return total;
}

/// sums [C] = the sum of rows [begin, end) of x [rows, C], in this thread.
template <class T>
void sum_rows_between(const MatrixMap<const T>& x, Index begin, Index end, T* sums) {
    if constexpr (has_kernels<T>) simd::column_sums(x.data() + begin * x.cols(), end - begin, x.cols(), sums);
    else ArrayMap<T>(sums, x.cols()) = x.middleRows(begin, end - begin).colwise().sum().transpose().array();
}

/// [C] sums of the columns of x [rows, C].
template <class T>
Tensor<T> column_sums(const MatrixMap<const T>& x) {
    return sum_over_rows<T>(x.rows(), {x.cols()}, [&](Index begin, Index end, Tensor<T>& sum) {
        sum_rows_between<T>(x, begin, end, sum.data());
    });
}

/// y [rows, O] = addends + x [rows, I] times the transpose of weight [O, I]; transposed: x [rows, O] times weight. There is
/// no addend per sample.
template <class T>
void product(const MatrixMap<const T>& x, const Parameter<T>& weight, bool transposed, const simd::Addends<T>& addends,
             MatrixMap<T> y, [[maybe_unused]] Precision precision) {
    const Index out = weight.value.dim(0), in = weight.value.dim(1);
    if constexpr (has_kernels<T>) {
        const auto view = simd::WeightView::matrix(weight.value.data(), in, out, 1, in);
        if (precision == Precision::bf16) {
            const auto& packed = kernel_of<simd::Bf16Matrix>(weight, view, transposed);
            return simd::bf16_product(x.data(), x.rows(), x.cols(), packed, y.data(), addends);
        }
        simd::matrix_product(x.data(), x.rows(), kernel_of<simd::PackedMatrix>(weight, view, transposed), y.data(), addends);
    } else {
        const MatrixMap<const T> w = weight.value.matrix();
        parallel_for(y.rows(), rows_per_piece(in, out), [&](Index begin, Index end) {
            auto rows = y.middleRows(begin, end - begin);
            rows.setZero();
            if (addends.bias) rows.rowwise() += ArrayMap<const T>(addends.bias, y.cols()).matrix().transpose();
            if (addends.residual) rows += MatrixMap<const T>(addends.residual, y.rows(), y.cols()).middleRows(begin, end - begin);
            if (transposed) rows.noalias() += x.middleRows(begin, end - begin) * w;
            else rows.noalias() += x.middleRows(begin, end - begin) * w.transpose();
        });
    }
}

/// A transposed times B: [rows, I], [rows, O] -> shape with I * O elements, seen as [I, O].
template <class T>
Tensor<T> transposed_product(const MatrixMap<const T>& a, const MatrixMap<const T>& b, const Shape& shape) {
    return sum_over_rows<T>(a.rows(), shape, [&](Index begin, Index end, Tensor<T>& sum) {
        if constexpr (has_kernels<T>)
            simd::transposed_product(a.data() + begin * a.cols(), end - begin, a.cols(), b.data() + begin * b.cols(), b.cols(),
                                     sum.data());
        else
            MatrixMap<T>(sum.data(), a.cols(), b.cols()).noalias() =
                a.middleRows(begin, end - begin).transpose() * b.middleRows(begin, end - begin);
    });
}

}  // namespace ito::ops::detail

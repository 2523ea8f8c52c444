// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <vector>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"

// Matrix products on all threads, for the operations beside it. How the work is cut depends on the shapes alone.
namespace ito::ops::detail {

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

/// [C] sums of the columns of x [rows, C].
template <class T>
Tensor<T> column_sums(const MatrixMap<const T>& x) {
    return sum_over_rows<T>(x.rows(), {x.cols()}, [&](Index begin, Index end, Tensor<T>& sum) {
        sum.matrix() = x.middleRows(begin, end - begin).colwise().sum();
    });
}

/// A transposed times B: [rows, I], [rows, O] -> shape with I * O elements, seen as [I, O].
template <class T>
Tensor<T> transposed_product(const MatrixMap<const T>& a, const MatrixMap<const T>& b, const Shape& shape) {
    return sum_over_rows<T>(a.rows(), shape, [&](Index begin, Index end, Tensor<T>& sum) {
        MatrixMap<T>(sum.data(), a.cols(), b.cols()).noalias() =
            a.middleRows(begin, end - begin).transpose() * b.middleRows(begin, end - begin);
    });
}

}  // namespace ito::ops::detail

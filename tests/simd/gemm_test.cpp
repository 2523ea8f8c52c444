// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "simd/compare.hpp"

#include "ito/simd/gemm_transposed.hpp"
#include "ito/simd/transpose.hpp"

using namespace ito;
using test::random_floats;

namespace {

Tensor<float> product(const Tensor<float>& x, const Tensor<float>& w) {
    Tensor<float> y({x.dim(0), w.dim(1)});
    const Tensor<float> bias = Tensor<float>::full({w.dim(1)}, 0.5f);
    simd::matrix_product(x.data(), x.dim(0), simd::PackedMatrix(simd::WeightView::matrix(w.data(), w.dim(0), w.dim(1), w.dim(1), 1)), y.data(),
                         {bias.data()});
    return y;
}

/// Largest error over the bound of a sum of so many terms of these total sizes (Higham 2002, equation 3.4, two roundings a term).
double rounding(const Tensor<float>& got, const RowMatrix<double>& expected, const RowMatrix<double>& sizes, Index terms) {
    const auto bound = sizes.array() * (static_cast<double>(2 * terms) * 0x1p-24);
    return ((got.cast<double>().matrix() - expected).array().abs() / bound).maxCoeff();
}

}  // namespace

TEST_CASE("a product equals its definition at ragged sizes") {
    for (Index rows : {1, 2, 5, 6, 7, 100})
        for (Index depth : {1, 3, 16, 33, 256, 257, 600})
            for (Index columns : {1, 3, 5, 8, 9, 16, 17, 33, 64, 100}) {
                CAPTURE(rows, depth, columns);
                const Tensor<float> x = random_floats({rows, depth}, 1), w = random_floats({depth, columns}, 2);
                RowMatrix<double> expected = x.cast<double>().matrix() * w.cast<double>().matrix();
                RowMatrix<double> sizes = x.cast<double>().matrix().cwiseAbs() * w.cast<double>().matrix().cwiseAbs();
                expected.array() += 0.5;
                sizes.array() += 0.5;
                REQUIRE(rounding(product(x, w), expected, sizes, depth + 1) <= 1);
            }
}

TEST_CASE("a packed matrix may be read by columns") {
    const Tensor<float> w = random_floats({33, 20}, 1);
    const auto view = simd::WeightView::matrix(w.data(), 33, 20, 20, 1);
    auto at = [](const simd::PackedMatrix& packed, Index k, Index n) {
        Index panel = 0;
        while (packed.panels().first_column(panel + 1) <= n) ++panel;
        return packed.panels().row(panel, 0, k)[n - packed.panels().first_column(panel)];
    };
    const simd::PackedMatrix rows(view), columns(view.transposed());
    for (Index k = 0; k < 33; ++k)
        for (Index n = 0; n < 20; ++n) {
            REQUIRE(at(rows, k, n) == w(k, n));
            REQUIRE(at(columns, n, k) == w(k, n));
        }
}

TEST_CASE("a product starts from its addends") {
    const Index samples = 3, rows = 12, depth = GENERATE(1, 70, 300), columns = GENERATE(1, 16, 37, 100);
    const Tensor<float> x = random_floats({samples * rows, depth}, 1), w = random_floats({depth, columns}, 2);
    const Tensor<float> bias = random_floats({columns}, 3), per_sample = random_floats({samples, columns}, 4);
    const Tensor<float> residual = random_floats({samples * rows, columns}, 5);
    const simd::PackedMatrix packed(simd::WeightView::matrix(w.data(), depth, columns, columns, 1));
    for (int which = 0; which < 8; ++which) {
        CAPTURE(which);
        Tensor<double> expected = Tensor<double>::zeros(residual.shape());
        expected.matrix() = x.cast<double>().matrix() * w.cast<double>().matrix();
        for (Index i = 0; i < expected.size(); ++i) {
            if (which & 1) expected[i] += static_cast<double>(bias[i % columns]);
            if (which & 2) expected[i] += static_cast<double>(per_sample[i / (rows * columns) * columns + i % columns]);
            if (which & 4) expected[i] += static_cast<double>(residual[i]);
        }
        Tensor<float> y(residual.shape());
        simd::matrix_product(x.data(), samples * rows, packed, y.data(),
                             {which & 1 ? bias.data() : nullptr, which & 2 ? per_sample.data() : nullptr, which & 4 ? residual.data() : nullptr},
                             samples);
        REQUIRE(test::worst_error(y, expected) < 1e-5);
    }
}

TEST_CASE("a row of a product has the same bits wherever it stands, whoever computes it") {
    const Index depth = GENERATE(9, 128, 700), columns = GENERATE(1, 10, 16, 50);
    const Tensor<float> x = random_floats({1000, depth}, 1), w = random_floats({depth, columns}, 2);
    ThreadPool one(1), five(5);
    Tensor<float> all;
    {
        const ThreadPool::Scope scope(one);
        all = product(x, w);
    }
    const ThreadPool::Scope scope(five);
    CHECK(test::same_bits(product(x, w).span(), all.span()));
    for (Index count : {1, 7, 64})
        for (Index first : {0, 3, 500, 936}) {
            const Tensor<float> part = Tensor<float>::from({count, depth}, x.span().subspan(static_cast<std::size_t>(first * depth),
                                                                                            static_cast<std::size_t>(count * depth)));
            CHECK(test::same_bits(product(part, w).span(), all.span().subspan(static_cast<std::size_t>(first * columns),
                                                                               static_cast<std::size_t>(count * columns))));
        }
}

TEST_CASE("a transposed product equals its definition at ragged sizes") {
    for (Index rows : {1, 5, 255, 256, 600})
        for (Index channels : {1, 3, 7, 16, 33, 100})
            for (Index columns : {1, 3, 8, 9, 16, 50}) {
                CAPTURE(rows, channels, columns);
                const Tensor<float> x = random_floats({rows, channels}, 1), g = random_floats({rows, columns}, 2);
                Tensor<float> sums = Tensor<float>::full({channels, columns}, 0.5f);
                simd::transposed_product(x.data(), rows, channels, g.data(), columns, sums.data());
                RowMatrix<double> expected = x.cast<double>().matrix().transpose() * g.cast<double>().matrix();
                RowMatrix<double> sizes = x.cast<double>().matrix().cwiseAbs().transpose() * g.cast<double>().matrix().cwiseAbs();
                expected.array() += 0.5;
                sizes.array() += 0.5;
                REQUIRE(rounding(sums, expected, sizes, rows + 1) <= 1);
            }
}

TEST_CASE("a transpose puts every number where it belongs and touches nothing else") {
    for (Index rows : {1, 3, 4, 7, 16, 17, 35})
        for (Index columns : {1, 2, 4, 5, 16, 19}) {
            CAPTURE(rows, columns);
            const Index from_step = columns + 3, to_step = rows + 2;
            const Tensor<float> x = random_floats({rows, from_step}, 1);
            Tensor<float> y = Tensor<float>::full({columns, to_step}, -7.0f);
            simd::transpose(x.data(), from_step, rows, columns, y.data(), to_step);
            for (Index c = 0; c < columns; ++c)
                for (Index r = 0; r < to_step; ++r) REQUIRE(y(c, r) == (r < rows ? x(r, c) : -7.0f));
        }
}

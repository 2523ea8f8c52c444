// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>

#include "ito/simd/attention_shape.hpp"
#include "ito/simd/dense.hpp"
#include "ito/simd/gemm_transposed.hpp"
#include "ito/simd/math.hpp"
#include "ito/simd/transpose.hpp"

// Attention by blocks of queries and keys, so that scores stay in the cache and never exist for a whole sequence: the
// softmax is corrected from block to block (Milakov and Gimelshein 2018; Dao et al. 2022).
namespace ito::simd {

namespace detail {

// Keys and values of a long sequence are read once for every block of queries, whose scores should stay in the cache.
inline constexpr Index query_block = (lanes == 16 ? 8 : 4) * dense_rows, key_block = 256;

constexpr Index blocks_of(Index length, Index block) { return (length + block - 1) / block; }

/// Rows of one head, [.., row_stride] apart, from `first` on.
struct HeadRows {
    const float* at;
    Index row_stride;
};
inline HeadRows rows_of(const float* x, Index length, Index heads, Index width, Index n, Index head, Index first) {
    return {x + (n * length + first) * heads * width + head * width, heads * width};
}

/// A block of rows of its own, with the addresses that the products take.
class Rows {
  public:
    Rows(Index count, Index width) : values_({count, width}), addresses_({count}) {
        for (Index r = 0; r < count; ++r) addresses_[r] = &values_(r, 0);
    }
    float* operator[](Index r) { return addresses_[r]; }
    void clear() { std::fill_n(values_.data(), values_.size(), 0.0f); }

    /// The first `count` rows become those of a head times factor, the others zero.
    void copy(const HeadRows& from, Index count, float factor) {
        clear();
        for (Index r = 0; r < count; ++r)
            map(values_.dim(1), addresses_[r], [=](Floats v) { return multiply(v, broadcast(factor)); }, from.at + r * from.row_stride);
    }

    /// The first `count` <= query_block rows of to, from a column on, += those of from, from a column on, times w.
    static void add_product(Rows& from, Index from_column, Index count, Index channels, const PackedMatrix& w, Rows& to, Index to_column) {
        const float* a[query_block];
        float* y[query_block];
        for (Index r = 0; r < count; ++r) {
            a[r] = from[r] + from_column;
            y[r] = to[r] + to_column;
        }
        const Index first = 0;
        gathered_product({count, 1, channels, a, &first, y, y}, w);
    }

    /// sums [channels, w.columns()] += the first `count` rows, from a column on, transposed times w.
    void add_outer_product(Index column, Index count, Index channels, const PackedMatrix& w, float* sums) {
        const float* a[query_block];
        for (Index r = 0; r < count; ++r) a[r] = addresses_[r] + column;
        outer_products(count, 1, channels, a, w, sums);
    }

  private:
    Tensor<float> values_;
    Tensor<float*> addresses_;
};

/// The matrix [depth, columns] whose element (k, n) is at matrix[k * row_stride + n * column_stride].
inline PackedMatrix packed(const float* matrix, Index depth, Index columns, Index row_stride, Index column_stride) {
    return PackedMatrix(WeightView::matrix(matrix, depth, columns, row_stride, column_stride));
}

/// scores[0..count), in room for whole registers, become e^(score - most), with most the largest of them and of what it
/// was; their sum.
inline float exponentiate_row(float* scores, Index count, float& most) {
    std::fill(scores + count, scores + blocks_of(count, lanes) * lanes, -std::numeric_limits<float>::infinity());
    Floats top = broadcast(most);
    for (Index i = 0; i < count; i += lanes) top = maximum(top, load(scores + i));
    most = largest(top);
    const Floats m = broadcast(most);
    Floats total = broadcast(0.0f);
    for (Index i = 0; i < count; i += lanes) {
        const Floats p = exponential(subtract(load(scores + i), m));
        store(p, scores + i);
        total = add(total, p);
    }
    return static_cast<float>(sum(total));
}

/// What the softmax of a block of queries knows of the keys so far.
class RunningSoftmax {
  public:
    /// Before the first keys.
    void begin() {
        std::fill_n(most_, room, -std::numeric_limits<float>::infinity());
        std::fill_n(total_[0], query_block * lanes, 0.0f);
    }

    /// scores[r][0..keys), in room for whole registers, of rows [0, count) become e^(score - m), with m the largest score of
    /// the row so far. Rows of mixed are scaled by what that changed. First all that is one number a row, then all that is
    /// one a score: what a row waits for is hidden behind the others.
    void add(Rows& scores, Index count, Index keys, Rows& mixed, Index value_width) {
        const Index whole = blocks_of(keys, lanes) * lanes;
        for (Index r = 0; r < count; ++r) {
            float* const row = scores[r];
            std::fill(row + keys, row + whole, -std::numeric_limits<float>::infinity());
            Floats top = broadcast(most_[r]);
            for (Index i = 0; i < whole; i += lanes) top = maximum(top, load(row + i));
            top_[r] = largest(top);
        }
        const Floats log2_e = broadcast(1.44269504f);
        for (Index r = 0; r < count; r += lanes) {
            const Floats scaled = multiply(load(top_ + r), log2_e);
            store(two_to_the(subtract(multiply(load(most_ + r), log2_e), scaled)), factor_ + r);
            store(scaled, scaled_ + r);
        }
        for (Index r = 0; r < count; ++r) {
            const float factor = factor_[r];
            most_[r] = top_[r];
            if (factor != 1.0f) map(value_width, mixed[r], [=](Floats x) { return multiply(x, broadcast(factor)); }, mixed[r]);
            float* const row = scores[r];
            const Floats m = broadcast(-scaled_[r]);
            Floats sum = multiply(load(total_[r]), broadcast(factor));
            for (Index i = 0; i < whole; i += lanes) {
                const Floats p = two_to_the(multiply_add(load(row + i), log2_e, m));
                store(p, row + i);
                sum = simd::add(sum, p);
            }
            store(sum, total_[r]);
        }
    }

    /// The sum of what the scores of a row became.
    double total(Index r) const { return sum(load(total_[r])); }

  private:
    static constexpr Index room = blocks_of(query_block, lanes) * lanes;
    alignas(64) float most_[room], top_[room] = {}, scaled_[room], factor_[room], total_[query_block][lanes];
};

/// What the softmax of a panel of queries knows of the keys so far; a query is a column. The scores [keys, panel] of a block
/// of keys become e^(score - m), with m the largest of their column so far, and the rows of mixed [.., panel], which are what
/// went before, are scaled by what that changed.
template <int Vectors>
void soften_columns(float* scores, Index keys, double scale, float* most, float* total, float* mixed, Index value_width) {
    constexpr Index width = Vectors * lanes;
    const float factor = static_cast<float>(1.4426950408889634 * scale);
    const Floats log2_e = broadcast(factor), negative_log2_e = broadcast(-factor);
    Floats m[Vectors], sum[Vectors];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { m[v] = load(most + v * lanes); });
    for (Index k = 0; k < keys; ++k)
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { m[v] = maximum(m[v], load(scores + k * width + v * lanes)); });
    bool changed = false;
    alignas(64) float factors[width];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const Floats before = load(most + v * lanes);
        store(m[v], most + v * lanes);
        m[v] = multiply(m[v], negative_log2_e);
        const Floats factor = two_to_the(multiply_add(before, log2_e, m[v]));
        store(factor, factors + v * lanes);
        sum[v] = broadcast(0.0f);
    });
    for (float f : factors) changed |= f != 1.0f;
    if (changed)
        for (Index d = 0; d < value_width; ++d)
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
                float* const at = mixed + d * width + v * lanes;
                store(multiply(load(at), load(factors + v * lanes)), at);
            });
    for (Index k = 0; k < keys; ++k)
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
            float* const at = scores + k * width + v * lanes;
            const Floats p = two_to_the(multiply_add(load(at), log2_e, m[v]));
            store(p, at);
            sum[v] = add(sum[v], p);
        });
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        store(multiply_add(load(total + v * lanes), load(factors + v * lanes), sum[v]), total + v * lanes);
    });
}

}  // namespace detail

/// y = softmax(scale q k^T) v for every head. A panel of queries is a panel's columns in both products, whose left matrices
/// are then the keys and, transposed, the values where they lie: the softmax goes along columns, and every lane works
/// however narrow the heads are.
inline void attention(const AttentionShape& s, const float* q, const float* k, const float* v, float* y) {
    using namespace detail;
    constexpr Index panel = dense_vectors * lanes, keys_together = 256;
    // The values of a head side by side, its rows not a multiple of many cache lines: columns would fall into few sets.
    Tensor<float> values({s.samples * s.heads, s.keys, s.value_width + (s.value_width % 32 == 0 ? 16 : 0)});
    parallel_for(s.samples * s.heads * s.keys, std::max<Index>(1, 8192 / std::max<Index>(1, s.value_width)), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            const Index key = i % s.keys, head = i / s.keys % s.heads, n = i / s.keys / s.heads;
            std::copy_n(rows_of(v, s.keys, s.heads, s.value_width, n, head, key).at, s.value_width, values.data() + i * values.dim(2));
        }
    });
    const Index panels = blocks_of(s.queries, panel), registers = blocks_of(s.queries, lanes), pieces = s.samples * s.heads * panels;
    parallel_for(pieces, std::max<Index>(1, pieces / (8 * ThreadPool::current().threads())), [&](Index begin, Index end) {
        Tensor<float> queries({s.width, panel}), scores({std::min(s.keys, keys_together), panel}), mixed({s.value_width, panel});
        alignas(64) float most[panel], total[panel];
        for (Index piece = begin; piece < end; ++piece) {
            const Index head = piece / panels % s.heads, n = piece / panels / s.heads;
            const Index first = piece % panels * registers / panels * lanes, next = (piece % panels + 1) * registers / panels * lanes;
            const int vectors = static_cast<int>((next - first) / lanes);
            const Index count = std::min(next, s.queries) - first, width = next - first;
            const HeadRows from = rows_of(q, s.queries, s.heads, s.width, n, head, first);
            if (count < width) std::fill_n(queries.data(), s.width * width, 0.0f);
            transpose(from.at, from.row_stride, count, s.width, queries.data(), width);
            std::fill_n(most, width, -std::numeric_limits<float>::infinity());
            std::fill_n(total, width, 0.0f);
            std::fill_n(mixed.data(), s.value_width * width, 0.0f);
            for (Index key = 0; key < s.keys; key += keys_together) {
                const Index keys = std::min(keys_together, s.keys - key);
                const HeadRows kh = rows_of(k, s.keys, s.heads, s.width, n, head, key);
                panel_product(kh.at, kh.row_stride, keys, queries.data(), vectors, s.width, scores.data());
                with_constant<dense_vectors>(vectors, [&](auto constant) {
                    soften_columns<constant>(scores.data(), keys, s.scale(), most, total, mixed.data(), key > 0 ? s.value_width : 0);
                });
                add_transposed_panel_product(&values(n * s.heads + head, key, 0), values.dim(2), s.value_width, scores.data(), vectors, keys,
                                             mixed.data());
            }
            for (Index r = 0; r < width; r += lanes) {
                const Floats inverse = divide(broadcast(1.0f), load(total + r));
                for (Index d = 0; d < s.value_width; ++d) {
                    float* const at = mixed.data() + d * width + r;
                    store(multiply(load(at), inverse), at);
                }
            }
            const Index row_stride = s.heads * s.value_width;
            float* const to = y + (n * s.queries + first) * row_stride + head * s.value_width;
            transpose(mixed.data(), width, s.value_width, count, to, row_stride);
        }
    });
}

/// Gradients of attention with respect to q, k and v from dy. The softmax is computed again, for a block of queries at a
/// time and all of their keys, so that what the weights add up to is known to the last bit: the gradient of a key's mean is
/// a sum that must vanish.
inline void attention_gradient(const AttentionShape& s, const float* q, const float* k, const float* v, const float* dy, float* dq,
                               float* dk, float* dv) {
    using namespace detail;
    struct Block {
        PackedMatrix key_columns, key_rows, value_columns;  // [width, count], [count, width], [value_width, count]
    };
    const Index key_blocks = blocks_of(s.keys, key_block);
    const float scale = static_cast<float>(s.scale());
    parallel_for(s.samples * s.heads, 1, [&](Index begin, Index end) {
        Rows queries(query_block, s.width), gradients(query_block, s.value_width), to_queries(query_block, s.width);
        Rows p(query_block, key_blocks * key_block), ds(query_block, key_blocks * key_block);
        PooledVector<Block> blocks(static_cast<std::size_t>(key_blocks));
        for (Index piece = begin; piece < end; ++piece) {
            const Index head = piece % s.heads, n = piece / s.heads;
            for (Index b = 0; b < key_blocks; ++b) {
                const Index first = b * key_block, count = std::min(key_block, s.keys - first);
                const HeadRows kh = rows_of(k, s.keys, s.heads, s.width, n, head, first);
                const HeadRows vh = rows_of(v, s.keys, s.heads, s.value_width, n, head, first);
                blocks[static_cast<std::size_t>(b)] = {packed(kh.at, s.width, count, 1, kh.row_stride),
                                                       packed(kh.at, count, s.width, kh.row_stride, 1),
                                                       packed(vh.at, s.value_width, count, 1, vh.row_stride)};
            }
            Tensor<float> to_keys = Tensor<float>::zeros({s.keys, s.width}), to_values = Tensor<float>::zeros({s.keys, s.value_width});
            for (Index first = 0; first < s.queries; first += query_block) {
                const Index count = std::min(query_block, s.queries - first);
                queries.copy(rows_of(q, s.queries, s.heads, s.width, n, head, first), count, scale);
                gradients.copy(rows_of(dy, s.queries, s.heads, s.value_width, n, head, first), count, 1.0f);
                const PackedMatrix packed_queries = packed(queries[0], count, s.width, s.width, 1);
                const PackedMatrix packed_gradients = packed(gradients[0], count, s.value_width, s.value_width, 1);
                p.clear();
                ds.clear();
                to_queries.clear();
                for (Index b = 0; b < key_blocks; ++b) {
                    const Block& block = blocks[static_cast<std::size_t>(b)];
                    Rows::add_product(queries, 0, count, s.width, block.key_columns, p, b * key_block);
                    Rows::add_product(gradients, 0, count, s.value_width, block.value_columns, ds, b * key_block);
                }
                for (Index r = 0; r < count; ++r) {
                    float most = -std::numeric_limits<float>::infinity();
                    const float inverse = 1 / exponentiate_row(p[r], s.keys, most);
                    map(s.keys, p[r], [=](Floats x) { return multiply(x, broadcast(inverse)); }, p[r]);
                    const double sum = sum_of(s.keys, [](Floats x) { return x; }, p[r]);
                    const double inner = sum_of(s.keys, [](Floats x, Floats g) { return multiply(x, g); }, p[r], ds[r]);
                    const float mean = static_cast<float>(inner / sum);
                    map(s.keys, ds[r], [=](Floats x, Floats g) { return multiply(x, subtract(g, broadcast(mean))); }, p[r], ds[r]);
                }
                for (Index b = 0; b < key_blocks; ++b) {
                    const Block& block = blocks[static_cast<std::size_t>(b)];
                    const Index at = b * key_block, keys = block.key_rows.depth();
                    p.add_outer_product(at, count, keys, packed_gradients, &to_values(at, 0));
                    ds.add_outer_product(at, count, keys, packed_queries, &to_keys(at, 0));
                    Rows::add_product(ds, at, count, keys, block.key_rows, to_queries, 0);
                }
                for (Index r = 0; r < count; ++r)
                    map(s.width, dq + ((n * s.queries + first + r) * s.heads + head) * s.width,
                        [=](Floats x) { return multiply(x, broadcast(scale)); }, to_queries[r]);
            }
            for (Index r = 0; r < s.keys; ++r) {
                const Index row = (n * s.keys + r) * s.heads + head;
                std::copy_n(&to_keys(r, 0), s.width, dk + row * s.width);
                std::copy_n(&to_values(r, 0), s.value_width, dv + row * s.value_width);
            }
        }
    });
}

}  // namespace ito::simd

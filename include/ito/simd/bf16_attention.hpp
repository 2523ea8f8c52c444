// SPDX-License-Identifier: MIT
#pragma once

#include "ito/simd/attention.hpp"
#include "ito/simd/bf16.hpp"

namespace ito::simd {

namespace detail {

/// The first `count` rows of c, in room for a multiple of 16, = or += those of a [.., w.depth()] times w.
inline void bf16_rows_product(const std::uint16_t* a, Index count, const Bf16Matrix& w, Rows& c, Index c_stride,
                              bool adds, const Bf16Path& path) {
    const Index offset = 0;
    for (Index panel = 0; panel < w.panels(); ++panel)
        for (Index row = 0; row < count; row += bf16_rows)
            path.block({a + row * w.depth(), &offset, 1, w.depth(), w.depth(), w.pairs(panel, 0, 0), w.width(panel),
                        std::min(bf16_rows, count - row), c[row] + panel * bf16_columns, c_stride, adds, nullptr});
}

/// to [depth] = x [count] rounded, then zeros.
inline void round_row(const float* x, Index count, Index depth, const Bf16Path& path, std::uint16_t* to) {
    path.round(x, count, to);
    std::fill(to + count, to + depth, std::uint16_t{0});
}

}  // namespace detail

/// y = softmax(scale q k^T) v for every head, as attention does it, but for the numbers that both products multiply,
/// which are rounded to bfloat16: q scaled, k, v, and what the scores became. Scores, softmax and sums are float.
inline void bf16_attention(const AttentionShape& s, const float* q, const float* k, const float* v, float* y,
                           const Bf16Path& path = bf16_paths().front()) {
    using namespace detail;
    struct Block {
        Bf16Matrix keys, values;  // [width, count], [count, value_width]
    };
    constexpr Index together = std::min(query_block, bf16_rows);  // their scores fit the first-level cache
    const Index key_blocks = blocks_of(s.keys, key_block), query_blocks = blocks_of(s.queries, together);
    PooledVector<Block> blocks(static_cast<std::size_t>(s.samples * s.heads * key_blocks));
    for (std::size_t piece = 0; piece < blocks.size(); ++piece) {  // not in the loop, whose memory is its pieces' own
        const Index count = std::min(key_block, s.keys - static_cast<Index>(piece) % key_blocks * key_block);
        blocks[piece] = {Bf16Matrix(1, s.width, count), Bf16Matrix(1, count, s.value_width)};
    }
    parallel_for(s.samples * s.heads * key_blocks, 1, [&](Index begin, Index end) {
        for (Index piece = begin; piece < end; ++piece) {
            const Index first = piece % key_blocks * key_block, count = std::min(key_block, s.keys - first);
            const Index head = piece / key_blocks % s.heads, n = piece / key_blocks / s.heads;
            const HeadRows kh = rows_of(k, s.keys, s.heads, s.width, n, head, first);
            const HeadRows vh = rows_of(v, s.keys, s.heads, s.value_width, n, head, first);
            const WeightView keys = WeightView::matrix(kh.at, s.width, count, 1, kh.row_stride);
            const WeightView values = WeightView::matrix(vh.at, count, s.value_width, vh.row_stride, 1);
            blocks[static_cast<std::size_t>(piece)].keys.pack(keys, path);
            blocks[static_cast<std::size_t>(piece)].values.pack(values, path);
        }
    });
    const Index pieces = s.samples * s.heads * query_blocks, shares = 8 * ThreadPool::current().threads();
    parallel_for(pieces, std::max<Index>(1, pieces / shares), [&](Index begin, Index end) {
        constexpr Index room = whole(together, 16);
        const Index depth = whole(s.width, bf16_depth), mixed_width = whole(s.value_width, 16);
        Rows scores(room, key_block), mixed(room, mixed_width);
        Tensor<float> scaled({s.width});
        Tensor<std::uint16_t> queries({room, depth}), weights({room, key_block});
        RunningSoftmax softmax;
        const Bf16Path::Scope scope(path);
        for (Index piece = begin; piece < end; ++piece) {
            const Index block = piece % query_blocks, head = piece / query_blocks % s.heads;
            const Index n = piece / query_blocks / s.heads, first = block * s.queries / query_blocks;
            const Index count = (block + 1) * s.queries / query_blocks - first;
            const HeadRows qh = rows_of(q, s.queries, s.heads, s.width, n, head, first);
            const Floats scale = broadcast(static_cast<float>(s.scale()));
            for (Index r = 0; r < count; ++r) {
                map(s.width, scaled.data(), [=](Floats x) { return multiply(x, scale); }, qh.at + r * qh.row_stride);
                round_row(scaled.data(), s.width, depth, path, &queries(r, 0));
            }
            mixed.clear();
            softmax.begin();
            for (Index b = 0; b < key_blocks; ++b) {
                const Block& block = blocks[static_cast<std::size_t>((n * s.heads + head) * key_blocks + b)];
                const Index keys = block.keys.columns(), key_depth = block.values.depth();
                bf16_rows_product(queries.data(), count, block.keys, scores, key_block, false, path);
                softmax.add(scores, count, keys, mixed, s.value_width);
                for (Index r = 0; r < count; ++r)
                    round_row(scores[r], keys, key_depth, path, weights.data() + r * key_depth);
                bf16_rows_product(weights.data(), count, block.values, mixed, mixed_width, true, path);
            }
            for (Index r = 0; r < count; ++r) {
                float* to = y + (n * s.queries + first + r) * s.heads * s.value_width + head * s.value_width;
                const float inverse = static_cast<float>(1 / softmax.total(r));
                map(s.value_width, to, [=](Floats x) { return multiply(x, broadcast(inverse)); }, mixed[r]);
            }
        }
    });
}

}  // namespace ito::simd

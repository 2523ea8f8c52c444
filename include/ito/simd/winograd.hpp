// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "ito/core/parallel.hpp"
#include "ito/core/tensor.hpp"
#include "ito/simd/conv_shape.hpp"
#include "ito/simd/dense.hpp"
#include "ito/simd/operands.hpp"
#include "ito/simd/winograd_maps.hpp"

// Convolutions of kernel 3 x 3 and stride 1 by F(M x M, 3 x 3): the result is cut into tiles of M x M pixels. A tile's
// (M + 2)^2 inputs, the kernel and the result are seen at (M + 2)^2 points, and at a point the convolution is a plain
// matrix product over tiles and channels: (M + 2)^2 / (9 M^2) of the direct multiplications, 1/4 at M = 4, 1/2.25 at M = 2.
//
// A tile's bits depend on its own pixels and the kernel alone: not on other images, nor on how the tiles are shared
// among threads.
namespace ito::simd {

namespace detail {

/// Room for a matrix [rows, width] at each point. Matrices stand a cache line off a multiple of their size, so that the
/// same place at all points does not fall into one set of the cache.
class PointRoom {
  public:
    PointRoom(Index points, Index rows, Index width) : width_(width), stride_(rows * width + 16), values_({points * stride_}) {}

    float* row(Index point, Index row) { return values_.data() + point * stride_ + row * width_; }
    const float* row(Index point, Index row) const { return values_.data() + point * stride_ + row * width_; }
    Index width() const { return width_; }
    /// Between a place and the same place at the next point.
    Index stride() const { return stride_; }

  private:
    Index width_, stride_;
    Tensor<float> values_;
};

/// Inputs of tiles at the points, `depth` channels at a time: [piece][point][tile][channel], tiles `step` floats apart.
template <int M>
class WinogradInput {
  public:
    static constexpr Index points = (M + 2) * (M + 2);

    WinogradInput(Index channels, Index tiles, Index depth, Index step)
        : tiles_(tiles), depth_(depth), room_((channels + depth - 1) / depth * points, tiles, step) {}

    Index tiles() const { return tiles_; }
    Index depth() const { return depth_; }
    Index step() const { return room_.width(); }
    /// The piece that begins at channel c.
    float* at(Index c, Index point, Index tile) { return room_.row(c / depth_ * points + point, tile); }
    const float* at(Index c, Index point, Index tile) const { return const_cast<WinogradInput*>(this)->at(c, point, tile); }
    /// Between a place and the same place at the next point.
    Index stride() const { return room_.stride(); }

  private:
    Index tiles_, depth_;
    PointRoom room_;
};

}  // namespace detail

/// The kernel at the points, a matrix [channels, columns] for each: [panel][point][channels][width].
template <int M>
class WinogradKernel {
  public:
    static constexpr int side = M + 2, points = side * side;

    WinogradKernel() = default;

    explicit WinogradKernel(const WeightView& w) : panels_(w.out, w.in, points) {
        const Index channels = w.in, columns = w.out;
        parallel_for(panels_.panels() * channels, std::max<Index>(8, 2048 / channels), [&](Index begin, Index end) {
            for (Index line = begin; line < end; ++line) {
                const Index panel = line / channels, c = line % channels;
                for (int v = 0; v < panels_.vectors(panel); ++v) {
                    const Index column = panels_.first_column(panel) + v * lanes, count = std::min<Index>(lanes, columns - column);
                    const float* from = w.first + c * w.in_stride + column * w.out_stride;
                    // Along the lines first, as WinogradLines does.
                    map_square<3, side>(
                        KernelAtAll<M>(),
                        [&](auto j, auto i) __attribute__((always_inline)) {
                            return load_strided(from + (i * 3 + j) * w.tap_stride, w.out_stride, count);
                        },
                        [&](auto j, auto i, Floats u) __attribute__((always_inline)) {
                            store(u, panels_.row(panel, i * side + j, c) + v * lanes);
                        });
                }
            }
        });
    }

    Index columns() const { return panels_.columns(); }
    Index panels() const { return panels_.panels(); }
    Index first_column(Index panel) const { return panels_.first_column(panel); }
    Index width(Index panel) const { return panels_.width(panel); }

    /// As multiply takes it.
    detail::WinogradInput<M> input(Index tiles) const {
        const Index channels = panels_.depth();
        return {channels, tiles, channels, (channels + lanes - 1) / lanes * lanes};
    }

    /// result [point][tile, width] = input times a panel at every point.
    void multiply(Index panel, const detail::WinogradInput<M>& input, detail::PointRoom& result) const {
        const Index channels = panels_.depth();
        for (int point = 0; point < points; ++point) {
            const float* const w = panels_.row(panel, point, 0);
            panel_product(input.at(0, point, 0), input.step(), input.tiles(), w, panels_.vectors(panel), channels, result.row(point, 0),
                          false, {w + panels_.stride(panel), std::min(detail::dense_depth, channels)});
        }
    }

  private:
    PanelStack panels_;
};

namespace detail {

/// Tiles of the results of a convolution, numbered through the images line by line.
template <int M>
struct Tiling {
    Index lines, columns, count;

    explicit Tiling(const ConvShape& shape)
        : lines((shape.out_height + M - 1) / M), columns((shape.out_width + M - 1) / M), count(shape.images * lines * columns) {}

    struct Place {
        Index image, h, w;  // of the tile's first pixel
    };
    Place place(Index tile) const {
        return {tile / (lines * columns), tile / columns % lines * M, tile % columns * M};
    }
};

/// Inputs of one tile, channels [begin, end), seen at the points -> to, `stride` apart. zeros holds as many zeros as channels.
template <int M>
void winograd_input(const ConvShape& shape, const float* x, const typename Tiling<M>::Place& at, const float* zeros, Index begin,
                    Index end, float* to, Index stride) {
    constexpr int side = M + 2;
    const float* pixel[side][side];
    for (int i = 0; i < side; ++i) {
        const Index h = at.h + i - shape.top;
        const float* line = h >= 0 && h < shape.height ? x + (at.image * shape.height + h) * shape.width * shape.channels : nullptr;
        for (int j = 0; j < side; ++j) {
            const Index w = at.w + j - shape.left;
            pixel[i][j] = line && w >= 0 && w < shape.width ? line + w * shape.channels : zeros;
        }
    }
    // Everything that the stores might alias is copied to locals, or it would be read again for each of them.
    float* const first = to - begin;
    const Index to_next = M * shape.channels;  // the tile on the right
    auto map = [&](Index c, auto get) __attribute__((always_inline)) {
        // The tiles above had the other pixels of the next tile.
        unrolled<M * M>([&](auto p) __attribute__((always_inline)) {
            __builtin_prefetch(pixel[side - M + p / M][side - M + p % M] + c + to_next);
        });
        map_square<side, side>([](const auto& d, auto& t) __attribute__((always_inline)) { WinogradMap<M>::input(d, t); },
                               [&](auto i, auto j) __attribute__((always_inline)) { return get(pixel[i][j] + c); },
                               [&](auto i, auto j, Floats t) __attribute__((always_inline)) {
                                   store(t, first + (i * side + j) * stride + c);
                               });
    };
    Index c = begin;
    for (; c + lanes <= end; c += lanes) map(c, [](const float* p) __attribute__((always_inline)) { return load(p); });
    if (c < end) map(c, [&](const float* p) { return load_part(p, end - c); });
}

/// Row `from` of what the points gave for one panel -> columns [column, column + width) of a tile of the result. Those
/// of the tile `next`, which follows, are asked for: a cache reads what it is to write.
template <int M>
void winograd_output(const ConvShape& shape, const PointRoom& room, Index from, const typename Tiling<M>::Place& at,
                     const typename Tiling<M>::Place& next, Index column, Index columns, const Addends<float>& addends,
                     float* y) {
    constexpr int side = M + 2;
    const Index lines = std::min<Index>(M, shape.out_height - at.h), pixels = std::min<Index>(M, shape.out_width - at.w);
    const Index line = shape.out_width * columns, stride = room.stride();
    const auto offset = [&](const auto& place) {
        return ((place.image * shape.out_height + place.h) * shape.out_width + place.w) * columns;
    };
    const Index first = offset(at), to_next = offset(next) - first;
    const Index width = std::min(room.width(), columns - column);
    const float* const bias = addends.bias;
    const float* const per_sample = addends.per_sample ? addends.per_sample + at.image * columns : nullptr;
    const float* const residual = addends.residual ? addends.residual + first : nullptr;
    auto map = [&](Index v, auto get, auto put) __attribute__((always_inline)) {
        const float* const seen = room.row(0, from) + v;
        const Index k = column + v;
        Floats constant = bias ? get(bias + k) : broadcast(0);
        if (per_sample) constant = add(constant, get(per_sample + k));
        map_square<side, M>([](const auto& m, auto& to) __attribute__((always_inline)) { WinogradMap<M>::output(m, to); },
                            [&](auto i, auto j) __attribute__((always_inline)) { return load(seen + (i * side + j) * stride); },
                            [&](auto i, auto j, Floats value) __attribute__((always_inline)) {
                                if (i >= lines || j >= pixels) return;
                                const Index to = i * line + j * columns + k;
                                __builtin_prefetch(y + first + to_next + to, 1);
                                value = add(value, constant);
                                if (residual) {
                                    __builtin_prefetch(residual + to_next + to);
                                    value = add(value, get(residual + to));
                                }
                                put(value, y + first + to);
                            });
    };
    Index v = 0;
    for (; v + lanes <= width; v += lanes)
        map(v, [](const float* p) __attribute__((always_inline)) { return load(p); },
            [](Floats value, float* p) __attribute__((always_inline)) { store(value, p); });
    if (v < width)
        map(v, [&](const float* p) { return load_part(p, width - v); },
            [&](Floats value, float* p) { store_part(value, p, width - v); });
}

/// How many tiles are at the points at a time, so that they stay in the second-level cache, but at least as many as make
/// reading the kernel once for all of them cheap.
inline Index winograd_tiles_together(int points, Index channels) {
    constexpr Index floats = lanes == 16 ? Index{1} << 18 : Index{1} << 17;  // processors with AVX-512 have 1 or 2 MB
    return std::clamp<Index>(floats / (points * channels), lanes == 16 ? 64 : 24, 96);
}

/// How threads share a convolution: blocks of tiles times groups of panels. A thread that has its own tiles reads the whole
/// kernel, one that has its own panels sees all tiles at the points by itself: to take from another thread what that one
/// has just written would take longer.
struct WinogradShares {
    Index blocks, groups;

    WinogradShares(Index tiles, Index together, Index panels, Index threads) {
        constexpr Index worthwhile = 24, least = 6;  // tiles that a thread should have, and must have
        blocks = std::clamp<Index>(tiles / worthwhile, 1, threads);
        groups = std::min(panels, (threads + blocks - 1) / blocks);
        if (blocks * groups < threads) blocks = std::max(blocks, std::min(threads / groups, tiles / least));
        if (tiles > blocks * together) blocks = ((tiles + together - 1) / together + blocks - 1) / blocks * blocks;
    }
};

}  // namespace detail

/// y [images * out_height * out_width, columns] = convolution of x with the kernel, plus the addends, on all threads.
/// The shape must have kernel 3 x 3, step and dilation 1. The kernel is a WinogradKernel<M> or WinogradLines<M>: the bits of
/// the result are the same.
template <int M, template <int> class Kernel>
void winograd_convolve(const ConvShape& shape, const float* x, const Kernel<M>& kernel, float* y, const Addends<float>& addends) {
    constexpr int points = (M + 2) * (M + 2);
    const detail::Tiling<M> tiling(shape);
    const Index channels = shape.channels;
    const Tensor<float> zeros = Tensor<float>::zeros({channels});
    const detail::WinogradShares shares(tiling.count, detail::winograd_tiles_together(points, channels), kernel.panels(),
                                        ThreadPool::current().threads());
    parallel_for(shares.blocks * shares.groups, 1, [&](Index first_share, Index last_share) {
        for (Index share = first_share; share < last_share; ++share) {
            const Index block = share / shares.groups, group = share % shares.groups;
            const Index begin = block * tiling.count / shares.blocks, end = (block + 1) * tiling.count / shares.blocks;
            const Index first = group * kernel.panels() / shares.groups, last = (group + 1) * kernel.panels() / shares.groups;
            detail::WinogradInput<M> input = kernel.input(end - begin);
            for (Index t = begin; t < end; ++t)
                for (Index c = 0; c < channels; c += input.depth())
                    detail::winograd_input<M>(shape, x, tiling.place(t), zeros.data(), c, std::min(channels, c + input.depth()),
                                              input.at(c, 0, t - begin), input.stride());
            for (Index panel = first; panel < last; ++panel) {
                detail::PointRoom result(points, end - begin, kernel.width(panel));
                kernel.multiply(panel, input, result);
                for (Index t = begin; t < end; ++t)
                    detail::winograd_output<M>(shape, result, t - begin, tiling.place(t), tiling.place(std::min(t + 1, end - 1)),
                                               kernel.first_column(panel), kernel.columns(), addends, y);
            }
        }
    });
}

}  // namespace ito::simd

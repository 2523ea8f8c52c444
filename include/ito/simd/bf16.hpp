// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "ito/simd/bf16_path.hpp"
#include "ito/simd/conv_shape.hpp"
#include "ito/simd/gemm.hpp"

// Convolutions and matrix products of numbers rounded to bfloat16, summed in float. Pixels are rounded once into lines
// with their padding, in which the pixels that one tap of the kernel reads are equally far apart; results between the
// lines are computed and left out.
//
// Every element of a result is summed in the order of the taps, then of the channels, and then gets its addends. So a
// pixel has the same bits whatever the others are, how many there are, and which thread computes it, on the same path.
namespace ito::simd {

namespace detail {

inline std::uint16_t rounded_to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
    return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline void round_to_bf16(const float* from, Index count, std::uint16_t* to) {
    for (Index i = 0; i < count; ++i) to[i] = rounded_to_bf16(from[i]);
}

inline void round_pairs_to_bf16(const float* even, const float* odd, Index count, std::uint16_t* to) {
    for (Index i = 0; i < count; ++i) {
        to[2 * i] = rounded_to_bf16(even[i]);
        to[2 * i + 1] = rounded_to_bf16(odd[i]);
    }
}

/// Rows [row, row + Rows) and `vectors` registers of columns of a block, its numbers widened to float in registers.
template <int Rows, int vectors>
ITO_SIMD_INLINE void widened_rows(const Bf16Block& s, Index row, Index column) {
    Floats sum[Rows][vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
            sum[r][v] = s.adds ? load(s.c + (row + r) * s.c_stride + column + v * lanes) : broadcast(0);
        });
    });
    const std::uint16_t* b = s.b + 2 * column;
    for (Index tap = 0; tap < s.taps; ++tap) {
        const std::uint16_t* const a = s.a + s.offsets[tap] + row * s.row_stride;
        for (Index k = 0; k < s.depth; k += 2, b += 2 * s.width) {
            Floats first[vectors], second[vectors];
            unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
                const Bf16Pairs pairs = load_pairs(b + v * 2 * lanes);
                first[v] = first_of(pairs);
                second[v] = second_of(pairs);
            });
            unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                std::uint32_t pair;
                std::memcpy(&pair, a + r * s.row_stride + k, sizeof pair);
                const Bf16Pairs both = broadcast_pair(pair);
                const Floats one = first_of(both), other = second_of(both);
                unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
                    sum[r][v] = multiply_add(other, second[v], multiply_add(one, first[v], sum[r][v]));
                });
            });
        }
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
            store(sum[r][v], s.c + (row + r) * s.c_stride + column + v * lanes);
        });
    });
}

inline void widened_block(const Bf16Block& s) {
    constexpr int rows = registers == 32 ? 8 : 4;
    for (Index row = 0; row < s.rows; row += rows) {
        Index column = 0;
        for (; column + 2 * lanes <= s.width; column += 2 * lanes) widened_rows<rows, 2>(s, row, column);
        if (column < s.width) widened_rows<rows, 1>(s, row, column);  // 16 columns are one register of AVX-512
    }
}

}  // namespace detail

/// What this processor can compute with, the best first. The last one runs everywhere.
inline std::span<const Bf16Path> bf16_paths() {
    static const std::vector<Bf16Path> paths = [] {
        std::vector<Bf16Path> found = native_bf16_paths();
        using namespace detail;
        found.push_back({"widened", round_to_bf16, round_pairs_to_bf16, widened_block, [] {}, [] {}});
        return found;
    }();
    return paths;
}

/// `count` rounded up to a multiple of `unit`.
constexpr Index whole(Index count, Index unit) { return (count + unit - 1) / unit * unit; }

/// A right matrix [taps, in, out], rounded to bfloat16, in panels of up to 32 columns: [panel][taps][in / 2][width][2].
class Bf16Matrix {
  public:
    Bf16Matrix() = default;

    /// Uninitialised.
    Bf16Matrix(Index taps, Index in, Index out)
        : taps_(taps), depth_(whole(in, bf16_depth)), columns_(out), values_({taps * depth_ * whole(out, 16)}) {}

    /// Rows or columns must lie together: w.out_stride or w.in_stride is 1.
    explicit Bf16Matrix(const WeightView& w, const Bf16Path& path = bf16_paths().front())
        : Bf16Matrix(w.taps, w.in, w.out) {
        pack(w, path);
    }

    /// Fills a matrix of the view's size, likewise.
    void pack(const WeightView& w, const Bf16Path& path) {
        const Index together = 1 + (1 << 13) / (1 + w.in * bf16_columns);
        parallel_for(panels() * taps_, together, [&](Index begin, Index end) {
            Tensor<std::uint16_t> columns({w.out_stride == 1 ? 0 : bf16_columns, depth_});
            for (Index piece = begin; piece < end; ++piece) {
                const Index panel = piece / taps_, tap = piece % taps_;
                const float* const from = w.first + tap * w.tap_stride + panel * bf16_columns * w.out_stride;
                if (w.out_stride == 1) pack_rows(from, w.in, w.in_stride, panel, path, pairs(panel, tap, 0));
                else pack_columns(from, w.in, w.out_stride, panel, path, columns, pairs(panel, tap, 0));
            }
        });
    }

    Index taps() const { return taps_; }
    /// Rows of a tap, filled up with zeros.
    Index depth() const { return depth_; }
    Index columns() const { return columns_; }
    Index panels() const { return (columns_ + bf16_columns - 1) / bf16_columns; }
    Index width(Index panel) const { return std::min(bf16_columns, whole(columns_, 16) - panel * bf16_columns); }
    std::size_t bytes() const { return static_cast<std::size_t>(values_.size()) * sizeof(std::uint16_t); }

    /// Rows 2 pair and 2 pair + 1 of a tap: [width, 2]; those below follow.
    std::uint16_t* pairs(Index panel, Index tap, Index pair) {
        return values_.data() + panel * bf16_columns * taps_ * depth_ + (tap * depth_ / 2 + pair) * width(panel) * 2;
    }
    const std::uint16_t* pairs(Index panel, Index tap, Index pair) const {
        return const_cast<Bf16Matrix*>(this)->pairs(panel, tap, pair);
    }

  private:
    /// Columns of a panel that are not filled up.
    Index count(Index panel) const { return std::min(width(panel), columns_ - panel * bf16_columns); }

    void pack_rows(const float* from, Index in, Index stride, Index panel, const Bf16Path& path,
                   std::uint16_t* to) const {
        static constexpr float zeros[bf16_columns] = {};
        const Index made = count(panel), across = width(panel);
        for (Index c = 0; c < depth_; c += 2, from += 2 * stride, to += 2 * across) {
            if (c < in) path.round_pairs(from, c + 1 < in ? from + stride : zeros, made, to);
            std::fill(to + (c < in ? 2 * made : 0), to + 2 * across, std::uint16_t{0});
        }
    }

    void pack_columns(const float* from, Index in, Index stride, Index panel, const Bf16Path& path,
                      Tensor<std::uint16_t>& columns, std::uint16_t* to) const {
        const Index made = count(panel), across = width(panel);
        for (Index n = 0; n < across; ++n) {
            std::uint16_t* const column = columns.data() + n * depth_;
            if (n < made) path.round(from + n * stride, in, column);
            std::fill(column + (n < made ? in : 0), column + depth_, std::uint16_t{0});
        }
        for (Index c = 0; c < depth_; c += 2, to += 2 * across)
            for (Index n = 0; n < across; ++n) std::copy_n(columns.data() + n * depth_ + c, 2, to + 2 * n);
    }

    Index taps_ = 0, depth_ = 0, columns_ = 0;
    Tensor<std::uint16_t> values_;
};

namespace detail {

/// How the pixels of a convolution lie when they are rounded: for each phase (h, w) modulo the step a plane of lines.
/// With step 1 the padding behind a line is that before the next one.
struct Bf16Lines {
    const ConvShape& shape;
    Index depth, pitch;  // of a pixel in numbers, and of a line in pixels
    Index lines;         // of a plane, for pieces of so many lines of the result

    Bf16Lines(const ConvShape& s, Index depth, Index made)
        : shape(s), depth(depth), pitch(s.out_width + (s.kernel_w - 1) / s.step),
          lines(made + (s.kernel_h - 1) / s.step) {
        const Index right = s.out_width + s.kernel_w - 1 - s.width - s.left;
        if (s.step == 1) pitch = std::max(s.width + std::max(s.left, right), s.out_width);
    }

    Index line() const { return pitch * depth; }
    Index plane() const { return lines * line(); }
    /// With what the last pixels read behind the last line, and what blocks read behind that for results left out.
    Index size() const { return shape.step * shape.step * plane() + (shape.kernel_w + bf16_rows) * depth; }

    /// Of the pixel that a tap reads, from the one that the first tap reads.
    Index offset(Index tap) const {
        const Index i = tap / shape.kernel_w, j = tap % shape.kernel_w, step = shape.step;
        return (i % step * step + j % step) * plane() + i / step * line() + j / step * depth;
    }

    /// What lines [begin, end) of the image that is made read of `image`.
    void round(const float* image, Index begin, Index end, const Bf16Path& path, std::uint16_t* to) const {
        const Index step = shape.step, used = end - begin + (shape.kernel_h - 1) / step;
        for (Index row = 0; row < step; ++row)
            for (Index column = 0; column < step; ++column) {
                std::uint16_t* line_to = to + (row * step + column) * plane();
                for (Index l = 0; l < used; ++l, line_to += line()) {
                    const Index y = (begin + l) * step + row - shape.top;
                    if (y < 0 || y >= shape.height) std::fill_n(line_to, line(), std::uint16_t{0});
                    else round_line(image + y * shape.width * shape.channels, column, path, line_to);
                }
            }
        std::fill_n(to + (step * step - 1) * plane() + used * line(), shape.kernel_w * depth, std::uint16_t{0});
    }

  private:
    void round_line(const float* from, Index column, const Bf16Path& path, std::uint16_t* to) const {
        const Index c = shape.channels, step = shape.step;
        // The pixels of the line that lie in this phase: to pixel w goes pixel w * step + column - left.
        const auto least = [&](Index x) {
            return std::min(pitch, std::max<Index>(0, x + shape.left - column + step - 1) / step);
        };
        const Index first = least(0), last = least(shape.width);
        std::fill_n(to, first * depth, std::uint16_t{0});
        from += (first * step + column - shape.left) * c;
        if (step == 1 && c == depth) {
            path.round(from, (last - first) * c, to + first * depth);
        } else {
            for (Index w = first; w < last; ++w, from += step * c) {
                path.round(from, c, to + w * depth);
                std::fill(to + w * depth + c, to + (w + 1) * depth, std::uint16_t{0});
            }
        }
        std::fill(to + last * depth, to + pitch * depth, std::uint16_t{0});
    }
};

/// work(first_line, last_line, first_panel, last_panel) for all of a product, on all threads: lines are shared, or
/// panels where it takes longer to read them than to round the pixels. A piece's pixels and results stay in the
/// second-level cache.
template <class Work>
void share_bf16_product(const Bf16Lines& at, Index lines, const Bf16Matrix& w, Work&& work) {
    const Index threads = ThreadPool::current().threads(), panels = w.panels(), pixels = lines * at.shape.out_width;
    const Index line_bytes = 2 * at.shape.step * at.shape.step * at.line() + 4 * at.shape.out_width * w.columns();
    const Index unit = std::max<Index>(1, bf16_rows / at.pitch);  // short lines that fill a block
    const Index most = std::max(unit, (Index{1} << 20) / line_bytes / unit * unit);
    if (pixels < w.taps() * w.columns() && (panels % threads == 0 || panels >= 8 * threads)) {
        parallel_for(panels, (panels + threads - 1) / threads, [&](Index first, Index last) {
            for (Index begin = 0; begin < lines; begin += most) work(begin, std::min(lines, begin + most), first, last);
        });
        return;
    }
    const Index blocks = std::max<Index>(1, (lines + most * threads - 1) / (most * threads)) * threads;
    parallel_for(lines, whole((lines + blocks - 1) / blocks, unit),
                 [&](Index begin, Index end) { work(begin, end, Index{0}, panels); });
}

/// y [columns] = c + start + residual, which may be null.
ITO_SIMD_INLINE void finish_row(const float* c, Index columns, const float* start, const float* residual, float* y) {
    Index n = 0;
    for (; n + lanes <= columns; n += lanes) {
        Floats sum = add(load(c + n), load(start + n));
        if (residual) sum = add(sum, load(residual + n));
        store(sum, y + n);
    }
    for (; n < columns; ++n) y[n] = c[n] + start[n] + (residual ? residual[n] : 0.0f);
}

/// What all pieces of a product have in common.
struct Bf16Task {
    const ConvShape& shape;
    const float* x;
    const Bf16Matrix& w;
    float* y;
    const float* residual;
    const StartRows& starts;
    Index pixels_a_start;  // a row of starts is for so many pixels; 0: the first is for all
    const Bf16Path& path;
};

/// Lines [begin, end) of the images that are made, in one thread: parts of images, whose pixels are rounded here.
class Bf16Piece {
  public:
    Bf16Piece(const Bf16Task& task, Index begin, Index end)
        : task_(task), begin_(begin), end_(end),
          at_(task.shape, task.w.depth(), std::min(end - begin, task.shape.out_height)), offsets_({task.w.taps()}) {
        const ConvShape& s = task.shape;
        for (Index tap = 0; tap < task.w.taps(); ++tap) offsets_[tap] = at_.offset(tap);
        for (Index line = begin; line < end; line = parts_.back().last)
            parts_.push_back({line, std::min(end, (line / s.out_height + 1) * s.out_height)});
        rounded_ = Tensor<std::uint16_t>({static_cast<Index>(parts_.size()), at_.size()});
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            const Index n = parts_[i].first / s.out_height, before = n * s.out_height;
            at_.round(task.x + n * s.height * s.width * s.channels, parts_[i].first - before, parts_[i].last - before,
                      task.path, &rounded_(static_cast<Index>(i), 0));
            blocks_ += (rows(parts_[i]) + bf16_rows - 1) / bf16_rows;
        }
    }

    /// Panels [first, last) of the results.
    void multiply(Index first, Index last) const {
        const Bf16Matrix& w = task_.w;
        const Index width = task_.shape.out_width;
        alignas(64) float room[bf16_rows * bf16_columns];
        Bf16Block block = {};
        block.offsets = offsets_.data();
        block.taps = w.taps();
        block.depth = block.row_stride = w.depth();
        block.c = room;
        const Bf16Path::Scope scope(task_.path);
        for (Index panel = first; panel < last; ++panel) {
            Bf16Ahead next = ahead(panel, last);
            block.b = w.pairs(panel, 0, 0);
            block.width = block.c_stride = w.width(panel);
            block.ahead = &next;
            for (std::size_t i = 0; i < parts_.size(); ++i) {
                const Index count = rows(parts_[i]);
                Index pixel = parts_[i].first * width, column = 0;
                for (Index row = 0; row < count; row += bf16_rows) {
                    block.a = &rounded_(static_cast<Index>(i), row * at_.depth);
                    block.rows = std::min(bf16_rows, count - row);
                    ask_for_results(next, panel, last, pixel + block.rows);
                    task_.path.block(block);
                    for (Index r = 0; r < block.rows; ++r, column = column + 1 == at_.pitch ? 0 : column + 1)
                        if (column < width) finish(room + r * block.width, panel, pixel++);
                }
            }
        }
    }

  private:
    struct Part {
        Index first, last;  // lines
    };

    /// Of a part, with what is left out between its lines.
    Index rows(const Part& part) const {
        return (part.last - part.first) * at_.pitch - (at_.pitch - task_.shape.out_width);
    }

    void finish(const float* c, Index panel, Index pixel) const {
        const Index column = panel * bf16_columns, columns = task_.w.columns(), place = pixel * columns + column;
        const Index start = task_.pixels_a_start ? pixel / task_.pixels_a_start : 0;
        finish_row(c, std::min(bf16_columns, columns - column), task_.starts[start] + column,
                   task_.residual ? task_.residual + place : nullptr, task_.y + place);
    }

    /// What the blocks of a panel ask for: all of the next panel's weights together, and results.
    Bf16Ahead ahead(Index panel, Index last) const {
        const Bf16Matrix& w = task_.w;
        const Index steps = w.taps() * w.depth() / bf16_depth + 1;
        Bf16Ahead ahead;
        if (panel + 1 < last) {
            ahead.b = reinterpret_cast<const char*>(w.pairs(panel + 1, 0, 0));
            ahead.lines = w.taps() * w.depth() * w.width(panel + 1) / 32;
            ahead.lines_a_step = ahead.lines / (blocks_ * steps) + 1;
        }
        ahead.rows_a_step = bf16_rows / steps + 1;
        ahead.row_bytes = w.columns() * static_cast<Index>(sizeof(float));
        return ahead;
    }

    /// Results from about `pixel` on, or where the panel ends from the first one of the next panel on.
    void ask_for_results(Bf16Ahead& ahead, Index panel, Index last, Index pixel) const {
        const Index width = task_.shape.out_width, end = end_ * width;
        if (pixel >= end) {
            pixel = ++panel < last ? begin_ * width : end;
            if (panel == last) panel = 0;
        }
        const Index place = pixel * task_.w.columns() + panel * bf16_columns;
        ahead.rows = std::min(bf16_rows, end - pixel);
        ahead.result = reinterpret_cast<const char*>(task_.y + place);
        if (task_.residual) ahead.residual = reinterpret_cast<const char*>(task_.residual + place);
    }

    const Bf16Task& task_;
    Index begin_, end_;
    Bf16Lines at_;
    Tensor<Index> offsets_;
    PooledVector<Part> parts_;
    Tensor<std::uint16_t> rounded_;
    Index blocks_ = 0;
};

}  // namespace detail

/// y [images * out_height * out_width, N] = addends + convolution of x with w [taps, channels, N], both rounded to
/// bfloat16, on all threads. The pixels belong to `samples` samples of the same size; the shape must have dilation 1.
inline void bf16_convolve(const ConvShape& s, const float* x, const Bf16Matrix& w, float* y,
                          const Addends<float>& addends, Index samples, const Bf16Path& path = bf16_paths().front()) {
    const Index lines = s.images * s.out_height, pixels = lines * s.out_width;
    if (pixels == 0 || w.columns() == 0) return;
    const StartRows starts(addends, samples, w.columns());
    const detail::Bf16Task task{s, x, w, y, addends.residual, starts, addends.per_sample ? pixels / samples : 0, path};
    detail::share_bf16_product(detail::Bf16Lines(s, w.depth(), s.out_height), lines, w,
                               [&](Index begin, Index end, Index first_panel, Index last_panel) {
                                   detail::Bf16Piece(task, begin, end).multiply(first_panel, last_panel);
                               });
}

/// y [rows, N] = addends + x [rows, C] * w [C, N], both rounded to bfloat16, on all threads; the rows belong to
/// `samples` samples of the same size.
inline void bf16_product(const float* x, Index rows, Index channels, const Bf16Matrix& w, float* y,
                         const Addends<float>& addends = {}, Index samples = 1,
                         const Bf16Path& path = bf16_paths().front()) {
    bf16_convolve({1, rows, 1, channels, rows, 1, 1, 1, 0, 0}, x, w, y, addends, samples, path);
}

}  // namespace ito::simd

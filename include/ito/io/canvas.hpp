// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "ito/core/tensor.hpp"
#include "ito/io/font.hpp"

namespace ito {

struct Color {
    std::uint8_t red = 0, green = 0, blue = 0;

    bool operator==(const Color&) const = default;
};

/// A colour image to draw on, smoothly: x goes right and y goes down, in pixels; the centre of the first pixel is
/// (0.5, 0.5). What lies outside of the clip rectangle is left out.
class Canvas {
  public:
    /// Where a text stands relative to its point.
    enum class Align { left, centre, right };

    /// Throws ShapeError for a negative size.
    Canvas(Index height, Index width, Color background = {255, 255, 255}) : image_({height, width, 3}) {
        for (Index i = 0; i < image_.size(); i += 3) set(i, background, 1);
        no_clip();
    }

    /// [H, W, 3]
    const Tensor<std::uint8_t>& image() const { return image_; }

    void clip(double left, double top, double right, double bottom) { clip_ = {left, top, right, bottom}; }
    void no_clip() { clip(0, 0, static_cast<double>(image_.dim(1)), static_cast<double>(image_.dim(0))); }

    void rectangle(double left, double top, double right, double bottom, Color color, double alpha = 1) {
        paint(left, top, right, bottom, color, alpha, [&](double x, double y) {
            return std::min({x - left, right - x, y - top, bottom - y}) + 0.5;
        });
    }

    /// A line of that width with round ends.
    void line(double x0, double y0, double x1, double y1, double width, Color color, double alpha = 1) {
        const double dx = x1 - x0, dy = y1 - y0, squared = dx * dx + dy * dy, reach = width / 2;
        paint(std::min(x0, x1) - reach, std::min(y0, y1) - reach, std::max(x0, x1) + reach, std::max(y0, y1) + reach,
              color, alpha * std::min(width, 1.0), [&](double x, double y) {
                  const double along =
                      squared > 0 ? std::clamp(((x - x0) * dx + (y - y0) * dy) / squared, 0.0, 1.0) : 0.0;
                  return std::max(reach, 0.5) + 0.5 - std::hypot(x - x0 - along * dx, y - y0 - along * dy);
              });
    }

    void disc(double x, double y, double radius, Color color, double alpha = 1) {
        line(x, y, x, y, 2 * radius, color, alpha);
    }

    /// Width in pixels of a text whose dots are that large.
    static double text_width(std::string_view text, double dot) {
        double dots = 0;
        for (const char c : text) dots += advance(c);
        return text.empty() ? 0 : (dots - 1.5) * dot;
    }

    /// A text whose capital letters are 7 dots high, its baseline at y; upwards turns it by a quarter to the left,
    /// around its point. Characters beyond ASCII show as '?'.
    void text(double x, double y, std::string_view text, double dot, Color color, Align align = Align::left,
              bool upwards = false) {
        double pen = align == Align::left ? 0 : -text_width(text, dot) / (align == Align::centre ? 2 : 1);
        const auto stroke = [&](double row0, double column0, double row1, double column1) {
            const double along0 = pen + column0 * dot, along1 = pen + column1 * dot;
            const double up0 = (detail::glyph_baseline - row0 - 0.5) * dot,
                         up1 = (detail::glyph_baseline - row1 - 0.5) * dot;
            if (upwards)
                line(x - up0, y - along0, x - up1, y - along1, 0.95 * dot, color);
            else
                line(x + along0, y - up0, x + along1, y - up1, 0.95 * dot, color);
        };
        for (const char c : text) {
            const auto [first, last] = extent(c);
            for (int row = 0; row < detail::glyph_rows; ++row)
                for (int column = first; column <= last; ++column) {
                    const auto dot_at = [&](int r, int k) { return detail::glyph_dot(c, r, k); };
                    if (!dot_at(row, column)) continue;
                    const double at = column - first + 0.5;
                    // Dots that touch become one stroke; a diagonal only where no corner joins it already.
                    const bool right = dot_at(row, column + 1), below = dot_at(row + 1, column);
                    if (right) stroke(row, at, row, at + 1);
                    if (below) stroke(row, at, row + 1, at);
                    if (dot_at(row + 1, column + 1) && !right && !below) stroke(row, at, row + 1, at + 1);
                    if (dot_at(row + 1, column - 1) && !dot_at(row, column - 1) && !below)
                        stroke(row, at, row + 1, at - 1);
                    if (!right && !below) stroke(row, at, row, at);
                }
            pen += advance(c) * dot;
        }
    }

  private:
    /// First and last column with a dot.
    static std::array<int, 2> extent(char c) {
        int first = detail::glyph_columns, last = -1;
        for (int row = 0; row < detail::glyph_rows; ++row)
            for (int column = 0; column < detail::glyph_columns; ++column)
                if (detail::glyph_dot(c, row, column)) {
                    first = std::min(first, column);
                    last = std::max(last, column);
                }
        return {first, last};
    }

    static double advance(char c) {
        const auto [first, last] = extent(c);
        return last < 0 ? 3.5 : last - first + 2.5;
    }

    void set(Index i, Color color, double alpha) {
        const std::array<std::uint8_t, 3> channels{color.red, color.green, color.blue};
        for (Index c = 0; c < 3; ++c) {
            const double old = image_[i + c], next = channels[static_cast<std::size_t>(c)];
            image_[i + c] = static_cast<std::uint8_t>(alpha >= 1 ? next : old + (next - old) * alpha + 0.5);
        }
    }

    /// Mixes the colour into every pixel of a box, as far as inside(x, y) of the pixel's centre says, from 0 to 1.
    template <class Inside>
    void paint(double left, double top, double right, double bottom, Color color, double alpha, const Inside& inside) {
        if (!std::isfinite(left + top + right + bottom)) return;
        const auto pixel = [](double edge) { return static_cast<Index>(std::clamp(edge, -1e9, 1e9)); };  // or no Index holds it
        const auto first = [&](double edge, double limit) { return pixel(std::floor(std::max(edge - 1, limit))); };
        const auto last = [&](double edge, double limit) { return pixel(std::ceil(std::min(edge + 1, limit))); };
        const Index x0 = std::max<Index>(first(left, clip_[0]), 0), x1 = std::min(last(right, clip_[2]), image_.dim(1));
        const Index y0 = std::max<Index>(first(top, clip_[1]), 0), y1 = std::min(last(bottom, clip_[3]), image_.dim(0));
        for (Index y = y0; y < y1; ++y)
            for (Index x = x0; x < x1; ++x) {
                const double coverage = inside(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5);
                if (coverage > 0) set((y * image_.dim(1) + x) * 3, color, alpha * std::min(coverage, 1.0));
            }
    }

    Tensor<std::uint8_t> image_;
    std::array<double, 4> clip_{};
};

}  // namespace ito

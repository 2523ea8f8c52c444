// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/axis.hpp"
#include "ito/io/canvas.hpp"

namespace ito {

/// How one series of a plot looks.
struct PlotStyle {
    std::string label = {};           // in the legend; none if empty
    std::optional<Color> color = {};  // by its place among the labelled series if empty
    double size = 0;                  // width of a line, radius of a point; 0: a fitting one
    double alpha = 1;
};

/// One panel: lines, points and arrows over two axes. Values that are not finite, and those not above zero on a
/// logarithmic axis, interrupt a line and are otherwise left out.
///   Plot plot{.title = "Loss", .x = {.label = "step"}, .y = {.label = "loss", .log = true}};
///   plot.line(steps, losses, {.label = "training"});
///   write_png("loss.png", draw_plots({plot}));
struct Plot {
    enum class Kind { line, points, arrows };
    struct Series {
        Kind kind;
        std::vector<double> x, y, dx, dy;
        PlotStyle style;
    };

    std::string title = {};
    PlotAxis x = {}, y = {};
    bool equal_scale = false;  // a unit of x is as long as a unit of y
    std::vector<Series> series = {};

    /// Throws ShapeError if there are not as many x as y.
    void line(std::vector<double> xs, std::vector<double> ys, PlotStyle style = {}) {
        add({Kind::line, std::move(xs), std::move(ys), {}, {}, std::move(style)});
    }
    void points(std::vector<double> xs, std::vector<double> ys, PlotStyle style = {}) {
        add({Kind::points, std::move(xs), std::move(ys), {}, {}, std::move(style)});
    }
    /// Arrows from (x, y) to (x + dx, y + dy).
    void arrows(std::vector<double> xs, std::vector<double> ys, std::vector<double> dxs, std::vector<double> dys,
                PlotStyle style = {}) {
        if (dxs.size() != xs.size() || dys.size() != xs.size())
            throw ShapeError("plot: arrows need as many dx and dy as x");
        add({Kind::arrows, std::move(xs), std::move(ys), std::move(dxs), std::move(dys), std::move(style)});
    }

  private:
    void add(Series added) {
        if (added.x.size() != added.y.size())
            throw ShapeError("plot: " + std::to_string(added.x.size()) + " x and " + std::to_string(added.y.size()) +
                             " y");
        series.push_back(std::move(added));
    }
};

/// How panels are put side by side.
struct PlotLayout {
    std::string title = {};
    Index columns = 0;                // 0: all in one row
    Index width = 480, height = 360;  // of one panel, before scaling
    double scale = 1.5;
};

namespace detail {

inline constexpr std::array<Color, 7> plot_colors{
    {{38, 101, 181}, {226, 110, 34}, {44, 145, 96}, {198, 55, 82}, {128, 90, 176}, {90, 170, 200}, {150, 120, 60}}};
inline constexpr Color plot_ink{60, 64, 72}, plot_grid{230, 232, 236};

/// Draws one panel into the box of a canvas.
class PlotPainter {
  public:
    PlotPainter(Canvas& canvas, const Plot& plot, double left, double top, double width, double height, double scale)
        : canvas_(canvas), plot_(plot), scale_(scale), dot_(1.45 * scale) {
        AxisRange x(plot.x), y(plot.y);
        for (const auto& s : plot.series)
            for (std::size_t i = 0; i < s.x.size(); ++i) {
                if (!x.shows(s.x[i]) || !y.shows(s.y[i])) continue;
                x.include(s.x[i]);
                y.include(s.y[i]);
                if (s.kind == Plot::Kind::arrows) {
                    x.include(s.x[i] + s.dx[i]);
                    y.include(s.y[i] + s.dy[i]);
                }
            }
        x_ = x.finish();
        y_ = y.finish();

        top_ = top + (plot.title.empty() ? 14 : 34) * scale;
        bottom_ = top + height - (plot.x.label.empty() ? 30 : 50) * scale;
        right_ = left + width - 18 * scale;
        left_ = left + (plot.y.label.empty() ? 12 : 32) * scale;
        left_ += widest_y_label() + 8 * scale;
        if (plot.equal_scale && !plot.x.log && !plot.y.log) make_equal();
    }

    void draw() {
        frame();
        canvas_.clip(left_, top_, right_, bottom_);
        std::size_t next = 0;
        for (const auto& s : plot_.series) {
            const Color color = s.style.color.value_or(plot_colors[next % plot_colors.size()]);
            if (!s.style.color) ++next;
            colors_.push_back(color);
            draw(s, color);
        }
        canvas_.no_clip();
        legend();
    }

  private:
    double at_x(double v) const { return left_ + x_.place(v) * (right_ - left_); }
    double at_y(double v) const { return bottom_ - y_.place(v) * (bottom_ - top_); }

    std::vector<Tick> x_ticks() const { return axis_ticks(x_, plot_.x.log, (right_ - left_) / (70 * scale_)); }
    std::vector<Tick> y_ticks() const { return axis_ticks(y_, plot_.y.log, (bottom_ - top_) / (48 * scale_)); }
    double widest_y_label() const {
        double widest = 0;
        for (const auto& tick : y_ticks()) widest = std::max(widest, Canvas::text_width(tick.label, dot_));
        return widest;
    }

    /// Widens the range of the axis that is drawn larger, around its middle.
    void make_equal() {
        const double per_x = (x_.high - x_.low) / (right_ - left_), per_y = (y_.high - y_.low) / (bottom_ - top_);
        const auto widen = [](AxisScale& axis, double factor) {
            const double middle = (axis.low + axis.high) / 2, half = (axis.high - axis.low) / 2 * factor;
            axis.low = middle - half;
            axis.high = middle + half;
        };
        if (per_x < per_y)
            widen(x_, per_y / per_x);
        else
            widen(y_, per_x / per_y);
    }

    void frame() {
        const double thin = scale_;
        for (const auto& tick : x_ticks()) {
            const double x = at_x(tick.value);
            canvas_.line(x, top_, x, bottom_, thin, plot_grid, tick.label.empty() ? 0.5 : 1);
            canvas_.text(x, bottom_ + 17 * scale_, tick.label, dot_, plot_ink, Canvas::Align::centre);
        }
        for (const auto& tick : y_ticks()) {
            const double y = at_y(tick.value);
            canvas_.line(left_, y, right_, y, thin, plot_grid, tick.label.empty() ? 0.5 : 1);
            canvas_.text(left_ - 8 * scale_, y + 3.5 * dot_, tick.label, dot_, plot_ink, Canvas::Align::right);
        }
        canvas_.line(left_, top_, left_, bottom_, 1.2 * thin, plot_ink);
        canvas_.line(left_, bottom_, right_, bottom_, 1.2 * thin, plot_ink);
        const double middle = (left_ + right_) / 2;
        canvas_.text(middle, top_ - 14 * scale_, plot_.title, 1.2 * dot_, plot_ink, Canvas::Align::centre);
        canvas_.text(middle, bottom_ + 40 * scale_, plot_.x.label, dot_, plot_ink, Canvas::Align::centre);
        canvas_.text(left_ - widest_y_label() - 18 * scale_, (top_ + bottom_) / 2, plot_.y.label, dot_, plot_ink,
                     Canvas::Align::centre, true);
    }

    void draw(const Plot::Series& s, Color color) {
        const double size = scale_ * (s.style.size > 0               ? s.style.size
                                      : s.kind == Plot::Kind::points ? 1.8
                                      : s.kind == Plot::Kind::line   ? 1.8
                                                                     : 1.0);
        bool before = false;
        for (std::size_t i = 0; i < s.x.size(); ++i) {
            const bool shown = x_.shows(s.x[i]) && y_.shows(s.y[i]);
            if (shown) {
                const double x = at_x(s.x[i]), y = at_y(s.y[i]);
                if (s.kind == Plot::Kind::points) {
                    canvas_.disc(x, y, size, color, s.style.alpha);
                } else if (s.kind == Plot::Kind::arrows) {
                    arrow(x, y, at_x(s.x[i] + s.dx[i]), at_y(s.y[i] + s.dy[i]), size, color, s.style.alpha);
                } else if (before) {
                    canvas_.line(at_x(s.x[i - 1]), at_y(s.y[i - 1]), x, y, size, color, s.style.alpha);
                } else if (i + 1 == s.x.size() || !x_.shows(s.x[i + 1]) || !y_.shows(s.y[i + 1])) {
                    canvas_.disc(x, y, size, color, s.style.alpha);  // a line of one point would not be seen
                }
            }
            before = shown;
        }
    }

    void arrow(double x0, double y0, double x1, double y1, double width, Color color, double alpha) {
        const double length = std::hypot(x1 - x0, y1 - y0), head = std::min(4.5 * scale_, 0.5 * length);
        canvas_.line(x0, y0, x1, y1, width, color, alpha);
        if (!(length > 0)) return;
        const double ux = (x1 - x0) / length * head, uy = (y1 - y0) / length * head;
        canvas_.line(x1, y1, x1 - ux - 0.6 * uy, y1 - uy + 0.6 * ux, width, color, alpha);
        canvas_.line(x1, y1, x1 - ux + 0.6 * uy, y1 - uy - 0.6 * ux, width, color, alpha);
    }

    /// In the corner where it hides the least.
    void legend() {
        double width = 0, rows = 0;
        for (const auto& s : plot_.series)
            if (!s.style.label.empty()) {
                width = std::max(width, Canvas::text_width(s.style.label, dot_));
                ++rows;
            }
        if (rows == 0) return;
        width += 44 * scale_;
        const double height = (17 * rows + 9) * scale_, inset = 8 * scale_;
        double best_left = 0, best_top = 0;
        std::size_t fewest = std::numeric_limits<std::size_t>::max();
        for (const double top : {top_ + inset, bottom_ - inset - height})
            for (const double left : {right_ - inset - width, left_ + inset}) {
                std::size_t hidden = 0;
                for (const auto& s : plot_.series)
                    for (std::size_t i = 0; i < s.x.size(); ++i) {
                        if (!x_.shows(s.x[i]) || !y_.shows(s.y[i])) continue;
                        // Of a line also places between its points.
                        const bool joined = s.kind == Plot::Kind::line && i > 0 && x_.shows(s.x[i - 1]) && y_.shows(s.y[i - 1]);
                        const double x1 = at_x(s.x[i]), y1 = at_y(s.y[i]);
                        const double x0 = joined ? at_x(s.x[i - 1]) : x1, y0 = joined ? at_y(s.y[i - 1]) : y1;
                        for (int part = 0; part < (joined ? 8 : 1); ++part) {
                            const double x = x1 + (x0 - x1) * part / 8, y = y1 + (y0 - y1) * part / 8;
                            hidden += x > left && x < left + width && y > top && y < top + height;
                        }
                    }
                if (hidden < fewest) {
                    fewest = hidden;
                    best_left = left;
                    best_top = top;
                }
            }
        canvas_.rectangle(best_left - scale_, best_top - scale_, best_left + width + scale_, best_top + height + scale_,
                          plot_grid);
        canvas_.rectangle(best_left, best_top, best_left + width, best_top + height, {255, 255, 255});
        double y = best_top + 13 * scale_;
        for (std::size_t i = 0; i < plot_.series.size(); ++i) {
            const auto& s = plot_.series[i];
            if (s.style.label.empty()) continue;
            const double x0 = best_left + 9 * scale_, x1 = best_left + 29 * scale_;
            if (s.kind == Plot::Kind::points)
                canvas_.disc((x0 + x1) / 2, y, 3 * scale_, colors_[i]);
            else if (s.kind == Plot::Kind::arrows)
                arrow(x0, y, x1, y, 1.4 * scale_, colors_[i], 1);
            else
                canvas_.line(x0, y, x1, y, 2 * scale_, colors_[i]);
            canvas_.text(best_left + 36 * scale_, y + 3.5 * dot_, s.style.label, dot_, plot_ink);
            y += 17 * scale_;
        }
    }

    Canvas& canvas_;
    const Plot& plot_;
    double scale_, dot_, left_ = 0, top_ = 0, right_ = 0, bottom_ = 0;
    AxisScale x_, y_;
    std::vector<Color> colors_;
};

}  // namespace detail

/// Panels side by side as one image [H, W, 3]. Throws ArgumentError for no panels or an impossible layout.
inline Tensor<std::uint8_t> draw_plots(const std::vector<Plot>& panels, const PlotLayout& layout = {}) {
    if (panels.empty()) throw ArgumentError("draw_plots: no panels");
    if (layout.columns < 0 || layout.width < 160 || layout.height < 120 || !(layout.scale >= 0.5 && layout.scale <= 16))
        throw ArgumentError("draw_plots: panels of at least 160 x 120, scaled by 0.5 to 16");
    const auto count = static_cast<Index>(panels.size());
    const Index columns = layout.columns ? std::min(layout.columns, count) : count,
                rows = (count + columns - 1) / columns;
    const double scale = layout.scale, width = static_cast<double>(layout.width) * scale,
                 height = static_cast<double>(layout.height) * scale;
    const double heading = layout.title.empty() ? 0 : 38 * scale;
    Canvas canvas(static_cast<Index>(std::lround(static_cast<double>(rows) * height + heading)),
                  static_cast<Index>(std::lround(static_cast<double>(columns) * width)));
    canvas.text(static_cast<double>(columns) * width / 2, 28 * scale, layout.title, 2 * scale, detail::plot_ink,
                Canvas::Align::centre);
    for (Index i = 0; i < count; ++i)
        detail::PlotPainter(canvas, panels[static_cast<std::size_t>(i)], static_cast<double>(i % columns) * width,
                            heading + static_cast<double>(i / columns) * height, width, height, scale)
            .draw();
    return canvas.image();
}

}  // namespace ito

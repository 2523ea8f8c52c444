// SPDX-License-Identifier: MIT
#include "ito/io/plot.hpp"

#include <limits>

#include "catch.hpp"

using namespace ito;

namespace {

Color at(const Tensor<std::uint8_t>& image, Index y, Index x) {
    return {image(y, x, 0), image(y, x, 1), image(y, x, 2)};
}

Index count(const Tensor<std::uint8_t>& image, Color color) {
    Index found = 0;
    for (Index y = 0; y < image.dim(0); ++y)
        for (Index x = 0; x < image.dim(1); ++x) found += at(image, y, x) == color;
    return found;
}

constexpr Color red{255, 0, 0}, white{255, 255, 255};

}  // namespace

TEST_CASE("drawing covers what it should and mixes at the edges") {
    Canvas canvas(20, 30);
    CHECK(canvas.image().shape() == Shape{20, 30, 3});
    canvas.rectangle(2, 3, 6, 8, red);
    CHECK(count(canvas.image(), red) == 4 * 5);
    CHECK(count(canvas.image(), white) == 600 - 20);

    canvas.line(10, 10.5, 20, 10.5, 1, red);
    CHECK(at(canvas.image(), 10, 15) == red);
    CHECK(at(canvas.image(), 11, 15) == white);
    canvas.line(10, 14, 20, 14, 1, {0, 0, 0});  // between two rows: half of each
    CHECK(std::abs(at(canvas.image(), 13, 15).red - 128) <= 1);
    CHECK(std::abs(at(canvas.image(), 14, 15).red - 128) <= 1);

    Canvas disc(40, 40);
    disc.disc(20, 20, 10, red);
    double area = 0;
    for (Index i = 1; i < disc.image().size(); i += 3) area += 1 - disc.image()[i] / 255.0;
    CHECK(area == Approx(314.159).epsilon(0.01));
}

TEST_CASE("drawing stays inside of the canvas and its clip") {
    Canvas canvas(10, 10);
    canvas.clip(2, 2, 5, 5);
    canvas.rectangle(-100, -100, 100, 100, red);
    CHECK(count(canvas.image(), red) == 9);
    canvas.no_clip();
    canvas.line(-1e9, -1e9, 1e9, 1e9, 3, red);
    canvas.disc(1e300, 5, 2, red);
    canvas.disc(std::numeric_limits<double>::quiet_NaN(), 5, 2, red);
    canvas.line(0, 0, std::numeric_limits<double>::infinity(), 0, 1, red);
    canvas.text(-5, 5, "beyond \xff every edge", 3, red);
    canvas.text(5, 5, "up", 3, red, Canvas::Align::right, true);
    CHECK(at(canvas.image(), 7, 7) == red);
    Canvas nothing(0, 0);
    nothing.disc(0, 0, 5, red);
    CHECK_THROWS_AS(Canvas(-1, 5), ShapeError);
}

TEST_CASE("every character has its own form") {
    for (char a = ' '; a <= '~'; ++a) {
        CAPTURE(a);
        Index dots = 0;
        for (int row = 0; row < detail::glyph_rows; ++row)
            for (int column = 0; column < detail::glyph_columns; ++column) dots += detail::glyph_dot(a, row, column);
        CHECK((dots > 0) == (a != ' '));
        for (char b = ' '; b < a; ++b)
            CHECK(detail::glyphs[static_cast<std::size_t>(a - ' ')] !=
                  detail::glyphs[static_cast<std::size_t>(b - ' ')]);
    }
    CHECK(Canvas::text_width("", 2) == 0);
    CHECK(Canvas::text_width("WW", 2) > Canvas::text_width("ii", 2));
}

TEST_CASE("ticks are round numbers inside of the axis") {
    const auto labels = [](double low, double high, bool log, double wanted) {
        std::vector<std::string> texts;
        for (const auto& tick : detail::axis_ticks({low, high, log}, log, wanted)) {
            CHECK(tick.value >= low - 1e-9 * (high - low));
            CHECK(tick.value <= high + 1e-9 * (high - low));
            if (!tick.label.empty()) texts.push_back(tick.label);
        }
        return texts;
    };
    using Texts = std::vector<std::string>;
    CHECK(labels(0, 1, false, 5) == Texts{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
    CHECK(labels(-1, 1, false, 4) == Texts{"-1.0", "-0.5", "0", "0.5", "1.0"});
    CHECK(labels(0, 20000, false, 4) == Texts{"0", "5k", "10k", "15k", "20k"});
    CHECK(labels(0, 3e6, false, 3) == Texts{"0", "1M", "2M", "3M"});
    CHECK(labels(0, 2e-4, false, 4) == Texts{"0", "5e-5", "1e-4", "1.5e-4", "2e-4"});
    CHECK(labels(1e-4, 100, true, 7) == Texts{"1e-4", "0.001", "0.01", "0.1", "1", "10", "100"});
    CHECK(labels(0.02, 0.5, true, 8) == Texts{"0.02", "0.05", "0.1", "0.2", "0.5"});
    CHECK(labels(0.2, 0.4, true, 2) == Texts{"0.2", "0.3", "0.4"});
    CHECK_FALSE(labels(1e-300, 1e300, true, 5).empty());
    CHECK_FALSE(labels(1, 1 + 1e-14, false, 5).size() > 100);
}

TEST_CASE("plots of all kinds, and of nothing") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    Plot plot{.title = "title", .x = {.label = "x"}, .y = {.label = "y", .log = true}};
    plot.line({0, 1, 2, 3}, {1, 0.1, nan, -1}, {.label = "line", .color = red});
    plot.points({0.5, 1.5}, {0.5, 0}, {.label = "points"});
    plot.arrows({1}, {0.2}, {1}, {0.2}, {.label = "arrows"});
    const auto image = draw_plots({plot, Plot{}, Plot{.equal_scale = true}},
                                  {.title = "three", .columns = 2, .width = 200, .height = 150, .scale = 1});
    CHECK(image.shape() == Shape{2 * 150 + 38, 2 * 200, 3});
    CHECK(count(image, red) > 20);

    Plot one;
    one.points({3}, {3}, {.color = red, .size = 4});
    CHECK(count(draw_plots({one}), red) > 40);
    Plot broken;
    broken.line({nan, 1}, {2, nan}, {.label = "nothing", .color = red});
    CHECK_NOTHROW(draw_plots({broken}));

    CHECK_THROWS_AS(plot.line({1, 2}, {1}), ShapeError);
    CHECK_THROWS_AS(plot.arrows({1}, {1}, {1, 2}, {1}), ShapeError);
    CHECK_THROWS_AS(draw_plots({}), ArgumentError);
    CHECK_THROWS_AS(draw_plots({plot}, {.width = 10}), ArgumentError);
    CHECK_THROWS_AS(draw_plots({plot}, {.scale = nan}), ArgumentError);
}

TEST_CASE("a scatter keeps its place") {
    // Two points of one plot are where the axes say: their distance is that of the values.
    Plot plot{.x = {.low = 0.0, .high = 10.0}, .y = {.low = 0.0, .high = 10.0}};
    plot.points({2, 8}, {5, 5}, {.color = red, .size = 3});
    const auto image = draw_plots({plot}, {.scale = 1});
    Index first = image.dim(1), last = 0;
    for (Index y = 0; y < image.dim(0); ++y)
        for (Index x = 0; x < image.dim(1); ++x)
            if (at(image, y, x) == red) {
                first = std::min(first, x);
                last = std::max(last, x);
            }
    plot.series.clear();
    plot.points({0, 10}, {5, 5}, {.color = red, .size = 3});
    const auto ends = draw_plots({plot}, {.scale = 1});
    Index left = ends.dim(1), right = 0;
    for (Index y = 0; y < ends.dim(0); ++y)
        for (Index x = 0; x < ends.dim(1); ++x)
            if (at(ends, y, x) == red) {
                left = std::min(left, x);
                right = std::max(right, x);
            }
    // Discs at the ends are cut in half by the frame: 3 pixels on each side.
    CHECK(static_cast<double>(last - first - 5) == Approx(0.6 * static_cast<double>(right - left + 1)).margin(2.5));
}

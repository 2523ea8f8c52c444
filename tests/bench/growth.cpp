// SPDX-License-Identifier: MIT
// Draws how the time of a forward pass grows with the batch and with the pixels: both should be straight lines.
#include <cstdio>
#include <string>
#include <vector>

#include "ito/io/image.hpp"
#include "ito/io/plot.hpp"
#include "measure.hpp"
#include "program.hpp"
#include "work.hpp"

namespace {

using bench::Index;

struct Point {
    bench::Settings settings;
    double amount;  // of what is on the x axis
    std::unique_ptr<bench::Work> work;
    std::vector<double> times;
};

/// Median times, measured in turns so that whatever disturbs the machine disturbs every point alike, beside the straight
/// line through the origin and the last point.
ito::Plot measure(std::vector<Point>& points, const std::string& title, const std::string& label, double seconds) {
    for (Point& point : points) {
        point.work = bench::make_work(point.settings);
        point.work->run();
    }
    constexpr int rounds = 5;
    for (int round = 0; round < rounds; ++round)
        for (Point& point : points) bench::repeat(seconds / rounds / static_cast<double>(points.size()), 1, point.times, [&] { point.work->run(); });
    std::vector<double> amounts, medians;
    for (const Point& point : points) {
        amounts.push_back(point.amount);
        medians.push_back(bench::median(point.times));
    }
    std::printf("%s\n", title.c_str());
    for (std::size_t i = 0; i < amounts.size(); ++i)
        std::printf("%10.0f %-8s %10.2f ms %10.4f ms each\n", amounts[i], label.c_str(), medians[i], medians[i] / amounts[i]);
    ito::Plot plot{.title = title, .x = {.label = label}, .y = {.label = "ms"}};
    plot.line({0, amounts.back()}, {0, medians.back()}, {.label = "straight line", .size = 1, .alpha = 0.5});
    plot.line(amounts, medians, {.label = "measured"});
    plot.points(amounts, medians, {.size = 3});
    return plot;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Draws how the time of a forward pass grows with the batch and with the pixels.", "growth");
    bench::Settings base;
    std::string out = "growth.png";
    int threads = 0;
    double seconds = 20;
    app.add_option("--model", base.model, "demo, cifar10 or a model folder")->capture_default_str();
    app.add_option("--threads", threads, "Threads (0: all)")->capture_default_str();
    app.add_option("--seconds", seconds, "Time to spend on each of the two")->capture_default_str();
    app.add_option("--out", out, "PNG")->capture_default_str();
    return program::run(app, argc, argv, [&] {
        ito::ThreadPool pool(threads);
        const ito::ThreadPool::Scope scope(pool);
        std::vector<Point> batches, sizes;
        for (const Index batch : {1, 2, 3, 4, 6, 8, 12, 16}) {
            batches.push_back({base, static_cast<double>(batch), nullptr, {}});
            batches.back().settings.batch = batch;
        }
        for (const Index size : {16, 32, 48, 64, 80, 96}) {
            sizes.push_back({base, static_cast<double>(size * size), nullptr, {}});
            sizes.back().settings.size = size;
        }
        const ito::Plot by_batch = measure(batches, base.model + " forward, by batch", "pictures", seconds);
        batches.clear();
        const ito::Plot by_size = measure(sizes, base.model + " forward, by size", "pixels", seconds);
        ito::write_png(out, ito::draw_plots({by_batch, by_size}));
        return 0;
    });
}

// SPDX-License-Identifier: MIT
// Generates pictures from a trained model:
//     sample --model examples/models/fashion-mnist --guidance 1.5 --out samples.png
// 100 pictures in 20 steps take some ten seconds on two cores.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "generate.hpp"
#include "ito/io/image.hpp"
#include "ito/io/npy.hpp"
#include "ito/io/picture.hpp"

using namespace ito;
namespace fs = std::filesystem;

namespace {

struct Settings {
    program::Generate generate;
    Index count = 100, wanted_class = -1, scale = 2;
    int threads = 0;
    bool tune = false;
    std::string out = "samples.png", strip, npy;
};

int sample_pictures(const Settings& s) {
    ThreadPool pool(s.threads);
    const ThreadPool::Scope scope(pool);
    program::catch_interrupts();
    if (s.count < 1) throw ArgumentError("--count must be at least 1, got " + std::to_string(s.count));
    program::require_between("--scale", static_cast<double>(s.scale), 1, 64);
    if (!s.strip.empty() && fs::weakly_canonical(fs::absolute(s.strip)) == fs::weakly_canonical(fs::absolute(s.out)))
        throw ArgumentError("--out and --strip are the same file, " + s.out);

    Model model = program::open_model(s.generate.model);
    const std::vector<Index> labels = program::labels_for(model, s.count, s.wanted_class);
    s.generate.check(model);
    const auto size = model.unet.config().sample_size;
    const double numbers = 1.1 * static_cast<double>(s.count * size[0] * size[1] * model.unet.config().in_channels);
    if (numbers * static_cast<double>(s.scale * s.scale) > 1e9)
        throw ArgumentError("--scale " + std::to_string(s.scale) + " makes a picture of more than 1e9 numbers: less, or a smaller --count");
    if (s.tune) std::printf("%s\n", s.generate.tune(model, labels, s.count).c_str());
    constexpr Index strip_rows = 8;
    std::vector<Tensor<float>> strip;
    program::ProgressBar bar("sample", "step", (s.count + s.generate.batch - 1) / std::max<Index>(1, s.generate.batch) * s.generate.steps);
    Index steps = 0;
    const Tensor<float> pictures = s.generate(model, labels, s.count, [&](Index first, const Seen<float>& seen) {
        bar.show(++steps);
        if (s.strip.empty() || first > 0) return;
        // As the network sees it, which keeps its contrast on the way: alpha^2 + sigma^2 = 1.
        const Index rows = std::min(strip_rows, seen.x.dim(0));
        Tensor<float> column(seen.x.shape().with(0, rows));
        column.array() = seen.x.array().head(column.size()) /
                         static_cast<float>(std::hypot(seen.interval.to.alpha, seen.interval.to.sigma));
        strip.push_back(std::move(column));
    });

    const Index columns = model.classes() > 0 && s.wanted_class < 0 ? std::min(model.classes(), pictures.dim(0)) : 0;
    write_png(s.out, enlarge(image_grid(pictures, columns), s.scale));
    if (!s.strip.empty()) write_png(s.strip, enlarge(image_strip(strip), s.scale));
    if (!s.npy.empty()) write_npy(s.npy, to_bytes(pictures));
    if (pictures.dim(0) < s.count)
        throw Cancelled("stopped; " + s.out + " has the " + std::to_string(pictures.dim(0)) + " finished pictures of " +
                        std::to_string(s.count));
    std::printf("%s\n", s.out.c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Generates pictures from a trained model.\n\n"
                 "Example: sample --model examples/models/fashion-mnist --class 7 --guidance 1.5 --count 64 --out sneakers.png",
                 "sample");
    Settings s;
    s.generate.add_options(app);
    app.add_option("--count", s.count, "Pictures")->capture_default_str();
    app.add_option("--class", s.wanted_class, "Class of all pictures (-1: one class after the other)")->capture_default_str();
    app.add_option("--threads", s.threads, "Threads (0: all)")->capture_default_str();
    app.add_flag("--tune", s.tune,
                 "First choose the algorithm of each convolution by timing, for this batch and these threads (some hundred steps), "
                 "and keep it as unet/ito_algorithms.json in the model folder, where it serves every later run on processors "
                 "with registers of this width");
    app.add_option("--out", s.out, "PNG with all pictures")->check(program::path_to_write())->capture_default_str();
    app.add_option("--scale", s.scale, "Pixels of the PNG for one of a picture")->capture_default_str();
    app.add_option("--strip", s.strip, "PNG with the way from noise to the first pictures, step by step")->check(program::path_to_write());
    app.add_option("--npy", s.npy, "The pictures as bytes [N, H, W, C]")->check(program::path_to_write(".npy"));
    return program::run(app, argc, argv, [&] { return sample_pictures(s); });
}

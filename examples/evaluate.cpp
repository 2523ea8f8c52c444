// SPDX-License-Identifier: MIT
// How good a class-conditional model is, by a classifier that the library trains itself:
//     evaluate --model examples/models/fashion-mnist --data fashion-mnist --guidance 1.5
// prints the share of pictures that the classifier takes for the class asked for, and the Fréchet distance of its
// features between generated and held-out real images, beside that between real and real.
// About three minutes for the classifier and five for 2000 pictures on two cores; --classifier keeps the first.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "generate.hpp"
#include "ito/data/batches.hpp"
#include "ito/data/open_dataset.hpp"
#include "ito/data/preprocess.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/ops/loss.hpp"
#include "ito/train/frechet_distance.hpp"
#include "ito/train/trainer.hpp"

using namespace ito;
namespace fs = std::filesystem;

namespace {

/// Three convolutions, two linear maps; the features are what comes before the last one.
struct Classifier {
    nn::Conv2d<float> conv1, conv2, conv3;
    nn::GroupNorm<float> norm1, norm2, norm3;
    nn::Linear<float> hidden, head;

    Classifier(Index size, Index channels, Index classes)
        : conv1(nn::conv3x3<float>(channels, 32)),
          conv2(32, 64, 3, {2, ops::Padding::same(1)}),
          conv3(64, 64, 3, {2, ops::Padding::same(1)}),
          norm1(32, 8, 1e-5),
          norm2(64, 8, 1e-5),
          norm3(64, 8, 1e-5),
          hidden(size / 8 * (size / 8) * 64, 128),
          head(128, classes) {}

    Var<float> features(const Var<float>& x) const {
        Var<float> h = norm1(conv1(x), ops::Activation::silu);
        h = norm2(conv2(h), ops::Activation::silu);
        h = ops::average_pool(norm3(conv3(h), ops::Activation::silu));
        h = ops::reshape(h, {h->dim(0), h->size() / h->dim(0)});
        return ops::silu(hidden(ops::dropout(h, 0.3)));
    }

    static void fields(auto& self, auto&& visit) {
        visit("conv1", self.conv1);
        visit("norm1", self.norm1);
        visit("conv2", self.conv2);
        visit("norm2", self.norm2);
        visit("conv3", self.conv3);
        visit("norm3", self.norm3);
        visit("hidden", self.hidden);
        visit("head", self.head);
    }
};

struct Settings {
    program::Generate generate;
    std::string data, classifier;
    Index count = 2000, epochs = 4;
    int threads = 0;
};

struct Seen {
    Tensor<float> features;  // [N, 128]
    std::vector<Index> classes;
};

/// What the classifier says about images [N, H, W, C] in [-1, 1].
Seen classify(const Classifier& classifier, const Tensor<float>& images) {
    Seen seen{Tensor<float>({images.dim(0), 128}), {}};
    const Index each = images.size() / images.dim(0), batch = 250;
    for (Index first = 0; first < images.dim(0); first += batch) {
        const Index n = std::min(batch, images.dim(0) - first);
        Tensor<float> part(images.shape().with(0, n));
        std::copy_n(images.data() + first * each, n * each, part.data());
        const Var<float> features = classifier.features(std::move(part));
        std::copy(features->begin(), features->end(), seen.features.data() + first * 128);
        const Var<float> logits = classifier.head(features);
        for (Index i = 0; i < n; ++i) {
            Index best = 0;
            logits->matrix().row(i).maxCoeff(&best);
            seen.classes.push_back(best);
        }
    }
    return seen;
}

template <class A, class B>
double agreement(const std::vector<A>& a, const std::vector<B>& b) {
    std::size_t equal = 0;
    for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == static_cast<A>(b[i]);
    return static_cast<double>(equal) / static_cast<double>(a.size());
}

/// Loads the classifier if it is there, else trains it on the training images and keeps it if a path is given.
template <class Prepare>
Classifier make_classifier(const Settings& s, const Dataset& data, Index size, const Prepare& prepare) {
    Classifier classifier(size, data.images.dim(3), data.classes());
    if (!s.classifier.empty() && fs::exists(s.classifier)) {
        load_parameters(classifier, SafeTensors::open(s.classifier));
        return classifier;
    }
    const Index batch = 64, steps = s.epochs * data.size() / batch;
    nn::initialize(classifier, 1);
    TrainerOptions options;
    options.learning_rate = {2e-3, 100, steps, 0.01};
    options.ema_decay = 0.99;
    Trainer<Classifier> trainer(std::move(classifier), options);
    BatchOrder order(data.size(), batch, 1);
    program::ProgressBar bar("classifier", "update", steps);
    while (trainer.steps() < steps) {
        if (program::interrupted) throw Cancelled("stopped");
        const TrainingStep seen = trainer.step([&](const Classifier& net, Tape<float>& tape, Index part) {
            Batch<float> images = assemble<float>(data, order.step(part), prepare);
            const std::vector<Index> labels = std::move(images.labels);
            return ops::cross_entropy<float>(net.head(net.features(tape.constant(std::move(images.images)))), labels);
        });
        bar.show(seen.step);
    }
    if (!s.classifier.empty()) save_parameters(trainer.ema(), s.classifier, DType::f32);
    return trainer.ema();
}

int evaluate(const Settings& s) {
    ThreadPool pool(s.threads);
    const ThreadPool::Scope scope(pool);
    program::catch_interrupts();
    if (s.count < 2) throw ArgumentError("--count must be at least 2, got " + std::to_string(s.count));
    if (s.epochs < 1) throw ArgumentError("--epochs must be at least 1, got " + std::to_string(s.epochs));
    const Model model = program::open_model(s.generate.model);
    if (model.unet.config().sample_size.size() != 2) throw ConfigError(s.generate.model + ": the model does not say its sample_size");
    const Index size = model.unet.config().sample_size[0];
    if (size % 8 != 0 || model.unet.config().sample_size[1] != size)
        throw ConfigError("the classifier takes square pictures of a multiple of 8, the model's are " + std::to_string(size) + " x " +
                          std::to_string(model.unet.config().sample_size[1]));
    const Dataset data = open_dataset(s.data), held_out = open_dataset(s.data, Split::test);
    require_labels(data, "to train the classifier");
    require_labels(held_out, "to compare with");
    if (data.classes() != model.classes())
        throw ConfigError("the model has " + std::to_string(model.classes()) + " classes, the data " + std::to_string(data.classes()));

    if (data.images.dim(3) != model.unet.config().in_channels)
        throw ConfigError("the model's pictures have " + std::to_string(model.unet.config().in_channels) + " channels, the data's " +
                          std::to_string(data.images.dim(3)));
    s.generate.check(model);  // before minutes are spent on the classifier
    const Pipeline prepare(Flip{0, 0}, Pad::to(data.images.dim(1), data.images.dim(2), size, size), ScaleToSymmetric{});
    const Classifier classifier = make_classifier(s, data, size, prepare);

    const std::vector<Index> labels = program::labels_for(model, s.count, -1);
    const Seen real = classify(classifier, prepare.apply<float>(held_out.images));
    const Seen other = classify(classifier, prepare.apply<float>(slice(data, 0, std::min(s.count, data.size())).images));
    program::ProgressBar bar("sample", "step", (s.count + s.generate.batch - 1) / std::max<Index>(1, s.generate.batch) * s.generate.steps);
    Index steps = 0;
    Tensor<float> pictures = s.generate(model, labels, s.count, [&](Index, const auto&) { bar.show(++steps); });
    if (program::interrupted) throw Cancelled("stopped; nothing is kept but a finished --classifier");
    pictures.array() = pictures.array().max(-1.f).min(1.f);
    const Seen made = classify(classifier, pictures);

    std::printf("classifier on held-out real images   %.4f right (%lld images)\n", agreement(real.classes, held_out.labels),
                static_cast<long long>(held_out.size()));
    std::printf("classifier agrees with asked class   %.4f (%lld pictures, %s, %lld steps, guidance %g, seed %llu)\n",
                agreement(made.classes, labels), static_cast<long long>(s.count), s.generate.sampler.c_str(),
                static_cast<long long>(s.generate.steps), s.generate.guidance, static_cast<unsigned long long>(s.generate.seed));
    std::printf("Frechet distance, generated to real  %.4f\n", frechet_distance(made.features, real.features));
    std::printf("Frechet distance, real to real       %.4f (as many training images to the held-out ones)\n",
                frechet_distance(other.features, real.features));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Measures a class-conditional model against real images.\n\n"
                 "Example: evaluate --model examples/models/fashion-mnist --data fashion-mnist --guidance 1.5 --count 2000\n"
                 "Ctrl-C keeps nothing but a --classifier that is finished.",
                 "evaluate");
    Settings s;
    s.generate.add_options(app);
    app.add_option("--data", s.data, "Data set with labels and a held-out part")->required();
    app.add_option("--classifier", s.classifier, "Where the trained classifier is kept (.safetensors), and taken from if it is there")
        ->check(program::path_to_write(".safetensors"));
    app.add_option("--epochs", s.epochs, "Passes over the data for the classifier")->capture_default_str();
    app.add_option("--count", s.count, "Generated pictures")->capture_default_str();
    app.add_option("--threads", s.threads, "Threads (0: all)")->capture_default_str();
    return program::run(app, argc, argv, [&] { return evaluate(s); });
}

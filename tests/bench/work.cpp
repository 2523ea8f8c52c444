// SPDX-License-Identifier: MIT
#include "work.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "ito/io/image.hpp"
#include "ito/io/model_folder.hpp"
#include "ito/io/npy.hpp"
#include "ito/io/picture.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/ops/attention.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/task/class_conditional.hpp"
#include "ito/train/denoising_loss.hpp"
#include "ito/train/trainer.hpp"

namespace bench {

using ito::Shape;
using ito::Tensor;
using ito::Var;

namespace {

/// 6.5 M parameters, 1.50 G multiply-adds for a picture of 32x32x1.
ito::nn::UNet2DConfig demo_config() {
    ito::nn::UNet2DConfig config;
    config.sample_size = {32, 32};
    config.in_channels = config.out_channels = 1;
    config.block_out_channels = {64, 128, 128};
    config.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"};
    config.up_block_types = {"UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
    config.attention_head_dim = 32;
    return config;
}

/// google/ddpm-cifar10-32: 35.7 M parameters, 6.06 G multiply-adds for a picture of 32x32x3.
ito::nn::UNet2DConfig cifar10_config() {
    ito::nn::UNet2DConfig config;
    config.sample_size = {32, 32};
    config.block_out_channels = {128, 256, 256, 256};
    config.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"};
    config.up_block_types = {"UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
    config.attention_head_dim = std::nullopt;
    config.norm_eps = 1e-6;
    config.flip_sin_to_cos = false;
    config.freq_shift = 1;
    config.downsample_padding = 0;
    return config;
}

bool in_a_folder(const std::string& model) { return model != "demo" && model != "cifar10"; }

/// `demo` and `cifar10` with the weights of a fixed seed, or a model folder.
ito::Model open_model(const std::string& name) {
    if (in_a_folder(name)) return ito::load_model(name);
    ito::Model model{ito::nn::UNet2D<float>(name == "demo" ? demo_config() : cifar10_config()), ito::SchedulerConfig({.class_name = "DDIMScheduler"}), {}, -1};
    ito::nn::initialize(model.unet, 1);
    return model;
}

Tensor<float> random_tensor(const Shape& shape, std::uint64_t seed) {
    Tensor<float> x(shape);
    ito::fill_normal(x, seed);
    return x;
}

/// [N, H, W, C] that the model was made for, or of another size.
Shape input_shape(const ito::nn::UNet2DConfig& config, const Settings& s) {
    const auto& trained = config.sample_size;
    const Index height = s.size ? s.size : trained.size() == 2 ? trained[0] : 32, width = s.size ? s.size : trained.size() == 2 ? trained[1] : 32;
    return {s.batch, height, width, config.in_channels};
}

std::vector<Index> input_labels(const ito::Model& model, Index count) {
    std::vector<Index> labels;
    for (Index k = 0; model.classes() > 0 && k < count; ++k) labels.push_back(k % model.classes());
    return labels;
}

std::vector<float> input_times(Index count) {
    std::vector<float> times;
    for (Index k = 0; k < count; ++k) times.push_back(static_cast<float>((k * 331 + 500) % 1000));
    return times;
}

template <class T>
void save_list(const std::filesystem::path& file, const std::vector<T>& values) {
    ito::write_npy(file, Tensor<T>::from({static_cast<Index>(values.size())}, values));
}

void save_inputs(const std::filesystem::path& folder, const ito::nn::UNet2D<float>& unet, const ito::SchedulerConfig& scheduler,
                 const std::vector<float>& times, const std::vector<Index>& labels) {
    std::filesystem::create_directories(folder);
    ito::save_model(folder / "model", unet, scheduler);
    save_list(folder / "times.npy", times);
    if (!labels.empty()) save_list(folder / "labels.npy", labels);
}

ito::nn::Tuned tune_network(ito::nn::UNet2D<float>& unet, const std::string& model, const std::function<void()>& pass,
                            const std::function<void(const ito::Progress&)>& observe) {
    const ito::nn::Tuned tuned = ito::nn::tuned(unet, pass, {}, observe);
    unet.set_algorithms(tuned.algorithms);
    if (in_a_folder(model)) ito::write_conv_algorithms(std::filesystem::path(model) / "unet" / ito::conv_algorithms_file, tuned.algorithms);
    return tuned;
}

class Forward : public Work {
  public:
    Forward(ito::Model model, const Settings& s)
        : model_(std::move(model)), name_(s.model), x_(random_tensor(input_shape(model_.unet.config(), s), 2)),
          times_(input_times(s.batch)), labels_(input_labels(model_, s.batch)) {}

    void run() override { y_ = model_.unet(x_, times_, labels_); }
    Index parameters() const override { return ito::nn::count_parameters(model_.unet); }
    ito::nn::Tuned tune(const std::function<void(const ito::Progress&)>& observe) override {
        return tune_network(model_.unet, name_, [&] { run(); }, observe);
    }

    void save(const std::filesystem::path& folder) override {
        run();
        save_inputs(folder, model_.unet, model_.scheduler, times_, labels_);
        ito::write_npy(folder / "input.npy", *x_);
        ito::write_npy(folder / "output.npy", *y_);
    }

  private:
    ito::Model model_;
    std::string name_;
    Var<float> x_, y_;
    std::vector<float> times_;
    std::vector<Index> labels_;
};

/// Forward, backward and AdamW (with ito's averaged weights) on one fixed batch.
class Train : public Work {
  public:
    Train(ito::Model model, const Settings& s)
        : labels_(input_labels(model, s.batch)), scheduler_(model.scheduler),
          x0_(random_tensor(input_shape(model.unet.config(), s), 3)), noise_(random_tensor(x0_.shape(), 4)),
          times_(input_times(s.batch)), trainer_(std::move(model.unet), options()) {
        for (float time : times_) levels_.push_back(schedule_.level(static_cast<Index>(time)));
    }

    void run() override {
        losses_.push_back(static_cast<float>(trainer_.step([this](const auto& unet, auto& tape, Index) {
            const auto network = [&](const Var<float>& x, std::span<const float> times) { return unet(x, times, labels_); };
            return ito::DenoisingLoss{}(network, tape, x0_, noise_, levels_);
        }).loss));
    }
    Index parameters() const override { return ito::nn::count_parameters(trainer_.model()); }

    /// The losses of the first three updates; only where none has been made.
    void save(const std::filesystem::path& folder) override {
        if (!losses_.empty()) throw ito::ArgumentError("save comes before the first training step is timed");
        save_inputs(folder, trainer_.model(), scheduler_, times_, labels_);
        ito::write_npy(folder / "input.npy", ito::add_noise(x0_, noise_, levels_));
        ito::write_npy(folder / "noise.npy", noise_);
        for (int i = 0; i < 3; ++i) run();
        save_list(folder / "output.npy", losses_);
    }

  private:
    static ito::TrainerOptions options() { return {.learning_rate = {.peak = 1e-4}, .clip_norm = 0}; }

    std::vector<Index> labels_;
    ito::SchedulerConfig scheduler_;
    ito::DiscreteSchedule schedule_ = scheduler_.schedule();
    Tensor<float> x0_, noise_;
    std::vector<float> times_;
    std::vector<ito::NoiseLevel> levels_;
    std::vector<float> losses_;
    ito::Trainer<ito::nn::UNet2D<float>> trainer_;
};

/// A whole run of DDIM from noise, evenly spaced from the last step of the schedule.
class Sample : public Work {
  public:
    Sample(ito::Model model, const Settings& s)
        : model_(std::move(model)), name_(s.model), shape_(input_shape(model_.unet.config(), s)), labels_(input_labels(model_, s.batch)),
          count_(s.steps) {}

    void run() override {
        const ito::Steps steps = ito::trailing(model_.scheduler.schedule(), count_);
        const ito::ClassConditional<float> network{model_.unet, labels_, 1.0, -1};
        y_ = ito::sample<float>(ito::Denoiser{network, model_.scheduler.reading()}, ito::Ddim{}, steps, shape_, {.seed = 1});
    }
    Index steps() const override { return count_; }
    Index parameters() const override { return ito::nn::count_parameters(model_.unet); }
    ito::nn::Tuned tune(const std::function<void(const ito::Progress&)>& observe) override {
        const Tensor<float> x = random_tensor(shape_, 2);
        const std::vector<float> times = input_times(shape_[0]);
        return tune_network(model_.unet, name_, [&] { model_.unet(x, times, labels_); }, observe);
    }
    void write_picture(const std::filesystem::path& path) const override { ito::write_png(path, ito::image_grid(y_)); }

    void save(const std::filesystem::path& folder) override {
        run();
        const ito::Steps steps = ito::trailing(model_.scheduler.schedule(), count_);
        std::vector<float> times;
        for (const auto& interval : steps.intervals) times.push_back(static_cast<float>(interval.from.time));
        save_inputs(folder, model_.unet, model_.scheduler, times, labels_);
        ito::write_npy(folder / "input.npy", ito::initial_noise<float>(shape_, steps, 1));
        ito::write_npy(folder / "output.npy", y_);
    }

  private:
    ito::Model model_;
    std::string name_;
    Shape shape_;
    std::vector<Index> labels_;
    Index count_;
    Tensor<float> y_;
};

/// Self-attention with 8 heads of 64: [N, tokens, 512].
class Attention : public Work {
  public:
    explicit Attention(const Settings& s) {
        std::uint64_t seed = 5;
        for (Var<float>* x : {&q_, &k_, &v_}) *x = random_tensor({s.batch, s.tokens, 512}, seed++);
    }
    void run() override { y_ = ito::ops::attention(q_, k_, v_, 8); }
    void save(const std::filesystem::path& folder) override {
        run();
        std::filesystem::create_directories(folder);
        ito::write_npy(folder / "q.npy", *q_);
        ito::write_npy(folder / "k.npy", *k_);
        ito::write_npy(folder / "v.npy", *v_);
        ito::write_npy(folder / "output.npy", *y_);
    }

  private:
    Var<float> q_, k_, v_, y_;
};

}  // namespace

ito::nn::Tuned Work::tune(const std::function<void(const ito::Progress&)>&) {
    throw ito::ArgumentError("--tune goes with --what forward and sample");
}

void Work::write_picture(const std::filesystem::path&) const { throw ito::ArgumentError("--png goes with --what sample"); }

std::unique_ptr<Work> make_work(const Settings& s) {
    if (s.what == "attention") return std::make_unique<Attention>(s);
    if (s.what == "forward") return std::make_unique<Forward>(open_model(s.model), s);
    if (s.what == "train") return std::make_unique<Train>(open_model(s.model), s);
    if (s.what == "sample") return std::make_unique<Sample>(open_model(s.model), s);
    throw ito::ArgumentError("--what must be forward, train, sample or attention, got '" + s.what + "'");
}

}  // namespace bench

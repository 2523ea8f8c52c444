// SPDX-License-Identifier: MIT
// Trains a U-Net on a folder of images or an IDX, .npy data set, with checkpoints that resume bit by bit:
//     train --data fashion-mnist --out runs/fashion
// writes runs/fashion/model (a diffusers folder), samples.png, loss.png and checkpoint.safetensors. The default network
// (1.7 M parameters at 32x32) sees about 100 images a second on two cores and makes clear pictures after an hour or two.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include "ito/data/batches.hpp"
#include "ito/data/open_dataset.hpp"
#include "ito/data/preprocess.hpp"
#include "ito/io/atomic_file.hpp"
#include "ito/io/image.hpp"
#include "ito/io/model_folder.hpp"
#include "ito/io/picture.hpp"
#include "ito/io/plot.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/sampler/sample.hpp"
#include "ito/task/class_conditional.hpp"
#include "ito/train/denoising_loss.hpp"
#include "ito/train/trainer.hpp"
#include "program.hpp"
#include "unet.hpp"

using namespace ito;
namespace fs = std::filesystem;

namespace {

struct Settings {
    std::string data, out;
    std::vector<Index> channels{32, 64, 96};
    Index layers = 1, head_width = 32, groups = 8, size = 0, resize = 0;
    std::vector<Index> attention_at{16};
    double dropout = 0;
    Index batch = 32, steps = 10000, accumulate = 1, warmup = 500;
    double learning_rate = 8e-4, final_rate = 0.02, weight_decay = 0.01, clip = 1, ema = 0.999;
    std::string prediction = "v_prediction", schedule = "squaredcos_cap_v2";
    double min_snr = 5, drop_label = 0.1, guidance = 1.5;
    std::vector<std::string> class_names;
    bool flip = false, unlabelled = false, resume = false, guidance_given = false;
    std::uint64_t seed = 0;
    Index checkpoint_every = 500, sample_every = 2000;
    int threads = 0;
};

/// An option whose value is a list "a,b,c".
template <class T>
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<T>& list, const std::string& help) {
    const auto take = [&list, name](const std::string& text) {
        list.clear();
        std::istringstream parts(text);
        for (std::string part; std::getline(parts, part, ',');) {
            if constexpr (std::is_same_v<T, std::string>) {
                list.push_back(part);
            } else {
                std::istringstream number(part);
                T value{};
                if (!(number >> value) || !(number >> std::ws).eof())
                    throw CLI::ValidationError(name, part + " is no whole number");
                list.push_back(value);
            }
        }
    };
    return app.add_option_function<std::string>(name, take, help)->take_last();
}

void add_options(CLI::App& app, Settings& s) {
    app.add_option("--data", s.data, "IDX folder or file, image folder (class = subfolder), or .npy(.gz)")->required();
    app.add_option("--out", s.out, "Folder for the model, its checkpoint and pictures")->required();
    add_list(app, "--channels", s.channels, "Channels of each level, the finest first")->default_str("32,64,96");
    app.add_option("--layers", s.layers, "Residual blocks a level")->capture_default_str();
    add_list(app, "--attention-at", s.attention_at, "Image heights that get attention")->default_str("16");
    app.add_option("--head-width", s.head_width, "Channels of an attention head")->capture_default_str();
    app.add_option("--groups", s.groups, "Normalisation groups")->capture_default_str();
    app.add_option("--resize", s.resize, "Scale and crop a folder's pictures to this height and width (0: as they are)")->capture_default_str();
    app.add_option("--size", s.size, "Pad images to this height and width (0: the next multiple of 2^levels)")->capture_default_str();
    app.add_option("--dropout", s.dropout, "Dropout in residual blocks")->capture_default_str();
    app.add_option("--batch", s.batch, "Images an update")->capture_default_str();
    app.add_option("--accumulate", s.accumulate, "Batches averaged into one update")->capture_default_str();
    app.add_option("--steps", s.steps, "Updates in all")->capture_default_str();
    app.add_option("--lr", s.learning_rate, "Peak learning rate, falling by half a cosine")->capture_default_str();
    app.add_option("--final-lr", s.final_rate, "Last learning rate as a part of the peak")->capture_default_str();
    app.add_option("--warmup", s.warmup, "Updates of linear warm-up")->capture_default_str();
    app.add_option("--weight-decay", s.weight_decay, "AdamW's weight decay")->capture_default_str();
    app.add_option("--clip", s.clip, "Norm that gradients are clipped to (0: never)")->capture_default_str();
    app.add_option("--ema", s.ema, "Decay of the averaged weights")->capture_default_str();
    app.add_option("--prediction", s.prediction, "epsilon, v_prediction or sample")->capture_default_str();
    app.add_option("--schedule", s.schedule, "linear, scaled_linear, squaredcos_cap_v2 or sigmoid")->capture_default_str();
    app.add_option("--min-snr", s.min_snr, "Min-SNR weighting with this gamma (0: none)")->capture_default_str();
    app.add_option("--drop-label", s.drop_label, "Share of labels replaced by the null class, for guidance")->capture_default_str();
    app.add_option("--guidance", s.guidance, "Guidance of the sample grids")->capture_default_str();
    add_list(app, "--class-names", s.class_names, "Names of the classes, for the model folder");
    app.add_flag("--unlabelled", s.unlabelled, "Ignore labels");
    app.add_flag("--flip", s.flip, "Flip images left and right at random");
    app.add_flag("--resume", s.resume, "Continue from the checkpoint in --out");
    app.add_option("--seed", s.seed, "Of weights, data order and noise")->check(program::not_negative())->capture_default_str();
    app.add_option("--checkpoint-every", s.checkpoint_every, "Updates between checkpoints")->capture_default_str();
    app.add_option("--sample-every", s.sample_every, "Updates between sample grids (0: only at the end)")->capture_default_str();
    app.add_option("--threads", s.threads, "Threads (0: all)")->capture_default_str();
}

nn::UNet2DConfig network_config(const Settings& s, Index size, Index image_channels, Index classes) {
    nn::UNet2DConfig config;
    config.sample_size = {size, size};
    config.in_channels = config.out_channels = image_channels;
    config.block_out_channels = s.channels;
    config.layers_per_block = s.layers;
    config.attention_head_dim = s.head_width;
    config.norm_num_groups = s.groups;
    config.dropout = s.dropout;
    config.down_block_types.clear();
    for (std::size_t level = 0; level < s.channels.size(); ++level) {
        const bool attention = std::find(s.attention_at.begin(), s.attention_at.end(), size >> level) != s.attention_at.end();
        config.down_block_types.push_back(attention ? "AttnDownBlock2D" : "DownBlock2D");
    }
    config.up_block_types.clear();
    for (auto type = config.down_block_types.rbegin(); type != config.down_block_types.rend(); ++type)
        config.up_block_types.push_back(*type == "DownBlock2D" ? "UpBlock2D" : "AttnUpBlock2D");
    if (classes > 0) config.num_class_embeds = s.drop_label > 0 ? classes + 1 : classes;  // the last one is the null class
    return config;
}

SchedulerConfig scheduler_config(const Settings& s) {
    SchedulerOptions options;
    options.class_name = "DDPMScheduler";
    options.beta_schedule = s.schedule;
    options.prediction_type = s.prediction;
    options.timestep_spacing = "trailing";
    options.variance_type = "fixed_small";
    // With guidance, DDIM pays dearly for clipping: it goes on with the noise that belongs to the picture before it was clipped.
    options.clip_sample = false;
    return SchedulerConfig(options);
}

/// What a run cannot change when it resumes, by name.
std::map<std::string, std::string> what_is_trained(const Settings& s, const nn::UNet2DConfig& network, const SchedulerConfig& scheduler,
                                                   const Dataset& data) {
    std::map<std::string, std::string> run{{"--batch", std::to_string(s.batch)},
                                           {"--accumulate", std::to_string(s.accumulate)},
                                           {"--drop-label", nlohmann::json(s.drop_label).dump()},
                                           {"--flip", s.flip ? "on" : "off"},
                                           {"--min-snr", nlohmann::json(s.min_snr).dump()},
                                           {"--weight-decay", nlohmann::json(s.weight_decay).dump()},
                                           {"--ema", nlohmann::json(s.ema).dump()},
                                           {"a data set of", data.images.shape().str()}};
    // Named, because items() refers to what it is called on.
    const nlohmann::json of_network = to_json(network), of_schedule = scheduler.json();
    for (const auto& [key, value] : of_network.items()) run["the network's " + key] = value.dump();
    for (const auto& [key, value] : of_schedule.items()) run["the schedule's " + key] = value.dump();
    return run;
}

/// The losses so far, one line "step,loss,gradient_norm" an update.
class LossLog {
  public:
    LossLog(const fs::path& path, Index steps) : path_(path) {
        std::ifstream old(path);
        std::string line;
        std::getline(old, line);
        while (static_cast<Index>(losses_.size()) < steps && std::getline(old, line)) {
            long long step = 0;
            double loss = 0, norm = 0;
            if (std::sscanf(line.c_str(), "%lld,%lf,%lf", &step, &loss, &norm) != 3) break;
            losses_.push_back(loss);
            text_ += line + "\n";
        }
    }

    void add(const TrainingStep& seen) {
        losses_.push_back(seen.loss);
        std::ostringstream line;
        line << seen.step << "," << seen.loss << "," << seen.gradient_norm << "\n";
        text_ += line.str();
    }

    void save() const {
        AtomicFile file(path_);
        file.write(text_);
        file.commit();
    }
    const std::vector<double>& losses() const { return losses_; }

  private:
    fs::path path_;
    std::string text_ = "step,loss,gradient_norm\n";
    std::vector<double> losses_;
};

/// The loss averaged over hundredths of the run: single batches at random noise levels say little.
void draw_losses(const std::vector<double>& losses, const fs::path& path) {
    std::vector<double> updates, means;
    const std::size_t window = std::max<std::size_t>(1, losses.size() / 100);
    for (std::size_t end = window; end <= losses.size(); end += std::max<std::size_t>(1, window / 2)) {
        double sum = 0;
        for (std::size_t i = end - window; i < end; ++i) sum += losses[i];
        updates.push_back(static_cast<double>(end));
        means.push_back(sum / static_cast<double>(window));
    }
    Plot plot{.title = "Training loss", .x = {.label = "update"}, .y = {.label = "loss", .log = true}};
    plot.line(std::move(updates), std::move(means));
    write_png(path, draw_plots({plot}));
}

/// Throws ArgumentError for options that no run could follow.
void check(const Settings& s) {
    using program::require_between;
    if (s.steps < 1 || s.batch < 1) throw ArgumentError("--steps and --batch must be at least 1");
    if (s.checkpoint_every < 1) throw ArgumentError("--checkpoint-every must be at least 1");
    if (s.channels.empty()) throw ArgumentError("--channels is empty");
    require_between("--drop-label", s.drop_label, 0, 1);
    require_between("--final-lr", s.final_rate, 0, 1);
    require_between("--warmup", static_cast<double>(s.warmup), 0, 1e9);
    require_between("--clip", s.clip, 0, 1e9);
    require_between("--min-snr", s.min_snr, 0, 1e9);
    require_between("--lr", s.learning_rate, 0, 1e3);
    require_between("--weight-decay", s.weight_decay, 0, 1e3);
    require_between("--guidance", s.guidance, -1e3, 1e3);
    require_between("--sample-every", static_cast<double>(s.sample_every), 0, 1e9);
    require_between("--size", static_cast<double>(s.size), 0, 1 << 14);
    require_between("--resize", static_cast<double>(s.resize), 0, 1 << 14);
    if (s.channels.size() > 12) throw ArgumentError("--channels: " + std::to_string(s.channels.size()) + " levels are too many");
    if (s.guidance_given && s.guidance != 1 && s.drop_label == 0) throw ArgumentError("--guidance needs a --drop-label above 0");
    const Index multiple = Index{1} << (s.channels.size() - 1);
    if (s.size % multiple != 0)
        throw ArgumentError("--size must be a multiple of " + std::to_string(multiple) + " for " + std::to_string(s.channels.size()) + " levels");
    // Nobody's work is overwritten.
    const fs::path out = s.out;
    if (s.resume) return;
    if (fs::exists(out / "checkpoint.safetensors"))
        throw ArgumentError((out / "checkpoint.safetensors").string() + " exists: --resume continues it, or choose another --out");
    if (fs::exists(out / "model")) throw ArgumentError((out / "model").string() + " exists: move it away, or choose another --out");
}

int train(const Settings& s) {
    check(s);
    ThreadPool pool(s.threads);
    const ThreadPool::Scope scope(pool);
    program::catch_interrupts();

    Dataset data = open_dataset(s.data, Split::train, {.height = s.resize, .width = s.resize});
    if (s.resize > 0 && (data.images.dim(1) != s.resize || data.images.dim(2) != s.resize))
        throw ArgumentError("--resize goes with a folder of pictures; " + s.data + " has arrays of one size");
    if (s.unlabelled) data.labels.clear(), data.class_names.clear();
    if (!s.class_names.empty() && static_cast<Index>(s.class_names.size()) != data.classes())
        throw ArgumentError("--class-names: " + std::to_string(s.class_names.size()) + " names for " + std::to_string(data.classes()) + " classes");
    if (!s.class_names.empty()) data.class_names = s.class_names;
    const Index classes = data.labelled() ? data.classes() : 0, null_class = classes;
    const Index height = data.images.dim(1), width = data.images.dim(2), multiple = Index{1} << s.channels.size();
    const Index size = s.size ? s.size : (std::max(height, width) + multiple - 1) / multiple * multiple;
    if (size < std::max(height, width))
        throw ArgumentError("--size " + std::to_string(size) + " is less than the pictures' " + std::to_string(height) + " x " +
                            std::to_string(width) + "; --resize makes those of a folder smaller");
    const Pipeline prepare(Flip{s.seed, s.flip ? 0.5 : 0.0}, Pad::to(height, width, size, size), ScaleToSymmetric{});
    BatchOrder order(data.size(), s.batch, s.seed);

    const SchedulerConfig scheduler = scheduler_config(s);
    const DiscreteSchedule& schedule = scheduler.schedule();
    nn::UNet2D<float> network(network_config(s, size, data.images.dim(3), classes));
    constexpr std::string_view quiet[] = {"conv2", "conv_out"};
    nn::initialize(network, s.seed, quiet);
    const Index count = nn::count_parameters(network);

    TrainerOptions options;
    options.optimizer.weight_decay = s.weight_decay;
    options.learning_rate = {s.learning_rate, s.warmup, s.steps, s.final_rate};
    options.clip_norm = s.clip;
    options.ema_decay = s.ema;
    options.accumulate = s.accumulate;
    options.seed = s.seed;
    options.run = what_is_trained(s, network.config(), scheduler, data);
    Trainer<nn::UNet2D<float>> trainer(std::move(network), options);

    const fs::path out = s.out, checkpoint = out / "checkpoint.safetensors";
    if (s.resume) trainer.load(checkpoint);
    if (s.resume && trainer.steps() >= s.steps)
        throw ArgumentError("update " + std::to_string(trainer.steps()) + " is done already: --resume needs larger --steps than " +
                            std::to_string(s.steps));
    std::error_code no;
    fs::create_directories(out, no);
    if (!fs::is_directory(out) || ::access(out.c_str(), W_OK) != 0) throw ArgumentError("--out " + s.out + " cannot be written");
    LossLog log(out / "loss.csv", trainer.steps());

    std::fprintf(stderr, "%lld images of %lldx%lld in %lld classes; %.2f M parameters; update %lld of %lld\n",
                 static_cast<long long>(data.size()), static_cast<long long>(width), static_cast<long long>(height),
                 static_cast<long long>(classes), static_cast<double>(count) * 1e-6, static_cast<long long>(trainer.steps()),
                 static_cast<long long>(s.steps));

    const auto save = [&] {
        log.save();  // first, so that it is never behind the checkpoint
        trainer.save(checkpoint);
        save_model(out / "model", trainer.ema(), scheduler, data.class_names, DType::f16);
    };
    const auto draw_samples = [&](const std::string& name) {
        const Index rows = classes ? std::min<Index>(classes, 10) : 8, columns = 8;
        std::vector<Index> labels;
        if (classes)
            for (Index i = 0; i < rows * columns; ++i) labels.push_back(i / columns);
        const ClassConditional<float> ask{trainer.ema(), labels, classes && s.drop_label > 0 ? s.guidance : 1.0, null_class};
        const Tensor<float> x = sample<float>(Denoiser{ask, scheduler.reading()}, Ddim{}, trailing(schedule, 20),
                                              {rows * columns, size, size, data.images.dim(3)}, {.seed = s.seed});
        write_png(out / name, enlarge(image_grid(prepare.inverse(x), columns), 2));
    };

    DenoisingLoss loss(scheduler.reading());
    if (s.min_snr > 0) loss.min_snr_gamma = s.min_snr;
    program::ProgressBar bar("train", "update", s.steps, trainer.steps());
    double shown_loss = 0;
    try {
        while (trainer.steps() < s.steps && !program::interrupted) {
            const TrainingStep seen = trainer.step([&](const nn::UNet2D<float>& net, Tape<float>& tape, Index part) {
                const auto first = static_cast<std::uint64_t>(part * s.batch);
                const Batch<float> batch = assemble<float>(data, order.step(part), prepare);
                Tensor<float> eps(batch.images.shape());
                fill_normal(eps, s.seed, first, 0, Stream::noise);
                std::vector<Index> labels = batch.labels;
                for (std::size_t i = 0; i < labels.size(); ++i)
                    if (Random{{s.seed, first + i, 0, Stream::label}}.uniform() < s.drop_label) labels[i] = null_class;
                const std::vector<NoiseLevel> levels = random_levels(schedule, s.batch, s.seed, first);
                return loss([&](const Var<float>& x, std::span<const float> times) { return net(x, times, labels); }, tape,
                            batch.images, eps, levels);
            });
            log.add(seen);
            shown_loss = shown_loss == 0 ? seen.loss : 0.98 * shown_loss + 0.02 * seen.loss;
            char note[64];
            std::snprintf(note, sizeof note, "loss %.4f  norm %.2f", shown_loss, seen.gradient_norm);
            bar.show(seen.step, note);
            if (seen.step % s.checkpoint_every == 0) save();
            if (s.sample_every > 0 && seen.step % s.sample_every == 0) draw_samples("samples.png");
        }
    } catch (const NumericError& error) {
        throw NumericError(std::string(error.what()) + "; the last checkpoint, if there is one, is " + checkpoint.string());
    }
    save();
    if (trainer.steps() < s.steps) throw Cancelled("stopped after update " + std::to_string(trainer.steps()) + "; --resume continues");
    draw_samples("samples.png");
    draw_losses(log.losses(), out / "loss.png");
    std::printf("%s\n", (out / "model").string().c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Trains a U-Net to generate the images of a data set.\n\n"
                 "Example: train --data fashion-mnist --out runs/fashion --steps 20000",
                 "train");
    Settings settings;
    add_options(app, settings);
    return program::run(app, argc, argv, [&] {
        settings.guidance_given = app.count("--guidance") > 0;
        return train(settings);
    });
}

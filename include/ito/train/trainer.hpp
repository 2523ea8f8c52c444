// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ito/io/safetensors.hpp"
#include "ito/io/safetensors_writer.hpp"
#include "ito/nn/module.hpp"
#include "ito/train/optimizer.hpp"

namespace ito {

struct TrainerOptions {
    AdamW optimizer = {};
    LearningRate learning_rate = {};
    double clip_norm = 1;      ///< gradients are shortened to this norm; 0: never
    double ema_decay = 0.9999; ///< of the averaged weights
    bool ema_warmup = true;    ///< the decay starts as (1 + step) / (10 + step), so that the average forgets the start
    Index accumulate = 1;      ///< losses averaged into one update
    std::uint64_t seed = 0;    ///< of dropout; whoever draws data and noise keys them by the same
    /// What else makes the run what it is (batch, loss, ..), by name: a checkpoint with another value is refused.
    std::map<std::string, std::string> run = {};
};

/// What a loss without a state of its own has beside the trainer's in a checkpoint.
struct NoLossState {
    static void fields(auto&, auto&&) {}
};

/// What one update saw.
struct TrainingStep {
    Index step = 0;            ///< updates made, this one included
    double loss = 0;
    double gradient_norm = 0;  ///< before clipping
    double learning_rate = 0;
};

/// Trains a module by AdamW and keeps the exponential moving average of its weights. Everything random is a function
/// of (seed, step), so the parameters, the two moments, the average and the step are the whole state of a run:
/// a checkpoint continues it bit by bit.
template <class Model, class T = float>
class Trainer {
  public:
    /// The module comes with its weights: see initialize. Throws ArgumentError for options outside their range.
    Trainer(Model model, const TrainerOptions& options) : model_(std::move(model)), ema_(model_), options_(options) {
        if (options.accumulate < 1) throw ArgumentError("accumulate must be at least 1, got " + std::to_string(options.accumulate));
        if (!(options.ema_decay >= 0 && options.ema_decay < 1)) throw ArgumentError("ema_decay must be in [0, 1)");
        if (!(options.learning_rate.peak >= 0) || !std::isfinite(options.learning_rate.peak))
            throw ArgumentError("the learning rate must be a finite number that is not negative");
        if (!(options.learning_rate.final >= 0) || !std::isfinite(options.learning_rate.final))
            throw ArgumentError("the last learning rate's share must be a finite number that is not negative");
        const AdamW& adam = options.optimizer;
        if (!(adam.beta1 >= 0 && adam.beta1 < 1 && adam.beta2 >= 0 && adam.beta2 < 1))
            throw ArgumentError("AdamW's betas must be in [0, 1)");
        if (!(adam.epsilon >= 0) || !std::isfinite(adam.weight_decay) || !(options.clip_norm >= 0))
            throw ArgumentError("epsilon and clip_norm must not be negative, weight_decay must be finite");
        nn::for_each_parameter(model_, [&](const std::string&, const Parameter<T>& p) {
            mean_.push_back(Tensor<T>::zeros(p.value.shape()));
            square_.push_back(Tensor<T>::zeros(p.value.shape()));
        });
    }

    const Model& model() const { return model_; }
    /// The same module with the averaged weights: the one to sample from.
    const Model& ema() const { return ema_; }
    /// Updates made.
    Index steps() const { return step_; }
    const TrainerOptions& options() const { return options_; }

    /// One update from loss(model, tape, part) -> Var<T> [1], called for part = steps() * accumulate and the next
    /// accumulate - 1 numbers; the loss keys its data and noise by that number. Throws NumericError, with nothing
    /// changed, if a loss or the gradient is not finite, and with the update made if that leaves a weight that is not (save
    /// refuses it, so the checkpoint before is kept); ShapeError for a loss that is not one number; ArgumentError for a
    /// loss that does not depend on the module.
    template <class Loss>
    TrainingStep step(Loss&& loss) {
        std::vector<Tensor<T>> gradients(mean_.size());
        TrainingStep report{step_ + 1, 0, 0, options_.learning_rate.at(step_)};
        for (Index i = 0; i < options_.accumulate; ++i) {
            const Index part = step_ * options_.accumulate + i;
            Tape<T> tape;
            tape.enable_dropout(options_.seed ^ static_cast<std::uint64_t>(part) << 20);
            const Var<T> value = loss(std::as_const(model_), tape, part);
            require_shape("loss", {1}, value.shape());
            const double number = static_cast<double>((*value)[0]);
            if (!std::isfinite(number))
                throw NumericError("the loss of update " + std::to_string(step_ + 1) + " is " + std::to_string(number));
            report.loss += number / static_cast<double>(options_.accumulate);
            tape.backward(value);
            std::size_t k = 0;
            nn::for_each_parameter(std::as_const(model_), [&](const std::string&, const Parameter<T>& p) {
                if (const Tensor<T>* gradient = tape.gradient(p)) {
                    if (gradients[k].empty()) gradients[k] = *gradient;
                    else gradients[k].array() += gradient->array();
                }
                ++k;
            });
        }

        double squares = 0;
        if (std::all_of(gradients.begin(), gradients.end(), [](const Tensor<T>& g) { return g.empty(); }))
            throw ArgumentError("the loss does not depend on the trainer's module: use the one that it is called with");
        for (const Tensor<T>& gradient : gradients)
            if (!gradient.empty()) squares += gradient.array().template cast<double>().square().sum();
        report.gradient_norm = std::sqrt(squares) / static_cast<double>(options_.accumulate);
        if (!std::isfinite(report.gradient_norm))
            throw NumericError("the gradient of update " + std::to_string(step_ + 1) + " is not finite");
        double scale = 1 / static_cast<double>(options_.accumulate);
        if (options_.clip_norm > 0) scale *= std::min(1.0, options_.clip_norm / (report.gradient_norm + 1e-6));

        ++step_;
        std::size_t k = 0;
        nn::for_each_parameter(model_, [&](const std::string&, Parameter<T>& p) {
            if (!gradients[k].empty())
                options_.optimizer.update(p.change(), gradients[k], mean_[k], square_[k], step_, report.learning_rate, scale);
            ++k;
        });
        require_finite();
        average();
        return report;
    }

    /// Writes the whole state, and that of the loss if it has one (a TimeResampler); the file that was there survives any
    /// failure. Throws FileError, NumericError for a weight that is not finite.
    template <class LossState = NoLossState>
    void save(const std::filesystem::path& path, const LossState& loss = {}) const {
        require_finite();
        SafeTensorsWriter file;
        std::size_t k = 0;
        nn::for_each_parameter(model_, [&](const std::string& name, const Parameter<T>& p) {
            file.add("model." + name, p.value);
            file.add("mean." + name, mean_[k]);
            file.add("square." + name, square_[k++]);
        });
        nn::for_each_parameter(ema_, [&](const std::string& name, const Parameter<T>& p) { file.add("ema." + name, p.value); });
        nn::for_each_parameter(loss, [&](const std::string& name, const auto& p) { file.add("loss." + name, p.value); });
        std::map<std::string, std::string> notes{
            {"format", "ito training state"}, {"step", std::to_string(step_)}, {"seed", std::to_string(options_.seed)}};
        for (const auto& [name, value] : options_.run) notes["run." + name] = value;
        file.save(path, notes);
    }

    /// Continues from a saved state. Throws FileError for a file that is not one, ConfigError if it belongs to another
    /// network, seed, run or loss; nothing is changed then.
    void load(const std::filesystem::path& path) {
        NoLossState none;
        load(path, none);
    }
    template <class LossState>
    void load(const std::filesystem::path& path, LossState& loss) {
        const SafeTensors file = SafeTensors::open(path);
        const auto note = [&](const std::string& key) {
            const auto found = file.metadata().find(key);
            return found == file.metadata().end() ? std::string() : found->second;
        };
        if (note("format") != "ito training state") throw FileError(path.string() + ": not a training state");
        if (note("seed") != std::to_string(options_.seed))
            throw ConfigError(path.string() + ": belongs to a run with seed " + note("seed") + ", not " + std::to_string(options_.seed));
        const auto& notes = file.metadata();
        const bool knows_run = std::any_of(notes.begin(), notes.end(), [](const auto& entry) { return entry.first.starts_with("run."); });
        for (const auto& [name, value] : options_.run)
            if (knows_run && note("run." + name) != value)
                throw ConfigError(path.string() + ": belongs to a run with " + name + " " + note("run." + name) + ", not " + value);
        Trainer loaded(model_, options_);
        LossState loaded_loss = loss;
        const auto get = [&](const std::string& name, Tensor<T>& to) {
            if (!file.contains(name)) throw ConfigError(path.string() + ": belongs to another network, '" + name + "' is missing");
            if (!(file.shape(name) == to.shape()))
                throw ConfigError(path.string() + ": belongs to another network, '" + name + "' is " + file.shape(name).str() +
                                  " there and " + to.shape().str() + " here");
            to = file.load<T>(name);
        };
        std::size_t k = 0;
        nn::for_each_parameter(loaded.model_, [&](const std::string& name, Parameter<T>& p) {
            get("model." + name, p.change());
            get("mean." + name, loaded.mean_[k]);
            get("square." + name, loaded.square_[k++]);
        });
        nn::for_each_parameter(loaded.ema_, [&](const std::string& name, Parameter<T>& p) { get("ema." + name, p.change()); });
        std::size_t of_loss = 0;
        nn::for_each_parameter(loaded_loss, [&](const std::string& name, auto& p) {
            get("loss." + name, p.change());
            ++of_loss;
        });
        if (file.names().size() != 4 * k + of_loss)
            throw ConfigError(path.string() + ": belongs to another network or loss with more parameters");
        const std::string steps = note("step");
        const auto [end, error] = std::from_chars(steps.data(), steps.data() + steps.size(), loaded.step_);
        if (error != std::errc() || end != steps.data() + steps.size() || loaded.step_ < 0)
            throw FileError(path.string() + ": the number of steps is missing");
        *this = std::move(loaded);
        loss = std::move(loaded_loss);
    }

  private:
    void require_finite() const {
        nn::for_each_parameter(model_, [&](const std::string& name, const Parameter<T>& p) {
            if (!p.value.array().isFinite().all())
                throw NumericError("after update " + std::to_string(step_) + " '" + name + "' is not finite: is the learning rate too large?");
        });
    }

    void average() {
        const double n = static_cast<double>(step_);
        const double decay = options_.ema_warmup ? std::min(options_.ema_decay, (1 + n) / (10 + n)) : options_.ema_decay;
        std::vector<const Tensor<T>*> current;
        nn::for_each_parameter(std::as_const(model_),
                               [&](const std::string&, const Parameter<T>& p) { current.push_back(&p.value); });
        std::size_t k = 0;
        nn::for_each_parameter(ema_, [&](const std::string&, Parameter<T>& p) {
            p.change().array() += static_cast<T>(1 - decay) * (current[k]->array() - p.value.array());
            ++k;
        });
    }

    Model model_, ema_;
    TrainerOptions options_;
    std::vector<Tensor<T>> mean_, square_;
    Index step_ = 0;
};

}  // namespace ito

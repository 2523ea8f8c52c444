// SPDX-License-Identifier: MIT
#include "golden.hpp"

#include "ito/train/denoising_loss.hpp"
#include "ito/train/trainer.hpp"

using namespace ito;
using namespace ito::test;

namespace {

/// Sample `i` of a [steps, ...] record.
Tensor<float> at_step(const Tensor<float>& record, Index i) {
    std::vector<Index> extents(record.shape().begin() + 1, record.shape().end());
    const Shape shape{std::span<const Index>(extents)};
    return Tensor<float>::from(shape, record.span().subspan(static_cast<std::size_t>(i * shape.size()), static_cast<std::size_t>(shape.size())));
}

}  // namespace

TEST_CASE("training agrees with PyTorch's AdamW, step by step") {
    const auto folder = goldens() / "training";
    const auto facts = read_json(folder / "case.json");
    REQUIRE(facts.at("optimizer") == "AdamW");
    REQUIRE(facts.at("loss") == "mse(epsilon)");
    TrainerOptions options;
    options.optimizer = {facts.at("betas")[0], facts.at("betas")[1], facts.at("eps"), facts.at("weight_decay")};
    options.learning_rate = {facts.at("lr"), facts.at("warmup_steps")};
    options.clip_norm = facts.at("clip_grad_norm");
    options.ema_decay = facts.at("ema_decay");
    options.ema_warmup = false;
    Trainer<nn::UNet2D<float>> trainer(load_unet2d(folder / "initial"), options);

    const auto run = SafeTensors::open(folder / "run.safetensors");
    const auto x0 = run.load<float>("x0"), noise = run.load<float>("noise");
    const auto times = run.load<Index>("timesteps");
    const auto losses = run.load<float>("losses"), norms = run.load<float>("grad_norms");
    const DiscreteSchedule schedule(linear_betas<float>(1000, 1e-4, 0.02));
    for (Index i = 0; i < losses.size(); ++i) {
        const TrainingStep seen = trainer.step([&](const nn::UNet2D<float>& net, Tape<float>& tape, Index part) {
            std::vector<NoiseLevel> levels;
            for (Index k = 0; k < times.dim(1); ++k) levels.push_back(schedule.level(times(part, k)));
            return DenoisingLoss{}(net, tape, channels_last(at_step(x0, part)), channels_last(at_step(noise, part)), levels);
        });
        INFO("step " << i);
        CHECK(seen.loss == Approx(losses[i]).epsilon(1e-3));
        CHECK(seen.gradient_norm == Approx(norms[i]).epsilon(1e-3));
    }

    const auto final_weights = SafeTensors::open(folder / "final" / "diffusion_pytorch_model.safetensors");
    const auto averaged = SafeTensors::open(folder / "ema.safetensors");
    nn::for_each_parameter(trainer.model(), [&](const std::string& name, const Parameter<float>& p) {
        INFO(name);
        CHECK(relative_error(p.value, as_held(final_weights.load<float>(name))) < 1e-3);
    });
    nn::for_each_parameter(trainer.ema(), [&](const std::string& name, const Parameter<float>& p) {
        INFO(name);
        CHECK(relative_error(p.value, as_held(averaged.load<float>(name))) < 1e-3);
    });
}

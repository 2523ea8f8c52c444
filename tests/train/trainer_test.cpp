// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "ito/nn/initialize.hpp"
#include "ito/nn/mlp.hpp"
#include "ito/train/denoising_loss.hpp"
#include "ito/train/time_resampler.hpp"
#include "ito/train/trainer.hpp"
#include "temp_folder.hpp"

using namespace ito;

namespace trainer_test {
namespace {

using Net = nn::Mlp<float>;

Net fresh() {
    Net net(2, 8, 1);
    nn::initialize(net, 3);
    return net;
}

/// The loss on points close to zero, whose noise is easy to tell: everything keyed by the part.
Var<float> loss(const Net& net, Tape<float>& tape, Index part) {
    static const DiscreteSchedule schedule(linear_betas<float>(100));
    Tensor<float> x0({16, 2}), eps({16, 2});
    fill_normal(x0, 1, static_cast<std::uint64_t>(part) * 16, 0, Stream::data);
    x0.array() *= 0.05f;
    fill_normal(eps, 1, static_cast<std::uint64_t>(part) * 16, 0, Stream::noise);
    const auto levels = random_levels(schedule, 16, 1, static_cast<std::uint64_t>(part) * 16);
    return DenoisingLoss{}(net, tape, x0, eps, levels);
}

bool same(const Net& a, const Net& b) {
    std::vector<Tensor<float>> left;
    nn::for_each_parameter(a, [&](const std::string&, const auto& p) { left.push_back(p.value); });
    bool equal = true;
    std::size_t k = 0;
    nn::for_each_parameter(b, [&](const std::string&, const auto& p) {
        equal = equal && (left[k].array() == p.value.array()).all();
        ++k;
    });
    return equal;
}

TrainerOptions options() { return {.learning_rate = {1e-2, 2, 20, 0.1}, .ema_decay = 0.9, .seed = 5}; }

}  // namespace

TEST_CASE("a run that was saved and loaded continues bit by bit") {
    const test::TempFolder folder;
    Trainer<Net> whole(fresh(), options()), first(fresh(), options()), second(fresh(), options());
    for (int i = 0; i < 10; ++i) whole.step(loss);
    for (int i = 0; i < 4; ++i) first.step(loss);
    first.save(folder / "state.safetensors");
    second.load(folder / "state.safetensors");
    CHECK(second.steps() == 4);
    for (int i = 0; i < 6; ++i) second.step(loss);
    CHECK(same(whole.model(), second.model()));
    CHECK(same(whole.ema(), second.ema()));
    CHECK(!same(whole.model(), whole.ema()));
}

TEST_CASE("the number of threads does not change a training run") {
    const auto run = [](int threads) {
        ThreadPool pool(threads);
        const ThreadPool::Scope scope(pool);
        Trainer<Net> trainer(fresh(), options());
        for (int i = 0; i < 5; ++i) trainer.step(loss);
        return trainer.model();
    };
    const Net one = run(1);
    CHECK(same(one, run(2)));
    CHECK(same(one, run(5)));
}

TEST_CASE("training lowers the loss") {
    TrainerOptions longer = options();
    longer.learning_rate = {1e-2, 10, 300, 0.1};
    Trainer<Net> trainer(fresh(), longer);
    double first = 0, last = 0;
    for (int i = 0; i < 300; ++i) {
        const double seen = trainer.step(loss).loss;
        if (i < 30) first += seen / 30;
        if (i >= 270) last += seen / 30;
    }
    CHECK(last < 0.6 * first);
}

TEST_CASE("accumulated gradients are those of the mean loss") {
    TrainerOptions two = options();
    two.accumulate = 2;
    Trainer<Net> accumulated(fresh(), two), whole(fresh(), options());
    accumulated.step(loss);
    whole.step([](const Net& net, Tape<float>& tape, Index) {
        return ops::scale(ops::add(loss(net, tape, 0), loss(net, tape, 1)), 0.5f);
    });
    nn::for_each_parameter(accumulated.model(), [&](const std::string& name, const Parameter<float>& p) {
        nn::for_each_parameter(whole.model(), [&](const std::string& other, const Parameter<float>& q) {
            if (name == other) CHECK((p.value.array() - q.value.array()).abs().maxCoeff() < 1e-4f);
        });
    });
}

TEST_CASE("a loss that is not a number changes nothing") {
    Trainer<Net> trainer(fresh(), options());
    trainer.step(loss);
    const Net before = trainer.model();
    const auto poisoned = [](const Net& net, Tape<float>& tape, Index part) {
        return ops::scale(loss(net, tape, part), std::numeric_limits<float>::quiet_NaN());
    };
    CHECK_THROWS_AS(trainer.step(poisoned), NumericError);
    CHECK(same(before, trainer.model()));
    CHECK(trainer.steps() == 1);
    trainer.step(loss);
    CHECK(trainer.steps() == 2);
}

TEST_CASE("an update that leaves a weight that is not finite does not reach the checkpoint") {
    const test::TempFolder folder;
    const auto path = folder / "state.safetensors";
    TrainerOptions wild = options();
    wild.learning_rate = {1e38};
    Trainer<Net> trainer(fresh(), wild);
    trainer.save(path);
    const auto run = [&] {
        for (int k = 0; k < 8; ++k) trainer.step(loss);
    };
    CHECK_THROWS_AS(run(), NumericError);
    CHECK_THROWS_AS(trainer.save(path), NumericError);
    Trainer<Net> again(fresh(), wild);
    again.load(path);
    CHECK(same(again.model(), fresh()));
}

TEST_CASE("a state that does not belong to the run is refused and nothing is lost") {
    const test::TempFolder folder;
    const auto path = folder / "state.safetensors";
    Trainer<Net> trainer(fresh(), options());
    trainer.step(loss);
    trainer.save(path);

    TrainerOptions other_seed = options();
    other_seed.seed = 6;
    Trainer<Net> other(fresh(), other_seed);
    CHECK_THROWS_AS(other.load(path), ConfigError);

    Net wide(2, 16, 1);
    nn::initialize(wide, 3);
    Trainer<Net> wider(wide, options());
    CHECK_THROWS_WITH(wider.load(path), ContainsSubstring("another network"));
    CHECK(same(wide, wider.model()));

    SafeTensorsWriter empty;
    empty.save(folder / "else.safetensors");
    CHECK_THROWS_AS(trainer.load(folder / "else.safetensors"), FileError);
    CHECK_THROWS_AS(trainer.load(folder / "none.safetensors"), FileError);
    CHECK(trainer.steps() == 1);
}

TEST_CASE("a state of a run with other settings is refused by their name") {
    const test::TempFolder folder;
    TrainerOptions with_batch = options();
    with_batch.run = {{"batch", "16"}, {"prediction", "epsilon"}};
    Trainer<Net> trainer(fresh(), with_batch);
    trainer.step(loss);
    trainer.save(folder / "state.safetensors");
    Trainer<Net> same_run(fresh(), with_batch);
    same_run.load(folder / "state.safetensors");
    CHECK(same_run.steps() == 1);
    with_batch.run["prediction"] = "v_prediction";
    Trainer<Net> other(fresh(), with_batch);
    CHECK_THROWS_WITH(other.load(folder / "state.safetensors"), ContainsSubstring("prediction epsilon, not v_prediction"));
    CHECK(other.steps() == 0);

    // A state that says nothing about its run belongs to any.
    Trainer<Net>(fresh(), options()).save(folder / "silent.safetensors");
    other.load(folder / "silent.safetensors");
}

TEST_CASE("a loss with a state of its own resumes with the run") {
    const test::TempFolder folder;
    const auto path = folder / "state.safetensors";
    TimeResampler<float> resampler(4, 2), resumed(4, 2), other(5, 2);
    for (Index k = 0; k < 8; ++k)
        resampler.update(std::vector<Index>{k % 4}, Tensor<float>::full({1}, static_cast<float>(k)));
    Trainer<Net> trainer(fresh(), options());
    trainer.step(loss);
    trainer.save(path, resampler);
    Trainer<Net> second(fresh(), options());
    CHECK_THROWS_AS(second.load(path), ConfigError);
    CHECK_THROWS_AS(second.load(path, other), ConfigError);
    CHECK(second.steps() == 0);
    second.load(path, resumed);
    CHECK(second.steps() == 1);
    CHECK(resumed.probabilities() == resampler.probabilities());
    trainer.save(path);
    CHECK_THROWS_WITH(second.load(path, resumed), ContainsSubstring("loss.losses"));
}

TEST_CASE("options outside their range are refused") {
    TrainerOptions bad = options();
    bad.accumulate = 0;
    CHECK_THROWS_AS(Trainer<Net>(fresh(), bad), ArgumentError);
    bad = options();
    bad.ema_decay = 1;
    CHECK_THROWS_AS(Trainer<Net>(fresh(), bad), ArgumentError);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (double AdamW::*member : {&AdamW::beta1, &AdamW::beta2, &AdamW::epsilon, &AdamW::weight_decay}) {
        bad = options();
        bad.optimizer.*member = nan;
        CHECK_THROWS_AS(Trainer<Net>(fresh(), bad), ArgumentError);
    }
    for (double LearningRate::*member : {&LearningRate::peak, &LearningRate::final}) {
        bad = options();
        bad.learning_rate.*member = nan;
        CHECK_THROWS_AS(Trainer<Net>(fresh(), bad), ArgumentError);
    }
    bad = options();
    bad.clip_norm = -1;
    CHECK_THROWS_AS(Trainer<Net>(fresh(), bad), ArgumentError);
}

TEST_CASE("learning rates rise linearly and fall by half a cosine") {
    const LearningRate rate{1.0, 10, 110, 0.1};
    CHECK(rate.at(0) == Approx(0.1));
    CHECK(rate.at(9) == Approx(1.0));
    CHECK(rate.at(60) == Approx(0.55));
    CHECK(rate.at(110) == Approx(0.1));
    CHECK(rate.at(1000) == Approx(0.1));
    CHECK(LearningRate{2.0, 0, 0, 0}.at(500) == 2.0);
}

TEST_CASE("min-SNR weights are those of the paper") {
    const NoiseLevel level{0, 0.8, 0.6};  // SNR 1.78
    const double snr = 0.64 / 0.36;
    CHECK(DenoisingLoss{Prediction::epsilon, 5.0}.weight(level) == Approx(1));
    CHECK(DenoisingLoss{Prediction::epsilon, 1.0}.weight(level) == Approx(1 / snr));
    CHECK(DenoisingLoss{Prediction::v, 1.0}.weight(level) == Approx(1 / (snr + 1)));
    CHECK(DenoisingLoss{Prediction::sample, 1.0}.weight(level) == Approx(1));
    CHECK(DenoisingLoss{}.weight(level) == 1);
}

}  // namespace trainer_test

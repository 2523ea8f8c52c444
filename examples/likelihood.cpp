// SPDX-License-Identifier: MIT
// How many bits a model needs for a picture of a data set, by two ways that never flatter it: the likelihood along the
// probability flow (Hutchinson's trace, uniformly dequantized pictures) and the variational bound, term by term:
//     likelihood --model examples/models/fashion-mnist --data fashion-mnist --count 500
// Expected: for each a mean in bits per dimension with its standard error over pictures. The flow's density is that of the
// data with the noise of the first level, which costs bits where pictures are flat; the bound's decoder does not have it.
// On two cores 500 pictures of 32x32 take about half an hour; --count 20 gives a first idea in a minute.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ito/data/batches.hpp"
#include "ito/data/open_dataset.hpp"
#include "ito/data/preprocess.hpp"
#include "ito/io/model_folder.hpp"
#include "ito/sampler/variational_bound.hpp"
#include "ito/schedule/continuous.hpp"
#include "ito/task/class_conditional.hpp"
#include "ito/task/tape_divergence.hpp"
#include "program.hpp"
#include "unet.hpp"

using namespace ito;

namespace {

struct Settings {
    std::string model, data, method = "both";
    Index count = 500, batch = 10, probes = 1, steps = 100;
    double tolerance = 1e-3;
    bool labels = false;
    std::uint64_t seed = 0;
    int threads = 0;
};

void print(const char* what, const MeanError& bits) { std::printf("  %-32s %.4f +- %.4f bits/dim\n", what, bits.mean, bits.error); }

/// The variance that the model's scheduler names; the small fixed one where it names none.
Ddpm::Variance variance_of(const SchedulerConfig& scheduler) {
    const auto* ddpm = std::get_if<Ddpm>(&scheduler.sampler());
    return ddpm ? ddpm->variance : Ddpm::Variance::fixed_small;
}

int likelihood(const Settings& s) {
    ThreadPool pool(s.threads);
    const ThreadPool::Scope scope(pool);
    program::catch_interrupts();
    if (s.count < 1 || s.batch < 1 || s.probes < 1) throw ArgumentError("--count, --batch and --probes must be at least 1");
    const Model model = load_model(s.model);
    const auto size = model.unet.config().sample_size;
    if (size.size() != 2) throw ConfigError(s.model + ": the model does not say its sample_size");
    const Dataset data = open_dataset(s.data, Split::test);
    if (data.images.dim(3) != model.unet.config().in_channels)
        throw ConfigError("the model's pictures have " + std::to_string(model.unet.config().in_channels) + " channels, the data's " +
                          std::to_string(data.images.dim(3)));
    if (s.labels) require_labels(data, "for --labels");
    if (model.unet.config().num_class_embeds && model.null_class < 0 && !s.labels) throw ArgumentError("the model has classes and no null class: use --labels");
    const Index count = std::min(s.count, data.size());
    const Pipeline prepare(Flip{0, 0}, Pad::to(data.images.dim(1), data.images.dim(2), size[0], size[1]), ScaleToSymmetric{});
    const bool flow = s.method != "bound", bound = s.method != "flow";
    const SchedulerConfig& scheduler = model.scheduler;
    SchedulerOptions trailing = scheduler.options();  // steps that meet, from the noisiest level
    trailing.class_name = "DDPMScheduler";
    trailing.timestep_spacing = "trailing";
    const Steps steps = SchedulerConfig(trailing).steps(s.steps);
    Reading plain = scheduler.reading();  // a density is not clipped
    plain.clip = std::numeric_limits<double>::infinity();
    plain.threshold.reset();
    Reading clipped = scheduler.reading();  // a bound is the better for knowing where pictures end
    clipped.clip = std::min(clipped.clip, 1.0);

    std::vector<double> flow_bits, bound_bits, prior_bits, decoder_bits, step_bits;
    std::stop_source stop;
    const Index batches = (count + s.batch - 1) / s.batch;
    program::ProgressBar bar("likelihood", "picture", count);
    const auto add_batch = [&](Index b) {
        const Index first = b * s.batch, n = std::min(s.batch, count - first);
        const auto key = static_cast<std::uint64_t>(first);
        const Tensor<float> x = prepare.apply<float>(slice(data, first, first + n).images);
        const Index dimensions = x.size() / n;
        std::vector<Index> classes;
        if (model.unet.config().num_class_embeds)
            for (Index k = 0; k < n; ++k) classes.push_back(s.labels ? data.labels[static_cast<std::size_t>(first + k)] : model.null_class);
        if (flow) {
            const auto network = [&](const Var<float>& in, std::span<const float> times) {
                if (program::interrupted) throw Cancelled("stopped");
                return model.unet(in, times, std::span<const Index>(classes));
            };
            using Flow = TapeDivergence<float, UniformLogSnr<DiscreteSchedule>, decltype(network)&>;
            Flow expand{UniformLogSnr(scheduler.schedule()), network, plain, make_probes<float>(x.shape(), s.probes, Probe::rademacher, s.seed, key)};
            const auto prior = [](const Tensor<double>& z) { return normal_log_density(z); };
            const Tensor<double> spread = dequantize(x.cast<double>(), s.seed, key);
            for (const double nats : log_likelihood<double>(expand, spread, 0, 1, prior, fine_steps(s.tolerance)).nats)
                flow_bits.push_back(bits_per_dimension(nats, dimensions));
        }
        if (bound) {
            const ClassConditional<float> ask{model.unet, classes};
            const VariationalBound terms = variational_bound(x, steps, Denoiser{ask, clipped}, variance_of(scheduler), s.seed, key, stop.get_token(),
                                                             [&](const Progress&) { if (program::interrupted) stop.request_stop(); });
            const auto append = [](std::vector<double>& to, const std::vector<double>& from) { to.insert(to.end(), from.begin(), from.end()); };
            append(bound_bits, terms.total());
            append(prior_bits, terms.prior);
            append(decoder_bits, terms.decoder);
            for (std::size_t k = 0; k < static_cast<std::size_t>(n); ++k) step_bits.push_back(terms.total()[k] - terms.prior[k] - terms.decoder[k]);
        }
        bar.show(first + n, flow ? std::to_string(mean_error(flow_bits).mean) + " bits/dim" : "");
    };
    if (s.count > count)
        std::fprintf(stderr, "the data have %lld held-out pictures, fewer than --count %lld\n", static_cast<long long>(count),
                     static_cast<long long>(s.count));
    Index done = 0;
    try {
        for (Index b = 0; b < batches && !program::interrupted; ++b) {
            add_batch(b);
            done = std::min(count, (b + 1) * s.batch);
        }
    } catch (const Cancelled&) {  // what the batch has by then is left out
        if (flow) flow_bits.resize(static_cast<std::size_t>(done));
    }
    if (done == 0) throw Cancelled("stopped before the first batch was finished");
    std::printf("%lld held-out pictures of %lld x %lld x %lld, seed %llu%s\n", static_cast<long long>(done), static_cast<long long>(size[0]),
                static_cast<long long>(size[1]), static_cast<long long>(data.images.dim(3)), static_cast<unsigned long long>(s.seed),
                s.labels ? ", given their classes" : "");
    const double padded = static_cast<double>(size[0] * size[1]) / static_cast<double>(data.images.dim(1) * data.images.dim(2));
    const auto per_number = [&](MeanError bits) { return MeanError{bits.mean * padded, bits.error * padded}; };
    if (flow) {
        std::printf("probability flow, %lld probes, tolerance %g\n", static_cast<long long>(s.probes), s.tolerance);
        print("negative log-likelihood", mean_error(flow_bits));
        if (padded > 1) print("  per number before padding", per_number(mean_error(flow_bits)));
    }
    if (bound) {
        std::printf("variational bound of %lld steps\n", static_cast<long long>(s.steps));
        print("prior", mean_error(prior_bits));
        print("steps", mean_error(step_bits));
        print("decoder", mean_error(decoder_bits));
        print("bound", mean_error(bound_bits));
        if (padded > 1) print("  per number before padding", per_number(mean_error(bound_bits)));
    }
    if (done < count) throw Cancelled("stopped; these are the first " + std::to_string(done) + " of " + std::to_string(count) + " pictures");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Bits per dimension of a data set's held-out pictures under a model.\n\n"
                 "Example: likelihood --model examples/models/fashion-mnist --data fashion-mnist --count 500",
                 "likelihood");
    Settings s;
    app.add_option("--model", s.model, "Model folder (diffusers layout)")->required();
    app.add_option("--data", s.data, "Data set with a held-out part")->required();
    app.add_option("--method", s.method, "flow, bound or both")->check(CLI::IsMember({"flow", "bound", "both"}))->capture_default_str();
    app.add_option("--count", s.count, "Pictures, from the first one")->capture_default_str();
    app.add_option("--batch", s.batch, "Pictures at a time")->capture_default_str();
    app.add_option("--probes", s.probes, "Random directions for the trace of each picture's flow")->capture_default_str();
    app.add_option("--tolerance", s.tolerance, "Of the flow's solver, relative and absolute")->capture_default_str();
    app.add_option("--steps", s.steps, "Steps of the bound")->capture_default_str();
    app.add_flag("--labels", s.labels, "Give the network the pictures' classes");
    app.add_option("--seed", s.seed, "Of dequantization, probes and the bound's noise")->check(program::not_negative())->capture_default_str();
    app.add_option("--threads", s.threads, "Threads (0: all)")->capture_default_str();
    return program::run(app, argc, argv, [&] { return likelihood(s); });
}

// SPDX-License-Identifier: MIT
// Times a network on this machine and says how near it comes to what the machine can do.
#include <iostream>
#include <optional>

#include <nlohmann/json.hpp>

#include "allocations.hpp"
#include "ito/core/profile.hpp"
#include "ito/io/conv_algorithms_file.hpp"
#include "ito/simd/precision.hpp"
#include "measure.hpp"
#include "program.hpp"
#include "work.hpp"

namespace {

using bench::Index;
using nlohmann::json;

struct Options : bench::Settings {
    int threads = 0;
    double seconds = 2;
    Index least = 3;
    bool as_json = false, profile = false, serve = false, tune = false;
    std::string save, png;
};

/// The work with all that is known of it before it is timed.
struct Prepared {
    std::unique_ptr<bench::Work> work;
    double before_load_mb = 0, load_ms = 0, first_ms = 0;
    double flops = 0;  // in one run, see direct_flops
    std::optional<ito::nn::Tuned> tuned;
};

/// Operations of the direct algorithms that layers with weights stand for, two a multiply-add, as usually counted for
/// networks; the products of activations in attention count only where nothing else is timed.
double direct_flops(const ito::Profile& profile, bool network) {
    double sum = 0;
    for (const auto& row : profile.rows())
        if (!network || !row.operation.starts_with("attention")) sum += 2 * row.multiply_adds;
    return sum;
}

Prepared prepare(const Options& o) {
    Prepared p;
    p.before_load_mb = bench::resident_mb("VmRSS");
    p.load_ms = bench::milliseconds([&] { p.work = bench::make_work(o); });
    if (o.tune) {
        std::optional<program::ProgressBar> bar;
        p.tuned = p.work->tune([&](const ito::Progress& progress) {
            if (!bar) bar.emplace("tune", "pass", progress.total);
            bar->show(progress.done);
        });
    }
    if (!o.save.empty()) p.work->save(o.save);
    ito::Profile profile;
    const ito::Profile::Scope scope(profile);
    p.first_ms = bench::milliseconds([&] { p.work->run(); });
    p.flops = direct_flops(profile, p.work->parameters() > 0);
    return p;
}

json known(const Options& o, const Prepared& p, const ito::ThreadPool& pool) {
    json j = {{"model", o.what == "attention" ? "attention" : o.model},
              {"what", o.what},
              {"batch", o.batch},
              {"threads", pool.threads()},
              {"precision", o.precision},
              {"lanes", ito::simd::lanes},
              {"parameters", p.work->parameters()},
              {"gflop", p.flops * 1e-9},
              {"before_load_mb", p.before_load_mb},
              {"load_ms", p.load_ms},
              {"first_ms", p.first_ms}};
    if (p.tuned)
        j["tuned"] = {{"cost_model_ms", 1000 * p.tuned->cost_model_seconds},
                      {"timed_ms", 1000 * p.tuned->timed_seconds},
                      {"layers", p.tuned->algorithms.choices().size()}};
    if (o.what == "sample") j["steps"] = o.steps;
    if (o.what == "attention") j["tokens"] = o.tokens;
    return j;
}

/// Repeats in turns with the machine's peak, which is the best of all turns. The first run was made by prepare; the second,
/// which makes its result beside that of the first, is not counted either.
json measure(const Options& o, Prepared& p) {
    std::vector<double> times;
    times.reserve(1 << 20);
    Index allocations = 0, faults = 0;
    double peak = bench::peak_gflops(0.1);
    p.work->run();
    constexpr int turns = 5;
    for (int turn = 0; turn < turns; ++turn) {
        const Index allocations_before = bench::allocations, faults_before = bench::page_faults();
        bench::repeat(o.seconds / turns, (o.least + turns - 1) / turns, times, [&] { p.work->run(); });
        allocations += bench::allocations - allocations_before;
        faults += bench::page_faults() - faults_before;
        peak = std::max(peak, bench::peak_gflops(0.05));
    }
    const auto steps = static_cast<double>(static_cast<Index>(times.size()) * p.work->steps());
    const double allocated = static_cast<double>(allocations) / steps;
    const double faulted = static_cast<double>(faults) / steps;
    const double best = bench::best(times), median = bench::median(times), gflops = p.flops / best * 1e-6;
    return {{"repeats", times.size()},
            {"median_ms", median},
            {"best_ms", best},
            {"gflops", gflops},
            {"peak_gflops", peak},
            {"percent_of_peak", 100 * gflops / peak},
            {"peak_rss_mb", bench::resident_mb("VmHWM")},
            {"allocations_per_step", allocated},
            {"page_faults_per_step", faulted}};
}

/// Every operation of one run, the most expensive first; the best of five runs.
json profile(Prepared& p) {
    std::vector<ito::Profile::Row> rows;
    double whole = 0;
    for (int i = 0; i < 5; ++i) {
        ito::Profile now;
        const ito::Profile::Scope scope(now);
        const double ms = bench::milliseconds([&] { p.work->run(); });
        if (i > 0 && ms >= whole) continue;
        whole = ms;
        rows = now.rows();
    }
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    json list = json::array();
    double rest = whole;
    for (const auto& row : rows) {
        rest -= row.seconds * 1000;
        list.push_back({{"operation", row.operation},
                        {"input", row.input.str()},
                        {"weight", row.weight.rank() ? row.weight.str() : ""},
                        {"calls", row.calls},
                        {"ms", row.seconds * 1000},
                        {"percent", 100 * row.seconds * 1000 / whole},
                        {"gflops", 2e-9 * row.multiply_adds / row.seconds}});
    }
    list.push_back({{"operation", "between operations"}, {"input", ""}, {"weight", ""}, {"calls", 1}, {"ms", rest}, {"percent", 100 * rest / whole}, {"gflops", 0.0}});
    return list;
}

void print_table(const json& rows) {
    std::printf("%-22s %-20s %-20s %6s %9s %6s %8s\n", "operation", "input", "weight", "calls", "ms", "%", "GF/s");
    for (const json& row : rows)
        std::printf("%-22s %-20s %-20s %6d %9.3f %6.1f %8.1f\n", row["operation"].get<std::string>().c_str(),
                    row["input"].get<std::string>().c_str(), row["weight"].get<std::string>().c_str(), row["calls"].get<int>(),
                    row["ms"].get<double>(), row["percent"].get<double>(), row["gflops"].get<double>());
}

/// Lines from stdin: "time SECONDS" answers with the milliseconds of the repeats that fit, "peak" with the machine's peak,
/// "report" with what --json prints. So that another program can take turns with this one.
void serve(const Options& o, Prepared& p, const ito::ThreadPool& pool) {
    const auto answer = [](const json& j) { std::cout << j.dump() << std::endl; };
    answer(known(o, p, pool));
    for (std::string line; std::getline(std::cin, line);) {
        if (line.rfind("time ", 0) == 0) {
            std::vector<double> times;
            bench::repeat(std::stod(line.substr(5)), 1, times, [&] { p.work->run(); });
            answer(times);
        } else if (line == "peak") {
            answer(bench::peak_gflops(0.05));
        } else if (line == "report") {
            json j = known(o, p, pool);
            j.update(measure(o, p));
            answer(j);
        } else {
            answer({{"error", "unknown request '" + line + "'"}});
        }
    }
}

int run(const Options& o) {
    if (o.batch < 1) throw ito::ArgumentError("--batch must be at least 1, got " + std::to_string(o.batch));
    if (o.steps < 1) throw ito::ArgumentError("--steps must be at least 1, got " + std::to_string(o.steps));
    if (o.size < 0 || o.tokens < 1) throw ito::ArgumentError("--size and --tokens must be positive");
    ito::ThreadPool pool(o.threads);
    const ito::ThreadPool::Scope scope(pool);
    const ito::PrecisionScope precision(program::precision_named(o.precision));
    if (o.what == "peak") {
        std::printf("{\"threads\": %d, \"peak_gflops\": %.1f}\n", pool.threads(), bench::peak_gflops(o.seconds));
        return 0;
    }
    if (o.tune && (o.precision != "fp32" || (o.what != "forward" && o.what != "sample") || !o.png.empty()))
        throw ito::ArgumentError("--tune goes with --what forward and sample in fp32, and without --png");
    if (o.tune && o.model != "demo" && o.model != "cifar10") program::require_writable(o.model + "/unet/" + ito::conv_algorithms_file);
    if (!o.png.empty()) {
        const auto work = bench::make_work(o);
        work->run();
        work->write_picture(o.png);
        return 0;
    }
    Prepared prepared = prepare(o);
    if (o.serve) {
        serve(o, prepared, pool);
        return 0;
    }
    json j = known(o, prepared, pool);
    j.update(measure(o, prepared));
    if (o.profile) j["profile"] = profile(prepared);
    if (o.as_json) {
        std::printf("%s\n", j.dump(2).c_str());
        return 0;
    }
    std::printf("%s %s, batch %lld, %s, %d threads: best %.2f ms, median %.2f ms, %.0f GF/s = %.0f%% of %.0f, %.0f MB, %.1f allocations a step\n",
                o.model.c_str(), o.what.c_str(), static_cast<long long>(o.batch), o.precision.c_str(), pool.threads(), j["best_ms"].get<double>(),
                j["median_ms"].get<double>(), j["gflops"].get<double>(), j["percent_of_peak"].get<double>(), j["peak_gflops"].get<double>(),
                j["peak_rss_mb"].get<double>(), j["allocations_per_step"].get<double>());
    if (prepared.tuned)
        std::printf("algorithms: best %.2f ms by the cost model, %.2f ms by timing%s\n", 1000 * prepared.tuned->cost_model_seconds,
                    1000 * prepared.tuned->timed_seconds, prepared.tuned->algorithms.choices().empty() ? ", so that the former stays" : "");
    if (o.profile) print_table(j["profile"]);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Times a network on this machine.\n\nExample: bench --model cifar10 --batch 8 --threads 2 --profile", "bench");
    Options o;
    app.add_option("--model", o.model, "demo, cifar10 or a model folder")->capture_default_str();
    app.add_option("--what", o.what, "forward, train, sample, attention (8 heads of 64) or peak (what the machine can do)")->capture_default_str();
    app.add_option("--batch", o.batch, "Pictures at a time")->capture_default_str();
    app.add_option("--threads", o.threads, "Threads (0: all)")->capture_default_str();
    app.add_option("--precision", o.precision, "fp32, exact (no Winograd) or bf16")
        ->check(CLI::IsMember({"fp32", "exact", "bf16"}))
        ->capture_default_str();
    app.add_option("--steps", o.steps, "DDIM steps of a sampling run")->capture_default_str();
    app.add_option("--size", o.size, "Height and width (0: the model's)")->capture_default_str();
    app.add_option("--tokens", o.tokens, "Length of the sequence for attention")->capture_default_str();
    app.add_option("--seconds", o.seconds, "Time to spend on repeats")->capture_default_str();
    app.add_option("--repeats", o.least, "Repeats at least")->capture_default_str();
    app.add_flag("--json", o.as_json, "One JSON object");
    app.add_flag("--profile", o.profile, "The time of every operation");
    app.add_flag("--tune", o.tune, "First choose each layer's algorithm by timing, for this batch and these threads; kept as unet/ito_algorithms.json in a model folder");
    app.add_option("--save", o.save, "Folder for what goes in and comes out, for comparison");
    app.add_option("--png", o.png, "Only draw the samples into this file, as a program would");
    app.add_flag("--serve", o.serve, "Answer lines from stdin: time SECONDS, peak, report");
    return program::run(app, argc, argv, [&] { return run(o); });
}

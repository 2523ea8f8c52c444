// SPDX-License-Identifier: MIT
// What the benchmarks time: a forward pass, a training step, a sampling run, attention alone.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "ito/core/progress.hpp"
#include "ito/core/shape.hpp"
#include "ito/nn/tune.hpp"

namespace bench {

using ito::Index;

struct Settings {
    std::string model = "demo", what = "forward", precision = "fp32";
    Index batch = 1, steps = 20, size = 0, tokens = 1024;
};

/// One kind of work, ready to be repeated.
class Work {
  public:
    virtual ~Work() = default;
    virtual void run() = 0;
    /// Denoising steps in one run.
    virtual Index steps() const { return 1; }
    virtual Index parameters() const { return 0; }
    /// Does the work once from its beginning and writes what went in and what came out, as .npy and a model folder, so
    /// that other programs can do the same and compare.
    virtual void save(const std::filesystem::path& folder) = 0;
    /// Chooses the network's algorithms by timing and writes them beside the weights of a model folder.
    virtual ito::nn::Tuned tune(const std::function<void(const ito::Progress&)>& observe);
    /// Writes the pictures that a sampling run made.
    virtual void write_picture(const std::filesystem::path& path) const;
};

/// `demo` and `cifar10` with the weights of a fixed seed, or a model folder. Throws ArgumentError for settings that no work
/// follows, and what load_model throws.
std::unique_ptr<Work> make_work(const Settings& settings);

}  // namespace bench

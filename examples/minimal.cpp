// SPDX-License-Identifier: MIT
// The shortest program: sixteen pictures of a trained model, written to minimal.png in a few seconds.
#include <cstdio>
#include "ito/ito.hpp"

int main(int argc, char** argv) try {
    const ito::Model model = ito::load_model(argc > 1 ? argv[1] : "examples/models/fashion-mnist");

    // Sixteen sneakers (class 7), each drawn towards its class with guidance 1.5.
    const std::vector<ito::Index> labels(16, 7);
    const ito::ClassConditional<float> network{model.unet, labels, 1.5, model.null_class};

    // DDIM in 20 steps; every sampler, schedule and network combines like this.
    const ito::Steps steps = ito::trailing(model.scheduler.schedule(), 20);
    const auto pictures = ito::sample<float>(ito::Denoiser{network, model.scheduler.reading()}, ito::Ddim{}, steps,
                                             {16, 32, 32, 1}, {.seed = 1});

    ito::write_png("minimal.png", ito::enlarge(ito::image_grid(pictures), 4));
} catch (const std::exception& error) {
    std::fprintf(stderr, "minimal: %s\n", error.what());
    return 1;
}

// SPDX-License-Identifier: MIT
#include "ito/core/torch_random.hpp"

#include <cstdlib>
#include <string>

#include "catch.hpp"
#include "ito/io/safetensors.hpp"

using namespace ito;

namespace torch_random_test {
namespace {

std::string goldens() {
    const char* folder = std::getenv("ITO_GOLDENS");
    return folder ? folder : ITO_TEST_GOLDENS;
}

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (Index i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    return worst;
}

}  // namespace

TEST_CASE("torch.randn and torch.rand of a CPU generator are reproduced") {
    const auto file = SafeTensors::open(goldens() + "/torch_randn_cpu.safetensors");
    int ran = 0;
    double worst = 0;
    for (const std::string& name : file.names()) {
        if (name.rfind("seed", 0) != 0) continue;
        INFO(name);
        const auto underscore = name.find('_');
        TorchRandom random(std::stoull(name.substr(4, underscore - 4)));
        const std::string kind = name.substr(underscore + 1);
        const auto expected = file.load<float>(name);
        // seq_a, seq_b and rand come from one generator in this order.
        if (kind == "seq_b" || kind == "rand") random.randn(file.shape(name.substr(0, underscore) + "_seq_a"));
        if (kind == "rand") random.randn(file.shape(name.substr(0, underscore) + "_seq_b"));
        if (kind == "rand") {
            CHECK(largest_difference(random.rand(expected.shape()), expected) == 0);
        } else {
            const double difference = largest_difference(random.randn(expected.shape()), expected);
            worst = std::max(worst, difference);
            CHECK(difference < 1e-6);
        }
        ++ran;
    }
    CHECK(ran > 0);
    WARN(ran << " streams ran; the largest difference of randn is " << worst);
}

}  // namespace torch_random_test

// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <utility>

#include "ito/core/parallel.hpp"
#include "ito/io/json_file.hpp"
#include "ito/ops/dispatch.hpp"
#include "ito/simd/conv_algorithms.hpp"

namespace ito {

/// Beside a network's weights.
inline constexpr char conv_algorithms_file[] = "ito_algorithms.json";

namespace detail {

inline constexpr std::array<std::pair<ConvAlgorithm, const char*>, 3> algorithm_names{
    {{ConvAlgorithm::direct, "direct"}, {ConvAlgorithm::winograd2, "winograd2"}, {ConvAlgorithm::winograd4, "winograd4"}}};

}  // namespace detail

/// What read_conv_algorithms reads:
/// {"lanes": floats in a register of these kernels, "threads": of the current pool, for the reader,
///  "layers": [{"height", "width", "in", "out", "algorithm": "direct", "winograd2" or "winograd4"}, ..]}
/// Replaces the file in one step. Throws FileError.
inline void write_conv_algorithms(const std::filesystem::path& path, const ConvAlgorithms& algorithms) {
    nlohmann::json layers = nlohmann::json::array();
    for (const auto& [layer, algorithm] : algorithms.choices())
        for (const auto& [known, name] : detail::algorithm_names)
            if (known == algorithm)
                layers.push_back({{"height", layer.height}, {"width", layer.width}, {"in", layer.in}, {"out", layer.out}, {"algorithm", name}});
    write_json(path, {{"lanes", ops::detail::kernel_lanes()}, {"threads", ThreadPool::current().threads()}, {"layers", layers}});
}

/// The algorithms in a file; none if they were timed with registers of another width than these kernels have.
/// Throws FileError with the file's name, for what write_conv_algorithms does not write also.
inline ConvAlgorithms read_conv_algorithms(const std::filesystem::path& path) {
    const nlohmann::json json = read_json(path);
    const auto require = [&](bool holds, const std::string& why) {
        if (!holds) throw detail::file_error(path, why);
    };
    const auto extent = [&](const nlohmann::json& object, const char* key) {
        const auto found = object.find(key);
        require(found != object.end(), std::string("'") + key + "' is missing");
        const Index value = found->is_number_integer() ? found->get<Index>() : 0;
        require(value >= 1 && value <= 1 << 24,
                std::string("'") + key + "' must be a number from 1 to 2^24, not " + detail::printable(found->dump()));
        return value;
    };
    require(json.is_object(), "not a JSON object");
    for (const auto& item : json.items())
        require(item.key() == "lanes" || item.key() == "threads" || item.key() == "layers",
                "ito does not know the entry '" + detail::printable(item.key()) + "'");
    const Index lanes = extent(json, "lanes");
    extent(json, "threads");
    const auto layers = json.find("layers");
    require(layers != json.end() && layers->is_array() && layers->size() <= 4096, "'layers' must be a list of at most 4096");
    ConvAlgorithms algorithms;
    for (const nlohmann::json& entry : *layers) {
        const std::string text = detail::printable(entry.dump());
        require(entry.is_object() && entry.size() == 5, "a layer has height, width, in, out and algorithm, not " + text);
        const ConvLayer layer{extent(entry, "height"), extent(entry, "width"), extent(entry, "in"), extent(entry, "out")};
        require(!algorithms.of(layer), "the layer " + text + " has an algorithm already");
        bool known = false;
        for (const auto& [algorithm, name] : detail::algorithm_names)
            if (entry.contains("algorithm") && detail::is_text(entry["algorithm"], name)) {
                algorithms.choose(layer, algorithm);
                known = true;
            }
        require(known, "the algorithm of " + text + " must be direct, winograd2 or winograd4");
    }
    return lanes == ops::detail::kernel_lanes() ? algorithms : ConvAlgorithms();
}

}  // namespace ito

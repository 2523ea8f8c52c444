// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "ito/core/tensor.hpp"
#include "ito/io/atomic_file.hpp"
#include "ito/io/dtype.hpp"

namespace ito {

/// Collects named tensors and writes them as one safetensors file:
///   SafeTensorsWriter file;
///   file.add("conv_in.weight", weight, DType::f16);
///   file.save("model.safetensors", {{"format", "pt"}});
class SafeTensorsWriter {
  public:
    /// Converts at once and keeps the bytes. Throws ArgumentError for a name used twice, a floating tensor asked
    /// to be stored as integers, or an integer that does not fit.
    template <class T>
    void add(const std::string& name, const Tensor<T>& tensor, DType dtype = dtype_of<T>()) {
        const std::string about = "safetensors: tensor '" + detail::printable(name) + "'";
        if (name == "__metadata__" || !names_.insert(name).second) throw ArgumentError(about + ": this name is taken");
        std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.size() * dtype_bytes(dtype)));
        if (encode(dtype, tensor.data(), bytes.data(), tensor.size()) != tensor.size())
            throw ArgumentError(about + " does not fit into " + std::string(dtype_name(dtype)));
        entries_.push_back({name, dtype, tensor.shape(), std::move(bytes)});
    }

    /// Replaces the file in one step (see AtomicFile): after an error or a kill the old one is still there.
    /// Throws FileError; ArgumentError for a name or metadata that is not UTF-8.
    void save(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata = {}) const {
        // Wide elements first, as the reference implementation does: with a header padded to 8 bytes every
        // tensor is then aligned to its element.
        std::vector<const Entry*> order;
        for (const auto& entry : entries_) order.push_back(&entry);
        std::stable_sort(order.begin(), order.end(),
                         [](const Entry* a, const Entry* b) { return dtype_bytes(a->dtype) > dtype_bytes(b->dtype); });

        nlohmann::ordered_json header = nlohmann::ordered_json::object();
        if (!metadata.empty()) header["__metadata__"] = metadata;
        std::uint64_t offset = 0;
        std::string text;
        try {
            // Each entry is written out on its own: an ordered_json looks a key up by walking all of them.
            text = header.dump();
            text.pop_back();
            for (const Entry* entry : order) {
                const nlohmann::ordered_json facts = {
                    {"dtype", dtype_name(entry->dtype)},
                    {"shape", std::vector<Index>(entry->shape.begin(), entry->shape.end())},
                    {"data_offsets", {offset, offset + entry->bytes.size()}}};
                if (text.size() > 1) text += ',';
                text += nlohmann::ordered_json(entry->name).dump() + ":" + facts.dump();
                offset += entry->bytes.size();
            }
            text += "}";
        } catch (const nlohmann::json::type_error&) {
            throw ArgumentError(path.string() + ": a tensor's name or the metadata is not UTF-8");
        }
        text.append((8 - text.size() % 8) % 8, ' ');

        AtomicFile file(path);
        const std::uint64_t length = text.size();
        file.write(std::as_bytes(std::span(&length, 1)));
        file.write(text);
        for (const Entry* entry : order) file.write(entry->bytes);
        file.commit();
    }

  private:
    struct Entry {
        std::string name;
        DType dtype;
        Shape shape;
        std::vector<std::byte> bytes;
    };

    std::vector<Entry> entries_;
    std::set<std::string> names_;
};

}  // namespace ito

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

        std::uint64_t offset = 0;
        std::string text = "{";
        try {
            // Put together by hand but for the quoting: keys keep this order, and a header of thousands of entries is quick.
            const auto quoted = [](std::string_view words) { return nlohmann::json(words).dump(); };
            if (!metadata.empty()) text += quoted("__metadata__") + ":" + nlohmann::json(metadata).dump();
            for (const Entry* entry : order) {
                if (text.size() > 1) text += ',';
                text += quoted(entry->name) + ":{\"dtype\":" + quoted(dtype_name(entry->dtype)) + ",\"shape\":[";
                for (int axis = 0; axis < entry->shape.rank(); ++axis) {  // no sum of strings, which g++ 12 -O3 warns about
                    if (axis > 0) text += ',';
                    text += std::to_string(entry->shape[axis]);
                }
                text += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + entry->bytes.size()) + "]}";
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

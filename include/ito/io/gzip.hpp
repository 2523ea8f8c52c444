// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <span>
#include <string>
#include <vector>

#include <zlib.h>

#include "ito/io/file_error.hpp"
#include "ito/io/mapped_file.hpp"

namespace ito {

/// The contents of a file, unpacked if it is gzipped (known by its first two bytes, not by its name).
class FileBytes {
  public:
    /// Unpacking stops with FileError at `limit` bytes; memory grows with what really comes out, so that a small
    /// file that claims much costs little. Throws FileError for anything damaged, cut short or followed by other bytes.
    explicit FileBytes(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{8} << 30) : file_(path) {
        const auto packed = file_.bytes();
        packed_ = packed.size() >= 2 && packed[0] == std::byte{0x1f} && packed[1] == std::byte{0x8b};
        if (packed_) inflate(path, packed, limit);
    }

    std::span<const std::byte> bytes() const { return packed_ ? std::span<const std::byte>(unpacked_) : file_.bytes(); }

  private:
    void inflate(const std::filesystem::path& path, std::span<const std::byte> packed, std::uint64_t limit) {
        z_stream stream{};
        if (::inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw std::bad_alloc();
        struct End {
            z_stream& stream;
            ~End() { ::inflateEnd(&stream); }
        } const end{stream};

        std::size_t consumed = 0, produced = 0;
        const auto fail = [&](const std::string& reason) {
            throw detail::file_error(path, consumed, "gzip: " + reason);
        };
        unpacked_.resize(std::min<std::size_t>(packed.size() * 4 + 1024, std::size_t{1} << 26));
        for (;;) {
            if (produced == unpacked_.size()) unpacked_.resize(produced * 2);
            const std::size_t take = std::min(packed.size() - consumed, std::size_t{1} << 30);
            const std::size_t room = std::min(unpacked_.size() - produced, std::size_t{1} << 30);
            stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data() + consumed));
            stream.avail_in = static_cast<uInt>(take);
            stream.next_out = reinterpret_cast<Bytef*>(unpacked_.data() + produced);
            stream.avail_out = static_cast<uInt>(room);
            const int result = ::inflate(&stream, Z_NO_FLUSH);
            consumed += take - stream.avail_in;
            produced += room - stream.avail_out;
            if (produced > limit) fail("unpacks to more than " + std::to_string(limit) + " bytes");
            if (result == Z_STREAM_END) {
                if (consumed == packed.size()) break;
                ::inflateReset(&stream);  // another member may follow; anything else is a wrong header next
            } else if (result == Z_BUF_ERROR || (result == Z_OK && consumed == packed.size() && stream.avail_out > 0)) {
                fail("truncated");
            } else if (result == Z_MEM_ERROR) {
                throw std::bad_alloc();
            } else if (result != Z_OK) {
                fail(stream.msg ? stream.msg : "damaged");
            }
        }
        unpacked_.resize(produced);
    }

    MappedFile file_;
    std::vector<std::byte> unpacked_;
    bool packed_ = false;
};

}  // namespace ito

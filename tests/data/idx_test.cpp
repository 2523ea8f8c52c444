// SPDX-License-Identifier: MIT
#include "ito/data/idx.hpp"

#include "catch.hpp"
#include "gzip_file.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace idx_test {
namespace {

std::string idx_of(std::vector<std::uint32_t> extents, std::size_t data, int type = 8) {
    std::string text{'\0', '\0', static_cast<char>(type), static_cast<char>(extents.size())};
    for (const auto extent : extents)
        for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(extent >> shift);
    for (std::size_t i = 0; i < data; ++i) text += static_cast<char>(i);
    return text;
}

std::string refusal(const TempFolder& folder, const std::string& contents) {
    write_text(folder / "bad", contents);
    try {
        read_idx(folder / "bad");
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("IDX images and labels, plain and gzipped") {
    TempFolder folder;
    write_text(folder / "images", idx_of({2, 3, 4}, 24));
    write_gzip(folder / "images.gz", idx_of({2, 3, 4}, 24));
    for (const char* name : {"images", "images.gz"}) {
        const auto images = read_idx_images(folder / name);
        CHECK(images.shape() == Shape{2, 3, 4, 1});
        CHECK(images(1, 2, 3, 0) == 23);
    }
    write_text(folder / "labels", idx_of({5}, 5));
    CHECK(read_idx_labels(folder / "labels") == std::vector<Index>{0, 1, 2, 3, 4});
    CHECK_THROWS_AS(read_idx_images(folder / "labels"), FileError);
    CHECK_THROWS_AS(read_idx_labels(folder / "images"), FileError);
    CHECK(read_idx(folder / "images").shape() == Shape{2, 3, 4});
}

TEST_CASE("damaged IDX files are refused with the reason") {
    TempFolder folder;
    CHECK(refusal(folder, idx_of({3}, 3)).empty());
    CHECK(refusal(folder, idx_of({0, 3}, 0)).empty());
    CHECK_THAT(refusal(folder, idx_of({3}, 2)), ContainsSubstring("takes 3 bytes, the file has 2"));
    CHECK_THAT(refusal(folder, idx_of({3}, 4)), ContainsSubstring("takes 3 bytes, the file has 4"));
    CHECK_THAT(refusal(folder, idx_of({3}, 12, 13)), ContainsSubstring("type 13"));
    CHECK_THAT(refusal(folder, idx_of({}, 1)), ContainsSubstring("0 axes"));
    CHECK_THAT(refusal(folder, idx_of({1, 1, 1, 1, 1, 1, 1}, 1)), ContainsSubstring("7 axes"));
    CHECK_THAT(refusal(folder, idx_of({~0u, ~0u, ~0u}, 8)), ContainsSubstring("too many"));
    CHECK_THAT(refusal(folder, idx_of({~0u}, 8)), ContainsSubstring("takes 4294967295 bytes"));
    CHECK_THAT(refusal(folder, "text"), ContainsSubstring("not an IDX file"));
    const std::string whole = idx_of({2, 3, 4}, 24);
    for (std::size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(refusal(folder, whole.substr(0, length)).empty());
    }
    Bits bits{5};
    for (int round = 0; round < 2000; ++round) {
        std::string damaged = whole;
        for (int i = 0; i < 3; ++i) damaged[bits.below(16)] = static_cast<char>(bits.below(3) ? bits.below(6) : bits());
        refusal(folder, damaged);
    }
}

}  // namespace idx_test

// SPDX-License-Identifier: MIT
#include "ito/io/gzip.hpp"

#include "catch.hpp"
#include "gzip_file.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

std::string contents(const std::filesystem::path& path, std::uint64_t limit = 1 << 28) {
    const FileBytes file(path, limit);
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

TEST_CASE("files are read plain or unpacked") {
    TempFolder folder;
    Bits bits;
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += static_cast<char>(bits.below(7));
    write_text(folder / "plain", text);
    CHECK(contents(folder / "plain") == text);
    write_gzip(folder / "packed", text);
    CHECK(contents(folder / "packed") == text);
    write_text(folder / "two", read_text(folder / "packed") + read_text(folder / "packed"));
    CHECK(contents(folder / "two") == text + text);
    write_gzip(folder / "nothing", "");
    CHECK(contents(folder / "nothing").empty());
    write_text(folder / "empty", "");
    CHECK(contents(folder / "empty").empty());
    CHECK_THROWS_AS(contents(folder / "absent"), FileError);
    CHECK_THROWS_AS(contents(folder.path()), FileError);
}

TEST_CASE("unpacking stops at the limit") {
    TempFolder folder;
    write_gzip(folder / "zeros", std::string(10'000'000, '\0'));
    CHECK(std::filesystem::file_size(folder / "zeros") < 20'000);
    CHECK(contents(folder / "zeros", 10'000'000).size() == 10'000'000);
    CHECK_THROWS_AS(contents(folder / "zeros", 9'999'999), FileError);
    CHECK_THROWS_AS(contents(folder / "zeros", 0), FileError);
}

TEST_CASE("a gzipped file cut at any byte, or followed by others, is refused") {
    TempFolder folder;
    write_gzip(folder / "a", "some text that is packed, text, text");
    const std::string whole = read_text(folder / "a");
    for (std::size_t length = 2; length < whole.size(); ++length) {
        CAPTURE(length);
        write_text(folder / "cut", whole.substr(0, length));
        CHECK_THROWS_AS(contents(folder / "cut"), FileError);
    }
    write_text(folder / "cut", whole + "x");
    CHECK_THROWS_AS(contents(folder / "cut"), FileError);
}

TEST_CASE("a damaged gzipped file is refused or unpacked to the same") {
    TempFolder folder;
    const std::string text = "some text that is packed, text, text";
    write_gzip(folder / "a", text);
    const std::string whole = read_text(folder / "a");
    for (std::size_t i = 2; i < whole.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
            write_text(folder / "damaged", damaged);
            std::string unpacked = text;
            try {
                unpacked = contents(folder / "damaged");  // some bytes of the header mean nothing
            } catch (const FileError&) {
            }
            CHECK(unpacked == text);
        }
}

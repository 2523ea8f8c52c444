// SPDX-License-Identifier: MIT
// The program's own use of stb, declarations before and implementation after ito, must not be disturbed.
#include <stb/stb_image.h>

#include "ito/io/image.hpp"

#ifdef STB_IMAGE_IMPLEMENTATION
#error "a macro leaks"
#endif
#ifdef STBI_NO_STDIO
#error "a macro leaks"
#endif
#ifdef STBI_ASSERT
#error "a macro leaks"
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <cmath>

#include "catch.hpp"
#include "ito/io/resize.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

Tensor<std::uint8_t> noise_image(Index height, Index width, Index channels, std::uint64_t seed = 1) {
    Bits bits{seed};
    Tensor<std::uint8_t> image({height, width, channels});
    for (auto& v : image) v = static_cast<std::uint8_t>(bits());
    return image;
}

bool same(const Tensor<std::uint8_t>& a, const Tensor<std::uint8_t>& b) {
    return a.shape() == b.shape() && std::equal(a.begin(), a.end(), b.begin());
}

}  // namespace

TEST_CASE("a PNG keeps every pixel") {
    TempFolder folder;
    for (int channels = 1; channels <= 4; ++channels) {
        const auto image = noise_image(13, 7, channels);
        write_png(folder / "a.png", image);
        CHECK(same(read_image(folder / "a.png", 0), image));
        if (channels != 2) CHECK(same(read_image(folder / "a.png", channels), image));
    }
    write_png(folder / "a.png", Tensor<std::uint8_t>::full({3, 4}, 9));
    CHECK(read_image(folder / "a.png", 0).shape() == Shape{3, 4, 1});
    const auto colour = read_image(folder / "a.png");
    CHECK(colour.shape() == Shape{3, 4, 3});
    CHECK(colour(2, 3, 2) == 9);

    int height = 0, width = 0, stored = 0;
    unsigned char* pixels = stbi_load((folder / "a.png").c_str(), &width, &height, &stored, 1);
    REQUIRE(pixels);
    CHECK(pixels[0] == 9);
    stbi_image_free(pixels);
}

TEST_CASE("what is no image is refused with the file and the reason") {
    TempFolder folder;
    const auto refusal = [&](const std::string& contents) {
        write_text(folder / "bad.png", contents);
        try {
            read_image(folder / "bad.png");
        } catch (const FileError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK_THAT(refusal(""), ContainsSubstring("empty"));
    CHECK_THAT(refusal("no image"),
               ContainsSubstring("bad.png: cannot be read as an image: Image not of any known type"));
    CHECK_THAT(refusal("P6 30000 30000 255\nxyz"), ContainsSubstring("claims 30000 x 30000"));
    CHECK_THROWS_AS(read_image(folder / "absent.png"), FileError);
    CHECK_THROWS_AS(read_image(folder / "bad.png", 2), ArgumentError);
    CHECK_THROWS_AS(write_png(folder / "a.png", noise_image(2, 2, 5)), ShapeError);
    CHECK_THROWS_AS(write_png(folder / "a.png", Tensor<std::uint8_t>({0, 2, 3})), ShapeError);
    CHECK_THROWS_AS(write_png(folder / "absent/a.png", noise_image(2, 2, 3)), FileError);
}

TEST_CASE("a PNG truncated or damaged anywhere is refused or read within its bounds") {
    TempFolder folder;
    write_png(folder / "a.png", noise_image(9, 11, 3));
    const std::string whole = read_text(folder / "a.png");
    int read = 0;
    const auto attempt = [&](const std::string& contents) {
        write_text(folder / "bad.png", contents);
        try {
            read += read_image(folder / "bad.png").rank() == 3;
        } catch (const FileError&) {
        }
    };
    for (std::size_t length = 0; length + 12 < whole.size(); ++length) attempt(whole.substr(0, length));
    CHECK(read == 0);
    Bits bits{3};
    for (int round = 0; round < 4000; ++round) {
        std::string damaged = whole;
        for (std::size_t i = 0, changes = 1 + bits.below(3); i < changes; ++i)
            damaged[8 + bits.below(round % 2 ? 50 : damaged.size() - 8)] = static_cast<char>(bits());
        attempt(damaged);
    }
    CHECK(read < 4000);
}

TEST_CASE("resizing") {
    const auto image = noise_image(8, 12, 3);
    CHECK(same(resize(image, 8, 12), image));
    const auto flat = Tensor<std::uint8_t>::full({5, 7, 2}, 200);
    for (const auto& [height, width] : {std::pair<Index, Index>{1, 1}, {3, 3}, {11, 20}, {5, 2}}) {
        const auto result = resize(flat, height, width);
        CHECK(result.shape() == Shape{height, width, 2});
        CHECK(std::all_of(result.begin(), result.end(), [](int v) { return v == 200; }));
    }
    // A ramp stays a ramp, and shrinking keeps the mean.
    Tensor<std::uint8_t> ramp({1, 64, 1});
    for (Index x = 0; x < 64; ++x) ramp[x] = static_cast<std::uint8_t>(4 * x);
    const auto half = resize(ramp, 1, 32), twice = resize(ramp, 1, 128);
    for (Index x = 1; x < 31; ++x) CHECK(std::abs(half[x] - (8 * x + 2)) <= 1);
    for (Index x = 1; x < 127; ++x) CHECK(std::abs(twice[x] - (2 * x - 1)) <= 1);
    // A checkerboard shrinks to its mean, not to one of its colours.
    Tensor<std::uint8_t> board({32, 32, 1});
    for (Index i = 0; i < board.size(); ++i) board[i] = (i / 32 + i) % 2 ? 255 : 0;
    for (const int v : resize(board, 8, 8)) CHECK(std::abs(v - 127) <= 8);
    CHECK_THROWS_AS(resize(image, 0, 3), ArgumentError);
    CHECK_THROWS_AS(resize(Tensor<std::uint8_t>({2, 2}), 1, 1), ShapeError);
}

TEST_CASE("cropping") {
    const auto image = noise_image(5, 8, 3);
    const auto middle = centre_crop(image, 3, 4);
    for (Index y = 0; y < 3; ++y)
        for (Index x = 0; x < 4; ++x) CHECK(middle(y, x, 1) == image(y + 1, x + 2, 1));
    CHECK_THROWS_AS(centre_crop(image, 6, 4), ShapeError);
    CHECK_THROWS_AS(centre_crop(image, 0, 4), ShapeError);
    CHECK(resize_and_crop(image, 10, 10).shape() == Shape{10, 10, 3});
    CHECK(resize_and_crop(image, 1, 7).shape() == Shape{1, 7, 3});
    CHECK(same(resize_and_crop(image, 5, 5), centre_crop(image, 5, 5)));
}

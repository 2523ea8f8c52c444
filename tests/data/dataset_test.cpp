// SPDX-License-Identifier: MIT
#include "ito/data/dataset.hpp"

#include "catch.hpp"
#include "ito/data/open_dataset.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

Tensor<std::uint8_t> counted(const Shape& shape) {
    Tensor<std::uint8_t> tensor(shape);
    for (Index i = 0; i < tensor.size(); ++i) tensor[i] = static_cast<std::uint8_t>(i);
    return tensor;
}

std::string idx_of(std::vector<std::uint8_t> extents, std::size_t data) {
    std::string text{'\0', '\0', '\10', static_cast<char>(extents.size())};
    for (const auto extent : extents) text += std::string(3, '\0') + static_cast<char>(extent);
    for (std::size_t i = 0; i < data; ++i) text += static_cast<char>(i % 3);
    return text;
}

template <class F>
std::string refusal(F f) {
    try {
        f();
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a data set in memory") {
    const auto data = make_dataset(counted({4, 2, 2, 1}), {0, 2, 1, 2});
    CHECK(data.size() == 4);
    CHECK(data.classes() == 3);
    CHECK(data.class_names == std::vector<std::string>{"0", "1", "2"});
    CHECK(data.image_shape() == Shape{2, 2, 1});
    const auto part = slice(data, 1, 3);
    CHECK(part.labels == std::vector<Index>{2, 1});
    CHECK(part.images(0, 0, 0, 0) == 4);
    CHECK(part.classes() == 3);
    CHECK_THROWS_AS(slice(data, 3, 3), ArgumentError);
    CHECK_THROWS_AS(slice(data, 0, 5), ArgumentError);
    CHECK_NOTHROW(require_labels(data, "for a model with classes"));
    CHECK_THROWS_AS(require_labels(make_dataset(counted({4, 2, 2, 1})), "for a model with classes"), ConfigError);

    CHECK_THROWS_AS(make_dataset(counted({4, 2, 2, 1}), {0, 1}), ArgumentError);
    CHECK_THROWS_AS(make_dataset(counted({2, 2, 2, 1}), {0, -1}), ArgumentError);
    CHECK_THROWS_AS(make_dataset(counted({2, 2, 2, 1}), {0, 1000}), ArgumentError);
    CHECK_THROWS_AS(make_dataset(counted({2, 2, 2, 1}), {0, 1}, {"only"}), ArgumentError);
    CHECK_THROWS_AS(make_dataset(counted({2, 2, 2})), ArgumentError);
    CHECK_THROWS_AS(make_dataset(counted({0, 2, 2, 1})), ArgumentError);
}

TEST_CASE("a folder of IDX files, and one of them") {
    TempFolder folder;
    write_text(folder / "train-images-idx3-ubyte", idx_of({3, 2, 2}, 12));
    CHECK_FALSE(open_dataset(folder.path()).labelled());
    write_text(folder / "train-labels-idx1-ubyte", idx_of({3}, 3));
    const auto data = open_dataset(folder.path());
    CHECK(data.images.shape() == Shape{3, 2, 2, 1});
    CHECK(data.labels == std::vector<Index>{0, 1, 2});
    CHECK(open_dataset(folder / "train-images-idx3-ubyte").labels == data.labels);
    CHECK_THAT(refusal([&] { open_dataset(folder.path(), Split::test); }), ContainsSubstring("no held-out part"));
    write_text(folder / "t10k-images-idx3-ubyte", idx_of({1, 2, 2}, 4));
    CHECK(open_dataset(folder.path(), Split::test).size() == 1);
    write_text(folder / "train-labels-idx1-ubyte", idx_of({2}, 2));
    CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("3 images and 2 labels"));
    write_text(folder / "train-labels-idx1-ubyte", idx_of({0}, 0));
    CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("train-labels-idx1-ubyte"));
}

TEST_CASE("NumPy files") {
    TempFolder folder;
    write_npy(folder / "images.npy", counted({3, 4, 5, 3}));
    CHECK(open_dataset(folder / "images.npy").images(2, 3, 4, 2) == 179);
    CHECK_FALSE(open_dataset(folder.path()).labelled());
    write_npy(folder / "labels.npy", Tensor<std::int64_t>::from({3}, {1, 0, 1}));
    CHECK(open_dataset(folder.path()).labels == std::vector<Index>{1, 0, 1});
    write_npy(folder / "grey.npy", counted({3, 4, 5}));
    CHECK(open_dataset(folder / "grey.npy").image_shape() == Shape{4, 5, 1});
    write_npy(folder / "flat.npy", counted({3, 4}));
    CHECK_FALSE(refusal([&] { open_dataset(folder / "flat.npy"); }).empty());
    write_npy(folder / "floats.npy", Tensor<float>::zeros({3, 4, 5, 3}));
    CHECK_THAT(refusal([&] { open_dataset(folder / "floats.npy"); }), ContainsSubstring("F32"));
    write_npy(folder / "labels.npy", Tensor<std::int64_t>({0}));
    CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("labels.npy"));
    write_npy(folder / "labels.npy", counted({3, 1}));
    CHECK_FALSE(refusal([&] { open_dataset(folder.path()); }).empty());
}

TEST_CASE("folders of images") {
    TempFolder folder;
    CHECK_THAT(refusal([&] { open_dataset(folder / "absent"); }), ContainsSubstring("no such"));
    CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("no images"));

    SECTION("flat: no labels") {
        write_png(folder / "b.png", Tensor<std::uint8_t>::full({4, 6, 3}, 2));
        write_png(folder / "a.PNG", Tensor<std::uint8_t>::full({4, 6, 3}, 1));
        write_text(folder / "notes.txt", "not an image");
        write_text(folder / ".hidden.png", "not an image");
        const auto data = open_dataset(folder.path());
        CHECK(data.images.shape() == Shape{2, 4, 6, 3});
        CHECK(data.images(0, 0, 0, 0) == 1);
        CHECK_FALSE(data.labelled());
        CHECK(open_dataset(folder.path(), Split::train, {1, 0, 0}).images.shape() == Shape{2, 4, 6, 1});

        write_png(folder / "c.png", Tensor<std::uint8_t>::full({5, 6, 3}, 3));
        CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("c.png: has shape [5, 6, 3]"));
        const auto fitted = open_dataset(folder.path(), Split::train, {3, 8, 8});
        CHECK(fitted.images.shape() == Shape{3, 8, 8, 3});
        CHECK(fitted.images(2, 7, 7, 2) == 3);

        write_text(folder / "d.png", "not an image");
        CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("c.png"));
        CHECK_THAT(refusal([&] {
                       open_dataset(folder.path(), Split::train, {3, 8, 8});
                   }),
                   ContainsSubstring("d.png: cannot be read"));
        std::filesystem::create_directory(folder / "more");
        CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("both"));
    }
    SECTION("a class each subfolder") {
        std::filesystem::create_directory(folder / "cat");
        std::filesystem::create_directory(folder / "ant");
        write_png(folder / "cat/1.png", Tensor<std::uint8_t>::full({2, 2, 1}, 7));
        CHECK_THAT(refusal([&] { open_dataset(folder.path()); }), ContainsSubstring("ant: no images"));
        write_png(folder / "ant/1.png", Tensor<std::uint8_t>::full({2, 2, 1}, 8));
        write_png(folder / "ant/2.png", Tensor<std::uint8_t>::full({2, 2, 1}, 9));
        const auto data = open_dataset(folder.path());
        CHECK(data.class_names == std::vector<std::string>{"ant", "cat"});
        CHECK(data.labels == std::vector<Index>{0, 0, 1});
        CHECK(data.images(2, 0, 0, 2) == 7);
    }
    SECTION("impossible wishes") {
        CHECK_THROWS_AS(read_image_folder(folder.path(), {2, 0, 0}), ArgumentError);
        CHECK_THROWS_AS(read_image_folder(folder.path(), {3, -1, -1}), ArgumentError);
        CHECK_THROWS_AS(read_image_folder(folder.path(), {3, 8, 0}), ArgumentError);
    }
}

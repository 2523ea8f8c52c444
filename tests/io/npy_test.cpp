// SPDX-License-Identifier: MIT
#include "ito/io/npy.hpp"

#include <numeric>

#include "catch.hpp"
#include "gzip_file.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

std::string npy_of(const std::string& header, const std::string& data, int version = 1) {
    std::string text("\x93NUMPY", 6);
    text += static_cast<char>(version);
    text += '\0';
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i) text += static_cast<char>(header.size() >> (8 * i));
    return text + header + data;
}

std::string refusal(const TempFolder& folder, const std::string& contents) {
    write_text(folder / "bad.npy", contents);
    try {
        read_npy<float>(folder / "bad.npy");
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEMPLATE_TEST_CASE("npy: what is written is read", "", std::uint8_t, std::int32_t, std::int64_t, float, double) {
    TempFolder folder;
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3}, Shape{0, 5}, Shape{2, 1, 3, 2}}) {
        Tensor<TestType> tensor(shape);
        std::iota(tensor.begin(), tensor.end(), TestType(1));
        write_npy(folder / "a.npy", tensor);
        const auto back = read_npy<TestType>(folder / "a.npy");
        CHECK(back.shape() == shape);
        CHECK(std::equal(tensor.begin(), tensor.end(), back.begin()));
        const std::string whole = read_text(folder / "a.npy");
        CHECK((whole.size() - static_cast<std::size_t>(tensor.size()) * sizeof(TestType)) % 64 == 0);
        write_gzip(folder / "a.npy.gz", whole);
        CHECK(read_npy<double>(folder / "a.npy.gz").shape() == shape);
    }
}

TEST_CASE("npy: the header is as NumPy writes it") {
    TempFolder folder;
    write_npy(folder / "a.npy", Tensor<float>::zeros({2, 3}));
    CHECK(read_text(folder / "a.npy").substr(10, 59) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    write_npy(folder / "a.npy", Tensor<std::uint8_t>::zeros({7}));
    CHECK(read_text(folder / "a.npy").substr(10, 57) == "{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }");
    write_npy(folder / "a.npy", Tensor<double>::zeros(Shape{}));
    CHECK(read_text(folder / "a.npy").substr(10, 55) == "{'descr': '<f8', 'fortran_order': False, 'shape': (), }");
}

TEST_CASE("npy: Fortran order, versions 2 and 3, other types") {
    TempFolder folder;
    for (const int version : {1, 2, 3}) {
        write_text(folder / "a.npy", npy_of("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2)}\n",
                                            "\1\2\3\4\5\6\7\10\11\12\13\14", version));
        const auto tensor = read_npy<int>(folder / "a.npy");
        REQUIRE(tensor.shape() == Shape{2, 3, 2});
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 3; ++j)
                for (int k = 0; k < 2; ++k) CHECK(tensor(i, j, k) == 1 + i + 2 * j + 6 * k);
    }
    write_text(folder / "a.npy",
               npy_of("{\"shape\":(2L,),'fortran_order':False,'descr':'=f2'}", std::string("\x00\x3c\x00\xc0", 4)));
    CHECK(read_npy<float>(folder / "a.npy")[0] == 1.0f);
    CHECK(read_npy<float>(folder / "a.npy")[1] == -2.0f);
    CHECK_THROWS_AS(read_npy<int>(folder / "a.npy"), FileError);
    write_text(folder / "a.npy",
               npy_of("{'descr': '<i2', 'fortran_order': False, 'shape': (2,)}", std::string("\x00\x00\x00\x01", 4)));
    CHECK(read_npy<int>(folder / "a.npy")[1] == 256);
    CHECK_THROWS_AS(read_npy<std::uint8_t>(folder / "a.npy"), FileError);
}

TEST_CASE("npy: damaged headers are refused with the reason") {
    TempFolder folder;
    const auto refused = [&](const std::string& header, std::size_t data, const std::string& reason) {
        CAPTURE(header);
        CHECK_THAT(refusal(folder, npy_of(header, std::string(data, 'x'))), ContainsSubstring(reason));
    };
    CHECK(refusal(folder, npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "12345678")).empty());
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 7, "takes 8 bytes, the file has 7");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 9, "takes 8 bytes, the file has 9");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 8, "digits");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999,9999999999999999)}", 8,
            "too many elements");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,2)}", 8, "more than 6");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", 8, "number expected");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}", 8, "expected");
    refused("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", 8, "big-endian");
    refused("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "'<c8'");
    refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, "'|O'");
    refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, "records");
    refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", 8, "True or False");
    refused("{'descr': '<f4', 'fortran_order': False}", 8, "missing");
    refused("{'descr': '<f4', 'descr': '<f4'}", 8, "repeated");
    refused("{'descr': '<f4', 'more': 1}", 8, "unknown");
    refused("{'descr': '<f4", 8, "quote");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8, "after");
    refused("", 8, "expected");
    CHECK_THAT(refusal(folder, ""), ContainsSubstring("not a .npy"));
    CHECK_THAT(refusal(folder, npy_of("{}", "", 4)), ContainsSubstring("version 4"));
    CHECK_THAT(refusal(folder, std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14)), ContainsSubstring("truncated"));
}

TEST_CASE("npy: truncated or damaged anywhere, it is refused or read within its bounds") {
    TempFolder folder;
    write_npy(folder / "a.npy", Tensor<float>::full({2, 3}, 1));
    const std::string whole = read_text(folder / "a.npy");
    for (std::size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(refusal(folder, whole.substr(0, length)).empty());
    }
    Bits bits{7};
    int opened = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string damaged = whole;
        for (std::size_t i = 0, changes = 1 + bits.below(3); i < changes; ++i)
            damaged[bits.below(70)] = static_cast<char>(bits() % 2 ? "0123456789(),:'{}"[bits.below(17)] : bits());
        opened += refusal(folder, damaged).empty();
    }
    CHECK(opened < 2000);
}

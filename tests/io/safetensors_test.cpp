// SPDX-License-Identifier: MIT
#include "ito/io/safetensors.hpp"

#include <cstring>
#include <limits>

#include "catch.hpp"
#include "ito/io/safetensors_writer.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace safetensors_test {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
    const std::uint64_t length = header.size();
    std::string text(8, '\0');
    std::memcpy(text.data(), &length, 8);
    return text + header + data;
}

/// The message of the FileError that opening gives, or "" if it opens.
std::string refusal(const std::filesystem::path& path) {
    try {
        SafeTensors::open(path);
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

std::string refusal(const TempFolder& folder, const std::string& contents) {
    write_text(folder / "bad.safetensors", contents);
    const std::string reason = refusal(folder / "bad.safetensors");
    CHECK((reason.empty() || reason.find("bad.safetensors") != std::string::npos));
    CHECK(reason.find('\n') == std::string::npos);
    return reason;
}

void write_sample(const std::filesystem::path& path) {
    SafeTensorsWriter file;
    file.add("byte", Tensor<std::uint8_t>::from({3}, {1, 2, 255}));
    file.add("half", Tensor<float>::from({2, 2}, {1.0f, -0.5f, 65504.0f, 0x1p-24f}), DType::f16);
    file.add("empty", Tensor<float>({0, 4}));
    file.add("scalar", Tensor<double>::from(Shape{}, {0.1}));
    file.add("long \"quoted\" \xc3\xa9",
             Tensor<std::int64_t>::from({1, 2}, {-1, std::numeric_limits<std::int64_t>::max()}));
    file.save(path, {{"format", "pt"}, {"note", "two\nlines"}});
}

}  // namespace

TEST_CASE("safetensors: what is written is read") {
    TempFolder folder;
    write_sample(folder / "a.safetensors");
    const auto file = SafeTensors::open(folder / "a.safetensors");
    CHECK(file.names() == std::vector<std::string>{"scalar", "long \"quoted\" \xc3\xa9", "empty", "half", "byte"});
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.metadata().at("note") == "two\nlines");
    CHECK(file.contains("half"));
    CHECK_FALSE(file.contains("hal"));
    CHECK(file.dtype("half") == DType::f16);
    CHECK(file.shape("half") == Shape{2, 2});
    CHECK(file.load<float>("half")(1, 0) == 65504.0f);
    CHECK(file.load<double>("half")(1, 1) == 0x1p-24);
    CHECK(file.load<double>("scalar")[0] == 0.1);
    CHECK(file.load<float>("empty").shape() == Shape{0, 4});
    CHECK(file.load<int>("byte")[2] == 255);
    CHECK(file.load<float>("byte")[2] == 255.0f);
    CHECK(file.load<std::int64_t>(file.names()[1])[1] == std::numeric_limits<std::int64_t>::max());
    CHECK_THROWS_AS(file.load<int>(file.names()[1]), FileError);
    CHECK_THROWS_AS(file.load<int>("half"), FileError);
    CHECK_THROWS_AS(file.load<float>("nobody"), FileError);
    CHECK_THROWS_AS(file.shape("nobody"), FileError);

    // The header is padded so that the data, widest first, is aligned.
    std::uint64_t length = 0;
    std::memcpy(&length, read_text(folder / "a.safetensors").data(), 8);
    CHECK(length % 8 == 0);
}

TEMPLATE_TEST_CASE("safetensors: every dtype to every scalar", "", float, double, std::uint8_t, std::int32_t,
                   std::int64_t, bool) {
    TempFolder folder;
    SafeTensorsWriter writer;
    const auto values = Tensor<TestType>::from({2}, {TestType(0), TestType(1)});
    std::vector<DType> dtypes = {DType::f16, DType::bf16, DType::f32, DType::f64};
    if (std::is_integral_v<TestType>)
        dtypes = {DType::boolean, DType::u8,  DType::i8,  DType::u16, DType::i16,
                  DType::u32,     DType::i32, DType::u64, DType::i64};
    for (const DType dtype : dtypes) writer.add(std::string(dtype_name(dtype)), values, dtype);
    writer.save(folder / "all");
    const auto file = SafeTensors::open(folder / "all");
    for (const DType dtype : dtypes) {
        const std::string name(dtype_name(dtype));
        CAPTURE(name);
        CHECK(file.dtype(name) == dtype);
        CHECK(file.load<TestType>(name)[1] == TestType(1));
        CHECK(file.load<float>(name)[0] == 0.0f);
        CHECK(file.load<float>(name)[1] == 1.0f);
        CHECK(file.load<double>(name)[1] == 1.0);
    }
}

TEST_CASE("safetensors: the writer refuses what it cannot store") {
    SafeTensorsWriter writer;
    writer.add("a", Tensor<float>::zeros({2}));
    CHECK_THROWS_AS(writer.add("a", Tensor<float>::zeros({2})), ArgumentError);
    CHECK_THROWS_AS(writer.add("__metadata__", Tensor<float>::zeros({2})), ArgumentError);
    CHECK_THROWS_AS(writer.add("b", Tensor<float>::zeros({2}), DType::i64), ArgumentError);
    CHECK_THROWS_AS(writer.add("c", Tensor<int>::full({2}, 300), DType::u8), ArgumentError);
    CHECK_THROWS_WITH(writer.add("d", Tensor<float>::full({2}, 1e5f), DType::f16), ContainsSubstring("'d' does not fit into F16"));
    CHECK_THROWS_AS(writer.add("e", Tensor<double>::full({2}, 1e300), DType::bf16), ArgumentError);
    CHECK_NOTHROW(writer.add("f", Tensor<float>::full({2}, -std::numeric_limits<float>::infinity()), DType::f16));
    TempFolder folder;
    CHECK_THROWS_AS(writer.save(folder / "no/such/folder/x"), FileError);
    SafeTensorsWriter unreadable;
    unreadable.add("\xff", Tensor<float>::zeros({1}));
    CHECK_THROWS_AS(unreadable.save(folder / "x"), ArgumentError);
    CHECK_FALSE(std::filesystem::exists(folder / "x"));
}

TEST_CASE("safetensors: damaged headers are refused with the reason") {
    TempFolder folder;
    const auto one = [](const std::string& entry) { return "{\"w\":" + entry + "}"; };
    const auto header_refusal = [&](const std::string& header, std::size_t data) {
        return refusal(folder, file_of(header, std::string(data, 'x')));
    };
    CHECK(header_refusal(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8).empty());
    CHECK(header_refusal("{}", 0).empty());
    CHECK(header_refusal("{}   ", 0).empty());

    const auto refused = [&](const std::string& header, std::size_t data, const std::string& reason) {
        const std::string begin = header.substr(0, 200);
        CAPTURE(begin);
        CHECK_THAT(header_refusal(header, data), ContainsSubstring(reason));
    };
    refused("", 0, "not a JSON object");
    refused("[]", 0, "not a JSON object");
    refused(" {}", 0, "not a JSON object");
    refused("{} {}", 0, "not valid JSON");
    refused("{\"w\":", 0, "not valid JSON");
    refused("{\"\xff\":{}}", 0, "not valid JSON");
    refused("{\"w\xc3\":{}}", 0, "not valid JSON");
    refused("{\"\\ud800\":{}}", 0, "not valid JSON");
    refused("{\"w\":{\"shape\":[1e999]}}", 0, "not valid JSON");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 7, "outside");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 9, "belong to no tensor");
    refused(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8, "takes 12 bytes, the file gives it 8");
    refused(one(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), 8, "unknown dtype 'F31'");
    refused(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8, "negative");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,8]})"), 8, "negative");
    refused(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), 8, "whole");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8, "outside");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), 8, "two data_offsets");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})"), 8, "two data_offsets");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551615,8]})"), 8, "63 bits");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,184467440737095516150]})"), 8, "whole 64-bit");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[9223372036854775799,9223372036854775807]})"), 8,
            "outside");
    refused(one(R"({"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]})"), 8, "too many elements");
    refused(one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8]})"), 8, "more than 6");
    refused(one(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), 8, "list");
    refused(one(R"({"dtype":"F32","shape":{},"data_offsets":[0,8]})"), 8, "object");
    refused(one(R"({"dtype":"F32","shape":null,"data_offsets":[0,8]})"), 8, "null");
    refused(one(R"({"dtype":1,"shape":[2],"data_offsets":[0,8]})"), 8, "number");
    refused(one(R"({"dtype":true,"shape":[2],"data_offsets":[0,8]})"), 8, "boolean");
    refused(one(R"({"dtype":"F32","shape":"2","data_offsets":[0,8]})"), 8, "text");
    refused(one(R"({"dtype":"F32","shape":[2]})"), 8, "lacks data_offsets");
    refused(one(R"({"shape":[2],"data_offsets":[0,8]})"), 8, "lacks dtype");
    refused(one(R"({"dtype":"F32","data_offsets":[0,8]})"), 8, "lacks shape");
    refused(one(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8, "twice");
    refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1})"), 8, "unknown key 'more'");
    refused(one("[]"), 8, "list");
    refused(one("7"), 8, "number");
    refused(R"({"__metadata__":{"a":1}})", 0, "number");
    refused(R"({"__metadata__":{"a":{}}})", 0, "object");
    refused(R"({"__metadata__":{"a":"1","a":"2"}})", 0, "duplicate");
    refused(R"({"__metadata__":{},"__metadata__":{}})", 0, "duplicate");

    const std::string f32 = R"({"dtype":"F32","shape":[1],"data_offsets":)";
    refused("{\"a\":" + f32 + "[0,4]},\"a\":" + f32 + "[4,8]}}", 8, "duplicate tensor 'a'");
    refused("{\"a\":" + f32 + "[0,4]},\"b\":" + f32 + "[2,6]}}", 6, "'b' overlaps");
    refused("{\"a\":" + f32 + "[0,4]},\"b\":" + f32 + "[0,4]}}", 4, "overlaps");
    refused("{\"a\":" + f32 + "[0,4]},\"b\":" + f32 + "[6,10]}}", 10, "'b' leaves a hole");
    refused("{\"b\":" + f32 + "[2,6]}}", 6, "hole");
    CHECK(header_refusal("{\"a\":" + f32 + "[4,8]},\"b\":" + f32 + "[0,4]}}", 8).empty());

    refused(std::string(3'000'000, '['), 0, "not a JSON object");
    refused("{\"a\":" + std::string(3'000'000, '['), 0, "list");
    std::string objects;
    for (int i = 0; i < 200'000; ++i) objects += "{\"a\":";
    refused(objects, 0, "unknown key");
    refused("{\"" + std::string(2'000'000, 'n') + "\":1}", 0, "nnn...");
}

TEST_CASE("safetensors: header lengths that lie") {
    TempFolder folder;
    for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{100'000'000}, std::uint64_t{100'000'001},
                                       std::uint64_t{1} << 62, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
        std::string text = file_of("{}", "");
        std::memcpy(text.data(), &length, 8);
        CHECK_FALSE(refusal(folder, text).empty());
    }
    CHECK_THAT(refusal(folder, ""), ContainsSubstring("truncated"));
    CHECK_THAT(refusal(folder / "absent"), ContainsSubstring("cannot be opened"));
    CHECK_THAT(refusal(folder.path()), ContainsSubstring("not a regular file"));
}

TEST_CASE("safetensors: truncated at every byte, it is refused") {
    TempFolder folder;
    write_sample(folder / "a.safetensors");
    const std::string whole = read_text(folder / "a.safetensors");
    for (std::size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(refusal(folder, whole.substr(0, length)).empty());
    }
    CHECK(refusal(folder, whole).empty());
    CHECK_FALSE(refusal(folder, whole + "x").empty());
}

TEST_CASE("safetensors: damaged anywhere, it is refused or read within its bounds") {
    TempFolder folder;
    write_sample(folder / "a.safetensors");
    const std::string whole = read_text(folder / "a.safetensors");
    Bits bits{42};
    int opened = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string damaged = whole;
        const std::size_t changes = 1 + bits.below(4);
        for (std::size_t i = 0; i < changes; ++i) {
            const std::size_t where = bits.below(i == 0 ? 400 : damaged.size());
            damaged[where % damaged.size()] =
                static_cast<char>(bits() % 3 ? "0123456789[]{},:\"F"[bits.below(18)] : bits());
        }
        write_text(folder / "bad.safetensors", damaged);
        try {
            const auto file = SafeTensors::open(folder / "bad.safetensors");
            ++opened;
            for (const auto& name : file.names()) CHECK(file.load<double>(name).shape() == file.shape(name));
        } catch (const FileError&) {
        }
    }
    CHECK(opened > 100);
    CHECK(opened < 3900);
}

}  // namespace safetensors_test

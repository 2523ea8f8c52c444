// SPDX-License-Identifier: MIT
#include "ito/io/parameters.hpp"

#include <numeric>

#include "catch.hpp"
#include "temp_folder.hpp"

using namespace ito;
using namespace ito::test;

namespace {

template <class T>
struct Part {
    Parameter<T> weight, bias;
    static void fields(auto& self, auto&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }
};

/// A convolution, some linear maps, and one that is not always there.
template <class T>
struct Whole {
    Part<T> conv{{Tensor<T>({2, 3, 4, 5})}, {Tensor<T>({5})}};
    std::vector<Part<T>> layers{{{Tensor<T>({3, 2})}, {Tensor<T>({3})}}, {{Tensor<T>({1, 3})}, {Tensor<T>({1})}}};
    std::optional<Part<T>> extra;

    static void fields(auto& self, auto&& visit) {
        visit("conv", self.conv);
        visit("layers", self.layers);
        visit("extra", self.extra);
    }
};

template <class T>
Whole<T> counted() {
    Whole<T> module;
    T value = 0;
    nn::for_each_parameter(module, [&](const std::string&, auto& parameter) {
        for (T& v : parameter.change()) v = value += T(0.25);
    });
    return module;
}

template <class T>
bool same(const Whole<T>& a, const Whole<T>& b) {
    std::vector<T> left, right;
    nn::for_each_parameter(
        a, [&](const std::string&, const auto& p) { left.insert(left.end(), p.value.begin(), p.value.end()); });
    nn::for_each_parameter(
        b, [&](const std::string&, const auto& p) { right.insert(right.end(), p.value.begin(), p.value.end()); });
    return left == right;
}

template <class E, class T>
std::string refusal(Whole<T>& module, const std::filesystem::path& path) {
    try {
        load_parameters(module, SafeTensors::open(path));
    } catch (const E& error) {
        return error.what();
    }
    return "";
}

/// The file of the module with some tensors left out, renamed or replaced.
template <class F>
void write_changed(const std::filesystem::path& from, const std::filesystem::path& to, F change) {
    const auto file = SafeTensors::open(from);
    SafeTensorsWriter writer;
    for (const auto& name : file.names()) change(writer, name, file.load<float>(name));
    writer.save(to);
}

}  // namespace

TEMPLATE_TEST_CASE("parameters are written and read by name", "", float, double) {
    TempFolder folder;
    const auto module = counted<TestType>();
    for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
        save_parameters(module, folder / "m.safetensors", dtype);
        Whole<TestType> back;
        load_parameters(back, SafeTensors::open(folder / "m.safetensors"));
        CHECK((dtype == DType::bf16 || same(module, back)));
    }
    save_parameters(module, folder / "m.safetensors", DType::f32);
    const auto file = SafeTensors::open(folder / "m.safetensors");
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.names().size() == 6);
    CHECK(file.shape("layers.0.weight") == Shape{3, 2});
    // PyTorch's order: [out, in, height, width].
    REQUIRE(file.shape("conv.weight") == Shape{5, 4, 2, 3});
    const auto stored = file.load<TestType>("conv.weight");
    for (Index o = 0; o < 5; ++o)
        for (Index i = 0; i < 4; ++i)
            for (Index y = 0; y < 2; ++y)
                for (Index x = 0; x < 3; ++x) CHECK(stored(o, i, y, x) == module.conv.weight.value(y, x, i, o));
}

namespace {
/// A module whose template parameter is another module.
template <class Net>
struct Headed {
    Net net;
    Part<float> head{{Tensor<float>({2, 3})}, {Tensor<float>({2})}};

    static void fields(auto& self, auto&& visit) {
        visit("net", self.net);
        visit("head", self.head);
    }
};
}  // namespace

TEST_CASE("modules around modules and vectors of modules name their parameters") {
    Headed<Part<float>> headed{{{Tensor<float>({3, 2})}, {Tensor<float>({3})}}};
    std::vector<std::string> names;
    nn::for_each_parameter(headed, [&](const std::string& name, Parameter<float>&) { names.push_back(name); });
    CHECK(names == std::vector<std::string>{"net.weight", "net.bias", "head.weight", "head.bias"});
    const std::vector<Part<float>> parts{headed.net, headed.head};
    CHECK(nn::count_parameters(parts) == 9 + 8);
}

TEST_CASE("what does not fit is named, and nothing is changed") {
    TempFolder folder;
    const auto good = folder / "good", bad = folder / "bad";
    save_parameters(counted<float>(), good, DType::f32);
    auto module = counted<float>();
    for (float& v : module.conv.bias.change()) v = -1;
    const auto before = module;

    write_changed(good, bad, [](auto& writer, const std::string& name, const auto& tensor) {
        if (name != "layers.1.bias" && name != "conv.weight") writer.add(name, tensor);
    });
    CHECK_THAT(refusal<ConfigError>(module, bad), ContainsSubstring("missing parameters: conv.weight, layers.1.bias"));

    write_changed(good, bad, [](auto& writer, const std::string& name, const auto& tensor) {
        writer.add(name == "conv.bias" ? "conv.bi\nas" : name, tensor);
    });
    const std::string both = refusal<ConfigError>(module, bad);
    CHECK_THAT(both, ContainsSubstring("missing parameters: conv.bias"));
    CHECK_THAT(both, ContainsSubstring("unexpected parameters: conv.bi\\x0aas"));
    CHECK(both.find('\n') == std::string::npos);

    write_changed(good, bad, [](auto& writer, const std::string& name, const auto& tensor) {
        writer.add(name, name == "conv.weight" ? tensor.reshaped({2, 3, 4, 5}) : tensor);
    });
    CHECK_THAT(refusal<ShapeError>(module, bad),
               ContainsSubstring("'conv.weight': expected [5, 4, 2, 3], got [2, 3, 4, 5]"));

    write_changed(good, bad, [](auto& writer, const std::string& name, const auto& tensor) {
        for (int i = 0; i < 20; ++i) writer.add(name + std::to_string(i), tensor);
    });
    CHECK_THAT(refusal<ConfigError>(module, bad), ContainsSubstring("and 112 more"));
    CHECK(same(module, before));

    load_parameters(module, SafeTensors::open(good));
    CHECK(same(module, counted<float>()));
}

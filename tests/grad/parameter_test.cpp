// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <thread>
#include <vector>

#include "ito/grad/parameter.hpp"

using namespace ito;

namespace {

struct Twice {
    float value;
};
struct Thrice {
    float value;
};

float twice(const Parameter<float>& p, int& made) {
    return p.derived<Twice>([&] { return ++made, Twice{2 * p.value[0]}; }).value;
}

}  // namespace

TEST_CASE("what is derived from a parameter is made once, and anew after every way of changing it") {
    Parameter<float> p{Tensor<float>::from({1}, {3})};
    int made = 0;
    CHECK(twice(p, made) == 6);
    CHECK(twice(p, made) == 6);
    CHECK(made == 1);
    CHECK(p.derived<Thrice>([&] { return Thrice{3 * p.value[0]}; }).value == 9);
    CHECK(twice(p, made) == 6);
    CHECK(made == 1);
    p.change()[0] = 4;
    CHECK(twice(p, made) == 8);
    p = Parameter<float>{Tensor<float>::from({1}, {5})};
    CHECK(twice(p, made) == 10);
    const Parameter<float> other{Tensor<float>::from({1}, {6})};
    p = other;
    CHECK(twice(p, made) == 12);
    CHECK(made == 4);
    p = *&p;
    CHECK(twice(p, made) == 12);
}

TEST_CASE("a parameter that is changed and derived from again and again takes no new memory") {
    Parameter<float> p{Tensor<float>::zeros({1000})};
    std::size_t held = 0;
    for (int i = 0; i < 20; ++i) {
        p.derived<Tensor<float>>([&] { return Tensor<float>::zeros({1 << 20}); });
        p.change()[0] = static_cast<float>(i);
        if (i == 2) held = cached_memory();
    }
    CHECK(cached_memory() <= held);
}

TEST_CASE("a copy of a parameter is deep and derives for itself") {
    Parameter<float> a{Tensor<float>::from({1}, {3})};
    int made = 0;
    CHECK(twice(a, made) == 6);
    Parameter<float> b = a;
    b.change()[0] = 5;
    CHECK(twice(a, made) == 6);
    CHECK(twice(b, made) == 10);
    const Parameter<float> c = std::move(b);
    CHECK(twice(c, made) == 10);
    CHECK(&c.value != &b.value);
    std::vector<Parameter<float>> many(3, a);
    many.resize(100);
    CHECK(many[2].value[0] == 3);
}

TEST_CASE("several threads may use one parameter") {
    const Parameter<float> p{Tensor<float>::from({1}, {3})};
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int k = 0; k < 100; ++k)
                if (p.derived<Twice>([&] { return ++made, Twice{6}; }).value != 6 ||
                    p.derived<Thrice>([&] { return ++made, Thrice{9}; }).value != 9)
                    made = 1000;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(made == 2);
}

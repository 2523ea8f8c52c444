// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <thread>

#include "ito/core/profile.hpp"

using namespace ito;

TEST_CASE("a profile adds up calls of one operation on the same shapes") {
    Profile profile;
    {
        const Profile::Scope scope(profile);
        for (int i = 0; i < 3; ++i) const Profile::Timer timer("product", {2, 3}, {3, 4}, 24);
        const Profile::Timer other("product", {5, 3}, {3, 4}, 60);
    }
    REQUIRE(profile.rows().size() == 2);
    CHECK(profile.rows()[0].operation == "product");
    CHECK(profile.rows()[0].input == Shape{2, 3});
    CHECK(profile.rows()[0].weight == Shape{3, 4});
    CHECK(profile.rows()[0].calls == 3);
    CHECK(profile.rows()[0].multiply_adds == 72);
    CHECK(profile.rows()[1].calls == 1);
    CHECK(profile.rows()[1].multiply_adds == 60);
}

TEST_CASE("time is reported to the innermost profile of the same thread") {
    Profile outer, inner;
    const Profile::Scope scope(outer);
    {
        const Profile::Scope innermost(inner);
        const Profile::Timer timer("sleep");
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::thread([] { const Profile::Timer unheard("elsewhere"); }).join();
    { const Profile::Timer timer("after"); }
    REQUIRE(inner.rows().size() == 1);
    CHECK(inner.rows()[0].seconds >= 0.002);
    REQUIRE(outer.rows().size() == 1);
    CHECK(outer.rows()[0].operation == "after");
}

// SPDX-License-Identifier: MIT
// Catch2's main, with the file of every case among its tags: CMakeLists.txt tells a floor's cases by them.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

int main(int argc, char** argv) {
    Catch::Session session;
    session.configData().filenamesAsTags = true;
    return session.run(argc, argv);
}

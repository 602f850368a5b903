// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A test program that can also be what its pods run: see peer.hpp.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/e2e/mesh/peer.hpp"

namespace weft::e2e::peer {

bool stopped(const std::string& file) {
    return ::access((file + ".stop").c_str(), F_OK) == 0;
}

void tell(const std::string& file, const std::string& text) {
    const auto part = file + ".part";
    std::ofstream(part, std::ios::trunc) << text;
    (void)std::rename(part.c_str(), file.c_str()); // a reader that finds the old text looks again
}

int run(const std::vector<std::string>& arguments) {
    (void)::signal(SIGPIPE, SIG_IGN);
    const std::string verb = arguments.empty() ? "" : arguments[0];
    const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
    if (verb == "serve") {
        return serve();
    }
    if (verb == "torture" && rest.size() == 3) {
        return torture(rest);
    }
    if (verb == "echo" && rest.size() == 2) {
        return echo(rest);
    }
    if (verb == "requests" && rest.size() == 2) {
        return requests(rest);
    }
    if (verb == "mark" && rest.size() == 2) {
        return mark(rest);
    }
    if (verb == "watch" && rest.size() == 2) {
        return watch(rest);
    }
    fmt::print(stderr, "peer: unknown verb or wrong arguments: {}\n", verb);
    return 2;
}

} // namespace weft::e2e::peer

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "peer") {
        return weft::e2e::peer::run({argv + 2, argv + argc});
    }
    ::testing::InitGoogleTest(&argc, argv);
    const int result = RUN_ALL_TESTS();
    if (!::testing::GTEST_FLAG(list_tests) && ::testing::UnitTest::GetInstance()->test_to_run_count() == 0) {
        fmt::print(stderr, "no test ran\n");
        return 1;
    }
    return result;
}

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The main() of every test program: a run that matches no test is a failure, so a filter cannot pass by accident.
#include <gtest/gtest.h>

#include <cstdio>

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    const int result = RUN_ALL_TESTS();
    const auto& run = *::testing::UnitTest::GetInstance();
    if (!::testing::GTEST_FLAG(list_tests) && run.test_to_run_count() == 0) {
        std::fprintf(stderr, "no test ran\n");
        return 1;
    }
    return result;
}

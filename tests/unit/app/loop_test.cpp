// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/loop.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace weft::app {
namespace {

TEST(Loop, RunsPostedWorkTimersAndDescriptorsOnOneThread) {
    auto loop = Loop::create();
    ASSERT_TRUE(loop.has_value());
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const UniqueFd read_end(pipe_fds[0]);
    const UniqueFd write_end(pipe_fds[1]);
    const auto home = std::this_thread::get_id();
    int timers = 0;
    bool readable = false;
    bool posted = false;
    ASSERT_TRUE(loop->watch(read_end.get(),
                            [&] {
                                char byte = 0;
                                EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
                                EXPECT_EQ(std::this_thread::get_id(), home);
                                readable = true;
                            })
                    .has_value());
    loop->every(std::chrono::milliseconds(5), [&] {
        if (++timers >= 3 && readable && posted) {
            loop->stop();
        }
    });
    std::thread other([&] {
        EXPECT_EQ(::write(write_end.get(), "x", 1), 1);
        loop->post([&] {
            EXPECT_EQ(std::this_thread::get_id(), home);
            posted = true;
        });
    });
    EXPECT_TRUE(loop->run().has_value());
    other.join();
    EXPECT_TRUE(readable && posted);
    EXPECT_GE(timers, 3);
}

} // namespace
} // namespace weft::app

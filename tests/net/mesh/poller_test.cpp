// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The worker's event loop, where a mistake would only show as delay.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "agent/mesh/poller.hpp"

namespace weft::mesh {
namespace {

TEST(Poller, WatchesAListenerThatSeveralWorkersShare) {
    auto poller = Poller::create();
    ASSERT_TRUE(poller.has_value());
    const UniqueFd ready(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    int calls = 0;
    const auto token = (*poller)->add([&](std::uint32_t events) {
        EXPECT_EQ(events, static_cast<std::uint32_t>(EPOLLIN));
        ++calls;
        (*poller)->stop();
    });
    for (int round = 1; round <= 2; ++round) { // taken out and put back, as when descriptors had run out
        const auto watched = (*poller)->watch(token, ready.get(), EPOLLIN | EPOLLEXCLUSIVE);
        ASSERT_TRUE(watched.has_value()) << watched.error().message();
        ASSERT_TRUE((*poller)->watch(token, ready.get(), 0).has_value());
    }
    ASSERT_TRUE((*poller)->watch(token, ready.get(), EPOLLIN | EPOLLEXCLUSIVE).has_value());
    (*poller)->run();
    EXPECT_GE(calls, 1);
}

} // namespace
} // namespace weft::mesh

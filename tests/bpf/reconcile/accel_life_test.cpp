// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What becomes of joined connections when the agent dies, comes back, moves to larger maps, or is uninstalled?
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>

#include "agent/bpf/conn_reader.hpp"
#include "agent/bpf/datapath.hpp"
#include "agent/bpf/uninstall.hpp"
#include "agent/reconcile/reconciler.hpp"
#include "agent/reconcile/sizes.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"
#include "tests/unit/reconcile/states.hpp"
#include "weft/abi/accel.h"

namespace weft::test {
namespace {

using reconcile::Reconciler;

class AccelLife : public testing::Test {
protected:
    void SetUp() override {
        options.pin_dir = "/sys/fs/bpf/weft-accel-test-" + std::to_string(::getpid());
        options.cgroup_path = cgroup.path();
        netns.ip("addr add 10.0.0.1/32 dev lo");
        auto image = std::make_shared<compiler::PolicyImage>();
        weft_endpoint endpoint{};
        endpoint.workload = 4711;
        endpoint.addr4 = addr("10.0.0.1");
        endpoint.flags = WEFT_ENDPOINT_ACCEL;
        image->endpoints[netns.cookie()] = endpoint;
        image->local_addresses[endpoint.addr4] = netns.cookie();
        desired = state({}, image);
    }
    void TearDown() override { EXPECT_TRUE(bpf::uninstall(options.pin_dir).has_value()); }

    bpf::FillMaps fill() {
        return [this](const bpf::ConfigMaps& maps) -> Result<> {
            WEFT_TRY(reconciler.bind(maps));
            WEFT_ASSIGN(const auto stats, reconciler.apply(desired));
            (void)stats; // its failures show in what the test sees
            return {};
        };
    }
    std::unique_ptr<bpf::Datapath> open() {
        auto datapath = bpf::Datapath::open(options, fill());
        EXPECT_TRUE(datapath.has_value()) << datapath.error().message();
        return std::make_unique<bpf::Datapath>(std::move(*datapath));
    }
    /// A pod that calls itself by its own address: both ends are of one workload.
    std::pair<UniqueFd, UniqueFd> connection() {
        std::pair<UniqueFd, UniqueFd> ends;
        netns.run([&] {
            const UniqueFd listener = listen_on({"10.0.0.1", 8080});
            ends.first = open_socket(AF_INET, SOCK_STREAM);
            EXPECT_EQ(connect_to(ends.first.get(), {"10.0.0.1", 8080}), 0);
            ends.second = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        });
        return ends;
    }
    static std::string pass(const std::pair<UniqueFd, UniqueFd>& ends, const std::string& text) {
        EXPECT_EQ(send_text(ends.first.get(), text), 0);
        return receive(ends.second.get()).first;
    }
    static weft_conn listed(const bpf::Datapath& datapath, int fd) {
        std::uint64_t cookie = 0;
        socklen_t size = sizeof cookie;
        EXPECT_EQ(::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
        const auto all = bpf::read_connections(*datapath.program_fd("weft_conn_iter"), *datapath.map_fd("weft_socket"));
        EXPECT_TRUE(all.has_value());
        const auto found = std::ranges::find(*all, cookie, &weft_conn::cookie);
        return found == all->end() ? weft_conn{} : *found;
    }

    PrivateCgroup cgroup; // first: a socket belongs to the cgroup in which it was made
    Netns netns;
    bpf::DatapathOptions options;
    Reconciler reconciler{[] {}};
    compiler::DesiredState desired;
};

TEST_F(AccelLife, GoesOnWithoutAnAgentAndWithTheNextOne) {
    auto datapath = open();
    const auto ends = connection();
    EXPECT_EQ(pass(ends, "one"), "one");
    datapath.reset(); // as when it is killed
    EXPECT_EQ(pass(ends, "two"), "two");
    const auto later = connection();
    EXPECT_EQ(pass(later, "new"), "new");
    datapath = open();
    EXPECT_TRUE(datapath->stats().maps_adopted);
    EXPECT_EQ(pass(ends, "three"), "three");
    const auto conn = listed(*datapath, ends.first.get());
    EXPECT_EQ(conn.accel, static_cast<std::uint32_t>(WEFT_CONN_JOINED));
    EXPECT_EQ(conn.bytes_skipped, 11U);
    EXPECT_EQ(listed(*datapath, later.first.get()).bytes_skipped, 3U);
}

TEST_F(AccelLife, LargerMapsSendLivingConnectionsBackToTcp) {
    auto datapath = open();
    const auto ends = connection();
    EXPECT_EQ(pass(ends, "one"), "one");
    auto sizes = options.sizes;
    sizes.endpoint = 5000;
    ASSERT_TRUE(datapath->grow(sizes, fill()).has_value());
    ASSERT_TRUE(datapath->stats().maps_grown);
    EXPECT_EQ(pass(ends, "two"), "two");
    const auto conn = listed(*datapath, ends.first.get());
    EXPECT_EQ(conn.accel, static_cast<std::uint32_t>(WEFT_CONN_LEFT));
    EXPECT_EQ(conn.bytes_skipped, 3U) << "its program reads maps that nobody writes any more";
    EXPECT_EQ(conn.bytes_sent, 6U);
    const auto later = connection();
    EXPECT_EQ(pass(later, "three"), "three");
    EXPECT_EQ(listed(*datapath, later.first.get()).bytes_skipped, 5U);
}

TEST_F(AccelLife, UninstallLeavesConnectionsWithTcp) {
    auto datapath = open();
    const auto ends = connection();
    EXPECT_EQ(pass(ends, "one"), "one");
    const int pairs = *datapath->map_fd("weft_accel_pair");
    std::uint64_t key = 0;
    weft_accel_pair pair{};
    ASSERT_EQ(bpf_map_get_next_key(pairs, nullptr, &key), 0);
    ASSERT_TRUE(bpf::uninstall(options.pin_dir).has_value());
    EXPECT_EQ(pass(ends, "two"), "two");
    ASSERT_EQ(bpf_map_lookup_elem(pairs, &key, &pair), 0);
    EXPECT_EQ(pair.bytes[WEFT_ACCEL_CLIENT], 3U);
    EXPECT_NE(pair.flags & WEFT_ACCEL_LEFT, 0U);
}

} // namespace
} // namespace weft::test

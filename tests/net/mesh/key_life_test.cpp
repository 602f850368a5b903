// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What happens when a key has carried its share of bytes: another one where the kernel can, else a count or an end.
// Where the agent carries the bytes itself there is no such limit, and the same transfers just arrive.
#include <thread>

#include "agent/mesh/sockets.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/mesh/mesh_world.hpp"

namespace weft::test {
namespace {

using ktls::test::eventually;
using mesh::KeyEvent;
using mesh::Side;
using namespace std::chrono_literals;

constexpr std::size_t kMiB = 1 << 20;

class MeshKeys : public MeshWorld {
protected:
    void begin(bool close) {
        key_limit = {.bytes = kMiB, .close = close};
        mesh::Limits limits;
        limits.handshake = limits.silence = 60s; // both ends write at once, and a guest may take its time to say hello
        start(limits);
    }
    std::string why() {
        std::string text;
        for (const auto& [key, value] : mesh->stats().failures()) {
            text += fmt::format(" {}{}={}", key.first == Side::kClient ? "client:" : "server:", key.second, value);
        }
        const std::lock_guard lock(reports_mutex);
        for (const auto& report : reports) {
            text += " [" + report.detail + "]";
        }
        return text;
    }
    std::uint64_t count(KeyEvent event) { return mesh->stats().totals().keys[static_cast<std::size_t>(event)]; }
};

INSTANTIATE_TEST_SUITE_P(Families, MeshKeys, ::testing::Values(kFamilies[0]), family_name);

TEST_P(MeshKeys, ATransferBeyondTheLimitArrives) {
    begin(false);
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    bool back = false;
    std::thread other([&] { back = exchange(ends.server.get(), ends.client.get(), 6 * kMiB, 7); });
    const bool there = exchange(ends.client.get(), ends.server.get(), 6 * kMiB, 3);
    other.join();
    ASSERT_TRUE(there && back) << there << back << why();
    if (!kernel_tls()) {
        return;
    }
    if (probe().rekey) {
        EXPECT_TRUE(eventually([&] { return count(KeyEvent::kSendKey) >= 2; }, 20s));
        EXPECT_TRUE(eventually([&] { return count(KeyEvent::kReceiveKey) >= 2; }, 20s));
        EXPECT_EQ(count(KeyEvent::kLimitWarned), 0U);
        ASSERT_TRUE(exchange(ends.client.get(), ends.server.get(), kMiB / 2, 5)) << "under the newest keys";
    } else {
        EXPECT_TRUE(eventually([&] { return count(KeyEvent::kLimitWarned) == 4; }, 20s)) << "each key of each end";
        EXPECT_EQ(count(KeyEvent::kLimitRekeyed), 0U);
    }
    EXPECT_EQ(mesh->stats().connections().size(), 2U);
}

TEST_P(MeshKeys, APolicyOfCloseEndsConnectionsWhoseKeysCannotChange) {
    begin(true);
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    const bool arrived = exchange(ends.client.get(), ends.server.get(), 4 * kMiB, 3);
    const bool closes = kernel_tls() && !probe().rekey;
    EXPECT_EQ(arrived, !closes);
    if (closes) {
        EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, 20s));
        EXPECT_GE(count(KeyEvent::kLimitClosed), 1U);
        EXPECT_GE(failures(Side::kClient, "key-limit") + failures(Side::kServer, "key-limit"), 1U);
    }
}

} // namespace
} // namespace weft::test

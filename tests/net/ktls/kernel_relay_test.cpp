// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-relay with a TLS peer whose records the kernel handles. Runs in guests only.
#include <sys/socket.h>

#include <csignal>
#include <future>

#include <gtest/gtest.h>

#include "tests/net/ktls/kernel_carried.hpp"
#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/relay.hpp"
#include "weft/ktls/probe.hpp"

namespace weft::ktls {
namespace {

using test::End;
using test::Ending;
using test::kernel_version;
using test::KernelCarried;
using test::read_pattern;
using test::ReadOptions;
using test::Relay;
using test::TcpPair;
using test::write_pattern;
using test::WriteOptions;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr WriteOptions kTlsWrite{.tls = true};
constexpr ReadOptions kTlsRead{.tls = true};

TEST(Probe, FindsTheRelayTier) {
    const auto probe = probe_kernel();
    EXPECT_EQ(probe.tier, Tier::kRelay) << probe.reason;
    EXPECT_EQ(probe.ciphers.size(), 3U);
    EXPECT_TRUE(probe.full_pipe_safe);
    EXPECT_EQ(probe.rekey, kernel_version() >= std::pair(6, 14)) << "kernels have learnt to change keys in 6.14";
}

TEST(KernelRelay, CarriesEveryCipherBothWays) {
    for (const auto cipher : preferred_ciphers()) {
        const auto size = cipher == Cipher::kAes128Gcm ? 64 * kMiB : 8 * kMiB;
        Relay relay;
        const KernelCarried c(relay, cipher);
        Writer out(c.app(), size);
        Writer in(c.peer(), size, kTlsWrite);
        auto at_peer = std::async(std::launch::async, [&] { return read_pattern(c.peer(), 0, kTlsRead); });
        const auto at_app = read_pattern(c.app(), 0);
        const auto other = at_peer.get();
        EXPECT_TRUE(at_app.intact(size)) << cipher_name(cipher) << ' ' << at_app.text();
        EXPECT_TRUE(other.intact(size)) << cipher_name(cipher) << ' ' << other.text();
        EXPECT_EQ(at_app.end, End::kFin);
        EXPECT_EQ(other.end, End::kCloseNotify) << other.text();
        EXPECT_EQ(relay.event(7).reason, WEFT_RELAY_REASON_FINISHED);
    }
}

TEST(KernelRelay, LosesNothingInOneHundredAndTwentyDeaths) {
    Relay relay;
    const KernelCarried c(relay);
    // Enough for all deaths: the stream goes on until they have happened.
    constexpr std::uint64_t kSize = 64 * kMiB;
    Writer out(c.app(), kSize);
    Writer in(c.peer(), kSize, kTlsWrite);
    auto at_peer = std::async(std::launch::async, [&] { return read_pattern(c.peer(), 0, kTlsRead); });
    auto at_app = std::async(std::launch::async, [&] { return read_pattern(c.app(), 0); });
    int kills = 0;
    while (kills < 120 && at_app.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready) {
        relay.kill_child();
        ++kills;
    }
    const auto a = at_app.get();
    const auto p = at_peer.get();
    EXPECT_TRUE(a.intact(kSize)) << a.text();
    EXPECT_TRUE(p.intact(kSize)) << p.text();
    EXPECT_EQ(a.end, End::kFin);
    EXPECT_EQ(p.end, End::kCloseNotify);
    EXPECT_EQ(kills, 120) << "the transfer was over too soon";
}

} // namespace
} // namespace weft::ktls

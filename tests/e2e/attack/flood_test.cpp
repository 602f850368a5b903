// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Ten thousand handshakes (three in an emulated guest) that somebody begins and never ends: the agent keeps a bounded
// number of them, others are served meanwhile, and afterwards nothing is left.
#include <sys/resource.h>

#include <chrono>
#include <filesystem>

#include "tests/e2e/attack/attack_world.hpp"

namespace weft::e2e {
namespace {

using FloodAttack = AttackTest;
using Clock = std::chrono::steady_clock;

/// What a handshake has from its first byte to its last.
constexpr std::chrono::seconds kHandshakeTime{10};

TEST_F(FloodAttack, HalfOpenHandshakesTakeNoRoomFromOthers) {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
    const std::size_t most = std::filesystem::exists("/weft/begin") ? 3'000 : 10'000; // see tests/qemu/run
    const std::size_t wanted = std::min<std::size_t>(most, files.rlim_max - 500);
    ASSERT_GE(wanted, 3'000U) << "the limit of open files is too low to be an attacker";

    const auto refused = counted("node-2", "server", "too-many-handshakes");
    const auto late = counted("node-2", "server", "timeout");
    const auto target = address("api");
    std::vector<UniqueFd> open;
    const auto began = Clock::now();
    for (std::size_t i = 0; i < wanted; ++i) {
        auto fd = connect_from("shop/other", target);
        ASSERT_TRUE(fd.valid() || errno == ECONNRESET) << i << ": " << std::strerror(errno);
        if (fd.valid()) { // one over the limit is reset at once, at times before connect() is back
            (void)send_all(fd.get(), "\x16\x03"); // as a handshake begins
            open.push_back(std::move(fd));
        }
        if (i % 1'000 == 999) {
            EXPECT_TRUE(honest_peer_is_served()) << "with " << i + 1 << " half-open handshakes";
        }
    }
    if (Clock::now() - began < kHandshakeTime) { // else the first ones timed out while the last ones came
        EXPECT_TRUE(eventually([&] { return counted("node-2", "server", "too-many-handshakes") > refused; }, 30));
    }
    EXPECT_TRUE(honest_peer_is_served());
    // The rest ends by itself: the attacker's ends stay open, and nobody of them is served or kept.
    EXPECT_TRUE(eventually(
        [&] {
            return counted("node-2", "server", "too-many-handshakes") - refused +
                       counted("node-2", "server", "timeout") - late >=
                   static_cast<double>(wanted);
        },
        180))
        << counted("node-2", "server", "too-many-handshakes") - refused << " refused, "
        << counted("node-2", "server", "timeout") - late << " timed out";
    EXPECT_TRUE(honest_peer_is_served());
}

} // namespace
} // namespace weft::e2e

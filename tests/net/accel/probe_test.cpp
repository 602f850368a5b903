// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is what the agent finds out about a kernel true? Plain TCP must pass every trial; for joined sockets this prints the
// answers, from which docs/acceleration.md has its table.
#include <sys/utsname.h>

#include <algorithm>
#include <iostream>

#include "agent/bpf/accel_probe.hpp"
#include "tests/net/accel/joined.hpp"

namespace weft::test {
namespace {

class ProbeTest : public ::testing::Test {
protected:
    Netns netns; // with loopback

    std::vector<bpf::AccelRule> probe(bool joined) {
        std::vector<bpf::AccelRule> out;
        netns.run([&] {
            auto rules = bpf::probe_acceleration(joined);
            ASSERT_TRUE(rules.has_value()) << rules.error().message();
            out = std::move(*rules);
        });
        return out;
    }
};

TEST_F(ProbeTest, PlainTcpKeepsEveryRule) {
    const auto rules = probe(false);
    EXPECT_GE(rules.size(), 11U);
    for (const auto& rule : rules) {
        EXPECT_TRUE(rule.kept) << rule.name;
    }
}

TEST_F(ProbeTest, JoinedSocketsKeepWhatNoProgramCanDoWithout) {
    utsname kernel{};
    ASSERT_EQ(::uname(&kernel), 0);
    const auto rules = probe(true);
    for (const auto& rule : rules) {
        std::cout << "accel " << kernel.release << " " << rule.name << " " << (rule.kept ? "kept" : "broken") << "\n";
    }
    for (const char* name : {"stream", "peek"}) {
        const auto found = std::ranges::find(rules, name, &bpf::AccelRule::name);
        ASSERT_NE(found, rules.end());
        EXPECT_TRUE(found->kept) << name;
    }
}

} // namespace
} // namespace weft::test

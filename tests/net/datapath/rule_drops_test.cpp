// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does every denial count for the policies that isolate the workload, wherever it is denied?
#include "tests/net/datapath/family.hpp"
#include "weft/abi/rule_drops.h"

namespace weft::test {
namespace {

constexpr std::uint64_t kPolicy = 31;

class RuleDropsTest : public DatapathTest {
protected:
    std::uint64_t count(std::uint8_t direction, std::uint64_t policy = kPolicy) {
        const weft_rule_drops_key key{policy, WEFT_REASON_POLICY_DENIED, direction, {}};
        std::uint64_t out = 0;
        (void)bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_rule_drops), &key, &out); // absent: none
        return out;
    }
    void isolate(const Netns& netns, int n, std::uint32_t flag) {
        world.set_endpoint(netns, n == 1 ? "10.77.0.1" : "10.77.0.2", n == 1 ? "fd77::1" : "fd77::2",
                           flag | (n == 1 ? 0U : WEFT_ENDPOINT_ANY_SOURCE), kPolicy);
        world.bump_revision();
    }
};

INSTANTIATE_TEST_SUITE_P(Families, RuleDropsTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(RuleDropsTest, OfConnectAndSendmsg) {
    isolate(world.client, 1, WEFT_ENDPOINT_ISOLATED_EGRESS);
    for (int i = 0; i < 3; ++i) {
        const auto client = client_socket(SOCK_STREAM);
        EXPECT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), ECONNREFUSED);
    }
    const auto client = client_socket(SOCK_DGRAM);
    EXPECT_EQ(send_text(client.get(), "no", family.dial(family.server(2), 53)), ECONNREFUSED);
    EXPECT_EQ(count(WEFT_EGRESS), 4U);
    EXPECT_EQ(count(WEFT_EGRESS), world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS));
    EXPECT_EQ(count(WEFT_INGRESS), 0U);
}

TEST_P(RuleDropsTest, OfPacketsAlsoOfAConnectionThatWasCut) {
    const auto listener = serve_tcp(2, 8080);
    const auto client = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    isolate(world.server, 2, WEFT_ENDPOINT_ISOLATED_INGRESS);
    ASSERT_EQ(send_text(client.get(), "cut"), 0);
    for (int tries = 0; tries < 500 && count(WEFT_INGRESS) < 3; ++tries) { // sent again and again, and dropped
        (void)::poll(nullptr, 0, 10);
    }
    EXPECT_GE(count(WEFT_INGRESS), 3U);
    EXPECT_EQ(count(WEFT_INGRESS) + count(WEFT_EGRESS), world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS) +
                                                            world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS));
    EXPECT_EQ(world.drops(WEFT_REASON_RULE_DROPS_FULL, WEFT_INGRESS), 0U);
}

TEST(RuleDropsLimit, DenialsOfFurtherClassesAreCountedAsNotCounted) {
    World world([](weft_bpf& bpf) { bpf_map__set_max_entries(bpf.maps.weft_rule_drops, 1); });
    const auto refused = [&](std::uint64_t policy) {
        world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_EGRESS, policy);
        UniqueFd client;
        world.client.run([&] { client = open_socket(AF_INET, SOCK_STREAM); });
        EXPECT_EQ(connect_to(client.get(), SockAddr("10.77.0.2", 8080)), ECONNREFUSED);
    };
    refused(1);
    refused(2);
    refused(2);
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS), 3U);
    EXPECT_EQ(world.drops(WEFT_REASON_RULE_DROPS_FULL, WEFT_EGRESS), 2U);
}

} // namespace
} // namespace weft::test

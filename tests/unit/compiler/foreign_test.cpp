// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the hooks are told of addresses of other trust domains.
#include <netinet/in.h>

#include "agent/verdict/verdict.hpp"
#include "tests/unit/compiler/world.hpp"
#include "weft/abi/reasons.h"

namespace weft::compiler {
namespace {

class ForeignTest : public ::testing::Test {
protected:
    ForeignTest() {
        world.node().mesh = true;
        world.node().foreign = {*Cidr::parse("192.0.2.0/24"), *Cidr::parse("2001:db8::/32")};
        world.node().foreign_dialled = {*Cidr::parse("192.0.2.128/25")};
    }
    /// What the longest prefix, or the entry of its own, says of an address.
    [[nodiscard]] weft_peer peer(const std::string& at) {
        const verdict::PolicyIndex index(world.compile().policy);
        const auto* found = index.peer_of(Ip::parse(at)->raw());
        return found == nullptr ? weft_peer{} : *found;
    }
    World world;
};

TEST_F(ForeignTest, BlocksMayDialAndSomeAreDialled) {
    EXPECT_EQ(peer("192.0.2.1").flags, WEFT_PEER_DIALS);
    EXPECT_EQ(peer("192.0.2.200").flags, WEFT_PEER_DIALS | WEFT_PEER_MESH);
    EXPECT_EQ(peer("2001:db8::1").flags, WEFT_PEER_DIALS);
    EXPECT_EQ(peer("198.51.100.1").flags, 0U);
    EXPECT_EQ(peer("192.0.2.1").identity, static_cast<std::uint64_t>(WEFT_IDENTITY_WORLD)) << "no policy names it";
    world.node().mesh = false;
    EXPECT_EQ(peer("192.0.2.200").flags, 0U) << "without certificates there is no mesh";
}

TEST_F(ForeignTest, PodsAndNodesInsideAreTheClusters) {
    world.put("objects.yaml", R"(
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: shop}
spec: {nodeName: b}
status: {podIPs: [{ip: 192.0.2.130}]}
---
)" + node("b", "z", "192.0.2.131"));
    EXPECT_EQ(peer("192.0.2.130").flags, 0U);
    EXPECT_EQ(peer("192.0.2.131").flags, 0U);
}

TEST_F(ForeignTest, PolicyBlocksInsideAndAroundKeepTheirMeaning) {
    world.put("policy.yaml", R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bank, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from: [{ipBlock: {cidr: 192.0.0.0/16, except: [192.0.2.192/26]}}]
---
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: shop}
spec: {nodeName: a}
)");
    world.enrol("near", 1, {"10.0.0.1"});
    EXPECT_EQ(peer("192.0.2.1").flags, WEFT_PEER_DIALS);
    EXPECT_EQ(peer("192.0.2.193").flags, WEFT_PEER_DIALS | WEFT_PEER_MESH) << "a longer prefix of a policy inside";
    EXPECT_EQ(peer("192.0.99.1").flags, 0U) << "around it";
    const verdict::PolicyIndex index(world.compile().policy);
    const auto allowed = [&](const std::string& from) {
        return index.decide(1, WEFT_INGRESS, *Ip::parse(from), IPPROTO_TCP, 80).allow;
    };
    EXPECT_TRUE(allowed("192.0.99.1"));
    EXPECT_TRUE(allowed("192.0.2.1")) << "ipBlock matches the address of a workload of another trust domain";
    EXPECT_FALSE(allowed("192.0.2.193"));
    EXPECT_FALSE(allowed("2001:db8::1"));
}

} // namespace
} // namespace weft::compiler

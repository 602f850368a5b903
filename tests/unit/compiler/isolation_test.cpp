// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who is isolated, who is inside which block: the corners where a mistake would open or close too much.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "agent/verdict/verdict.hpp"
#include "tests/unit/compiler/world.hpp"
#include "weft/abi/reasons.h"

namespace weft::compiler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kWeb = 7;

const std::string kPod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\n"
                         "spec: {nodeName: a}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}\n";

std::string policy(const std::string& rules) {
    return "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n"
           "  podSelector: {matchLabels: {app: web}}\n" +
           rules;
}

bool allowed(const DesiredState& state, std::uint8_t direction, const char* peer, std::uint16_t port = 80) {
    return verdict::PolicyIndex(state.policy).decide(kWeb, direction, *Ip::parse(peer), IPPROTO_TCP, port).allow;
}

TEST(Isolation, AllOfIpv6DoesNotCoverIpv4) {
    World world;
    world.enrol("web", kWeb, {"10.0.0.1", "fd00::1"});
    world.put("pod", kPod);
    world.put("policy", policy("  policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: \"::/0\"}}]}]\n"));
    auto state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "2001:db8::1"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "192.0.2.1"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "0.1.2.3"));

    world.put("policy", policy("  policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]\n"));
    state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "192.0.2.1"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "2001:db8::1"));

    world.put("policy", policy("  policyTypes: [Egress]\n  egress: [{to: [{ipBlock: {cidr: \"::/0\"}}, "
                               "{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]}]\n"));
    state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "2001:db8::1"));
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "192.0.2.1"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "192.0.2.129"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "198.51.100.1"));
}

TEST(Isolation, PodOfThisNodeWithoutAnObjectIsClosedBothWays) {
    World world;
    world.enrol("web", kWeb, {"10.0.0.1"});
    auto state = world.compile();
    EXPECT_FALSE(allowed(state, WEFT_INGRESS, "10.0.0.9"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "10.0.0.9"));
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "10.0.0.1")) << "itself";
    EXPECT_THAT(refusals(state), ElementsAre(HasSubstr("Pod shop/web")));
    world.put("pod", kPod);
    state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_INGRESS, "10.0.0.9"));
    EXPECT_TRUE(allowed(state, WEFT_EGRESS, "10.0.0.9"));
    EXPECT_THAT(refusals(state), IsEmpty());
}

TEST(Isolation, BothFamiliesOfAPodAreOnePeer) {
    World world;
    world.enrol("web", kWeb, {"10.0.0.1", "fd00::1"});
    world.put("pod", kPod + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client, namespace: shop, labels: {app: "
                            "client}}\nspec: {nodeName: b}\nstatus: {podIPs: [{ip: 10.0.0.2}, {ip: \"fd00::2\"}]}\n");
    world.put("policy", policy("  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n"));
    const auto state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_INGRESS, "10.0.0.2"));
    EXPECT_TRUE(allowed(state, WEFT_INGRESS, "fd00::2"));
    EXPECT_FALSE(allowed(state, WEFT_INGRESS, "10.0.0.3"));
    EXPECT_FALSE(allowed(state, WEFT_INGRESS, "fd00::3"));
    const auto& endpoint = state.policy->endpoints.at(kWeb);
    EXPECT_EQ(Ip(endpoint.addr4).to_string(), "10.0.0.1");
    EXPECT_EQ(Ip(endpoint.addr6).to_string(), "fd00::1");
    EXPECT_EQ(state.policy->ipcache.at(Ip::parse("10.0.0.1")->raw()).identity,
              state.policy->ipcache.at(Ip::parse("fd00::1")->raw()).identity);
}

TEST(Isolation, OwnNodeReachesItsPodsAndOtherNodesDoNot) {
    World world;
    world.node().host_addresses = {*Ip::parse("192.0.2.1")};
    world.enrol("web", kWeb, {"10.0.0.1"});
    world.put("pod", kPod + node("a", "east", "192.0.2.1") + node("b", "east", "192.0.2.2"));
    world.put("policy", policy("  policyTypes: [Ingress, Egress]\n"));
    const auto state = world.compile();
    EXPECT_TRUE(allowed(state, WEFT_INGRESS, "192.0.2.1"));
    EXPECT_FALSE(allowed(state, WEFT_EGRESS, "192.0.2.1")) << "the exception is for the kubelet's probes only";
    EXPECT_FALSE(allowed(state, WEFT_INGRESS, "192.0.2.2"));
}

TEST(Isolation, AddressOfAFinishedPodIsNobodys) {
    World world;
    world.enrol("web", kWeb, {"10.0.0.1"});
    const std::string job = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: job, namespace: shop, labels: {app: "
                            "client}}\nspec: {nodeName: b}\nstatus: {podIP: 10.0.0.2, phase: ";
    world.put("policy", policy("  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n"));
    world.put("pod", kPod + job + "Running}\n");
    EXPECT_TRUE(allowed(world.compile(), WEFT_INGRESS, "10.0.0.2"));
    world.put("pod", kPod + job + "Succeeded}\n");
    EXPECT_FALSE(allowed(world.compile(), WEFT_INGRESS, "10.0.0.2"));
}

TEST(Isolation, NewPodWinsTheAddressOfADeletingOneWhateverTheirNames) {
    for (const bool old_first : {true, false}) {
        World world;
        world.enrol("web", kWeb, {"10.0.0.1"});
        world.put("policy", policy("  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n"));
        const auto other = [](const char* name, const char* app, bool deleting) {
            return fmt::format("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: shop, labels: {{app: "
                               "{}}}{}}}\nspec: {{nodeName: b}}\nstatus: {{podIP: 10.0.0.2}}\n",
                               name, app, deleting ? ", deletionTimestamp: \"2026-01-01T00:00:00Z\"" : "");
        };
        world.put("pods", kPod + other(old_first ? "aa" : "zz", "client", true) + other("mm", "stranger", false));
        EXPECT_FALSE(allowed(world.compile(), WEFT_INGRESS, "10.0.0.2")) << old_first;
    }
}

TEST(Isolation, AnnotationsThatAreNoSwitchAreRefusedAndCountAsOff) {
    World world;
    world.enrol("web", kWeb, {"10.0.0.1"});
    auto pod = kPod;
    pod.replace(pod.find("labels:"), 7, "annotations: {weft.dev/allow-any-source: \"yes\"}, labels:");
    world.put("pod", pod);
    const auto state = world.compile();
    EXPECT_THAT(refusals(state), ElementsAre(HasSubstr("metadata.annotations[weft.dev/allow-any-source]")));
    EXPECT_EQ(state.policy->endpoints.at(kWeb).flags & WEFT_ENDPOINT_ANY_SOURCE, 0U);
}

} // namespace
} // namespace weft::compiler

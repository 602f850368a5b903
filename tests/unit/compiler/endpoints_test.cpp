// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which endpoints a Service uses: conditions, traffic policy, distribution and hints, as Kubernetes v1.34 defines them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/compiler/world.hpp"

namespace weft::compiler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kVip = "TCP 10.96.0.1:80";

/// Backends of shop/web on `node` with these spec lines and endpoints.
std::vector<std::string> used(const std::string& spec, const std::vector<std::string>& endpoints,
                              const std::string& node_name = "a", const std::string& annotations = "{}") {
    World world(node_name);
    world.put("nodes",
              node("a", "east", "192.0.2.1") + node("b", "east", "192.0.2.2") + node("c", "west", "192.0.2.3"));
    world.put("web", service(spec, "web", "10.96.0.1", annotations) + slice(endpoints));
    const auto state = world.compile();
    EXPECT_THAT(refusals(state), IsEmpty());
    return behind(state, kVip);
}

const std::string kReady = "{addresses: [10.0.0.1], conditions: {ready: true, serving: true, terminating: false}}";
const std::string kNotReady = "{addresses: [10.0.0.2], conditions: {ready: false, serving: false}}";
const std::string kDraining = "{addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}";
const std::string kDead = "{addresses: [10.0.0.4], conditions: {ready: false, serving: false, terminating: true}}";

TEST(Endpoints, ReadyOnesAreUsedAndNoOthers) {
    EXPECT_THAT(used("", {kReady, kNotReady, kDraining, kDead}), ElementsAre("TCP 10.0.0.1:8080"));
}

TEST(Endpoints, MissingConditionsMeanReady) {
    EXPECT_THAT(used("", {"{addresses: [10.0.0.9]}", kNotReady}), ElementsAre("TCP 10.0.0.9:8080"));
}

TEST(Endpoints, DrainingOnesAreTheLastResort) {
    EXPECT_THAT(used("", {kNotReady, kDraining, kDead}), ElementsAre("TCP 10.0.0.3:8080"));
    EXPECT_THAT(used("", {kNotReady, kDead}), IsEmpty());
}

TEST(Endpoints, ServingButNotTerminatingIsNoLastResort) {
    // Only pods that are going away are used although they are not ready.
    EXPECT_THAT(used("", {"{addresses: [10.0.0.5], conditions: {ready: false, serving: true}}"}), IsEmpty());
}

TEST(Endpoints, PublishNotReadyAddressesCountsEveryoneAsReady) {
    EXPECT_THAT(used("  publishNotReadyAddresses: true\n", {kReady, kNotReady}),
                ElementsAre("TCP 10.0.0.1:8080", "TCP 10.0.0.2:8080"));
}

TEST(Endpoints, OneAddressInTwoSlicesIsOneBackendAndReadyWins) {
    World world;
    world.put("web", service() + slice({"{addresses: [10.0.0.1], conditions: {ready: false}}"}, "web-1") +
                         slice({"{addresses: [10.0.0.1]}"}, "web-2"));
    const auto state = world.compile();
    EXPECT_THAT(behind(state, kVip), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_EQ(state.services.begin()->second->slots.size(), 1U);
}

TEST(Endpoints, OnlyTheFirstAddressCounts) {
    EXPECT_THAT(used("", {"{addresses: [10.0.0.1, 10.0.0.7]}"}), ElementsAre("TCP 10.0.0.1:8080"));
}

const std::string kOnA = "{addresses: [10.0.0.1], nodeName: a, zone: east}";
const std::string kOnB = "{addresses: [10.0.0.2], nodeName: b, zone: east}";
const std::string kOnC = "{addresses: [10.0.0.3], nodeName: c, zone: west}";

TEST(Endpoints, InternalTrafficPolicyLocalNeverLeavesTheNode) {
    const std::string spec = "  internalTrafficPolicy: Local\n";
    EXPECT_THAT(used(spec, {kOnA, kOnB, kOnC}), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(used(spec, {kOnB, kOnC}), IsEmpty()) << "no fallback";
    EXPECT_THAT(used(spec, {"{addresses: [10.0.0.1], nodeName: a, conditions: {ready: false, serving: true, "
                            "terminating: true}}",
                            kOnB}),
                ElementsAre("TCP 10.0.0.1:8080"))
        << "a draining pod here is better than none";
}

TEST(Endpoints, InternalTrafficPolicyDoesNotConcernExternalAddresses) {
    World world;
    world.put("web", service("  internalTrafficPolicy: Local\n  externalIPs: [198.51.100.1]\n") + slice({kOnB}));
    const auto state = world.compile();
    EXPECT_THAT(behind(state, kVip), IsEmpty());
    EXPECT_THAT(behind(state, "TCP 198.51.100.1:80"), ElementsAre("TCP 10.0.0.2:8080"));
}

class Close : public ::testing::TestWithParam<const char*> {};

TEST_P(Close, StaysInTheZoneWhileItCan) {
    const auto spec = fmt::format("  trafficDistribution: {}\n", GetParam());
    EXPECT_THAT(used(spec, {kOnA, kOnB, kOnC}), ElementsAre("TCP 10.0.0.1:8080", "TCP 10.0.0.2:8080"));
    EXPECT_THAT(used(spec, {kOnC}), ElementsAre("TCP 10.0.0.3:8080")) << "falls back to every zone";
    EXPECT_THAT(used(spec, {"{addresses: [10.0.0.1], zone: east, conditions: {ready: false}}", kOnC}),
                ElementsAre("TCP 10.0.0.3:8080"))
        << "an endpoint that is not ready keeps nobody in the zone";
}

TEST_P(Close, UsesEverybodyOnANodeWithoutAZone) {
    EXPECT_THAT(used(fmt::format("  trafficDistribution: {}\n", GetParam()), {kOnA, kOnC}, "nowhere"),
                ElementsAre("TCP 10.0.0.1:8080", "TCP 10.0.0.3:8080"));
}

INSTANTIATE_TEST_SUITE_P(Both, Close, ::testing::Values("PreferClose", "PreferSameZone"),
                         [](const auto& name) { return std::string(name.param); });

TEST(Endpoints, PreferSameNodeFallsBackToTheZoneAndThenToEverybody) {
    const std::string spec = "  trafficDistribution: PreferSameNode\n";
    EXPECT_THAT(used(spec, {kOnA, kOnB, kOnC}), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(used(spec, {kOnB, kOnC}), ElementsAre("TCP 10.0.0.2:8080"));
    EXPECT_THAT(used(spec, {kOnC}), ElementsAre("TCP 10.0.0.3:8080"));
}

const std::string kHintEast = "{addresses: [10.0.0.1], zone: east, hints: {forZones: [{name: east}]}}";
const std::string kHintWest = "{addresses: [10.0.0.2], zone: east, hints: {forZones: [{name: west}]}}";

TEST(Endpoints, ZoneHintsAreFollowedWhenAllReadyEndpointsHaveThem) {
    // Since Kubernetes 1.31 hints speak for themselves: no annotation is needed at the reader.
    EXPECT_THAT(used("", {kHintEast, kHintWest}), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(used("", {kHintEast, kHintWest}, "c"), ElementsAre("TCP 10.0.0.2:8080"));
    EXPECT_THAT(used("", {kHintEast, kHintWest, kOnC}),
                ElementsAre("TCP 10.0.0.1:8080", "TCP 10.0.0.2:8080", "TCP 10.0.0.3:8080"))
        << "one ready endpoint without a hint: hints are being changed, use everybody";
    EXPECT_THAT(used("", {kHintEast, kHintWest, "{addresses: [10.0.0.9], conditions: {ready: false}}"}),
                ElementsAre("TCP 10.0.0.1:8080"))
        << "endpoints that are not ready need no hint";
    EXPECT_THAT(used("", {kHintWest}), ElementsAre("TCP 10.0.0.2:8080")) << "no hint for this zone: use everybody";
}

TEST(Endpoints, HintsOverruleTheZonesThatEndpointsAreIn) {
    // The control plane may give one zone's endpoints to another, so that shares stay even.
    EXPECT_THAT(used("  trafficDistribution: PreferClose\n", {kHintEast, kHintWest}), ElementsAre("TCP 10.0.0.1:8080"));
}

TEST(Endpoints, NodeHintsComeBeforeZoneHints) {
    const std::string a = "{addresses: [10.0.0.1], hints: {forZones: [{name: east}], forNodes: [{name: a}]}}";
    const std::string b = "{addresses: [10.0.0.2], hints: {forZones: [{name: east}], forNodes: [{name: b}]}}";
    const std::string c = "{addresses: [10.0.0.3], hints: {forZones: [{name: west}], forNodes: [{name: c}]}}";
    EXPECT_THAT(used("", {a, b, c}), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(used("", {b, c}), ElementsAre("TCP 10.0.0.2:8080")) << "nobody for this node: its zone";
    EXPECT_THAT(used("", {c}), ElementsAre("TCP 10.0.0.3:8080")) << "nor for its zone: everybody";
}

TEST(Endpoints, ANodeThatGetsAZoneIsCompiledAgain) {
    World world;
    world.put("web", service("  trafficDistribution: PreferClose\n") + slice({kOnA, kOnC}));
    EXPECT_EQ(behind(world.compile(), kVip).size(), 2U);
    world.put("nodes", node("a", "west", "192.0.2.1"));
    EXPECT_THAT(behind(world.compile(), kVip), ElementsAre("TCP 10.0.0.3:8080"));
}

TEST(Endpoints, PortsAreMatchedByNameAndProtocol) {
    World world;
    world.put("web", R"(---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  ports:
    - {name: http, port: 80}
    - {name: dns, port: 53, protocol: UDP}
    - {name: dns-tcp, port: 53}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 5353, protocol: UDP}, {name: dns-tcp, port: 5354, protocol: UDP}]
endpoints: [{addresses: [10.0.0.1]}]
)");
    const auto state = world.compile();
    EXPECT_THAT(behind(state, kVip), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(behind(state, "UDP 10.96.0.1:53"), ElementsAre("UDP 10.0.0.1:5353"));
    EXPECT_THAT(behind(state, "TCP 10.96.0.1:53"), IsEmpty()) << "the slice's port of that name is a UDP one";
}

TEST(Endpoints, PodsOfOneServiceMayHaveDifferentNumbersForANamedPort) {
    World world;
    auto other = slice({"{addresses: [10.0.0.2]}"}, "web-2");
    other.replace(other.find("port: 8080"), 10, "port: 9090");
    world.put("web", service() + slice({"{addresses: [10.0.0.1]}"}) + other);
    EXPECT_THAT(behind(world.compile(), kVip), ElementsAre("TCP 10.0.0.1:8080", "TCP 10.0.0.2:9090"));
}

TEST(Endpoints, SlicesOfAnotherNamespaceAreNobodysBusiness) {
    World world;
    auto foreign = slice({"{addresses: [10.0.0.2]}"});
    foreign.replace(foreign.find("namespace: shop"), 15, "namespace: evil");
    world.put("web", service() + foreign);
    EXPECT_THAT(behind(world.compile(), kVip), IsEmpty());
}

} // namespace
} // namespace weft::compiler

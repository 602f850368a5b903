// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who is enrolled, in which mode, and what are the hooks told of it?
#include "agent/compiler/transit.hpp"
#include "tests/unit/compiler/world.hpp"
#include "weft/abi/mesh.h"

namespace weft::compiler {
namespace {

using namespace std::chrono_literals;

class MeshStandingTest : public ::testing::Test {
protected:
    MeshStandingTest() {
        world.node().mesh = true;
        world.node().dial_ports = {{77, 4242}};
        world.enrol("near", 77, {"10.1.0.1"});
    }
    /// One pod here, one on another node, in a namespace with `labels`.
    void pods(const std::string& labels, const std::string& near, const std::string& far) {
        world.put("pods.yaml", fmt::format(R"(
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{{}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: near, namespace: shop, {}}}
spec: {{nodeName: a, containers: [{{name: main}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: far, namespace: shop, {}}}
spec: {{nodeName: b, containers: [{{name: main}}]}}
status: {{phase: Running, podIP: 10.2.0.1}}
)",
                                           labels, near, far));
    }
    std::uint32_t near() { return world.compile().policy->endpoints.at(77).flags; }
    std::uint32_t far() { return world.compile().policy->ipcache.at(Ip::parse("10.2.0.1")->raw()).flags; }

    World world;
    static constexpr const char* kEnabled = "weft.dev/mesh: enabled";
    static constexpr const char* kPublished = "annotations: {weft.dev/enrolled: \"true\"}";
    static constexpr const char* kNothing = "labels: {app: x}";
};

TEST_F(MeshStandingTest, NothingHappensWithoutALabel) {
    pods("", kNothing, kNothing);
    EXPECT_EQ(near(), 0U);
    EXPECT_EQ(far(), 0U);
}

TEST_F(MeshStandingTest, NothingHappensOnANodeWithoutIdentities) {
    world.node().mesh = false;
    pods(kEnabled, kPublished, kPublished);
    EXPECT_EQ(near(), 0U);
    EXPECT_EQ(far(), 0U);
}

TEST_F(MeshStandingTest, ANamespaceEnrolsItsPodsAndAPodMayOptOut) {
    pods(kEnabled, kNothing, "labels: {weft.dev/mesh: disabled}");
    EXPECT_EQ(near(), static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH))
        << "it takes, but does not dial before it is published";
    EXPECT_EQ(far(), 0U);
}

TEST_F(MeshStandingTest, OnlyWhatIsPublishedIsDialledAndDials) {
    pods(kEnabled, kNothing, kNothing);
    EXPECT_EQ(far(), static_cast<std::uint32_t>(WEFT_PEER_DIALS)) << "its connections are taken, it is not dialled";
    pods(kEnabled, kPublished, kPublished);
    EXPECT_EQ(near(), static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH | WEFT_ENDPOINT_DIALS));
    EXPECT_EQ(far(), static_cast<std::uint32_t>(WEFT_PEER_MESH | WEFT_PEER_DIALS));
    EXPECT_EQ(world.compile().policy->endpoints.at(77).dial_port, 4242);
}

TEST_F(MeshStandingTest, WhatIsPublishedIsServedUntilItIsWithdrawn) {
    pods("", kPublished, kPublished);
    EXPECT_EQ(near(), static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH)) << "it dials no more";
    EXPECT_EQ(far(), static_cast<std::uint32_t>(WEFT_PEER_MESH | WEFT_PEER_DIALS));
}

TEST_F(MeshStandingTest, APodThatLeavesIsStillServedAndExpected) {
    pods("", kNothing, kNothing);
    world.node().in_transit.leaving = {{"shop", "near"}, {"shop", "far"}};
    EXPECT_EQ(near(), static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH)) << "peers that do not know yet are served";
    EXPECT_EQ(far(), static_cast<std::uint32_t>(WEFT_PEER_DIALS)) << "it may not know yet; we dial it no more";
    world.node().in_transit = {};
    EXPECT_EQ(near(), 0U);
    EXPECT_EQ(far(), 0U);
}

TEST_F(MeshStandingTest, APodThatEntersIsServedBeforeItDials) {
    pods(kEnabled, kPublished, kPublished);
    world.node().in_transit.entering = {{"shop", "near"}};
    EXPECT_EQ(near(), static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH));
    EXPECT_EQ(far(), static_cast<std::uint32_t>(WEFT_PEER_MESH | WEFT_PEER_DIALS));
}

TEST_F(MeshStandingTest, APodLeavesFromItsWithdrawalUntilItIsBackOrGoneOrTimeIsUp) {
    const std::set<store::Name> both{{"shop", "near"}, {"shop", "far"}};
    Transit transit;
    const auto begin = Transit::Clock::now();
    pods("", kNothing, kNothing);
    EXPECT_TRUE(transit.update(world.snapshot(), begin).leaving.empty()) << "never published";
    pods(kEnabled, kPublished, kPublished);
    EXPECT_TRUE(transit.update(world.snapshot(), begin).leaving.empty());
    pods("", kNothing, kNothing);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 1s).leaving, both);
    EXPECT_EQ(transit.next(), begin + 1s + Transit::kLeaving);
    pods(kEnabled, kPublished, kNothing);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 2s).leaving, (std::set<store::Name>{{"shop", "far"}})) << "back";
    pods("", kNothing, kNothing);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 3s).leaving, both);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 1s + Transit::kLeaving).leaving,
              (std::set<store::Name>{{"shop", "near"}}))
        << "far is through";
    world.put("pods.yaml", "");
    EXPECT_TRUE(transit.update(world.snapshot(), begin + 4s).leaving.empty()) << "gone for good";
    EXPECT_FALSE(transit.next());
}

TEST_F(MeshStandingTest, OnlyAPodThatRanOutsideOfTheMeshEntersIt) {
    const std::set<store::Name> near{{"shop", "near"}}; // far is another node's
    Transit transit;
    const auto begin = Transit::Clock::now();
    pods(kEnabled, kNothing, kNothing);
    EXPECT_TRUE(transit.update(world.snapshot(), begin).entering.empty()) << "a new pod";
    pods("", kNothing, kNothing);
    EXPECT_TRUE(transit.update(world.snapshot(), begin).entering.empty());
    pods(kEnabled, kNothing, kNothing);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 1s).entering, near);
    EXPECT_EQ(transit.next(), begin + 1s + Transit::kEntering);
    pods(kEnabled, kPublished, kPublished);
    EXPECT_EQ(transit.update(world.snapshot(), begin + 2s).entering, near);
    EXPECT_TRUE(transit.update(world.snapshot(), begin + 1s + Transit::kEntering).entering.empty());
    EXPECT_FALSE(transit.next());
}

TEST_F(MeshStandingTest, TheMostSpecificModeCounts) {
    pods(kEnabled, "labels: {app: near}", kNothing);
    world.put("config.yaml", R"(
apiVersion: weft.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec: {tls: {mode: strict}}
)");
    EXPECT_TRUE(near() & WEFT_ENDPOINT_STRICT) << "the mesh's";
    world.put("all.yaml", R"(
apiVersion: weft.dev/v1alpha1
kind: MeshTLS
metadata: {name: all, namespace: shop}
spec: {mode: "off"}
)");
    EXPECT_EQ(near(), 0U) << "the namespace's";
    world.put("one.yaml", R"(
apiVersion: weft.dev/v1alpha1
kind: MeshTLS
metadata: {name: one, namespace: shop}
spec:
  selector: {matchLabels: {app: near}}
  mode: permissive
  ports: [{port: 8443, mode: strict}]
)");
    const auto state = world.compile();
    EXPECT_EQ(state.policy->endpoints.at(77).flags, static_cast<std::uint32_t>(WEFT_ENDPOINT_MESH)) << "its own";
    const auto port = state.policy->tls_ports.find(make_addr_port(*Ip::parse("10.1.0.1"), 8443, 6));
    ASSERT_NE(port, state.policy->tls_ports.end());
    EXPECT_EQ(port->second, static_cast<std::uint32_t>(WEFT_TLS_STRICT));
}

TEST_F(MeshStandingTest, AnotherLabelValueIsRefusedAndEnrolsNobody) {
    pods("", "labels: {weft.dev/mesh: \"on\"}", kNothing);
    const auto state = world.compile();
    EXPECT_EQ(state.policy->endpoints.at(77).flags, 0U);
    ASSERT_EQ(state.refusals.size(), 1U);
    EXPECT_EQ(state.refusals[0].field, "metadata.labels[weft.dev/mesh]");
}

/// The one fault of a document: its field, and whether the message holds `word`.
void expect_fault(const std::string& kind, const std::string& rest, const std::string& field, const std::string& word) {
    const auto outcome = k8s::parse_documents(
        fmt::format("apiVersion: weft.dev/v1alpha1\nkind: {}\nmetadata: {{name: default}}\n{}", kind, rest), "m.yaml");
    ASSERT_EQ(outcome.refusals.size(), 1U) << rest;
    EXPECT_EQ(outcome.refusals[0].field, field);
    EXPECT_NE(outcome.refusals[0].message.find(word), std::string::npos) << outcome.refusals[0].message;
}

TEST(MeshKinds, FaultsAreRefusedWithFieldAndRemedy) {
    expect_fault("MeshTLS", "spec: {mode: strct}", "spec.mode", "strict");
    expect_fault("MeshTLS", "spec: {mode: strict, prots: []}", "spec.prots", "");
    expect_fault("MeshTLS", "spec: {selector: {}}", "spec", "give mode");
    expect_fault("MeshTLS", "spec: {ports: [{port: 80}]}", "spec.ports[0].mode", "");
    expect_fault("MeshTLS", "spec: {ports: [{port: 70000, mode: strict}]}", "spec.ports[0].port", "");
    expect_fault("MeshTLS", "spec: {ports: [{port: 80, mode: strict}, {port: 80, mode: strict}]}", "spec.ports[1].port",
                 "twice");
    expect_fault("MeshConfig", "spec: {tls: {mode: 1}}", "spec.tls.mode", "");
}

} // namespace
} // namespace weft::compiler

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Whose connections may skip TCP/IP: configuration, namespace, pod, and what the kernel can do.
#include "agent/compiler/acceleration.hpp"
#include "tests/unit/compiler/world.hpp"

namespace weft::compiler {
namespace {

class AccelerationTest : public ::testing::Test {
protected:
    AccelerationTest() {
        world.enrol("web", 77, {"10.1.0.1"});
        world.node().acceleration = Acceleration::kAuto;
        world.node().acceleration_proven = true;
    }
    /// Is it on for a pod with this label, in a namespace with that one? Empty: no label.
    bool on(const std::string& pod, const std::string& home) {
        const auto labels = [](const std::string& value) {
            return value.empty() ? std::string() : "labels: {weft.dev/acceleration: \"" + value + "\"}";
        };
        world.put("pods.yaml", fmt::format(R"(
apiVersion: v1
kind: Namespace
metadata: {{name: shop, {}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: shop, {}}}
spec: {{nodeName: a, containers: [{{name: main}}]}}
)",
                                           labels(home), labels(pod)));
        const auto state = world.compile();
        refusals = state.refusals;
        return (state.policy->endpoints.at(77).flags & WEFT_ENDPOINT_ACCEL) != 0;
    }

    World world;
    std::vector<store::Refusal> refusals;
};

TEST_F(AccelerationTest, AutoIsWhatTheKernelIsProvenToDo) {
    EXPECT_TRUE(on("", ""));
    world.node().acceleration_proven = false;
    EXPECT_FALSE(on("", ""));
    EXPECT_FALSE(on("auto", "on"));
    EXPECT_TRUE(on("on", ""));
    EXPECT_TRUE(on("", "on"));
}

TEST_F(AccelerationTest, ThePodSaysMoreThanItsNamespaceAndThatMoreThanTheNode) {
    EXPECT_FALSE(on("off", "on"));
    EXPECT_TRUE(on("on", "off"));
    EXPECT_FALSE(on("", "off"));
    EXPECT_TRUE(refusals.empty());
}

TEST_F(AccelerationTest, OffInTheConfigurationIsOffForAll) {
    world.node().acceleration = Acceleration::kOff;
    EXPECT_FALSE(on("on", "on"));
}

TEST_F(AccelerationTest, OnInTheConfigurationNeedsNoProof) {
    world.node().acceleration = Acceleration::kOn;
    world.node().acceleration_proven = false;
    EXPECT_TRUE(on("", ""));
    EXPECT_FALSE(on("auto", ""));
}

TEST_F(AccelerationTest, AnythingElseIsRefusedAndOff) {
    EXPECT_FALSE(on("yes", "on"));
    ASSERT_EQ(refusals.size(), 1U);
    EXPECT_EQ(refusals[0].field, "metadata.labels[weft.dev/acceleration]");
}

} // namespace
} // namespace weft::compiler

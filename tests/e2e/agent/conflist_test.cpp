// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does the example in deploy/cni work as it stands: bridge, host-local and weft-cni against a real agent? Only the
// paths that would reach out of the test's world are changed. Run from the top of the source tree.
#include <fcntl.h>
#include <sched.h>

#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/agent_world.hpp"
#include "tests/support/cni_runner.hpp"

namespace weft::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Conflist, ExampleBringsAPodUnderTheAgentAndLetsItGo) {
    const AgentWorld world;
    world.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {nodeName: a}\n");
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    std::ifstream file("deploy/cni/10-weft.conflist");
    ASSERT_TRUE(file.good());
    auto conflist = Json::parse(file);
    conflist["plugins"][0]["ipam"]["dataDir"] = world.root() + "/cni";
    conflist["plugins"][1]["agentSocket"] = world.run_dir() + "/enrol.sock";
    UniqueFd pod;
    std::thread([&] {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
        pod.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    const CniAttachment attachment{.container_id = "example",
                                   .netns = fmt::format("/proc/{}/fd/{}", ::getpid(), pod.get()),
                                   .args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"};
    const auto endpoints = [&] {
        return world.run({built_program("weft"), "--socket", world.run_dir() + "/admin.sock", "endpoint", "list"})
            .output;
    };
    std::thread([&] {
        const UniqueFd node(::open(world.netns().c_str(), O_RDONLY | O_CLOEXEC));
        ASSERT_EQ(::setns(node.get(), CLONE_NEWNET), 0);
        CniRunner runner({"/usr/lib/cni", built_program("")});
        const auto added = runner.add(conflist, attachment);
        ASSERT_TRUE(added.has_value()) << added.error().message() << world.log();
        EXPECT_EQ((*added)["ips"].size(), 2U) << added->dump();
        EXPECT_THAT(endpoints(), HasSubstr("10.244.1.2"));
        EXPECT_TRUE(runner.check(conflist, attachment).has_value());
        EXPECT_TRUE(runner.del(conflist, attachment).has_value());
        EXPECT_THAT(endpoints(), Not(HasSubstr("10.244.1.2")));
    }).join();
}

} // namespace
} // namespace weft::test

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `--watch` against a living agent.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/agent/traffic.hpp"
#include "tests/support/agent_world.hpp"

namespace weft::test {
namespace {

using ::testing::HasSubstr;

std::string read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::size_t count(const std::string& text, const std::string& word) {
    std::size_t found = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
        ++found;
    }
    return found;
}

TEST(Watch, PrintsTheTableOnceAndThenOnlyWhatChanges) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("steady", "10.96.0.1") + service_with_backend("moving", "10.96.0.2"));
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    const auto output = world.root() + "/watched";
    auto watching = lab::launch({.argv = {built_program("weft"), "--socket", world.run_dir() + "/admin.sock", "service",
                                          "list", "-n", "shop", "--watch"},
                                 .netns = world.netns(),
                                 .log_file = output});
    ASSERT_TRUE(watching.has_value()) << watching.error().message();
    const Process owned(watching->pid);
    ASSERT_TRUE(until([&] { return count(read(output), "moving") == 1; })) << read(output);
    auto slower = service_with_backend("moving", "10.96.0.2");
    slower.replace(slower.find("{name: moving,"), 14, "{name: moving, annotations: {weft.dev/load-balancing: maglev},");
    world.write("web.yaml", service_with_backend("steady", "10.96.0.1") + slower);
    ASSERT_TRUE(until([&] { return read(output).find("maglev") != std::string::npos; })) << read(output);
    const auto text = read(output);
    EXPECT_EQ(count(text, "NAMESPACE"), 1U) << text;
    EXPECT_EQ(count(text, "steady"), 1U) << text;
    EXPECT_EQ(count(text, "moving"), 2U) << text;
}

} // namespace
} // namespace weft::test

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does one agent behave as a service should: start, stop, restart under load, second instances, leftovers, bad
// configuration, systemd's protocol?
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/agent/traffic.hpp"
#include "tests/support/agent_world.hpp"

namespace weft::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Agent, SecondOneOnTheSamePinsOrRunDirRefusesAndTheFirstGoesOn) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    AgentProcess first(world);
    ASSERT_TRUE(first.notified("READY=1")) << world.log();
    AgentProcess same_pins(world, {"--run-dir", world.root() + "/run2", "--metrics-address", ""});
    EXPECT_EQ(same_pins.wait(20), 1);
    EXPECT_THAT(world.log(), HasSubstr("another weftd is at work with pin_dir " + world.pin_dir()));
    AgentProcess same_run(world, {"--pin-dir", world.pin_dir() + "-other", "--metrics-address", ""});
    EXPECT_EQ(same_run.wait(20), 1);
    EXPECT_THAT(world.log(), HasSubstr("another weftd is at work with run_dir " + world.run_dir()));
    EXPECT_FALSE(fs::exists(world.pin_dir() + "-other"));
    const Server server(world);
    EXPECT_EQ(request(world, "10.96.0.1"), "ok");
    first.kill();
    AgentProcess next(world);
    EXPECT_TRUE(next.notified("READY=1")) << "the lock ends with its process: " << world.log();
}

TEST(Agent, ReplacesTheSocketsOfAKilledOne) {
    const AgentWorld world;
    {
        AgentProcess agent(world);
        ASSERT_TRUE(agent.notified("READY=1")) << world.log();
        agent.kill();
    }
    ASSERT_TRUE(fs::exists(world.run_dir() + "/admin.sock"));
    const auto dead = world.run({built_program("weft"), "--socket", world.run_dir() + "/admin.sock", "status"});
    EXPECT_EQ(dead.exit_code, 3) << dead.error_output;
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    const auto alive = world.run({built_program("weft"), "--socket", world.run_dir() + "/admin.sock", "status"});
    EXPECT_EQ(alive.exit_code, 0) << alive.error_output;
}

TEST(Agent, TermLeavesTheDataPathInPlaceAndUninstallRemovesIt) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    const std::vector<std::string> uninstall{built_program("weft"), "--socket",  world.run_dir() + "/admin.sock",
                                             "uninstall",           "--pin-dir", world.pin_dir()};
    const auto too_early = world.run(uninstall);
    EXPECT_EQ(too_early.exit_code, 1);
    EXPECT_THAT(too_early.error_output, HasSubstr("stop it first"));
    EXPECT_EQ(agent.stop(), 0);
    EXPECT_EQ(request(world, "10.96.0.1"), "ok") << "no agent, same data path";
    EXPECT_TRUE(fs::exists(world.map_path("weft_service")));
    EXPECT_EQ(world.run(uninstall).exit_code, 0);
    EXPECT_FALSE(fs::exists(world.map_path("weft_service")));
    const auto links = world.run({"bpftool", "cgroup", "show", world.cgroup()});
    EXPECT_THAT(links.output, Not(HasSubstr("weft_"))) << "nothing is attached any more";
    EXPECT_THAT(request(world, "10.96.0.1"), Not("ok"));
}

TEST(Agent, RestartsUnderLoadWithAThousandServicesLoseNoRequest) {
    const AgentWorld world;
    std::string many;
    for (int i = 0; i < 1000; ++i) {
        many += service_with_backend(fmt::format("s{}", i), fmt::format("10.96.{}.{}", 1 + i / 250, 1 + i % 250));
    }
    world.write("many.yaml", many);
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    auto agent = std::make_unique<AgentProcess>(world);
    ASSERT_TRUE(agent->notified("READY=1")) << world.log();
    Load load(world, "10.96.0.1");
    ASSERT_TRUE(until([&] { return load.count().ok > 50; })) << "the load does not run";
    for (int round = 0; round < 4; ++round) {
        if (round % 2 == 0) {
            EXPECT_EQ(agent->stop(), 0);
        } else {
            agent->kill();
        }
        const auto before = load.count().ok;
        EXPECT_TRUE(until([&] { return load.count().ok > before + 50; })) << "no agent, no requests";
        agent = std::make_unique<AgentProcess>(world);
        ASSERT_TRUE(agent->notified("READY=1")) << world.log();
        const auto after = load.count().ok;
        EXPECT_TRUE(until([&] { return load.count().ok > after + 50; }));
    }
    const auto counted = load.stop();
    EXPECT_EQ(counted.failed, 0U) << "of " << counted.ok + counted.failed;
    EXPECT_GT(counted.ok, 400U);
}

TEST(Agent, TellsSystemdThatItIsReadyAndAlive) {
    const AgentWorld world;
    AgentProcess agent(world, {}, {"WATCHDOG_USEC=200000"});
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(agent.notified("WATCHDOG=1", 5)) << i;
    }
    ASSERT_EQ(::kill(agent.pid(), SIGTERM), 0);
    EXPECT_TRUE(agent.notified("STOPPING=1", 5));
    EXPECT_EQ(agent.wait(10), 0);
}

struct BadConfig {
    const char* name;
    const char* text;
    const char* complaint;
};

class Config : public ::testing::TestWithParam<BadConfig> {};

TEST_P(Config, IsRefusedWithFileKeyAndRemedy) {
    const AgentWorld world;
    const auto path = world.root() + "/weftd.yaml";
    std::ofstream(path) << GetParam().text;
    const auto done = world.run({built_program("weftd"), "--config", path});
    EXPECT_EQ(done.exit_code, 2);
    EXPECT_THAT(done.error_output, HasSubstr(path));
    EXPECT_THAT(done.error_output, HasSubstr(GetParam().complaint));
    EXPECT_FALSE(fs::exists(world.pin_dir())) << "nothing was touched";
}

INSTANTIATE_TEST_SUITE_P(Bad, Config,
                         ::testing::Values(BadConfig{"Key", "manifest: /tmp\n", "manifest"},
                                           BadConfig{"Value", "manifests: /tmp\nrepair_interval: often\n",
                                                     "'often' is not a number from 1 to 3600"},
                                           BadConfig{"Syntax", "manifests: [\n", "weftd.yaml"}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(Agent, MissingManifestsFolderIsSaidAndNothingStarts) {
    const AgentWorld world;
    AgentProcess agent(world, {"--manifests", world.root() + "/nowhere"});
    EXPECT_EQ(agent.wait(20), 1);
    EXPECT_THAT(world.log(), HasSubstr("nowhere' is no folder"));
    EXPECT_FALSE(fs::exists(world.pin_dir())) << "nothing was touched";
}

} // namespace
} // namespace weft::test

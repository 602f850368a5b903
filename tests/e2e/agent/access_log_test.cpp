// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The access log of a real agent: what is in it, and what a full disk does to it and to traffic.
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/e2e/agent/traffic.hpp"
#include "tests/support/agent_world.hpp"

namespace weft::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::vector<json> lines(const std::string& path) {
    std::vector<json> out;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        out.push_back(json::parse(line, nullptr, false));
        EXPECT_FALSE(out.back().is_discarded()) << line;
    }
    return out;
}

std::string metrics(const AgentWorld& world) {
    return world.run({"curl", "-s", "-m", "5", "http://127.0.0.1:9964/metrics"}).output;
}

TEST(AccessLog, HoldsOneLineForEachConnection) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    const auto path = world.root() + "/access.log";
    AgentProcess agent(world, {"--node-name", "one", "--access-log", path});
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    ASSERT_TRUE(until([&] { return lines(path).size() == 1; })) << world.log();
    const auto line = lines(path)[0];
    EXPECT_EQ(line["bytes_sent"], 2) << "\"ok\" went to the client";
    EXPECT_EQ(line["bytes_received"], 0);
    EXPECT_EQ(line["downstream_local_address"], "10.96.0.1:80");
    EXPECT_EQ(line["upstream_host"], std::string(kBackendIp) + ":8080");
    EXPECT_EQ(line["response_flags"], "-");
    EXPECT_EQ(line["destination_service"], "shop/web:80");
    EXPECT_EQ(line["ended_by"], "destination") << "the server closes first";
    EXPECT_EQ(line["verdict"], "allowed");
    EXPECT_EQ(line["node"], "one");
    world.write("web.yaml", service_with_backend("web", "10.96.0.1") +
                                "---\napiVersion: v1\nkind: Service\nmetadata: {name: none, namespace: shop}\nspec: "
                                "{clusterIP: 10.96.0.9, ports: [{port: 80}]}\n");
    ASSERT_TRUE(until([&] { return request(world, "10.96.0.9") == "ECONNREFUSED"; }));
    ASSERT_TRUE(until([&] { return lines(path).size() >= 2; }));
    const auto refused = lines(path)[1];
    EXPECT_EQ(refused["response_flags"], "UH") << refused;
    EXPECT_EQ(refused["reason"], "no-backend");
    EXPECT_EQ(refused["verdict"], "denied");
    EXPECT_EQ(agent.stop(), 0);
}

/// A disk of 256 KiB.
class SmallDisk {
public:
    explicit SmallDisk(std::string path) : path_(std::move(path)) {
        std::filesystem::create_directory(path_);
        EXPECT_EQ(::mount("weft-test", path_.c_str(), "tmpfs", 0, "size=256k"), 0);
    }
    ~SmallDisk() { (void)::umount2(path_.c_str(), MNT_DETACH); }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

private:
    std::string path_;
};

TEST(AccessLog, FullDiskLosesLinesAndNothingElse) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    const auto folder = world.root() + "/disk";
    const SmallDisk disk(folder);
    const auto path = folder + "/access.log";
    AgentProcess agent(world, {"--access-log", path});
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    ASSERT_TRUE(until([&] { return lines(path).size() == 1; }));
    {
        std::ofstream filler(folder + "/filler");
        while (filler << std::string(4096, 'x') << std::flush) {
        }
    }
    Load load(world, "10.96.0.1"); // what is left of the log's last page takes a few lines more
    EXPECT_TRUE(until([&] { return world.log().find("event=access-log-lost") != std::string::npos; }, 60))
        << metrics(world);
    EXPECT_THAT(world.log(), HasSubstr("No space left on device"));
    const auto counts = load.stop();
    EXPECT_GT(counts.ok, 20U);
    EXPECT_EQ(counts.failed, 0U) << "traffic does not care";
    EXPECT_THAT(metrics(world), ::testing::ContainsRegex("lost-disk-full\"\\} [1-9]"));
    const auto kept = lines(path).size();
    std::filesystem::remove(folder + "/filler");
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    EXPECT_TRUE(until([&] { return lines(path).size() > kept; })) << "whole lines, and new ones again";
}

} // namespace
} // namespace weft::test

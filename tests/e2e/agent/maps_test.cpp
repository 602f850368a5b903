// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the agent does about maps that somebody else wrote to, and about maps that become too small; and what it tells
// Prometheus.
#include <unistd.h>

#include <cstring>
#include <fstream>

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "tests/e2e/agent/traffic.hpp"
#include "tests/support/agent_world.hpp"
#include "weft/abi/service.h"

namespace weft::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

std::string metrics(const AgentWorld& world) {
    return world.run({"curl", "-s", "-m", "5", "http://127.0.0.1:9964/metrics"}).output;
}

weft_addr_port frontend(const std::string& ip) {
    return make_addr_port(*Ip::parse(ip), 80, IPPROTO_TCP);
}

std::optional<weft_service> lookup(const AgentWorld& world, const std::string& ip) {
    const UniqueFd map(bpf_obj_get(world.map_path("weft_service").c_str()));
    const auto key = frontend(ip);
    weft_service value{};
    return bpf_map_lookup_elem(map.get(), &key, &value) == 0 ? std::optional(value) : std::nullopt;
}

TEST(Drift, IsRepairedWithinTheIntervalAndCounted) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("lost", "10.96.0.1") + service_with_backend("bent", "10.96.0.2"));
    AgentProcess agent(world, {"--repair-interval", "1"});
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    const auto lost = lookup(world, "10.96.0.1");
    const auto bent = lookup(world, "10.96.0.2");
    ASSERT_TRUE(lost && bent);
    const UniqueFd map(bpf_obj_get(world.map_path("weft_service").c_str()));
    const auto gone = frontend("10.96.0.1");
    const auto changed = frontend("10.96.0.2");
    const auto foreign = frontend("10.96.99.99");
    weft_service garbage{};
    std::memset(&garbage, 0x5a, sizeof garbage);
    ASSERT_EQ(bpf_map_delete_elem(map.get(), &gone), 0);
    ASSERT_EQ(bpf_map_update_elem(map.get(), &changed, &garbage, BPF_ANY), 0);
    ASSERT_EQ(bpf_map_update_elem(map.get(), &foreign, &garbage, BPF_ANY), 0);
    EXPECT_TRUE(until([&] {
        const auto back = lookup(world, "10.96.0.1");
        const auto mended = lookup(world, "10.96.0.2");
        return back && mended && std::memcmp(&*back, &*lost, sizeof *lost) == 0 &&
               std::memcmp(&*mended, &*bent, sizeof *bent) == 0 && !lookup(world, "10.96.99.99");
    })) << world.log();
    EXPECT_TRUE(until([&] {
        return world.log().find("event=drift-repaired map=weft_service missing=1 changed=1 extra=1") !=
               std::string::npos;
    })) << world.log();
    EXPECT_THAT(metrics(world), ContainsRegex("weft_drift_entries_total\\{[^}]*weft_service[^}]*\\} 3"));
}

TEST(Growth, MapsGrowUnderLoadAndNoRequestIsLost) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    Load load(world, "10.96.0.1");
    ASSERT_TRUE(until([&] { return load.count().ok > 20; }));
    std::string many; // more than the least capacity of weft_service
    for (int i = 0; i < 3000; ++i) {
        many += service_with_backend(fmt::format("s{}", i), fmt::format("10.96.{}.{}", 1 + i / 250, 1 + i % 250));
    }
    world.write("many.yaml", many);
    EXPECT_TRUE(until([&] { return world.log().find("event=maps-grown") != std::string::npos; }, 30)) << world.log();
    EXPECT_TRUE(until([&] { return lookup(world, "10.96.12.250").has_value(); }));
    EXPECT_EQ(request(world, "10.96.12.250"), "ok");
    const auto after = load.count().ok;
    EXPECT_TRUE(until([&] { return load.count().ok > after + 20; }));
    EXPECT_EQ(load.stop().failed, 0U);
}

TEST(Metrics, PromtoolHasNothingToSay) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    const Server server(world);
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    const auto page = metrics(world);
    ASSERT_THAT(page, HasSubstr("weft_connections_opened_total"));
    const auto checked = lab::run_captured({.argv = {"promtool", "check", "metrics"}, .input = page});
    ASSERT_TRUE(checked.has_value()) << checked.error().message();
    EXPECT_EQ(checked->exit_code, 0) << checked->output << checked->error_output;
    EXPECT_EQ(checked->output + checked->error_output, "");
}

TEST(Metrics, PrometheusScrapesThem) {
    const AgentWorld world;
    world.write("web.yaml", service_with_backend("web", "10.96.0.1"));
    AgentProcess agent(world);
    ASSERT_TRUE(agent.notified("READY=1")) << world.log();
    const auto config = world.root() + "/prometheus.yaml";
    std::ofstream(config) << "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: weft\n  static_configs: "
                             "[{targets: ['127.0.0.1:9964']}]\n";
    auto prometheus =
        lab::launch({.argv = {"prometheus", "--config.file=" + config, "--storage.tsdb.path=" + world.root() + "/tsdb",
                              "--web.listen-address=127.0.0.1:9090"},
                     .netns = world.netns(),
                     .log_file = world.root() + "/prometheus.log"});
    ASSERT_TRUE(prometheus.has_value()) << prometheus.error().message();
    const Process owned(prometheus->pid);
    const auto query = [&](const std::string& expression) {
        return world
            .run({"curl", "-s", "-m", "5", "-G", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode",
                  "query=" + expression})
            .output;
    };
    EXPECT_TRUE(until([&] { return query("up{job=\"weft\"}").find("\"1\"]") != std::string::npos; }, 30))
        << query("up");
    EXPECT_THAT(query("weft_ready"), HasSubstr("\"1\"]"));
    EXPECT_THAT(query("weft_build_info"), HasSubstr("\"version\":\"" WEFT_VERSION "\""));
}

} // namespace
} // namespace weft::test

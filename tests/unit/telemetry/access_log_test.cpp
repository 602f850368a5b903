// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The access log: what a line says, which lines are written, and what a full disk does.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "agent/telemetry/access_log.hpp"
#include "agent/telemetry/enrich.hpp"
#include "flow/flow.pb.h"
#include "tests/unit/admin/world.hpp"

namespace weft::telemetry {
namespace {

using namespace admin_test;
using nlohmann::json;

flow::Flow told(const weft_event& event) {
    static const auto state = desired_state();
    return enrich(event, {.desired = state.get(),
                          .node_name = "node-a",
                          .trust_domain = "cluster.local",
                          .wall_offset_ns = 1'000'000'000});
}

weft_event closing(std::uint8_t direction) {
    auto e = event(WEFT_EVENT_CLOSE, direction);
    e.duration_ns = 2'500'000'000;
    e.bytes_sent = 70;
    e.bytes_received = 195;
    e.srtt_us = 123;
    e.flags = WEFT_EVENT_LOCAL_END;
    return e;
}

weft_event denied() {
    auto e = event(WEFT_EVENT_DENIED, WEFT_INGRESS);
    e.reason = WEFT_REASON_POLICY_DENIED;
    return e;
}

json line_of(const weft_event& event) {
    const auto line = access_line(told(event));
    return line ? json::parse(line->text) : json();
}

TEST(AccessLine, OfAConnectionThatEnded) {
    auto e = closing(WEFT_EGRESS);
    e.service = kService;
    e.asked = end("10.96.0.1", 80);
    const auto line = line_of(e);
    EXPECT_EQ(line["start_time"], "1970-01-01T00:00:03.500Z");
    EXPECT_EQ(line["duration"], 2500);
    EXPECT_EQ(line["bytes_received"], 70) << "from the client, as Istio counts";
    EXPECT_EQ(line["bytes_sent"], 195);
    EXPECT_EQ(line["downstream_remote_address"], "10.0.0.1:41022");
    EXPECT_EQ(line["downstream_local_address"], "10.96.0.1:80");
    EXPECT_EQ(line["upstream_host"], "10.0.0.2:8080");
    EXPECT_EQ(line["upstream_local_address"], "10.0.0.1:41022");
    EXPECT_EQ(line["response_flags"], "-");
    EXPECT_EQ(line["connection_termination_details"], nullptr);
    EXPECT_EQ(line["destination_service"], "pay/api:http");
    EXPECT_EQ(line["source_identity"], "1000000000000011");
    EXPECT_EQ(line["ended_by"], "source");
    EXPECT_EQ(line["rtt_us"], 123);
    const auto server = line_of(closing(WEFT_INGRESS));
    EXPECT_EQ(server["bytes_received"], 195);
    EXPECT_EQ(server["reporter"], "destination");
    EXPECT_EQ(line_of(event(WEFT_EVENT_CONNECT, WEFT_EGRESS)), json()) << "its end will tell";
}

TEST(AccessLine, OfAUdpFlowThatEnded) {
    auto e = closing(WEFT_EGRESS);
    e.local.proto = e.remote.proto = e.asked.proto = 17;
    e.time_ns = 65'000'000'000;
    e.idle_ns = 60'000'000'000;
    e.packets_sent = 3;
    e.packets_received = 4;
    const auto line = line_of(e);
    EXPECT_EQ(line["protocol"], "UDP");
    EXPECT_EQ(line["start_time"], "1970-01-01T00:00:03.500Z") << "the silence before its end is not part of it";
    EXPECT_EQ(line["duration"], 2500);
    EXPECT_EQ(line["packets_received"], 3) << "from the client";
    EXPECT_EQ(line["packets_sent"], 4);
    EXPECT_FALSE(line.contains("ended_by")) << "nobody ended it";
    EXPECT_FALSE(line.contains("rtt_us"));
}

TEST(AccessLine, OfResetsAndDenialsAndMutualTls) {
    auto e = closing(WEFT_EGRESS);
    e.flags |= WEFT_EVENT_RESET;
    EXPECT_EQ(line_of(e)["response_flags"], "DC");
    EXPECT_EQ(line_of(e)["connection_termination_details"], "reset by source");
    e.flags = WEFT_EVENT_RESET | WEFT_EVENT_MUTUAL_TLS;
    EXPECT_EQ(line_of(e)["response_flags"], "UC");
    EXPECT_EQ(line_of(e)["upstream_local_address"], nullptr);
    EXPECT_EQ(line_of(e)["connection_security_policy"], "mutual_tls");
    EXPECT_EQ(line_of(e)["destination_principal"], "spiffe://cluster.local/ns/pay/sa/default");
    EXPECT_EQ(line_of(denied())["connection_termination_details"], "policy-denied: isolated by pay/allow-web");
    EXPECT_EQ(line_of(denied())["verdict"], "denied");
    auto lonely = event(WEFT_EVENT_NO_BACKEND, WEFT_EGRESS);
    lonely.reason = WEFT_REASON_NO_BACKEND;
    EXPECT_EQ(line_of(lonely)["response_flags"], "UH");
    EXPECT_EQ(line_of(lonely)["upstream_host"], nullptr);
}

class AccessLogFile : public testing::Test {
protected:
    std::string folder = "/tmp/weft-access-log-" + std::to_string(::getpid());
    std::string path = folder + "/access.log";
    void SetUp() override { std::filesystem::create_directory(folder); }
    void TearDown() override { std::filesystem::remove_all(folder); }
    AccessLog::Stats stats;
    // Adds and waits until all is written or lost.
    void log(AccessLogOptions options, const std::vector<weft_event>& events) {
        auto started = AccessLog::start(std::move(options));
        ASSERT_TRUE(started.has_value()) << started.error().message();
        for (const auto& one : events) {
            (*started)->add(told(one));
        }
        for (int i = 0; i < 2000; ++i) {
            stats = (*started)->stats();
            if (stats.written + stats.sampled_out + stats.lost() == events.size()) {
                return;
            }
            ::usleep(10000);
        }
        FAIL() << "not done in 20 s";
    }
    static std::vector<std::string> lines(const std::string& file) {
        std::vector<std::string> out;
        std::ifstream in(file);
        for (std::string line; std::getline(in, line);) {
            EXPECT_TRUE(json::accept(line)) << line;
            out.push_back(line);
        }
        return out;
    }
};

TEST_F(AccessLogFile, AppendsAndIsNotForEverybody) {
    log({.path = path}, {closing(WEFT_EGRESS), denied(), closing(WEFT_INGRESS)});
    log({.path = path}, {closing(WEFT_EGRESS)});
    EXPECT_EQ(lines(path).size(), 4u);
    EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::others_all,
              std::filesystem::perms::none);
    EXPECT_FALSE(AccessLog::start({.path = folder + "/no/such"}).has_value());
}

TEST_F(AccessLogFile, FullFilesArePutAsideAndTheOldestGo) {
    const auto one = access_line(told(closing(WEFT_EGRESS)))->text.size() + 1;
    log({.path = path, .max_bytes = 2 * one, .files = 2}, std::vector(9, closing(WEFT_EGRESS)));
    EXPECT_EQ(stats.written, 9u);
    EXPECT_EQ(stats.rotations, 4u);
    EXPECT_EQ(lines(path).size(), 1u);
    EXPECT_EQ(lines(path + ".1").size(), 2u);
    EXPECT_EQ(lines(path + ".2").size(), 2u);
    EXPECT_FALSE(std::filesystem::exists(path + ".3"));
    log({.path = path, .max_bytes = 2 * one, .files = 0}, std::vector(4, closing(WEFT_EGRESS)));
    EXPECT_EQ(lines(path).size(), 1u) << "one more fitted, then it was begun anew";
}

TEST_F(AccessLogFile, SamplesByNamespaceButNeverDenials) {
    std::vector<weft_event> events;
    for (std::uint64_t cookie = 1; cookie <= 1000; ++cookie) {
        for (auto e : {closing(WEFT_EGRESS), denied()}) {
            e.cookie = cookie;
            events.push_back(e);
        }
    }
    log({.path = path, .sampling = {{"shop", 10}, {"*", 0}}}, events);
    EXPECT_EQ(stats.written + stats.sampled_out, 2000u);
    EXPECT_NEAR(static_cast<double>(stats.written), 1000 + 100, 30);
    const auto ingress = closing(WEFT_INGRESS);
    log({.path = path, .sampling = {{"shop", 10}, {"*", 0}}}, std::vector(10, ingress));
    EXPECT_EQ(stats.sampled_out, 10u) << "the workload that reports is in namespace pay";
    log({.path = path, .sampling = {{"shop", 0}}}, std::vector(10, ingress));
    EXPECT_EQ(stats.written, 10u) << "whom nothing is said of is not sampled";
}

TEST_F(AccessLogFile, AFullDiskLosesLinesAndCountsThem) {
    log({.path = "/dev/full"}, std::vector(5, closing(WEFT_EGRESS)));
    EXPECT_EQ(stats.disk_full, 5u);
    EXPECT_EQ(stats.lost(), 5u);
    EXPECT_EQ(stats.written, 0u);
    EXPECT_THAT(stats.last_error, testing::HasSubstr("No space left"));
}

} // namespace
} // namespace weft::telemetry

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do the kernel's sums of connections become series of Istio's metrics, and when do they go away?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/telemetry/traffic_keeper.hpp"
#include "agent/telemetry/traffic_names.hpp"
#include "tests/unit/admin/world.hpp"

namespace weft::telemetry {
namespace {

using admin_test::kApiIdentity;
using admin_test::kService;
using admin_test::kWebIdentity;
using testing::HasSubstr;
using testing::Not;

bpf::Traffic traffic(std::uint64_t workload, std::uint64_t peer, std::uint8_t direction, std::uint64_t service = 0,
                     bool mutual_tls = false) {
    bpf::Traffic out;
    out.key.workload = workload;
    out.key.peer = peer;
    out.key.service = service;
    out.key.direction = direction;
    out.key.mutual_tls = mutual_tls ? 1 : 0;
    out.sum.opened = 3;
    out.sum.closed = 2;
    out.sum.sent = 100;
    out.sum.received = 2000;
    return out;
}

std::string page(const std::vector<bpf::Traffic>& all,
                 const compiler::DesiredState& desired = *admin_test::desired_state()) {
    TrafficNames names("cluster.local", "east");
    names.learn(desired, all);
    std::string out;
    names.print(all, out);
    return out;
}

std::size_t count(const std::string& text, const std::string& what) {
    std::size_t found = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
        ++found;
    }
    return found;
}

TEST(TrafficNames, SayBothEndsTheServiceAndWhoWasProven) {
    const auto text = page({traffic(kWebIdentity, kApiIdentity, WEFT_EGRESS, kService, true)});
    const std::string labels =
        R"({reporter="source",source_workload="web",source_workload_namespace="shop",)"
        R"(source_principal="spiffe://cluster.local/ns/shop/sa/default",source_app="web",source_version="unknown",)"
        R"(source_cluster="east",source_canonical_service="web",source_canonical_revision="latest",)"
        R"(destination_workload="api",destination_workload_namespace="pay",)"
        R"(destination_principal="spiffe://cluster.local/ns/pay/sa/default",destination_app="api",)"
        R"(destination_version="unknown",destination_cluster="east",destination_canonical_service="api",)"
        R"(destination_canonical_revision="latest",destination_service="api.pay.svc.cluster.local",)"
        R"(destination_service_name="api",destination_service_namespace="pay",request_protocol="tcp",)"
        R"(response_flags="-",connection_security_policy="mutual_tls"} )";
    EXPECT_THAT(text, HasSubstr("\nistio_tcp_connections_opened_total" + labels + "3\n"));
    EXPECT_THAT(text, HasSubstr("\nistio_tcp_connections_closed_total" + labels + "2\n"));
    EXPECT_THAT(text, HasSubstr("\nistio_tcp_sent_bytes_total" + labels + "2000\n")) << "what the server sent";
    EXPECT_THAT(text, HasSubstr("\nistio_tcp_received_bytes_total" + labels + "100\n"));
}

TEST(TrafficNames, TheAcceptingSideReportsAsDestination) {
    const auto text = page({traffic(kApiIdentity, kWebIdentity, WEFT_INGRESS)});
    EXPECT_THAT(text, HasSubstr(R"({reporter="destination",source_workload="web",)"));
    EXPECT_THAT(text, HasSubstr(R"(destination_workload="api",)"));
    EXPECT_THAT(text, HasSubstr(R"(source_principal="unknown",)")) << "nobody was proven";
    EXPECT_THAT(text, HasSubstr(R"(destination_service="unknown",)"));
    EXPECT_THAT(text, HasSubstr(R"(connection_security_policy="none"} 3)"));
    EXPECT_THAT(text, testing::ContainsRegex("istio_tcp_sent_bytes_total[^\n]* 100\n"));
}

TEST(TrafficNames, StrangersAreUnknownAndTooManyPeersAreOther) {
    const auto text = page({traffic(kWebIdentity, WEFT_IDENTITY_WORLD, WEFT_EGRESS),
                            traffic(kWebIdentity, WEFT_TRAFFIC_OTHER, WEFT_EGRESS)});
    EXPECT_THAT(text, HasSubstr(R"(destination_workload="unknown",destination_workload_namespace="unknown")"));
    EXPECT_THAT(text, HasSubstr(R"(destination_workload="other",destination_workload_namespace="other")"));
    EXPECT_THAT(text, HasSubstr(R"(destination_service_name="other")"));
}

TEST(TrafficNames, SumsWithTheSameLabelsAreOneSeries) {
    const auto text = page({traffic(kWebIdentity, WEFT_IDENTITY_WORLD, WEFT_EGRESS),
                            traffic(kWebIdentity, WEFT_IDENTITY_HOST, WEFT_EGRESS)});
    EXPECT_EQ(count(text, "\nistio_tcp_connections_opened_total{"), 1U);
    EXPECT_THAT(text, HasSubstr("\"none\"} 6\n"));
}

TEST(TrafficNames, WhatIsGoneKeepsItsNameAsLongAsItIsCounted) {
    const std::vector<bpf::Traffic> all{traffic(kWebIdentity, kApiIdentity, WEFT_EGRESS, kService)};
    TrafficNames names("cluster.local", "east");
    names.learn(*admin_test::desired_state(), all);
    const compiler::DesiredState nothing;
    names.learn(nothing, all);
    std::string text;
    names.print(all, text);
    EXPECT_THAT(text, HasSubstr(R"(destination_workload="api")"));
    EXPECT_THAT(text, HasSubstr(R"(destination_service_name="api")"));
    names.learn(nothing, {});
    names.learn(nothing, all);
    text.clear();
    names.print(all, text);
    EXPECT_THAT(text, Not(HasSubstr("api")));
}

TEST(TrafficNames, AreThoseOfTheControllerWhereLabelsTell) {
    const auto named = [](const char* pod, k8s::Labels labels) {
        compiler::Names::Workload workload;
        workload.pod_name = pod;
        workload.labels = std::move(labels);
        return workload_name(workload);
    };
    EXPECT_EQ(named("web-front-7d9f8c6b5-x2x4q", {{"pod-template-hash", "7d9f8c6b5"}, {"app", "a"}}), "web-front");
    EXPECT_EQ(named("db-0", {{"statefulset.kubernetes.io/pod-name", "db-0"}, {"controller-revision-hash", "x"}}), "db");
    EXPECT_EQ(named("log-agent-q8w2z", {{"controller-revision-hash", "x"}}), "log-agent");
    EXPECT_EQ(named("backup-28-abcde", {{"job-name", "backup-28"}}), "backup-28");
    EXPECT_EQ(named("api-1", {{"app.kubernetes.io/name", "api"}, {"app", "a"}}), "api");
    EXPECT_EQ(named("lonely", {}), "lonely");
    EXPECT_EQ(named("odd", {{"pod-template-hash", "1"}}), "odd");
}

TEST(TrafficNames, PodsOfOneIdentityThatDifferHaveNoCommonName) {
    auto desired = *admin_test::desired_state();
    auto names = std::make_shared<compiler::Names>(*desired.names);
    auto second = std::make_shared<compiler::Names::Workload>(*names->workloads.at(workload_id("shop", "web-1")));
    second->pod_name = "web-2";
    second->service_account = "builder";
    names->workloads[workload_id("shop", "web-2")] = second;
    desired.names = names;
    const auto text = page({traffic(kWebIdentity, kApiIdentity, WEFT_EGRESS, 0, true)}, desired);
    EXPECT_THAT(text, HasSubstr(R"(source_workload="web")")) << "both have the label app";
    EXPECT_THAT(text, HasSubstr(R"(source_principal="unknown")"));
}

TEST(TrafficNames, AThousandPodsFitIntoFiveMegabytes) {
    // 125 workloads of 8 pods each, every one with 8 peers: 1000 sums, 4000 series.
    compiler::DesiredState desired;
    auto names = std::make_shared<compiler::Names>();
    constexpr std::uint64_t kFirst = 0x1000000000000000;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        auto pod = std::make_shared<compiler::Names::Workload>();
        pod->namespace_name = fmt::format("a-namespace-of-usual-length-{}", i / 80);
        pod->pod_name = fmt::format("a-deployment-of-usual-length-{}-7d9f8c6b5-{:05}", i / 8, i);
        pod->service_account = fmt::format("a-deployment-of-usual-length-{}", i / 8);
        pod->labels = {{"app", pod->service_account}, {"version", "v1.2.3"}, {"pod-template-hash", "7d9f8c6b5"}};
        pod->identity = kFirst + i / 8;
        names->workloads[workload_id(pod->namespace_name, pod->pod_name)] = pod;
        names->identities[pod->identity] = {};
    }
    desired.names = names;
    std::vector<bpf::Traffic> all;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        all.push_back(traffic(kFirst + i / 8, kFirst + (i * 7 + i / 8) % 125, WEFT_EGRESS, 0, true));
        all.back().sum.sent = 123'456'789'012;
    }
    const auto text = page(all, desired);
    EXPECT_EQ(count(text, "\nistio_tcp_"), 4000U);
    EXPECT_LT(text.size(), 5'000'000U);
}

TEST(TrafficKeeper, RemovesWhatIsGoneAfterAWhileAndNotWhatIsOpen) {
    using namespace std::chrono_literals;
    const bpf::TrafficMaps maps; // due() does not touch the kernel
    TrafficKeeper keeper(maps, 60s);
    const TrafficKeeper::Clock::time_point start{1000s};
    auto finished = traffic(kWebIdentity, 0x7777777777777777, WEFT_EGRESS);
    finished.sum.closed = finished.sum.opened;
    auto strayed = traffic(0x8888888888888888, kApiIdentity, WEFT_INGRESS); // one is open still
    const std::vector<bpf::Traffic> all{finished, strayed, traffic(kWebIdentity, kApiIdentity, WEFT_EGRESS),
                                        traffic(kWebIdentity, WEFT_IDENTITY_WORLD, WEFT_EGRESS),
                                        traffic(kWebIdentity, WEFT_TRAFFIC_OTHER, WEFT_EGRESS)};
    const auto desired = admin_test::desired_state();
    EXPECT_TRUE(keeper.due(*desired, all, start).empty());
    EXPECT_TRUE(keeper.due(*desired, all, start + 59s).empty());
    const auto first = keeper.due(*desired, all, start + 60s);
    ASSERT_EQ(first.size(), 1U);
    EXPECT_EQ(first[0].peer, 0x7777777777777777U);
    EXPECT_EQ(keeper.due(*desired, {strayed}, start + 59min).size(), 0U);
    EXPECT_EQ(keeper.due(*desired, {strayed}, start + 60min).size(), 1U);
    // Who comes back in time starts anew.
    EXPECT_TRUE(keeper.due(*desired, {}, start + 61min).empty());
    EXPECT_TRUE(keeper.due(*desired, {finished}, start + 62min).empty());
}

} // namespace
} // namespace weft::telemetry

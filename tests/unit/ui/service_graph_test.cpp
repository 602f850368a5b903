// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Nodes and edges out of flows and lists of connections.
#include "tools/weft/ui/service_graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/unit/ui/flows.hpp"

namespace weft::ui {
namespace {

using namespace ui_test;
using nlohmann::json;

constexpr const char* kWebToApi = "shop/web>shop/api";

json edge_of(ServiceGraph& graph, const std::string& id = kWebToApi, double now = kNow) {
    const auto all = graph.graph(now);
    for (const auto& edge : all["edges"]) {
        if (edge["id"] == id) {
            return edge;
        }
    }
    return nullptr;
}

flow::Flow with_cookie(flow::Flow flow, std::uint64_t cookie) {
    flow.set_socket_cookie(cookie);
    return flow;
}

flow::Flow closing(std::uint64_t sent, std::uint64_t received, std::uint64_t cookie = 0) {
    auto flow = with_cookie(flow_between("shop/web", "shop/api", Detail::CLOSE), cookie);
    flow.mutable_weft()->set_bytes_sent(sent);
    flow.mutable_weft()->set_bytes_received(received);
    return flow;
}

admin::Connection open_connection(std::uint64_t cookie, std::uint64_t sent, std::uint64_t received) {
    admin::Connection out;
    out.set_workload("shop/web-0");
    out.set_peer("shop/api-0");
    out.set_protocol("TCP");
    out.set_state("ESTAB");
    out.set_role("client");
    out.set_cookie(cookie);
    out.set_bytes_sent(sent);
    out.set_bytes_received(received);
    out.set_age_seconds(60);
    return out;
}

/// Bytes of an edge that is just there.
double window_bytes(const json& edge) {
    return (edge["sent_per_second"].get<double>() + edge["received_per_second"].get<double>()) *
           static_cast<double>(EdgeWindow::kBucketSeconds);
}

admin::ListEndpointsResponse pods_of(std::initializer_list<const char*> apps) {
    admin::ListEndpointsResponse out;
    for (const std::string app : apps) {
        auto& endpoint = *out.add_endpoints();
        endpoint.set_namespace_(app.substr(0, app.find('/')));
        endpoint.set_pod(app.substr(app.find('/') + 1) + "-0");
        endpoint.add_labels("app=" + app.substr(app.find('/') + 1));
    }
    return out;
}

TEST(ServiceGraph, CountsOnceWhatBothEndsReport) {
    ServiceGraph graph;
    for (int i = 0; i < 10; ++i) {
        graph.add(0, flow_between("shop/web", "shop/api"), kNow);
        graph.add(1, seen_by_destination(flow_between("shop/web", "shop/api")), kNow);
    }
    const auto edge = edge_of(graph);
    EXPECT_EQ(edge["opened"], 10);
    EXPECT_NEAR(edge["opened_per_second"].get<double>(), 10 / 5.0, 1e-9) << "it is younger than five seconds";
    EXPECT_NEAR(edge_of(graph, kWebToApi, kNow + 20)["opened_per_second"].get<double>(), 10 / 20.0, 1e-9);
    EXPECT_NEAR(edge_of(graph, kWebToApi, kNow + 57)["opened_per_second"].get<double>(), 10 / 57.0, 1e-9);
    EXPECT_EQ(edge["security"], "none");
}

TEST(ServiceGraph, PodsOfOneWorkloadAreOneNode) {
    ServiceGraph graph;
    auto other = flow_between("shop/web", "shop/api");
    other.mutable_source()->set_pod_name("web-1");
    graph.add(0, flow_between("shop/web", "shop/api"), kNow);
    graph.add(0, other, kNow);
    graph.endpoints(0, pods_of({"shop/web", "shop/idle"}));
    const auto nodes = graph.graph(kNow)["nodes"];
    ASSERT_EQ(nodes.size(), 3U);
    EXPECT_EQ(nodes[0],
              (json{{"id", "shop/api"}, {"kind", "workload"}, {"namespace", "shop"}, {"name", "api"}, {"pods", 0}}));
    EXPECT_EQ(nodes[1]["id"], "shop/idle") << "known, but without traffic";
    EXPECT_EQ(nodes[2]["pods"], 1);
}

TEST(ServiceGraph, TellsHowMuchIsByMutualTls) {
    ServiceGraph graph;
    auto secure = flow_between("shop/web", "shop/api");
    secure.mutable_weft()->set_connection_security_policy("mutual_tls");
    secure.mutable_weft()->set_source_principal("spiffe://cluster.local/ns/shop/sa/web");
    graph.add(0, secure, kNow);
    EXPECT_EQ(edge_of(graph)["security"], "mutual_tls");
    graph.add(0, flow_between("shop/web", "shop/api"), kNow);
    EXPECT_EQ(edge_of(graph)["security"], "mixed");
    EXPECT_EQ((*graph.edge(kWebToApi, kNow))["source_principal"], "spiffe://cluster.local/ns/shop/sa/web");
}

TEST(ServiceGraph, ADenialIsOneOfEitherEndAndNamesThePolicy) {
    ServiceGraph graph;
    auto denied = seen_by_destination(flow_between("shop/web", "shop/api", Detail::DENIED));
    denied.mutable_weft()->set_reason("policy-denied");
    auto& policy = *denied.add_ingress_denied_by();
    policy.set_namespace_("shop");
    policy.set_name("api-only-from-front");
    graph.add(1, denied, kNow);
    auto out = flow_between("shop/web", "shop/api", Detail::DENIED);
    out.mutable_weft()->set_reason("no-backend");
    graph.add(0, out, kNow);
    const auto edge = edge_of(graph);
    EXPECT_EQ(edge["denied"], 2);
    EXPECT_EQ(edge["denied_now"], 2);
    EXPECT_EQ(edge["opened"], 0);
    EXPECT_EQ(edge["security"], "unknown");
    const auto details = *graph.edge(kWebToApi, kNow);
    EXPECT_THAT(details["denials"].dump(),
                testing::HasSubstr("policy-denied, ingress isolated by shop/api-only-from-front"));
    ASSERT_EQ(details["flows"].size(), 2U);
    EXPECT_EQ(details["flows"][1]["node"], "node-2");
    EXPECT_EQ(details["flows"][1]["outcome"], "DENIED");
    EXPECT_EQ(details["history"].back()["denied"], 2);
}

TEST(ServiceGraph, NamesRulesServicesAndRoundTrips) {
    ServiceGraph graph;
    auto opened = flow_between("shop/web", "shop/api");
    opened.mutable_weft()->set_service("shop/api:http");
    graph.add(0, opened, kNow);
    auto accepted = seen_by_destination(opened);
    accepted.mutable_weft()->set_rule("shop/api-only-from-front ingress[0]");
    graph.add(1, accepted, kNow);
    for (const unsigned rtt : {100U, 300U}) {
        auto closed = closing(10, 20);
        closed.mutable_weft()->set_srtt_us(rtt);
        graph.add(0, closed, kNow);
    }
    const auto details = *graph.edge(kWebToApi, kNow);
    EXPECT_EQ(details["rules"], (json{{{"name", "shop/api-only-from-front ingress[0]"}, {"count", 1}}}));
    EXPECT_EQ(details["services"], (json{{{"name", "shop/api:http"}, {"count", 1}}}));
    EXPECT_EQ(details["rtt_us"], 200);
    EXPECT_NEAR(window_bytes(details), 60, 1e-6);
    EXPECT_FALSE(graph.edge("shop/web>shop/nobody", kNow).has_value());
}

TEST(ServiceGraph, CountsEachByteOfAnOpenConnectionOnce) {
    ServiceGraph graph;
    graph.add(0, with_cookie(flow_between("shop/web", "shop/api"), 7), kNow);
    EXPECT_EQ(edge_of(graph)["open"], 1);
    graph.connections(0, graph.begin_listing(0), {open_connection(7, 100, 1000)}, kNow);
    EXPECT_NEAR(window_bytes(edge_of(graph)), 1100, 1e-6);
    graph.connections(0, graph.begin_listing(0), {open_connection(7, 150, 1000)}, kNow);
    EXPECT_NEAR(window_bytes(edge_of(graph)), 1150, 1e-6);
    graph.add(0, closing(160, 1040, 7), kNow);
    EXPECT_NEAR(window_bytes(edge_of(graph)), 1200, 1e-6);
    EXPECT_EQ(edge_of(graph)["open"], 0);
}

TEST(ServiceGraph, AClosedConnectionThatALateListStillHasCountsNothingAgain) {
    ServiceGraph graph;
    graph.endpoints(0, pods_of({"shop/web", "shop/api"}));
    const auto listing = graph.begin_listing(0);
    graph.add(0, with_cookie(flow_between("shop/web", "shop/api"), 7), kNow);
    graph.add(0, closing(100, 100, 7), kNow);
    graph.connections(0, listing, {open_connection(7, 100, 100)}, kNow);
    EXPECT_NEAR(window_bytes(edge_of(graph)), 200, 1e-6);
    for (int i = 0; i < 2; ++i) {
        graph.connections(0, graph.begin_listing(0), {}, kNow);
    }
    EXPECT_EQ(edge_of(graph)["open"], 0);
}

TEST(ServiceGraph, AConnectionThatWasOpenBeforeIsThereAndCountsFromNowOn) {
    ServiceGraph graph;
    graph.endpoints(0, pods_of({"shop/web"}));
    graph.endpoints(1, pods_of({"shop/api"}));
    auto old = open_connection(7, 1'000'000, 0);
    old.set_security("mutual_tls");
    graph.connections(0, graph.begin_listing(0), {old}, kNow);
    EXPECT_EQ(edge_of(graph)["open"], 1);
    EXPECT_EQ(edge_of(graph)["security"], "mutual_tls");
    EXPECT_EQ(window_bytes(edge_of(graph)), 0);
    old.set_bytes_sent(1'000'500);
    graph.connections(0, graph.begin_listing(0), {old}, kNow);
    EXPECT_NEAR(window_bytes(edge_of(graph)), 500, 1e-6);
    EXPECT_FALSE(edge_of(graph, kWebToApi, kNow + 10'000).is_null()) << "it is still open";
    graph.forget_connections(0);
    EXPECT_TRUE(edge_of(graph, kWebToApi, kNow + 10'000).is_null());
}

TEST(ServiceGraph, ConnectionsOfWhichAFlowTellsAndThoseOfAgentsMakeNoEdge) {
    ServiceGraph graph;
    graph.endpoints(0, pods_of({"shop/web", "shop/api"}));
    auto young = open_connection(7, 100, 0);
    young.set_age_seconds(1);
    auto of_agent = open_connection(8, 100, 0);
    of_agent.set_age_seconds(0);
    of_agent.set_role("server");
    auto ending = open_connection(9, 100, 0);
    ending.set_state("FIN-WAIT-2");
    graph.connections(0, graph.begin_listing(0), {young, of_agent, ending}, kNow);
    EXPECT_TRUE(graph.graph(kNow)["edges"].empty());
}

TEST(ServiceGraph, QuietEdgesLoseTheirRateAndThenGo) {
    ServiceGraph graph({.keep_seconds = 300});
    graph.add(0, flow_between("shop/web", "shop/api"), kNow);
    const auto later = edge_of(graph, kWebToApi, kNow + 61);
    EXPECT_EQ(later["opened_per_second"], 0);
    EXPECT_EQ(later["opened"], 1);
    EXPECT_FALSE(edge_of(graph, kWebToApi, kNow + 299).is_null());
    EXPECT_TRUE(edge_of(graph, kWebToApi, kNow + 301).is_null());
    EXPECT_TRUE(graph.graph(kNow + 301)["nodes"].empty());
}

TEST(ServiceGraph, WhatHasNoPodIsOneNodeOfItsKind) {
    ServiceGraph graph;
    auto out = flow_between("shop/web", "shop/api");
    out.clear_destination();
    out.mutable_destination()->add_labels("reserved:world");
    graph.add(0, out, kNow);
    auto refused = flow_between("shop/web", "shop/api", Detail::NO_BACKEND);
    refused.clear_destination();
    refused.mutable_destination_service()->set_namespace_("shop");
    refused.mutable_destination_service()->set_name("api");
    graph.add(0, refused, kNow);
    EXPECT_FALSE(edge_of(graph, "shop/web>@world").is_null());
    EXPECT_EQ(edge_of(graph, "shop/web>@service/shop/api")["denied"], 1);
}

TEST(ServiceGraph, WhatHasNoRoomIsOneEdgeAndCounted) {
    ServiceGraph graph({.edges = 2, .flows_per_edge = 3, .names_per_edge = 2});
    for (int i = 0; i < 10; ++i) {
        auto flow = flow_between("shop/web", fmt::format("shop/api{}", i));
        flow.mutable_weft()->set_rule(fmt::format("rule {}", i));
        graph.add(0, flow, kNow);
    }
    const auto all = graph.graph(kNow);
    EXPECT_EQ(all["edges"].size(), 3U);
    EXPECT_EQ(all["folded"], 8);
    const auto other = *graph.edge("@other>@other", kNow);
    EXPECT_EQ(other["opened"], 8);
    EXPECT_EQ(other["flows"].size(), 3U);
    EXPECT_EQ(other["rules"], (json{{{"name", "others"}, {"count", 6}},
                                    {{"name", "rule 2"}, {"count", 1}},
                                    {{"name", "rule 3"}, {"count", 1}}}));
}

TEST(ServiceGraph, HoldsFiveHundredServices) {
    ServiceGraph graph;
    for (int i = 0; i < 500; ++i) {
        for (const int step : {1, 7, 20}) {
            for (int again = 0; again < 40; ++again) {
                graph.add(0,
                          flow_between(fmt::format("ns{}/app{}", i / 20, i),
                                       fmt::format("ns{}/app{}", (i + step) % 500 / 20, (i + step) % 500)),
                          kNow);
            }
        }
    }
    const auto all = graph.graph(kNow);
    EXPECT_EQ(all["nodes"].size(), 500U);
    EXPECT_EQ(all["edges"].size(), 1500U);
    EXPECT_EQ(all["folded"], 0);
    EXPECT_EQ((*graph.edge("ns0/app0>ns0/app1", kNow))["flows"].size(), GraphLimits().flows_per_edge);
}

TEST(EdgeWindow, ForgetsWhatIsOlderAndReusesItsBuckets) {
    EdgeWindow window;
    window.add({.opened = 1}, 1000, 1000);
    window.add({.opened = 2}, 1056, 1056);
    EXPECT_EQ(window.total(1056).opened, 3U);
    EXPECT_EQ(window.total(1060).opened, 2U) << "the first is 60 seconds old";
    window.add({.opened = 4}, 1060, 1060); // the first's place
    EXPECT_EQ(window.total(1060).opened, 6U);
    window.add({.opened = 8}, 900, 1060);
    EXPECT_EQ(window.total(1060).opened, 6U) << "too old to count";
    window.add({.opened = 16}, 2000, 1060);
    EXPECT_EQ(window.history(1060).back().opened, 20U) << "a clock that is ahead counts now";
    EXPECT_EQ(window.total(5000).opened, 0U);
}

} // namespace
} // namespace weft::ui

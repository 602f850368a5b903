// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From kernel event to flow, through the ring and the filters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "agent/telemetry/enrich.hpp"
#include "agent/telemetry/flow_filter.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "flow/flow.pb.h"
#include "tests/unit/admin/world.hpp"

namespace weft::telemetry {
namespace {

using namespace admin_test;
using testing::HasSubstr;

flow::Flow told(const weft_event& event) {
    static const auto state = desired_state();
    return enrich(event, {.desired = state.get(),
                          .node_name = "node-a",
                          .trust_domain = "cluster.local",
                          .policy_revision = 5,
                          .wall_offset_ns = 1'000'000'000,
                          .boot_id = 9});
}

TEST(Enrich, NamesBothEndsServiceAndTime) {
    auto e = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    e.service = kService;
    e.asked = end("10.96.0.1", 80);
    e.duration_ns = 3'200'000;
    const auto flow = told(e);
    EXPECT_EQ(flow.verdict(), flow::FORWARDED);
    EXPECT_EQ(flow.time().seconds(), 6);
    EXPECT_EQ(flow.source().pod_name(), "web-1");
    EXPECT_EQ(flow.destination().pod_name(), "api-0");
    EXPECT_EQ(flow.l4().tcp().destination_port(), 8080u);
    EXPECT_EQ(flow.destination_service().name(), "api");
    EXPECT_EQ(flow.weft().service(), "pay/api:http");
    EXPECT_EQ(flow.weft().asked(), "10.96.0.1:80");
    EXPECT_EQ(flow.weft().source_identity(), kWebIdentity);
    EXPECT_EQ(flow.source().identity(), 0x11u);
    EXPECT_FALSE(flow.has_is_reply());
}

TEST(Enrich, TellsWhoWasProvenByMutualTls) {
    auto e = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    EXPECT_EQ(told(e).weft().connection_security_policy(), "");
    EXPECT_EQ(told(e).weft().source_principal(), "");
    e.flags |= WEFT_EVENT_MUTUAL_TLS;
    const auto flow = told(e);
    EXPECT_EQ(flow.weft().connection_security_policy(), "mutual_tls");
    EXPECT_EQ(flow.weft().source_principal(),
              "spiffe://cluster.local/ns/" + flow.source().namespace_() + "/sa/default");
    EXPECT_EQ(flow.weft().destination_principal(), "spiffe://cluster.local/ns/pay/sa/default");
    e.remote = end("203.0.113.9", 8080);
    EXPECT_EQ(told(e).weft().destination_principal(), "") << "nobody knows who that is";
}

TEST(Enrich, SourceIsWhoOpenedAlsoOnIngress) {
    auto e = event(WEFT_EVENT_ACCEPT, WEFT_INGRESS);
    e.rule = kRule;
    const auto flow = told(e);
    EXPECT_EQ(flow.source().pod_name(), "web-1");
    EXPECT_EQ(flow.l4().tcp().source_port(), 41022u);
    ASSERT_EQ(flow.ingress_allowed_by_size(), 1);
    EXPECT_EQ(flow.ingress_allowed_by(0).name(), "allow-web");
    EXPECT_EQ(flow.egress_allowed_by_size(), 0);
}

TEST(Enrich, TellsWhichPolicyIsolatesADeniedWorkload) {
    auto e = event(WEFT_EVENT_DENIED, WEFT_INGRESS);
    e.reason = WEFT_REASON_POLICY_DENIED;
    const auto flow = told(e);
    EXPECT_EQ(flow.verdict(), flow::DROPPED);
    EXPECT_EQ(flow.drop_reason_desc(), flow::POLICY_DENIED);
    EXPECT_EQ(flow.drop_reason(), 133u);
    ASSERT_EQ(flow.ingress_denied_by_size(), 1);
    EXPECT_EQ(flow.ingress_denied_by(0).namespace_(), "pay");
    EXPECT_THAT(flow.summary(), HasSubstr("denied: policy-denied"));
}

TEST(Enrich, RefusedWithoutBackendPointsAtWhatWasAsked) {
    auto e = event(WEFT_EVENT_NO_BACKEND, WEFT_EGRESS);
    e.reason = WEFT_REASON_NO_BACKEND;
    e.remote = {};
    e.asked = end("10.96.0.1", 80);
    const auto flow = told(e);
    EXPECT_EQ(flow.ip().destination(), "10.96.0.1");
    EXPECT_EQ(flow.drop_reason_desc(), flow::SERVICE_BACKEND_NOT_FOUND);
}

TEST(Enrich, TellsWhoEndedIt) {
    auto e = event(WEFT_EVENT_CLOSE, WEFT_EGRESS);
    using Detail = weft::observe::FlowDetail;
    EXPECT_EQ(told(e).weft().ended_by(), Detail::DESTINATION);
    e.flags = WEFT_EVENT_LOCAL_END;
    EXPECT_EQ(told(e).weft().ended_by(), Detail::SOURCE);
    e = event(WEFT_EVENT_CLOSE, WEFT_INGRESS);
    e.flags = WEFT_EVENT_LOCAL_END | WEFT_EVENT_RESET;
    EXPECT_EQ(told(e).weft().ended_by(), Detail::DESTINATION);
    EXPECT_EQ(told(event(WEFT_EVENT_CONNECT, WEFT_EGRESS)).weft().ended_by(), Detail::END_UNKNOWN);
}

TEST(Enrich, UnknownAddressIsTheWorld) {
    auto e = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    e.remote = end("192.0.2.1", 443);
    const auto flow = told(e);
    EXPECT_TRUE(flow.destination().pod_name().empty());
    EXPECT_EQ(flow.destination().identity(), 2u);
    EXPECT_THAT(flow.destination().labels(), testing::ElementsAre("reserved:world"));
}

TEST(FlowRing, KeepsTheNewestAndCountsWhatAReaderMissed) {
    FlowRing ring(3);
    for (int i = 0; i < 5; ++i) {
        ring.append(told(event(WEFT_EVENT_CONNECT, WEFT_EGRESS)));
    }
    const auto batch = ring.read(1, 10);
    EXPECT_EQ(batch.missed, 2u);
    ASSERT_EQ(batch.flows.size(), 3u);
    EXPECT_EQ(batch.flows.front()->weft().sequence(), 3u);
    EXPECT_EQ(batch.next, 6u);
    EXPECT_EQ(ring.read(batch.next, 10).flows.size(), 0u);
    EXPECT_EQ(ring.stats().seen, 5u);
}

TEST(FlowRing, HasGapsWhereTheKernelLostEvents) {
    FlowRing ring(3);
    const auto add = [&] { ring.append(told(event(WEFT_EVENT_CONNECT, WEFT_EGRESS))); };
    ring.begin_kernel_lost(100, 1);
    add();
    ring.set_kernel_lost(100, 2);
    EXPECT_TRUE(ring.read(1, 10).gaps.empty()) << "those before our time are nowhere";
    ring.set_kernel_lost(103, 3);
    ring.set_kernel_lost(104, 4); // no flow in between: the same gap
    add();
    const auto batch = ring.read(1, 10);
    ASSERT_EQ(batch.gaps.size(), 1u);
    EXPECT_EQ(batch.gaps[0].before, 2u);
    EXPECT_EQ(batch.gaps[0].count, 4u);
    EXPECT_EQ(batch.gaps[0].since_ns, 2);
    EXPECT_EQ(batch.gaps[0].until_ns, 4);
    EXPECT_EQ(ring.read(1, 1).kernel_lost, 104u) << "a gap before the next flow belongs to what was read";
    EXPECT_EQ(ring.read(3, 1).gaps.size(), 0u);
    add();
    ring.set_kernel_lost(110, 5);
    EXPECT_EQ(ring.read(1, 2).kernel_lost, 104u);
    EXPECT_EQ(ring.read(1, 3).kernel_lost, 110u);
    add();
    add();
    EXPECT_EQ(ring.read(1, 10).gaps.size(), 1u) << "the flow before the first gap is overwritten";
    EXPECT_EQ(ring.stats().kernel_lost, 110u);
    EXPECT_EQ(ring.stats().missed, 0u);
    EXPECT_EQ(ring.wait(1, 10, std::chrono::milliseconds(1)).missed, 2u);
    EXPECT_EQ(ring.stats().missed, 2u) << "of readers that wait";
}

TEST(FlowRing, WakesAWaitingReader) {
    FlowRing ring;
    std::thread writer([&] { ring.append(told(event(WEFT_EVENT_CONNECT, WEFT_EGRESS))); });
    EXPECT_EQ(ring.wait(1, 10, std::chrono::seconds(20)).flows.size(), 1u);
    writer.join();
    std::thread closer([&] { ring.close(); });
    EXPECT_TRUE(ring.wait(2, 10, std::chrono::seconds(20)).closed);
    closer.join();
}

class Filter : public testing::Test {
protected:
    bool passes(const flow::Flow& one) {
        auto made = FlowFilter::make(white, black);
        EXPECT_TRUE(made.has_value());
        return made && made->matches(one);
    }
    FlowFilter::List white, black;
    flow::Flow seen = told(event(WEFT_EVENT_CONNECT, WEFT_EGRESS));
};

TEST_F(Filter, EveryFieldOfOneFilterMustMatch) {
    auto& f = *white.Add();
    f.add_source_pod("shop/web");
    EXPECT_TRUE(passes(seen));
    f.add_destination_port("80");
    EXPECT_FALSE(passes(seen));
    f.add_destination_port("8080");
    EXPECT_TRUE(passes(seen));
    f.add_protocol("UDP");
    EXPECT_FALSE(passes(seen));
}

TEST_F(Filter, NamespaceAloneAndPrefixesAndAddresses) {
    white.Add()->add_destination_pod("pay/");
    EXPECT_TRUE(passes(seen));
    white.Mutable(0)->set_destination_pod(0, "api-0"); // no namespace: default
    EXPECT_FALSE(passes(seen));
    white.Clear();
    white.Add()->add_source_ip("10.0.0.0/24");
    EXPECT_TRUE(passes(seen));
    white.Mutable(0)->set_source_ip(0, "10.0.0.9");
    EXPECT_FALSE(passes(seen));
    white.Clear();
    white.Add()->add_source_label("app=web");
    EXPECT_TRUE(passes(seen));
    white.Mutable(0)->set_source_label(0, "app=web,tier");
    EXPECT_FALSE(passes(seen));
}

TEST_F(Filter, BlacklistTakesAway) {
    black.Add()->add_verdict(flow::FORWARDED);
    EXPECT_FALSE(passes(seen));
    black.Mutable(0)->set_verdict(0, flow::DROPPED);
    EXPECT_TRUE(passes(seen));
}

TEST_F(Filter, EventTypeFlagsReasonAndOwner) {
    auto& type = *white.Add()->add_event_type();
    type.set_type(4);
    EXPECT_TRUE(passes(seen));
    type.set_match_sub_type(true);
    type.set_sub_type(133);
    EXPECT_FALSE(passes(seen));
    white.Clear();
    auto& flags = *white.Add()->add_tcp_flags();
    flags.set_syn(true);
    EXPECT_TRUE(passes(seen));
    flags.set_rst(true);
    EXPECT_FALSE(passes(seen));
    white.Clear();
    white.Add()->add_source_workload()->set_name("web-1");
    EXPECT_TRUE(passes(seen));
    white.Mutable(0)->add_destination_workload()->set_kind("Deployment");
    EXPECT_FALSE(passes(seen));
    white.Clear();
    white.Add()->add_drop_reason_desc(flow::POLICY_DENIED);
    EXPECT_FALSE(passes(seen));
    auto denied = event(WEFT_EVENT_DENIED, WEFT_INGRESS);
    denied.reason = WEFT_REASON_POLICY_DENIED;
    EXPECT_TRUE(passes(told(denied)));
    white.Mutable(0)->mutable_weft()->add_reason("policy-denied");
    EXPECT_TRUE(passes(told(denied)));
    white.Mutable(0)->mutable_weft()->set_reason(0, "policy");
    EXPECT_FALSE(passes(told(denied))) << "the whole label";
}

TEST_F(Filter, IdentityIsThatOfEitherEndWholeOrShort) {
    auto& wanted = *white.Add()->mutable_weft();
    for (const auto identity : {kWebIdentity, kApiIdentity, kWebIdentity & 0xffffffff}) {
        wanted.clear_identity();
        wanted.add_identity(identity);
        EXPECT_TRUE(passes(seen)) << identity;
    }
    wanted.set_identity(0, 0x33);
    EXPECT_FALSE(passes(seen));
    wanted.clear_identity();
    wanted.add_principal("spiffe://cluster.local/ns/pay/sa/default");
    EXPECT_FALSE(passes(seen)) << "nobody was proven";
    auto proven = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    proven.flags |= WEFT_EVENT_MUTUAL_TLS;
    EXPECT_TRUE(passes(told(proven)));
}

TEST_F(Filter, RefusesWhatItCannotRead) {
    white.Add()->add_source_ip("10.0.0");
    const auto made = FlowFilter::make(white, black);
    ASSERT_FALSE(made.has_value());
    EXPECT_THAT(made.error().message(), HasSubstr("source_ip"));
    flow::FlowFilter foreign;
    ASSERT_TRUE(foreign.ParseFromString(std::string("\x4a\x01x", 3))); // field 9, which we do not declare
    white.Clear();
    *white.Add() = foreign;
    EXPECT_FALSE(FlowFilter::make(white, black).has_value());
    ASSERT_TRUE(foreign.ParseFromString(std::string("\xba\x01\x02\x38\x01", 5))); // tcp_flags with a flag of number 7
    white.Clear();
    *white.Add() = foreign;
    EXPECT_FALSE(FlowFilter::make(white, black).has_value()) << "a field below is unknown, too";
}

} // namespace
} // namespace weft::telemetry

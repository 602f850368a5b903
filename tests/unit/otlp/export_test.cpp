// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// OTLP as a receiver sees it whose messages share nothing with ours: every field, what is tried again and when, and
// that delivered and lost are together what was produced.
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "agent/otlp/exporter.hpp"
#include "agent/telemetry/enrich.hpp"
#include "flow/flow.pb.h"
#include "tests/support/otlp/receiver.hpp"
#include "tests/unit/admin/world.hpp"

namespace weft::otlp {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::OtlpReceiver;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Pair;

constexpr int kUnavailable = 14, kResourceExhausted = 8, kInvalidArgument = 3;

flow::Flow told(const weft_event& event) {
    static const auto state = admin_test::desired_state();
    return telemetry::enrich(event, {.desired = state.get(),
                                     .node_name = "node-a",
                                     .trust_domain = "cluster.local",
                                     .wall_offset_ns = 1'700'000'000'000'000'000,
                                     .boot_id = 0xabc});
}

weft_event closing(std::uint64_t cookie = 77) {
    auto e = admin_test::event(WEFT_EVENT_CLOSE, WEFT_EGRESS);
    e.cookie = cookie;
    e.duration_ns = 2'500'000'000;
    e.bytes_sent = 70;
    e.bytes_received = 195;
    e.packets_sent = 5;
    e.packets_received = 6;
    e.srtt_us = 123;
    e.retransmits = 1;
    e.flags = WEFT_EVENT_LOCAL_END;
    e.service = admin_test::kService;
    e.asked = admin_test::end("10.96.0.1", 80);
    return e;
}

weft_event denied(std::uint64_t cookie = 78) {
    auto e = admin_test::event(WEFT_EVENT_DENIED, WEFT_INGRESS);
    e.cookie = cookie;
    e.reason = WEFT_REASON_POLICY_DENIED;
    return e;
}

bool until(const std::function<bool()>& holds, std::chrono::seconds patience = 20s) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

class Otlp : public ::testing::Test {
protected:
    OtlpReceiver receiver{"127.0.0.1:0"};
    [[nodiscard]] ExporterOptions options() const {
        ExporterOptions out;
        out.endpoint = "http://127.0.0.1:" + std::to_string(receiver.port());
        out.node_name = "node-a";
        out.cluster_name = "east";
        out.pipeline.gather = 20ms;
        out.pipeline.first_delay = 50ms;
        out.pipeline.longest_delay = 200ms;
        return out;
    }
    [[nodiscard]] ExporterOptions only_logs() const {
        auto out = options();
        out.spans = false;
        return out;
    }
    static std::unique_ptr<Exporter> started(const ExporterOptions& options) {
        auto out = Exporter::start(options);
        EXPECT_TRUE(out.has_value()) << out.error().message();
        return std::move(*out);
    }
};

TEST_F(Otlp, EveryFieldArrives) {
    auto wanted = options();
    wanted.resource = {{"deployment.environment", "test"}, {"service.name", "mesh"}};
    const auto exporter = started(wanted);
    exporter->add(told(admin_test::event(WEFT_EVENT_CONNECT, WEFT_EGRESS))); // its end will tell
    exporter->add(told(closing()));
    exporter->add(told(denied()));
    ASSERT_TRUE(until([&] { return receiver.logs().size() == 2 && receiver.spans().size() == 2; }));

    const auto logs = receiver.logs(), spans = receiver.spans();
    const auto id_size = logs[0].fields.at("trace_id").size();
    EXPECT_EQ(id_size, 32U);
    EXPECT_EQ(logs[0].fields.at("span_id").size(), 16U);
    EXPECT_EQ(logs[0].fields.at("trace_id"), spans[0].fields.at("trace_id")) << "both are of one connection";
    EXPECT_EQ(logs[0].fields.at("span_id"), spans[0].fields.at("span_id"));
    EXPECT_NE(logs[0].fields.at("trace_id"), logs[1].fields.at("trace_id"));
    EXPECT_GT(std::stoull(logs[0].fields.at("observed")), 1'700'000'000'000'000'000U);
    EXPECT_THAT(logs[0].fields,
                IsSupersetOf({Pair("time", "1700000005000000000"), Pair("severity", "SEVERITY_NUMBER_INFO"),
                              Pair("severity_text", "INFO"), Pair("event", "weft.connection.closed")}));
    EXPECT_THAT(logs[0].fields.at("body"), AllOf(HasSubstr("shop/web-1"), HasSubstr("70 bytes sent")));
    EXPECT_THAT(spans[0].fields,
                IsSupersetOf({Pair("start", "1700000002500000000"), Pair("end", "1700000005000000000"),
                              Pair("name", "tcp pay/api:http"), Pair("kind", "SPAN_KIND_CLIENT"),
                              Pair("status", "STATUS_CODE_UNSET"), Pair("message", ""), Pair("parent", "")}));
    const std::map<std::string, std::string> attributes = {
        {"network.transport", "tcp"},
        {"network.type", "ipv4"},
        {"source.address", "10.0.0.1"},
        {"source.port", "41022"},
        {"destination.address", "10.0.0.2"},
        {"destination.port", "8080"},
        {"weft.reporter", "source"},
        {"weft.verdict", "allowed"},
        {"weft.asked", "10.96.0.1:80"},
        {"weft.destination.service", "pay/api:http"},
        {"weft.source.namespace", "shop"},
        {"weft.source.pod", "web-1"},
        {"weft.source.identity", "1000000000000011"},
        {"weft.destination.namespace", "pay"},
        {"weft.destination.pod", "api-0"},
        {"weft.destination.identity", "1000000000000022"},
        {"weft.connection_security_policy", "none"},
        {"weft.flow.uuid", told(closing()).uuid()},
        {"weft.duration_ns", "2500000000"},
        {"weft.bytes_sent", "70"},
        {"weft.bytes_received", "195"},
        {"weft.packets_sent", "5"},
        {"weft.packets_received", "6"},
        {"weft.rtt_us", "123"},
        {"weft.retransmits", "1"},
        {"weft.reset", "false"},
        {"weft.ended_by", "source"},
    };
    EXPECT_EQ(logs[0].attributes, attributes);
    EXPECT_EQ(spans[0].attributes, attributes);
    const std::map<std::string, std::string> resource = {
        {"service.name", "mesh"},    {"service.version", WEFT_VERSION}, {"service.instance.id", "node-a"},
        {"k8s.node.name", "node-a"}, {"k8s.cluster.name", "east"},      {"deployment.environment", "test"},
    };
    EXPECT_EQ(logs[0].resource, resource);
    EXPECT_EQ(spans[0].resource, resource);
    EXPECT_EQ(logs[0].scope, "weft");

    EXPECT_EQ(logs[1].fields.at("severity"), "SEVERITY_NUMBER_WARN");
    EXPECT_EQ(logs[1].fields.at("event"), "weft.connection.denied");
    EXPECT_THAT(logs[1].attributes,
                IsSupersetOf({Pair("weft.verdict", "denied"), Pair("weft.reason", "policy-denied"),
                              Pair("weft.isolated_by", "pay/allow-web"), Pair("weft.reporter", "destination")}));
    EXPECT_FALSE(logs[1].attributes.contains("weft.bytes_sent"));
    EXPECT_THAT(spans[1].fields, IsSupersetOf({Pair("kind", "SPAN_KIND_SERVER"), Pair("status", "STATUS_CODE_ERROR"),
                                               Pair("message", "policy-denied"), Pair("end", "1700000005000000000"),
                                               Pair("start", "1700000005000000000")}));
}

TEST_F(Otlp, UdpAndMutualTls) {
    const auto exporter = started(options());
    auto e = closing();
    e.local.proto = e.remote.proto = e.asked.proto = 17;
    e.idle_ns = 1'000'000'000;
    exporter->add(told(e));
    e = closing();
    e.flags |= WEFT_EVENT_MUTUAL_TLS | WEFT_EVENT_RESET;
    exporter->add(told(e));
    ASSERT_TRUE(until([&] { return receiver.spans().size() == 2; }));
    const auto spans = receiver.spans();
    EXPECT_THAT(spans[0].fields, IsSupersetOf({Pair("name", "udp pay/api:http"), Pair("end", "1700000004000000000"),
                                               Pair("start", "1700000001500000000")}))
        << "the silence before a flow's end is not part of it";
    EXPECT_FALSE(spans[0].attributes.contains("weft.ended_by"));
    EXPECT_THAT(spans[1].attributes,
                IsSupersetOf({Pair("weft.connection_security_policy", "mutual_tls"),
                              Pair("weft.source.principal", "spiffe://cluster.local/ns/shop/sa/default"),
                              Pair("weft.destination.principal", "spiffe://cluster.local/ns/pay/sa/default")}));
    EXPECT_THAT(spans[1].fields, IsSupersetOf({Pair("status", "STATUS_CODE_ERROR"), Pair("message", "reset")}));
}

TEST_F(Otlp, HeadersGoWithEachRequest) {
    const std::string file = "/tmp/weft-otlp-headers-" + std::to_string(::getpid());
    std::ofstream(file) << "Authorization: Bearer one two\n\nx-tenant:  blue \n";
    auto wanted = only_logs();
    wanted.headers_file = file;
    const auto exporter = started(wanted);
    exporter->add(told(closing()));
    ASSERT_TRUE(until([&] { return receiver.logs().size() == 1; }));
    const auto metadata = receiver.requests().at(0).metadata;
    EXPECT_EQ(metadata.at("authorization"), "Bearer one two");
    EXPECT_EQ(metadata.at("x-tenant"), "blue");
    EXPECT_THAT(metadata.at("user-agent"), HasSubstr("weft/" WEFT_VERSION));
    for (const auto* bad : {"no colon\n", ": value\n", "grpc-timeout: 1\n", "a b: c\n", "a:\n"}) {
        std::ofstream(file) << "x: y\n" << bad;
        const auto refused = Exporter::start(wanted);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_THAT(refused.error().message(), HasSubstr(file + ":2: not NAME: VALUE")) << bad;
    }
    ::unlink(file.c_str());
    EXPECT_FALSE(Exporter::start(wanted).has_value());
}

TEST_F(Otlp, WhatMayHelpIsTriedAgainLaterAndLater) {
    receiver.answer({{.code = kUnavailable}, {.code = kUnavailable}, {.code = kUnavailable}});
    const auto exporter = started(only_logs());
    exporter->add(told(closing()));
    ASSERT_TRUE(until([&] { return receiver.logs().size() == 1; }));
    const auto requests = receiver.requests();
    ASSERT_EQ(requests.size(), 4U);
    EXPECT_GE(requests[1].at_ms - requests[0].at_ms, 25) << "half of the first delay at least";
    EXPECT_GE(requests[2].at_ms - requests[1].at_ms, 50);
    EXPECT_GE(requests[3].at_ms - requests[2].at_ms, 100);
    ASSERT_TRUE(until([&] { return exporter->stats()[0].sent.delivered == 1; }));
    EXPECT_EQ(exporter->stats()[0].sent.retries, 3U);
    EXPECT_EQ(exporter->stats()[0].sent.lost(), 0U);
    EXPECT_THAT(exporter->stats()[0].sent.last_error, HasSubstr("gRPC code 14"));
}

TEST_F(Otlp, TheReceiverSaysWhenToComeAgain) {
    receiver.answer({{.code = kResourceExhausted, .retry_after_ms = 700}});
    const auto exporter = started(only_logs());
    exporter->add(told(closing()));
    ASSERT_TRUE(until([&] { return receiver.logs().size() == 1; }));
    const auto requests = receiver.requests();
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_GE(requests[1].at_ms - requests[0].at_ms, 700) << "the longest delay of our own is 200 ms";
}

TEST_F(Otlp, WhatCannotHelpIsLostAndCounted) {
    receiver.answer({{.code = kResourceExhausted}});
    const auto exporter = started(only_logs());
    const auto sent = [&] { return exporter->stats()[0].sent; };
    exporter->add(told(closing(1)));
    ASSERT_TRUE(until([&] { return sent().refused == 1; })) << "exhausted, and no word of when to come again";
    receiver.answer({{.code = kInvalidArgument}});
    exporter->add(told(closing(2)));
    ASSERT_TRUE(until([&] { return sent().refused == 2; }));
    EXPECT_EQ(receiver.requests().size(), 2U) << "nothing is sent again";
    exporter->add(told(closing(3)));
    ASSERT_TRUE(until([&] { return sent().delivered == 1; }));
    EXPECT_EQ(receiver.logs().size(), 1U);
    for (const int code : {1, 4, 10, 11, 14, 15}) {
        EXPECT_TRUE(is_retryable(static_cast<grpc::StatusCode>(code), false)) << code;
    }
    for (const int code : {2, 3, 5, 6, 7, 8, 9, 12, 13, 16}) {
        EXPECT_FALSE(is_retryable(static_cast<grpc::StatusCode>(code), false)) << code;
    }
    EXPECT_TRUE(is_retryable(grpc::StatusCode::RESOURCE_EXHAUSTED, true));
    EXPECT_FALSE(is_retryable(grpc::StatusCode::INVALID_ARGUMENT, true));
}

TEST_F(Otlp, PartOfABatchIsRejected) {
    receiver.answer({{.rejected = 3}});
    auto wanted = only_logs();
    wanted.pipeline.gather = 500ms; // all ten are one batch
    const auto exporter = started(wanted);
    for (std::uint64_t i = 0; i < 10; ++i) {
        exporter->add(told(closing(i)));
    }
    const auto sent = [&] { return exporter->stats()[0].sent; };
    ASSERT_TRUE(until([&] { return sent().delivered == 7; }));
    EXPECT_EQ(sent().rejected, 3U);
    EXPECT_EQ(sent().waiting, 0U);
    EXPECT_EQ(receiver.requests().size(), 1U) << "what was rejected is not sent again";
    EXPECT_THAT(sent().last_error, HasSubstr("too odd"));
}

TEST_F(Otlp, AReceiverThatIsDownAndComesBack) {
    receiver.stop();
    auto wanted = options();
    wanted.pipeline.queue = 300;
    wanted.pipeline.batch = 50;
    const auto exporter = started(wanted);
    constexpr std::uint64_t kProduced = 1000;
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < kProduced; ++i) {
        exporter->add(told(closing(i)));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s) << "nobody waits for it";
    ASSERT_TRUE(until([&] { return exporter->stats()[0].sent.retries >= 2; }));
    for (const auto& one : exporter->stats()) {
        EXPECT_EQ(one.sent.delivered, 0U);
        EXPECT_GE(one.sent.queue_full, kProduced - 300 - 50);
        EXPECT_EQ(one.sent.queue_full + one.sent.waiting, kProduced) << one.signal;
    }
    for (std::uint64_t i = 0; i < 10; ++i) {
        exporter->add(told(denied(kProduced + i)));
    }
    receiver.start();
    ASSERT_TRUE(until([&] {
        const auto all = exporter->stats();
        return all[0].sent.waiting + all[1].sent.waiting == 0;
    }));
    for (const auto& one : exporter->stats()) {
        EXPECT_EQ(one.sent.delivered + one.sent.lost(), kProduced + 10) << one.signal;
        EXPECT_EQ(one.sent.lost(), one.sent.queue_full);
    }
    EXPECT_EQ(receiver.logs().size(), exporter->stats()[0].sent.delivered);
    EXPECT_EQ(receiver.spans().size(), exporter->stats()[1].sent.delivered);
    std::set<std::string> ids;
    std::size_t denials = 0;
    for (const auto& log : receiver.logs()) {
        ids.insert(log.fields.at("trace_id"));
        denials += log.attributes.at("weft.verdict") == "denied" ? 1U : 0U;
    }
    EXPECT_EQ(ids.size(), receiver.logs().size()) << "each once";
    EXPECT_EQ(denials, 10U) << "a full queue has room for them";
}

TEST_F(Otlp, TheEndDoesNotWaitForASilentReceiver) {
    receiver.answer({{.delay_ms = 4000}});
    auto wanted = only_logs();
    wanted.pipeline.drain = 300ms;
    auto exporter = started(wanted);
    exporter->add(told(closing()));
    ASSERT_TRUE(until([&] { return receiver.requests().size() == 1; }));
    const auto begin = std::chrono::steady_clock::now();
    exporter.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(Otlp, TheEndSendsWhatWaits) {
    auto wanted = options();
    wanted.pipeline.gather = 60s;
    auto exporter = started(wanted);
    exporter->add(told(closing()));
    exporter.reset();
    EXPECT_EQ(receiver.logs().size(), 1U);
    EXPECT_EQ(receiver.spans().size(), 1U);
}

TEST_F(Otlp, SamplingNeverTakesDenials) {
    auto wanted = only_logs();
    wanted.sampling = {{"shop", 20}, {"*", 0}};
    const auto exporter = started(wanted);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        exporter->add(told(closing(i))); // reported by shop/web-1
    }
    for (std::uint64_t i = 0; i < 50; ++i) {
        exporter->add(told(denied(i))); // reported by pay/api-0
    }
    const auto stats = [&] { return exporter->stats()[0]; };
    ASSERT_TRUE(until([&] { return stats().sent.waiting == 0 && stats().sent.delivered > 0; }));
    EXPECT_EQ(stats().sent.delivered + stats().sampled_out, 1050U);
    EXPECT_NEAR(static_cast<double>(stats().sent.delivered), 250, 60);
    std::size_t denials = 0;
    for (const auto& log : receiver.logs()) {
        denials += log.attributes.at("weft.verdict") == "denied" ? 1U : 0U;
    }
    EXPECT_EQ(denials, 50U);
}

TEST(OtlpEndpoint, IsOneOfThree) {
    EXPECT_EQ(parse_endpoint("http://127.0.0.1:4317")->target, "dns:///127.0.0.1:4317");
    EXPECT_FALSE(parse_endpoint("http://127.0.0.1:4317")->leaves_node);
    EXPECT_FALSE(parse_endpoint("http://[::1]:4317/")->leaves_node);
    EXPECT_FALSE(parse_endpoint("http://localhost:4317")->leaves_node);
    EXPECT_TRUE(parse_endpoint("http://10.0.0.1:4317")->leaves_node);
    EXPECT_TRUE(parse_endpoint("http://localhost.example:4317")->leaves_node);
    EXPECT_FALSE(parse_endpoint("http://10.0.0.1:4317")->tls);
    EXPECT_TRUE(parse_endpoint("https://collector.example:4317")->tls);
    EXPECT_EQ(parse_endpoint("unix:///run/otel.sock")->target, "unix:///run/otel.sock");
    EXPECT_FALSE(parse_endpoint("unix:///run/otel.sock")->leaves_node);
    for (const auto* bad : {"", "collector:4317", "http://", "http://collector", "http://collector:0",
                            "http://collector:70000", "http://collector:1x", "http://2001:db8::1:4317",
                            "http://collector:4317/v1/logs", "unix://relative", "ftp://a:1"}) {
        const auto refused = parse_endpoint(bad);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_THAT(refused.error().message(), HasSubstr("unix:///PATH")) << bad;
    }
}

} // namespace
} // namespace weft::otlp

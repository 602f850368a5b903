// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Options of the flow listener and of the access log that do not fit together.
#include "agent/app/option_values.hpp"
#include "agent/app/options.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

namespace weft::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class FlowOptionsTest : public ::testing::Test {
protected:
    std::string file = "/tmp/weft-flow-options-" + std::to_string(::getpid()) + ".yaml";
    void TearDown() override { ::unlink(file.c_str()); }
    [[nodiscard]] Result<Invocation> parsed(const std::string& text) const {
        std::ofstream(file) << text;
        return parse_options({"--config", file, "--manifests", "/m"});
    }
    [[nodiscard]] std::string fault(const std::string& text) const {
        const auto result = parsed(text);
        return result ? "accepted" : result.error().message();
    }
    std::string files = "flow_tls_cert: /etc/hosts\nflow_tls_key: /etc/hosts\nflow_tls_ca: /etc/hosts\n";
};

TEST_F(FlowOptionsTest, ListenerIsOffAndByMutualTlsUnlessToldOtherwise) {
    EXPECT_EQ(parsed("")->options.flow_address, "");
    EXPECT_THAT(fault("flow_address: 0.0.0.0:4244\n"),
                AllOf(StartsWith(file + ":1: flow_address"), HasSubstr("needs flow_tls_cert, too"),
                      HasSubstr("flow_plaintext")));
    EXPECT_THAT(fault("flow_address: ':4244'\nflow_tls_cert: /etc/hosts\nflow_tls_key: /etc/hosts\n"),
                HasSubstr("needs flow_tls_ca, too"));
    EXPECT_EQ(fault("flow_address: 0.0.0.0:4244\n" + files), "accepted");
    EXPECT_EQ(fault("flow_address: 0.0.0.0:4244\nflow_plaintext: true\n"), "accepted");
    EXPECT_THAT(fault("flow_address: 0.0.0.0:4244\nflow_plaintext: true\n" + files),
                AllOf(StartsWith(file + ":3: flow_tls_cert"), HasSubstr(file + ":2: flow_plaintext; remove one")));
}

TEST_F(FlowOptionsTest, WhatIsForTheListenerNeedsIt) {
    EXPECT_THAT(fault("flow_tls_ca: /etc/hosts\n"),
                AllOf(StartsWith(file + ":1: flow_tls_ca"), HasSubstr("give that, too, or remove it")));
    EXPECT_THAT(fault("flow_plaintext: true\n"), StartsWith(file + ":1: flow_plaintext"));
    EXPECT_THAT(fault("flow_address: ':1'\nflow_tls_cert: /no/file\n"),
                AllOf(StartsWith(file + ":2: flow_tls_cert"), HasSubstr("'/no/file' cannot be read")));
    for (const auto* address : {"host", "host:", "host:0", "host:65536", "2001:db8::1:4244", "host:1x"}) {
        EXPECT_THAT(fault(fmt::format("flow_plaintext: true\nflow_address: '{}'\n", address)),
                    AllOf(StartsWith(file + ":2: flow_address"), HasSubstr("is not HOST:PORT")))
            << address;
    }
    EXPECT_EQ(*split_address("[2001:db8::1]:4244"), std::pair(std::string("2001:db8::1"), std::uint16_t{4244}));
    EXPECT_EQ(*split_address(":1"), std::pair(std::string(), std::uint16_t{1}));
}

TEST_F(FlowOptionsTest, AccessLog) {
    EXPECT_EQ(fault("access_log: stdout\n"), "accepted");
    EXPECT_THAT(fault("access_log: access.log\n"), HasSubstr("not an absolute path"));
    EXPECT_THAT(fault("access_log: /no/such/folder/log\n"),
                AllOf(StartsWith(file + ":1: access_log"), HasSubstr("'/no/such/folder' is no folder; make it")));
    EXPECT_THAT(fault("access_log: stdout\nflow_events: false\n"),
                AllOf(StartsWith(file + ":1: access_log"), HasSubstr(file + ":2: flow_events")));
    EXPECT_THAT(fault("access_log_sampling: {shop: 3}\n"),
                AllOf(StartsWith(file + ":1: access_log_sampling"), HasSubstr("give that, too")));
    for (const auto* key : {"access_log_max_size: 65", "access_log_files: 0"}) {
        EXPECT_THAT(fault(key), AllOf(StartsWith(file + ":1: access_log_"), HasSubstr("give that, too, or remove it")));
    }
    const auto sampled = parsed("access_log: stdout\naccess_log_sampling: {shop: 10, '*': 50}\n");
    ASSERT_TRUE(sampled.has_value()) << sampled.error().message();
    EXPECT_EQ(sampled->options.access_log_sampling, (std::map<std::string, unsigned>{{"shop", 10}, {"*", 50}}));
    EXPECT_THAT(describe(sampled->options), HasSubstr("access_log_sampling: \"*=50 shop=10\""));
    EXPECT_THAT(fault("access_log: stdout\naccess_log_sampling: {shop: 101}\n"),
                AllOf(StartsWith(file + ":2: access_log_sampling: shop"), HasSubstr("number from 0 to 100")));
    EXPECT_THAT(fault("access_log: stdout\naccess_log_sampling: shop\n"), HasSubstr("is not NAMESPACE=PERCENT"));
    EXPECT_THAT(fault("access_log: stdout\naccess_log_sampling: [1]\n"),
                HasSubstr("must be a mapping of namespaces to PERCENT"));
}

TEST_F(FlowOptionsTest, OtlpLeavesTheNodeOnlyEncryptedUnlessToldOtherwise) {
    for (const auto* near : {"http://127.0.0.1:4317", "http://localhost:4317", "http://[::1]:4317",
                             "unix:///run/otel.sock", "https://collector.example:4317"}) {
        EXPECT_EQ(fault(fmt::format("otlp_endpoint: '{}'\n", near)), "accepted") << near;
    }
    EXPECT_THAT(fault("otlp_endpoint: http://10.0.0.9:4317\n"),
                AllOf(StartsWith(file + ":1: otlp_endpoint"), HasSubstr("plaintext"), HasSubstr("otlp_plaintext")));
    EXPECT_EQ(fault("otlp_endpoint: http://10.0.0.9:4317\notlp_plaintext: true\n"), "accepted");
    EXPECT_THAT(fault("otlp_endpoint: collector:4317\n"), HasSubstr("write https://HOST:PORT"));
    EXPECT_THAT(fault("otlp_endpoint: http://localhost:4317\notlp_ca: /etc/hosts\n"),
                AllOf(StartsWith(file + ":2: otlp_ca"), HasSubstr(file + ":1: otlp_endpoint")));
    EXPECT_THAT(fault("otlp_endpoint: https://a:1\notlp_ca: /no/file\n"),
                AllOf(StartsWith(file + ":2: otlp_ca"), HasSubstr("'/no/file' cannot be read")));
    EXPECT_THAT(fault("otlp_endpoint: https://a:1\notlp_cert: /etc/hosts\n"), HasSubstr("needs otlp_key, too"));
    EXPECT_THAT(fault("otlp_endpoint: unix:///a\nflow_events: false\n"), HasSubstr(file + ":2: flow_events"));
    for (const auto* key : {"otlp_plaintext: true", "otlp_ca: /etc/hosts", "otlp_headers_file: /etc/hosts",
                            "otlp_resource: {a: b}", "otlp_signals: logs", "otlp_sampling: {a: 1}", "otlp_queue: 9"}) {
        EXPECT_THAT(fault(key), AllOf(StartsWith(file + ":1: otlp_"), HasSubstr("is for otlp_endpoint"))) << key;
    }
    const auto all = parsed("otlp_endpoint: unix:///a\notlp_resource: {team: net, a.b: c}\notlp_sampling: {'*': 5}\n");
    ASSERT_TRUE(all.has_value()) << all.error().message();
    EXPECT_EQ(all->options.otlp_resource, (std::map<std::string, std::string>{{"team", "net"}, {"a.b", "c"}}));
    EXPECT_THAT(fault("otlp_endpoint: unix:///a\notlp_resource: net\n"), HasSubstr("is not NAME=VALUE"));
    EXPECT_THAT(fault("otlp_endpoint: unix:///a\notlp_resource: [1]\n"),
                HasSubstr("must be a mapping of names to VALUE"));
    EXPECT_THAT(fault("otlp_endpoint: unix:///a\notlp_signals: metrics\n"), HasSubstr("both, logs, spans"));
}

TEST_F(FlowOptionsTest, UdpTimeout) {
    EXPECT_EQ(parsed("")->options.udp_flow_timeout, std::chrono::seconds(60));
    EXPECT_EQ(parsed("udp_flow_timeout: 0\n")->options.udp_flow_timeout, std::chrono::seconds(0));
    EXPECT_THAT(fault("udp_flow_timeout: 3601\n"), HasSubstr("number from 0 to 3600"));
}

} // namespace
} // namespace weft::app

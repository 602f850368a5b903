// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the agent's pages say, /metrics above all? A real HTTP request to the real listener on loopback.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "agent/telemetry/monitor.hpp"
#include "tests/unit/admin/world.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::telemetry {
namespace {

using testing::HasSubstr;

std::string ask(int port, const std::string& request) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
        return "no connection";
    }
    (void)::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL); // a failure shows as an empty page
    std::string page;
    char buffer[4096];
    for (ssize_t size = 0; (size = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) {
        page.append(buffer, static_cast<std::size_t>(size));
    }
    return page;
}

/// What the kernel would have counted.
class FixedTraffic final : public bpf::TrafficSource {
public:
    [[nodiscard]] Result<std::vector<bpf::Traffic>> read() const override {
        bpf::Traffic one;
        one.key.workload = admin_test::kWebIdentity;
        one.key.peer = admin_test::kApiIdentity;
        one.key.service = admin_test::kService;
        one.key.direction = WEFT_EGRESS;
        one.sum.opened = 9;
        return std::vector{one};
    }
    [[nodiscard]] Result<std::vector<weft_histogram>> durations() const override {
        std::vector<weft_histogram> out(std::size_t{WEFT_DURATION_COUNT} * WEFT_DIRECTION_COUNT);
        auto& connect = out[std::size_t{WEFT_DURATION_CONNECT} * WEFT_DIRECTION_COUNT + WEFT_EGRESS];
        connect.bucket[0] = 1;  // below a microsecond
        connect.bucket[10] = 2; // half a millisecond to one
        connect.bucket[WEFT_HISTOGRAM_BUCKETS - 1] = 1;
        connect.sum_us = 1500;
        return out;
    }
    [[nodiscard]] Result<std::vector<bpf::RuleDrops>> rule_drops() const override {
        const weft_rule_drops_key key{admin_test::kPolicy, WEFT_REASON_POLICY_DENIED, WEFT_INGRESS, {}};
        return std::vector{bpf::RuleDrops{key, 4}};
    }
};

/// An agent's pages, served.
struct Served {
    explicit Served(const admin_test::FixedView& shown)
        : view(shown), monitor(Monitor::start({.address = "127.0.0.1:0"}, view, traffic, ring, pulse)) {
        EXPECT_TRUE(monitor.has_value()) << (monitor ? "" : monitor.error().message());
    }
    [[nodiscard]] std::string get(const std::string& path, const std::string& head = "") const {
        return monitor ? ask(monitor->port(), "GET " + path + " HTTP/1.0\r\n" + head + "\r\n") : "";
    }

    const admin_test::FixedView& view;
    FixedTraffic traffic;
    FlowRing ring;
    Pulse pulse;
    Result<Monitor> monitor;
};

/// What a scrape of an agent in this state answers, with the head.
std::string answer_of(const admin_test::FixedView& view) {
    return Served(view).get("/metrics");
}

TEST(Metrics, ShowsCountersDropsAndMaps) {
    const auto page = answer_of({});
    EXPECT_THAT(page, HasSubstr("weft_connections_opened_total{direction=\"egress\"} 12"));
    EXPECT_THAT(page, HasSubstr("weft_drops_total{reason=\"policy-denied\",direction=\"egress\"} 3"));
    EXPECT_THAT(page, testing::Not(HasSubstr("weft_drops_total{reason=\"event-lost\"")));
    EXPECT_THAT(page, HasSubstr("weft_events_lost_total{reason=\"kernel-ring\"} 4"));
    EXPECT_THAT(
        page,
        HasSubstr("weft_rule_drops_total{reason=\"policy-denied\",direction=\"ingress\",rule=\"pay/allow-web\"} 4"));
    EXPECT_THAT(page, HasSubstr("weft_map_entries{map=\"weft_service\"} 1"));
    EXPECT_THAT(page, HasSubstr("weft_map_capacity{map=\"weft_service\"} 4"));
    EXPECT_THAT(page, HasSubstr("weft_drift_entries_total{map=\"weft_service\"} 2"));
    EXPECT_THAT(page, HasSubstr("weft_scrape_failed{part=\"maps\"} 0"));
}

TEST(Metrics, ShowsMutualTlsByPrincipalsAndReasons) {
    admin_test::FixedView view;
    view.meshed = true;
    const auto page = answer_of(view);
    const auto labels = "{side=\"client\",connection_security_policy=\"mutual_tls\",source_principal=\"" +
                        admin_test::kWebId + "\",destination_principal=\"" + admin_test::kApiId + "\"} ";
    EXPECT_THAT(page, HasSubstr("weft_principal_connections_opened_total" + labels + "3"));
    EXPECT_THAT(page, HasSubstr("weft_principal_connections_closed_total" + labels + "2"));
    EXPECT_THAT(page, HasSubstr("weft_principal_sent_bytes_total" + labels + "1000"));
    EXPECT_THAT(page, HasSubstr("weft_principal_received_bytes_total" + labels + "2000"));
    EXPECT_THAT(page, HasSubstr("weft_mesh_connections_opened_total{side=\"client\",tier=\"relay\"} 3"));
    EXPECT_THAT(page, HasSubstr("weft_mesh_failures_total{side=\"server\",reason=\"identity-refused\"} 2"));
    EXPECT_THAT(page, HasSubstr("weft_mesh_resumptions_total 1"));
    EXPECT_THAT(page, HasSubstr("weft_mesh_revoked_connections_total{side=\"client\"} 4"));
    EXPECT_THAT(page, HasSubstr("weft_certificate_expiry_seconds{id=\"" + admin_test::kWebId + "\"} 7500"));
    EXPECT_THAT(page, testing::Not(HasSubstr("weft_certificate_expiry_seconds{id=\"" + admin_test::kWebId + "2")));
    EXPECT_THAT(page, HasSubstr("weft_certificates{state=\"expired\"} 1"));
    EXPECT_THAT(page, HasSubstr("weft_certificates{state=\"failing\"} 0"));
    EXPECT_THAT(page, HasSubstr("weft_mesh_handshake_duration_seconds_count 3"));
}

TEST(Metrics, PleasePromtool) {
    admin_test::FixedView view;
    view.meshed = true;
    const auto answer = answer_of(view);
    const auto body = answer.find("\r\n\r\n");
    ASSERT_NE(body, std::string::npos);
    char name[] = "/tmp/weft-metrics-XXXXXX";
    const UniqueFd file(::mkstemp(name));
    const auto page = answer.substr(body + 4);
    ASSERT_EQ(::write(file.get(), page.data(), page.size()), static_cast<ssize_t>(page.size()));
    const auto command = std::string("promtool check metrics < ") + name + " 2>&1";
    std::FILE* pipe = ::popen(command.c_str(), "re");
    std::string output(4096, '\0');
    output.resize(std::fread(output.data(), 1, output.size(), pipe));
    const int status = ::pclose(pipe);
    (void)::unlink(name);
    EXPECT_EQ(status, 0) << output;
    EXPECT_EQ(output, "");
}

TEST(Metrics, ShowsWhatTheKernelCountedByPeerAndByDuration) {
    const auto page = answer_of({});
    EXPECT_THAT(page, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(page, testing::ContainsRegex("istio_tcp_connections_opened_total[^\n]*source_workload=\"web\"[^\n]*"
                                             "destination_service_name=\"api\"[^\n]* 9\n"));
    EXPECT_THAT(page, HasSubstr("weft_connect_latency_seconds_count{direction=\"egress\"} 4\n"));
    EXPECT_THAT(page, HasSubstr("weft_connect_latency_seconds_sum{direction=\"egress\"} 0.0015\n"));
    EXPECT_THAT(page, HasSubstr("weft_connect_latency_seconds_bucket{direction=\"egress\",le=\"1e-06\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("weft_connect_latency_seconds_bucket{direction=\"egress\",le=\"0.001024\"} 3\n"));
    EXPECT_THAT(page, HasSubstr("weft_connect_latency_seconds_bucket{direction=\"egress\",le=\"+Inf\"} 4\n"));
    EXPECT_THAT(page, testing::Not(HasSubstr("weft_connect_latency_seconds_count{direction=\"ingress\"}")));
    EXPECT_THAT(page, HasSubstr("weft_srtt_seconds_count{direction=\"ingress\"} 0\n"));
    EXPECT_THAT(page, HasSubstr("weft_scrape_failed{part=\"traffic\"} 0\n"));
}

TEST(Metrics, GoCompressedToWhoAsks) {
    const admin_test::FixedView view;
    const Served served(view);
    const auto plain = served.get("/metrics");
    const auto small = served.get("/metrics", "Accept-Encoding: gzip\r\n");
    EXPECT_THAT(small, HasSubstr("Content-Encoding: gzip\r\n"));
    EXPECT_LT(small.size() * 2, plain.size());
    const auto body = small.substr(small.find("\r\n\r\n") + 4);
    std::string out(1 << 20, '\0');
    z_stream stream{};
    ASSERT_EQ(::inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
    stream.avail_in = static_cast<uInt>(body.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(::inflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    (void)::inflateEnd(&stream);
    EXPECT_THAT(out, HasSubstr("weft_events_lost_total{reason=\"kernel-ring\"} 4"));
}

TEST(Monitor, IsReadyWhenTheServiceManagerWasTold) {
    const admin_test::FixedView view;
    Served served(view);
    EXPECT_THAT(served.get("/readyz"), testing::StartsWith("HTTP/1.1 503 "));
    served.pulse.set_ready(true);
    EXPECT_THAT(served.get("/readyz"), testing::StartsWith("HTTP/1.1 200 "));
    served.pulse.set_ready(false);
    EXPECT_THAT(served.get("/readyz"), testing::StartsWith("HTTP/1.1 503 "));
}

TEST(Monitor, IsHealthyWhileTheLoopBeats) {
    using namespace std::chrono_literals;
    const admin_test::FixedView view;
    Served served(view);
    EXPECT_THAT(served.get("/healthz"), testing::StartsWith("HTTP/1.1 200 ")) << "no beat is due yet";
    served.pulse.beat(Pulse::Clock::now() - 29s);
    EXPECT_THAT(served.get("/healthz"), testing::StartsWith("HTTP/1.1 200 "));
    served.pulse.beat(Pulse::Clock::now() - 31s);
    EXPECT_THAT(served.get("/healthz"), testing::StartsWith("HTTP/1.1 503 "));
    served.pulse.beat(Pulse::Clock::now());
    EXPECT_THAT(served.get("/healthz"), testing::StartsWith("HTTP/1.1 200 "));
}

TEST(Monitor, TellsHeapAndLagOfTheLoop) {
    using namespace std::chrono_literals;
    const admin_test::FixedView view;
    Served served(view);
    const Pulse::Clock::time_point start{1000s};
    served.pulse.beat(start);
    served.pulse.beat(start + 1s + 250ms);
    served.pulse.beat(start + 2s + 260ms);
    const auto answer = served.get("/debug/");
    const auto json = nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n") + 4), nullptr, false);
    ASSERT_TRUE(json.is_object()) << answer;
    EXPECT_EQ(json["loop"]["beats"], 3);
    EXPECT_EQ(json["loop"]["lag_us"], 10'000);
    EXPECT_EQ(json["loop"]["max_lag_us"], 250'000);
    EXPECT_GT(json["heap"]["used_bytes"], 10'000);
    EXPECT_GT(json["memory"]["resident_bytes"], 1'000'000);
    EXPECT_GE(json["memory"]["peak_resident_bytes"], json["memory"]["resident_bytes"]);
    EXPECT_GT(json["threads"], 1);
}

TEST(Monitor, AnswersNothingElse) {
    const admin_test::FixedView view;
    const Served served(view);
    EXPECT_THAT(served.get("/"), testing::StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(served.get("/metrics/x"), testing::StartsWith("HTTP/1.1 404 "));
    const auto refused = ask(served.monitor->port(), "POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    EXPECT_THAT(refused, testing::StartsWith("HTTP/1.1 405 "));
    EXPECT_THAT(refused, HasSubstr("Allow: GET, HEAD\r\n"));
    const auto head = ask(served.monitor->port(), "HEAD /healthz HTTP/1.0\r\n\r\n");
    EXPECT_THAT(head, testing::StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(head, testing::EndsWith("\r\n\r\n"));
}

TEST(Monitor, RefusesAnAddressThatIsTaken) {
    const admin_test::FixedView view;
    const Served first(view);
    ASSERT_TRUE(first.monitor.has_value());
    Pulse pulse;
    const auto second = Monitor::start({.address = "127.0.0.1:" + std::to_string(first.monitor->port())}, view,
                                       first.traffic, first.ring, pulse);
    ASSERT_FALSE(second.has_value());
    EXPECT_THAT(second.error().message(), HasSubstr("127.0.0.1:" + std::to_string(first.monitor->port())));
}

} // namespace
} // namespace weft::telemetry

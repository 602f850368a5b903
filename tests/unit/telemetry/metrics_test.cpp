// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a scrape of /metrics see? A real HTTP request to the real exposer on loopback.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "agent/telemetry/metrics.hpp"
#include "tests/unit/admin/world.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::telemetry {
namespace {

using testing::HasSubstr;

std::string scrape(int port) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
        return "no connection";
    }
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    (void)::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL); // a failure shows as an empty page
    std::string page;
    char buffer[4096];
    for (ssize_t size = 0; (size = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) {
        page.append(buffer, static_cast<std::size_t>(size));
    }
    return page;
}

/// What a scrape of an agent in this state answers, with the head.
std::string answer_of(const admin_test::FixedView& view) {
    const FlowRing ring;
    const auto server = MetricsServer::start("127.0.0.1:0", view, ring);
    EXPECT_TRUE(server.has_value()) << (server ? "" : server.error().message());
    return server ? scrape(server->port()) : "";
}

TEST(Metrics, ShowsCountersDropsAndMaps) {
    const auto page = answer_of({});
    EXPECT_THAT(page, HasSubstr("weft_connections_opened_total{direction=\"egress\"} 12"));
    EXPECT_THAT(page, HasSubstr("weft_drops_total{reason=\"policy-denied\",direction=\"egress\"} 3"));
    EXPECT_THAT(page, testing::Not(HasSubstr("weft_drops_total{reason=\"event-lost\"")));
    EXPECT_THAT(page, HasSubstr("weft_events_lost_total 4"));
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

TEST(Metrics, RefusesAnAddressThatIsTaken) {
    const admin_test::FixedView view;
    const FlowRing ring;
    auto first = MetricsServer::start("127.0.0.1:0", view, ring);
    ASSERT_TRUE(first.has_value());
    EXPECT_FALSE(MetricsServer::start("127.0.0.1:" + std::to_string(first->port()), view, ring).has_value());
}

} // namespace
} // namespace weft::telemetry

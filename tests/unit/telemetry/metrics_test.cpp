// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a scrape of /metrics see? A real HTTP request to the real exposer on loopback.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

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

TEST(Metrics, ShowsCountersDropsAndMaps) {
    const admin_test::FixedView view;
    const FlowRing ring;
    auto server = MetricsServer::start("127.0.0.1:0", view, ring);
    ASSERT_TRUE(server.has_value()) << server.error().message();
    const auto page = scrape(server->port());
    EXPECT_THAT(page, HasSubstr("weft_connections_opened_total{direction=\"egress\"} 12"));
    EXPECT_THAT(page, HasSubstr("weft_drops_total{reason=\"policy-denied\",direction=\"egress\"} 3"));
    EXPECT_THAT(page, testing::Not(HasSubstr("weft_drops_total{reason=\"event-lost\"")));
    EXPECT_THAT(page, HasSubstr("weft_events_lost_total 4"));
    EXPECT_THAT(page, HasSubstr("weft_map_entries{map=\"weft_service\"} 1"));
    EXPECT_THAT(page, HasSubstr("weft_map_capacity{map=\"weft_service\"} 4"));
    EXPECT_THAT(page, HasSubstr("weft_drift_entries_total{map=\"weft_service\"} 2"));
    EXPECT_THAT(page, HasSubstr("weft_scrape_failed{part=\"maps\"} 0"));
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

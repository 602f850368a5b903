// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The whole path between two nodes: what crosses the wire, and that applications cannot tell it from plain TCP.
#include <sstream>

#include <gmock/gmock.h>

#include "tests/e2e/mesh/mesh_lab.hpp"

namespace weft::e2e {
namespace {

using ::testing::StartsWith;

class MeshPath : public MeshLab, public ::testing::WithParamInterface<bool> {};

TEST_P(MeshPath, TheTierIsTheBestThatTheKernelAllows) {
    const auto transfer = peer_in_background("client", {"echo", address("api", GetParam()), "FILE"});
    ASSERT_TRUE(transfer->goes_on());
    nlohmann::json shown;
    for (const auto* node : {"node-1", "node-2"}) {
        EXPECT_TRUE(eventually([&] { return !(shown = listed_connection(node)).is_null(); }, kPatience));
        EXPECT_EQ(shown.value("tier", ""), expected_tier()) << node << ": " << shown.dump();
    }
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

TEST_P(MeshPath, TheWireShowsRecordsBetweenTheApplicationsOwnAddresses) {
    const std::uint64_t bytes = in_guest() ? 4000000 : 100000000;
    auto watcher = watch_wire();
    EXPECT_EQ(peer("client", {"mark", address("api", GetParam()), std::to_string(bytes)}),
              fmt::format("ok {}\n", bytes));
    const auto text = watcher->stop();
    const auto seen = nlohmann::json::parse(text, nullptr, false);
    ASSERT_TRUE(seen.is_object()) << text;
    EXPECT_EQ(seen["marked"], 0) << text;
    EXPECT_EQ(seen["dropped"], 0) << text;
    EXPECT_GE(seen["bytes"], bytes) << text;
    EXPECT_GT(seen["records"], 0) << text;
    const auto wanted = fmt::format("{} > {}:7000", address("client", GetParam()), address("api", GetParam()));
    bool found = false;
    for (const auto& ends : seen["ends"]) {
        const auto pair = ends.get<std::string>();
        found = found || pair == wanted;
        // The agents ask the authority for certificates and trust meanwhile.
        EXPECT_TRUE(pair == wanted || pair.ends_with(":8443")) << pair;
    }
    EXPECT_TRUE(found) << text;
}

TEST_P(MeshPath, ApplicationsCannotTellItFromPlainTcp) {
    const auto output = peer("client", {"torture", address("api", GetParam()), in_guest() ? "2000000" : "67108864",
                                        in_guest() ? "40" : "2000"});
    std::istringstream lines(output);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        EXPECT_TRUE(line.ends_with(" ok")) << line;
    }
    EXPECT_EQ(count, 14) << output;
}

INSTANTIATE_TEST_SUITE_P(Families, MeshPath, ::testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv6" : "IPv4"; });

} // namespace
} // namespace weft::e2e

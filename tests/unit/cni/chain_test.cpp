// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// prevResult as ptp, bridge and others write it, and as nobody should.
#include "cni-plugin/chain.hpp"

#include <gtest/gtest.h>

namespace weft::cni {
namespace {

CniResult<std::vector<std::string>> addresses(const std::string& text) {
    return container_addresses(Json::parse(text));
}

TEST(Chain, TakesTheContainersAddressesOnly) {
    const auto ips = addresses(R"({"cniVersion": "1.0.0",
        "interfaces": [{"name": "br0", "mac": "00:11:22:33:44:55"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
        "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 2},
                {"address": "fd00:1::5/64", "interface": 2}, {"address": "10.9.0.1/16", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0"}], "dns": {}})");
    ASSERT_TRUE(ips.has_value()) << ips.error().message;
    EXPECT_EQ(*ips, (std::vector<std::string>{"10.1.0.5", "fd00:1::5"}));
}

TEST(Chain, TakesAddressesWithoutInterface) {
    EXPECT_EQ(addresses(R"({"ips": [{"version": "4", "address": "10.1.0.5/32"}]})").value(),
              std::vector<std::string>{"10.1.0.5"});
    EXPECT_EQ(addresses(R"({"interfaces": null, "ips": [{"address": "10.1.0.5/32", "interface": null}]})").value(),
              std::vector<std::string>{"10.1.0.5"});
}

TEST(Chain, MissingPrevResultSaysHowToChain) {
    const auto ips = container_addresses(Json());
    ASSERT_FALSE(ips.has_value());
    EXPECT_EQ(ips.error().code, Code::kInvalidConfig);
    EXPECT_NE(ips.error().message.find("chained after an interface plugin"), std::string::npos);
}

class BadPrevResult : public ::testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(BadPrevResult, NamesTheField) {
    const auto ips = addresses(GetParam().first);
    ASSERT_FALSE(ips.has_value());
    EXPECT_EQ(ips.error().code, Code::kInvalidConfig);
    EXPECT_TRUE(ips.error().message.starts_with("prevResult." + GetParam().second + ":")) << ips.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadPrevResult,
    ::testing::Values(
        std::pair{"{}", "ips"}, std::pair{R"({"ips": {}})", "ips"}, std::pair{R"({"ips": []})", "ips"},
        std::pair{R"({"ips": [1]})", "ips[0]"}, std::pair{R"({"ips": [{}]})", "ips[0].address"},
        std::pair{R"({"cniVersion": 1, "ips": []})", "cniVersion"},
        std::pair{R"({"ips": [{"address": 5}]})", "ips[0].address"},
        std::pair{R"({"ips": [{"address": "10.0.0.1"}]})", "ips[0].address"},
        std::pair{R"({"ips": [{"address": "10.0.0.1/33"}]})", "ips[0].address"},
        std::pair{R"({"ips": [{"address": "10.0.0.1/24"}, {"address": "host/24"}]})", "ips[1].address"},
        std::pair{R"({"ips": [{"address": "127.0.0.1/8"}]})", "ips[0].address"},
        std::pair{R"({"ips": [{"address": "::/64"}]})", "ips[0].address"},
        std::pair{R"({"ips": [{"address": "10.0.0.1/24", "interface": 0}]})", "ips[0].interface"},
        std::pair{
            R"({"interfaces": [{"name": "a", "sandbox": "/x"}], "ips": [{"address": "10.0.0.1/24", "interface": -1}]})",
            "ips[0].interface"},
        std::pair{
            R"({"interfaces": [{"name": "a", "sandbox": "/x"}], "ips": [{"address": "10.0.0.1/24", "interface": 18446744073709551615}]})",
            "ips[0].interface"},
        std::pair{
            R"({"interfaces": [{"name": "a", "sandbox": "/x"}], "ips": [{"address": "10.0.0.1/24", "interface": "0"}]})",
            "ips[0].interface"},
        std::pair{R"({"interfaces": [{"name": "a"}], "ips": [{"address": "10.0.0.1/24", "interface": 0}]})", "ips"},
        std::pair{R"({"interfaces": {}, "ips": []})", "interfaces"},
        std::pair{R"({"interfaces": [1], "ips": []})", "interfaces[0]"},
        std::pair{R"({"interfaces": [{"name": "a"}, {}], "ips": []})", "interfaces[1].name"},
        std::pair{R"({"interfaces": [{"name": "a", "sandbox": 1}], "ips": []})", "interfaces[0].sandbox"}));

} // namespace
} // namespace weft::cni

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does every map's entry come out as text with names, and are foreign bytes never guessed at?
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/admin/decode.hpp"
#include "tests/unit/admin/world.hpp"

namespace weft::admin {
namespace {

using namespace admin_test;
using testing::HasSubstr;

template <typename T>
std::span<const std::byte> bytes(const T& value) {
    return std::as_bytes(std::span<const T, 1>(&value, 1));
}

class Decode : public testing::Test {
protected:
    template <typename K, typename V>
    DecodedEntry of(const char* map, const K& key, const V& value) {
        return decode(names, map, bytes(key), bytes(value));
    }
    std::shared_ptr<const compiler::DesiredState> state = desired_state();
    Namer names{*state};
};

TEST_F(Decode, NamesServiceAndBackend) {
    weft_service value{};
    value.service = kService;
    value.set = kSet;
    value.slot_count = 3;
    value.algorithm = WEFT_ALGORITHM_MAGLEV;
    const auto service = of("weft_service", end("10.96.0.1", 80), value);
    EXPECT_EQ(service.key, "TCP 10.96.0.1:80");
    EXPECT_THAT(service.value, HasSubstr("service=pay/api:http"));
    EXPECT_THAT(service.value, HasSubstr("slots=3 algorithm=maglev"));
    const auto slot = of("weft_slot", weft_slot_key{kSet, 2, 0}, weft_slot{end("10.0.0.2", 8080), 1});
    EXPECT_THAT(slot.key, HasSubstr("(pay/api:http) slot=2"));
    EXPECT_EQ(slot.value, "backend=TCP 10.0.0.2:8080 (pay/api-0) weight=1");
}

TEST_F(Decode, NamesPolicyPeerAndRule) {
    const auto entry =
        of("weft_policy", weft_policy_key{kPolicy, kWebIdentity, WEFT_INGRESS, 0}, weft_policy_entry{0, kRule});
    EXPECT_THAT(entry.key, HasSubstr("(pay/allow-web)"));
    EXPECT_THAT(entry.key, HasSubstr("(shop app=web) ingress"));
    EXPECT_EQ(entry.value, "allow all ports rule=pay/allow-web ingress[0]");
    EXPECT_THAT(
        of("weft_policy", weft_policy_key{kPolicy, WEFT_IDENTITY_ANY, WEFT_EGRESS, 0}, weft_policy_entry{kPorts, 0})
            .key,
        HasSubstr("peer=any egress"));
}

TEST_F(Decode, ShowsPortPrefixesAsRanges) {
    weft_ports_key key{};
    key.ports_hi = static_cast<__u32>(kPorts >> 32);
    key.ports_lo = static_cast<__u32>(kPorts);
    key.proto = 6;
    key.prefix_bits = WEFT_PORTS_PREFIX + 16;
    key.port_be = htons(8080);
    EXPECT_EQ(of("ports", key, kRule).key, "set=6000000000000001 TCP port 8080");
    key.prefix_bits = WEFT_PORTS_PREFIX + 12;
    EXPECT_EQ(of("ports", key, kRule).key, "set=6000000000000001 TCP ports 8080-8095");
    key.prefix_bits = WEFT_PORTS_PREFIX;
    EXPECT_EQ(of("ports", key, kRule).key, "set=6000000000000001 TCP all ports");
}

TEST_F(Decode, ShowsPrefixesInTheirOwnFamily) {
    const weft_peer world{WEFT_IDENTITY_WORLD, 0, 0};
    EXPECT_EQ(of("weft_cidr", weft_cidr_key{104, Ip::parse("10.0.0.0")->raw()}, world).key, "10.0.0.0/8");
    EXPECT_EQ(of("weft_cidr", weft_cidr_key{64, Ip::parse("fd00::")->raw()}, world).key, "fd00::/64");
}

TEST_F(Decode, NamesEndpointByNamespaceCookie) {
    const auto entry = of("weft_endpoint", kApiNetns, state->policy->endpoints.at(kApiNetns));
    EXPECT_EQ(entry.key, "netns=4002 (pay/api-0)");
    EXPECT_THAT(entry.value, HasSubstr("addresses=10.0.0.2 flags=isolated-ingress"));
}

TEST_F(Decode, SumsPerCpuValuesAndNamesReasons) {
    const std::uint64_t cpus[] = {3, 4};
    const std::uint32_t index = WEFT_REASON_NO_BACKEND * WEFT_DIRECTION_COUNT + WEFT_EGRESS;
    const auto entry = decode(names, "weft_drops", bytes(index), std::as_bytes(std::span(cpus)));
    EXPECT_EQ(entry.key, "no-backend egress");
    EXPECT_EQ(entry.value, "7");
}

TEST_F(Decode, ShowsHexForBytesOfAnotherSize) {
    const std::uint32_t wrong = 1;
    EXPECT_EQ(of("weft_service", wrong, wrong).key, "0x01000000 (4 bytes, expected 20)");
    EXPECT_EQ(of("weft_nonsense", wrong, wrong).value, "0x01000000");
}

TEST_F(Decode, FindsMapsWithAndWithoutPrefix) {
    ASSERT_NE(find_map("service"), nullptr);
    EXPECT_EQ(find_map("service"), find_map("weft_service"));
    EXPECT_EQ(find_map("nothing"), nullptr);
}

} // namespace
} // namespace weft::admin

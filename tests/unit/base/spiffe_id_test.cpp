// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Workload identities: what is accepted is what is written, and everything else is refused with its reason.
#include "weft/base/spiffe_id.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft {
namespace {

using ::testing::HasSubstr;

TEST(SpiffeId, ReadsWhatItWrites) {
    for (const auto* text : {"spiffe://cluster.local/ns/shop/sa/web", "spiffe://a_b-c.9/ns/x/sa/a.b-c.d",
                             "spiffe://td/ns/0/sa/system-node-critical"}) {
        const auto id = SpiffeId::parse(text);
        ASSERT_TRUE(id.has_value()) << id.error().message();
        EXPECT_EQ(id->to_string(), text);
    }
    const auto id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web");
    EXPECT_EQ(id->trust_domain, "cluster.local");
    EXPECT_EQ(id->namespace_name, "shop");
    EXPECT_EQ(id->service_account, "web");
}

TEST(SpiffeId, RefusesEveryOtherSpelling) {
    for (const auto* text : {"",
                             "cluster.local/ns/shop/sa/web",
                             "SPIFFE://cluster.local/ns/shop/sa/web",
                             "https://cluster.local/ns/shop/sa/web",
                             "spiffe:///ns/shop/sa/web",
                             "spiffe://Cluster.local/ns/shop/sa/web",
                             "spiffe://user@cluster.local/ns/shop/sa/web",
                             "spiffe://cluster.local:80/ns/shop/sa/web",
                             "spiffe://cluster.local/ns/shop/sa/web/",
                             "spiffe://cluster.local/ns/shop/sa/web/more",
                             "spiffe://cluster.local/ns/shop/sa/",
                             "spiffe://cluster.local/ns//sa/web",
                             "spiffe://cluster.local//ns/shop/sa/web",
                             "spiffe://cluster.local/ns/shop/sa",
                             "spiffe://cluster.local/ns/shop/web",
                             "spiffe://cluster.local/sa/web/ns/shop",
                             "spiffe://cluster.local/ns/Shop/sa/web",
                             "spiffe://cluster.local/ns/sh.op/sa/web",
                             "spiffe://cluster.local/ns/-shop/sa/web",
                             "spiffe://cluster.local/ns/shop/sa/web-",
                             "spiffe://cluster.local/ns/shop/sa/w..b",
                             "spiffe://cluster.local/ns/../sa/web",
                             "spiffe://cluster.local/ns/shop/sa/web?x=1",
                             "spiffe://cluster.local/ns/shop/sa/web#x",
                             "spiffe://cluster.local/ns/sh%6fp/sa/web",
                             "spiffe://cluster.local"}) {
        EXPECT_FALSE(SpiffeId::parse(text).has_value()) << text;
    }
    // A zero byte must not end the text: that is how other verifiers were fooled.
    EXPECT_FALSE(SpiffeId::parse(std::string_view("spiffe://a/ns/b/sa/c\0d", 22)).has_value());
}

TEST(SpiffeId, BoundsEveryPart) {
    EXPECT_TRUE(SpiffeId::make(std::string(255, 'a'), std::string(63, 'b'), std::string(253, 'c')).has_value());
    EXPECT_FALSE(SpiffeId::make(std::string(256, 'a'), "b", "c").has_value());
    EXPECT_FALSE(SpiffeId::make("a", std::string(64, 'b'), "c").has_value());
    EXPECT_FALSE(SpiffeId::make("a", "b", std::string(254, 'c')).has_value());
    EXPECT_FALSE(SpiffeId::parse("spiffe://" + std::string(kMaxSpiffeId, 'a')).has_value());
}

TEST(SpiffeId, SaysWhatIsWrong) {
    EXPECT_THAT(SpiffeId::parse("x").error().message(), HasSubstr("spiffe://"));
    EXPECT_THAT(SpiffeId::parse("spiffe://td/ns/A/sa/b").error().message(), HasSubstr("namespace 'A'"));
    EXPECT_THAT(SpiffeId::parse("spiffe://td/ns/a/sa/B").error().message(), HasSubstr("service account 'B'"));
    EXPECT_THAT(SpiffeId::parse("spiffe://TD/ns/a/sa/b").error().message(), HasSubstr("trust domain 'TD'"));
}

TEST(SpiffeId, OrdersByDomainThenNamespaceThenAccount) {
    const auto id = [](const char* td, const char* ns, const char* sa) { return SpiffeId{td, ns, sa}; };
    EXPECT_LT(id("a", "z", "z"), id("b", "a", "a"));
    EXPECT_LT(id("a", "a", "z"), id("a", "b", "a"));
    EXPECT_LT(id("a", "a", "a"), id("a", "a", "b"));
    EXPECT_EQ(std::hash<SpiffeId>()(id("a", "b", "c")), std::hash<SpiffeId>()(id("a", "b", "c")));
}

} // namespace
} // namespace weft

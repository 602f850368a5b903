// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How often somebody may ask, and who is one and the same.
#include "agent/ca/rate_limit.hpp"

#include <gtest/gtest.h>

namespace weft::ca {
namespace {

using std::chrono::seconds;

TEST(RateLimit, ABucketEmptiesAndFills) {
    RateLimit limit(2, 0.5, 10);
    const auto now = RateLimit::Clock::now();
    EXPECT_TRUE(limit.allow("a", now));
    EXPECT_TRUE(limit.allow("a", now));
    EXPECT_FALSE(limit.allow("a", now + seconds(1)));
    EXPECT_TRUE(limit.allow("b", now + seconds(1)));
    EXPECT_TRUE(limit.allow("a", now + seconds(3)));
}

TEST(RateLimit, AMachineOfIpv6HasOneBucket) {
    EXPECT_EQ(block_of("ipv6:[2001:db8::1]"), block_of("ipv6:%5B2001:db8::ffff:2%5D"));
    EXPECT_NE(block_of("ipv6:[2001:db8::1]"), block_of("ipv6:[2001:db8:0:1::1]"));
    EXPECT_EQ(block_of("ipv6:[fe80::1%25eth0]"), block_of("ipv6:[fe80::2]"));
    EXPECT_NE(block_of("ipv4:10.0.0.1"), block_of("ipv4:10.0.0.2"));
    EXPECT_NE(block_of("ipv6:[::ffff:10.0.0.1]"), block_of("ipv6:[::ffff:10.0.0.2]")) << "IPv4 at an IPv6 listener";
    EXPECT_EQ(block_of("unix:"), block_of("unix:"));
}

} // namespace
} // namespace weft::ca

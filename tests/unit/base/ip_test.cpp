// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "weft/base/ip.hpp"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Ip, ParsesAndPrintsBothFamilies) {
    EXPECT_EQ(Ip::parse("10.1.2.3")->to_string(), "10.1.2.3");
    EXPECT_EQ(Ip::parse("fd00::1")->to_string(), "fd00::1");
    EXPECT_TRUE(Ip::parse("::ffff:10.1.2.3")->is_v4());
    EXPECT_FALSE(Ip::parse("10.1.2").has_value());
    EXPECT_FALSE(Ip::parse(std::string("fd00::1\0x", 9)).has_value());
}

TEST(Cidr, ClearsHostBitsAndContains) {
    const Cidr ten = *Cidr::parse("10.9.8.7/8");
    EXPECT_EQ(ten.to_string(), "10.0.0.0/8");
    EXPECT_TRUE(ten.contains(*Ip::parse("10.255.0.1")));
    EXPECT_FALSE(ten.contains(*Ip::parse("11.0.0.1")));
    EXPECT_TRUE(ten.contains(*Cidr::parse("10.2.0.0/16")));
    EXPECT_FALSE(Cidr::parse("10.2.0.0/16")->contains(ten));
}

TEST(Cidr, AllOfIpv6IsNotAllOfIpv4) {
    EXPECT_FALSE(Cidr::parse("::/0")->contains(*Ip::parse("10.0.0.1")));
    EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*Ip::parse("10.0.0.1")));
    EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(*Ip::parse("fd00::1")));
}

TEST(Cidr, RefusesBadLengthsByName) {
    for (const char* bad :
         {"10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "/8", "::ffff:1.2.3.4/8"}) {
        EXPECT_FALSE(Cidr::parse(bad).has_value()) << bad;
    }
    EXPECT_NE(Cidr::parse("10.0.0.0/33").error().message().find("0 to 32"), std::string::npos);
}

} // namespace
} // namespace weft

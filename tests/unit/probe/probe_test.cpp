// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/probe/probe.hpp"

#include <gtest/gtest.h>

namespace weft::probe {
namespace {

TEST(Probe, ReadsEveryKindOfEnd) {
    const auto probe = parse_probe(R"({"from":"shop/web-1","to":"pay/svc:api","port":80})");
    ASSERT_TRUE(probe.has_value());
    EXPECT_EQ(to_string(probe->from), "shop/web-1");
    EXPECT_EQ(to_string(probe->to), "pay/svc:api");
    EXPECT_EQ(probe->protocol, 6);
    const auto address = parse_probe(R"({"from":"ip:fd00::1","to":"a/b","port":53,"protocol":"UDP"})");
    EXPECT_EQ(to_string(address->from), "ip:fd00::1");
    EXPECT_EQ(address->protocol, 17);
}

TEST(Probe, AnswersKeepTheLine) {
    const auto probe = parse_probe(R"({"id":7,"from":"a/b","to":"a/c","port":1})");
    Answer answer{Verdict::kDeny, "ECONNREFUSED", "default-deny", "", 1.5};
    EXPECT_EQ(format_answer(*probe, answer),
              R"({"id":7,"from":"a/b","to":"a/c","port":1,"verdict":"deny","errno":"ECONNREFUSED",)"
              R"("rule":"default-deny","ms":1.5})");
}

TEST(Probe, ErrorsNameTheKeyAndTheRemedy) {
    const auto fault = [](std::string_view line) {
        const auto probe = parse_probe(line);
        return probe ? std::string("accepted") : probe.error().message();
    };
    EXPECT_NE(fault("nonsense").find("one object a line"), std::string::npos);
    EXPECT_NE(fault("[]").find("JSON object"), std::string::npos);
    EXPECT_NE(fault(R"({"to":"a/b","port":1})").find("\"from\" is missing"), std::string::npos);
    EXPECT_NE(fault(R"({"from":5,"to":"a/b","port":1})").find("must be a string"), std::string::npos);
    EXPECT_NE(fault(R"({"from":"pod","to":"a/b","port":1})").find("NAMESPACE/POD"), std::string::npos);
    EXPECT_NE(fault(R"({"from":"a/svc:b","to":"a/b","port":1})").find("only \"to\""), std::string::npos);
    EXPECT_NE(fault(R"({"from":"a/b","to":"ip:10.0","port":1})").find("10.0"), std::string::npos);
    for (const char* port : {"0", "65536", "\"80\"", "-1", "1.5", "1e30"}) {
        EXPECT_NE(fault(fmt::format(R"({{"from":"a/b","to":"a/c","port":{}}})", port)).find("1 to 65535"),
                  std::string::npos)
            << port;
    }
    EXPECT_NE(fault(R"({"from":"a/b","to":"a/c","port":1,"protocol":"ICMP"})").find("TCP, UDP or SCTP"),
              std::string::npos);
}

} // namespace
} // namespace weft::probe

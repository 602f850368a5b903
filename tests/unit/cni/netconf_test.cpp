// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Configurations as runtimes and people write them: good ones read, bad ones refused with the right code and field.
#include "cni-plugin/netconf.hpp"

#include <gtest/gtest.h>

namespace weft::cni {
namespace {

CniResult<NetConf> parse(std::string_view text, Strictness strictness = Strictness::kEveryField) {
    const auto object = decode(text);
    if (!object) {
        return std::unexpected(object.error());
    }
    return parse_netconf(*object, strictness);
}

TEST(NetConf, ReadsEveryField) {
    const auto conf =
        parse(R"({"cniVersion": "1.1.0", "name": "cluster", "type": "weft-cni", "agentSocket": "/run/x.sock",
        "timeoutSeconds": 3, "prevResult": {"ips": []}, "capabilities": {}, "runtimeConfig": {"a": 1}, "args": {},
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}], "example.org/anything": true})");
    ASSERT_TRUE(conf.has_value()) << conf.error().message;
    EXPECT_EQ(conf->version, "1.1.0");
    EXPECT_EQ(conf->name, "cluster");
    EXPECT_EQ(conf->agent_socket, "/run/x.sock");
    EXPECT_EQ(conf->timeout, std::chrono::seconds(3));
    EXPECT_EQ(conf->prev_result.dump(), R"({"ips":[]})");
    ASSERT_EQ(conf->attachments.size(), 1U);
    EXPECT_EQ(conf->attachments[0].container_id, "a");
    EXPECT_EQ(conf->attachments[0].ifname, "eth0");
}

TEST(NetConf, HasDefaults) {
    const auto conf = parse(R"({"cniVersion": "0.4.0", "name": "cluster", "type": "weft-cni"})");
    ASSERT_TRUE(conf.has_value()) << conf.error().message;
    EXPECT_EQ(conf->agent_socket, "/run/weft/enrol.sock");
    EXPECT_EQ(conf->timeout, std::chrono::seconds(10));
    EXPECT_TRUE(conf->prev_result.is_null());
    EXPECT_FALSE(conf->has_attachments);
}

struct BadCase {
    std::string input;
    Code code;
    std::string named; ///< what the message must contain
};

class BadNetConf : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadNetConf, IsRefusedWithCodeAndField) {
    const auto conf = parse(GetParam().input);
    ASSERT_FALSE(conf.has_value());
    EXPECT_EQ(static_cast<int>(conf.error().code), static_cast<int>(GetParam().code)) << conf.error().message;
    EXPECT_NE(conf.error().message.find(GetParam().named), std::string::npos) << conf.error().message;
    EXPECT_LT(conf.error().message.size(), 400U);
}

std::string with(const std::string& fields) {
    return R"({"cniVersion": "1.0.0", "name": "n", "type": "weft-cni", )" + fields + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadNetConf,
    ::testing::Values(
        BadCase{"", Code::kDecode, "stdin: empty"}, BadCase{"{", Code::kDecode, "stdin"},
        BadCase{"not json", Code::kDecode, "stdin"}, BadCase{"[]", Code::kDecode, "stdin"},
        BadCase{"null", Code::kDecode, "stdin"}, BadCase{"\"text\"", Code::kDecode, "stdin"},
        BadCase{"{\"name\": \"\xff\xfe\"}", Code::kDecode, "stdin"}, BadCase{"{} {}", Code::kDecode, "stdin"},
        BadCase{R"({"cniVersion": "1.0.0", "n": 1e999})", Code::kDecode, "stdin"},
        BadCase{std::string(100000, '['), Code::kDecode, "nested"},
        BadCase{R"({"a":)" + std::string(65, '[') + std::string(65, ']') + "}", Code::kDecode, "nested"},
        BadCase{std::string((1 << 20) + 1, ' '), Code::kDecode, "longer than 1048576"},
        BadCase{"{}", Code::kIncompatibleVersion, "cniVersion"},
        BadCase{R"({"cniVersion": 1})", Code::kInvalidConfig, "cniVersion"},
        BadCase{R"({"cniVersion": "0.2.0", "name": "n"})", Code::kIncompatibleVersion, "0.2.0"},
        BadCase{R"({"cniVersion": "0.3.0", "name": "n"})", Code::kIncompatibleVersion, "0.3.0"},
        BadCase{R"({"cniVersion": "0.3.1", "name": "n"})", Code::kIncompatibleVersion, "0.3.1"},
        BadCase{R"({"cniVersion": "2.0.0", "name": "n"})", Code::kIncompatibleVersion, "2.0.0"},
        BadCase{R"({"cniVersion": "1.0.0"})", Code::kInvalidConfig, "name: missing"},
        BadCase{R"({"cniVersion": "1.0.0", "name": ""})", Code::kInvalidConfig, "name"},
        BadCase{R"({"cniVersion": "1.0.0", "name": "../x"})", Code::kInvalidConfig, "name"},
        BadCase{R"({"cniVersion": "1.0.0", "name": 7})", Code::kInvalidConfig, "name"},
        BadCase{with(R"("agentSocket": "run/x")"), Code::kInvalidConfig, "agentSocket"},
        BadCase{with(R"("agentSocket": 1)"), Code::kInvalidConfig, "agentSocket"},
        BadCase{with(R"("agentSocket": "/)" + std::string(107, 'x') + "\""), Code::kInvalidConfig, "agentSocket"},
        BadCase{with(R"("timeoutSeconds": 0)"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("timeoutSeconds": -1)"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("timeoutSeconds": 301)"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("timeoutSeconds": 18446744073709551615)"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("timeoutSeconds": 1.5)"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("timeoutSeconds": "10")"), Code::kInvalidConfig, "timeoutSeconds"},
        BadCase{with(R"("prevResult": [])"), Code::kInvalidConfig, "prevResult"},
        BadCase{with(R"("agentsocket": "/run/x")"), Code::kUnsupportedField,
                "\"agentsocket\": unsupported field, value \"/run/x\""},
        BadCase{with(R"("ipam": {"type": "host-local"})"), Code::kUnsupportedField, "ipam"},
        BadCase{with("\"" + std::string(50000, 'k') + "\": \"" + std::string(50000, 'v') + "\""),
                Code::kUnsupportedField, "kkk"},
        BadCase{with(R"("cni.dev/valid-attachments": {})"), Code::kInvalidConfig, "cni.dev/valid-attachments"},
        BadCase{with(R"("cni.dev/valid-attachments": [1])"), Code::kInvalidConfig, "cni.dev/valid-attachments"},
        BadCase{with(R"("cni.dev/valid-attachments": [{"containerID": "a"}])"), Code::kInvalidConfig,
                "cni.dev/valid-attachments"},
        BadCase{with(R"("cni.dev/valid-attachments": [{"containerID": "a", "ifname": 0}])"), Code::kInvalidConfig,
                "cni.dev/valid-attachments"}));

TEST(NetConf, BracketsInStringsAreNoNesting) {
    EXPECT_TRUE(parse(with(R"("args": {"x": ")" + std::string(200, '[') + R"(\"\\"})")).has_value());
}

TEST(NetConf, DelSeesOnlyTheVersion) {
    const auto conf = parse(with(R"("agentSocket": 1, "typo": true, "timeoutSeconds": -1)"), Strictness::kOnlyVersion);
    ASSERT_TRUE(conf.has_value());
    EXPECT_EQ(conf->agent_socket, "/run/weft/enrol.sock");
    EXPECT_EQ(parse("{}", Strictness::kOnlyVersion).error().code, Code::kIncompatibleVersion);
}

TEST(NetConf, VersionErrorListsTheSupported) {
    EXPECT_NE(parse(R"({"cniVersion": "0.3.1"})").error().details.find("0.4.0, 1.0.0, 1.1.0"), std::string::npos);
}

} // namespace
} // namespace weft::cni

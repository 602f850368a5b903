// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The environment: what each verb needs, and the name of the variable in every refusal.
#include "cni-plugin/environment.hpp"

#include <gtest/gtest.h>

#include <map>

namespace weft::cni {
namespace {

using Variables = std::map<std::string, std::string>;

Variables full(const std::string& command) {
    return {
        {"CNI_COMMAND", command},
        {"CNI_CONTAINERID", "Abc_1.2-3"},
        {"CNI_NETNS", "/var/run/netns/cni-1"},
        {"CNI_IFNAME", "eth0"},
        {"CNI_ARGS",
         "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1"},
        {"CNI_PATH", "/opt/cni/bin"}};
}

CniResult<Environment> read(const Variables& variables) {
    return read_environment([&](const char* name) {
        const auto at = variables.find(name);
        return at == variables.end() ? nullptr : at->second.c_str();
    });
}

TEST(Environment, ReadsAnAdd) {
    const auto environment = read(full("ADD"));
    ASSERT_TRUE(environment.has_value()) << environment.error().message;
    EXPECT_EQ(environment->command, Command::kAdd);
    EXPECT_EQ(environment->container_id, "Abc_1.2-3");
    EXPECT_EQ(environment->netns, "/var/run/netns/cni-1");
    EXPECT_EQ(environment->ifname, "eth0");
    EXPECT_EQ(environment->pod.namespace_name, "shop");
    EXPECT_EQ(environment->pod.name, "web-0");
    EXPECT_EQ(environment->pod.uid, "u-1");
}

TEST(Environment, UidMayBeMissing) {
    auto variables = full("ADD");
    variables["CNI_ARGS"] = "K8S_POD_NAMESPACE=shop;;K8S_POD_NAME=web-0;";
    const auto environment = read(variables);
    ASSERT_TRUE(environment.has_value()) << environment.error().message;
    EXPECT_EQ(environment->pod.uid, "");
}

TEST(Environment, DelNeedsNoNamespaceAndNoPod) {
    auto variables = full("DEL");
    variables["CNI_NETNS"] = "";
    variables["CNI_ARGS"] = "broken";
    EXPECT_TRUE(read(variables).has_value());
    variables.erase("CNI_NETNS");
    variables.erase("CNI_ARGS");
    EXPECT_TRUE(read(variables).has_value());
}

TEST(Environment, GcStatusAndVersionNeedOnlyTheCommand) {
    for (const char* command : {"GC", "STATUS", "VERSION"}) {
        EXPECT_TRUE(read({{"CNI_COMMAND", command}}).has_value()) << command;
    }
}

struct BadVariable {
    std::string command, variable, value;
    std::string named; ///< beside the variable
};

class BadEnvironment : public ::testing::TestWithParam<BadVariable> {};

TEST_P(BadEnvironment, NamesTheVariable) {
    auto variables = full(GetParam().command);
    variables[GetParam().variable] = GetParam().value;
    const auto environment = read(variables);
    ASSERT_FALSE(environment.has_value());
    EXPECT_EQ(static_cast<int>(environment.error().code), 4);
    EXPECT_TRUE(environment.error().message.starts_with(GetParam().variable + ":")) << environment.error().message;
    EXPECT_NE(environment.error().message.find(GetParam().named), std::string::npos) << environment.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadEnvironment,
    ::testing::Values(
        BadVariable{"ADD", "CNI_COMMAND", "", "not set"}, BadVariable{"ADD", "CNI_COMMAND", "add", "ADD, DEL"},
        BadVariable{"ADD", "CNI_CONTAINERID", "", "not set"}, BadVariable{"ADD", "CNI_CONTAINERID", "../x", ""},
        BadVariable{"ADD", "CNI_CONTAINERID", std::string(201, 'a'), ""},
        BadVariable{"DEL", "CNI_CONTAINERID", "", "not set"}, BadVariable{"CHECK", "CNI_CONTAINERID", "-a", ""},
        BadVariable{"ADD", "CNI_IFNAME", "", "not set"}, BadVariable{"ADD", "CNI_IFNAME", "eth/0", ""},
        BadVariable{"ADD", "CNI_IFNAME", "..", ""}, BadVariable{"ADD", "CNI_IFNAME", "sixteen-letters-", ""},
        BadVariable{"DEL", "CNI_IFNAME", "", "not set"}, BadVariable{"ADD", "CNI_NETNS", "", "not set"},
        BadVariable{"ADD", "CNI_NETNS", "run/netns", "absolute"},
        BadVariable{"ADD", "CNI_NETNS", "/run/\xff", "absolute"}, BadVariable{"CHECK", "CNI_NETNS", "", "not set"},
        BadVariable{"ADD", "CNI_ARGS", "", "K8S_POD_NAMESPACE"},
        BadVariable{"ADD", "CNI_ARGS", "K8S_POD_NAMESPACE=a", "K8S_POD_NAME"},
        BadVariable{"ADD", "CNI_ARGS", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=", "K8S_POD_NAME"},
        BadVariable{"ADD", "CNI_ARGS", "K8S_POD_NAME=a", "K8S_POD_NAMESPACE"},
        BadVariable{"ADD", "CNI_ARGS", "K8S", "KEY=VALUE"},
        BadVariable{"ADD", "CNI_ARGS", "K8S_POD_NAMESPACE=a b;K8S_POD_NAME=c", "K8S_POD_NAMESPACE"},
        BadVariable{"ADD", "CNI_ARGS", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=" + std::string(254, 'x'), "K8S_POD_NAME"}));

TEST(Environment, UnsetIsAsBadAsEmpty) {
    EXPECT_EQ(read({}).error().code, Code::kInvalidEnvironment);
}

} // namespace
} // namespace weft::cni

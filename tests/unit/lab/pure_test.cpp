// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The lab's pure parts: names, $(NAME) expansion, hosts file, SCTP packets.
#include <netinet/in.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/lab/names.hpp"
#include "tools/lab/pod_env.hpp"
#include "tools/lab/sctp.hpp"

namespace weft::lab {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(LabNames, OneLabsPrefixIsNeverAnothers) {
    EXPECT_TRUE(Names::make("a1").has_value());
    for (const char* bad : {"", "a-b", "A", "../x", "abcdefghijklmnopqrstu"}) {
        EXPECT_FALSE(Names::make(bad).has_value()) << bad;
    }
}

TEST(LabNames, PodLabelsAreUniqueAndFitInAFileName) {
    EXPECT_NE(pod_label("a", "b-c"), pod_label("a-b", "c"));
    const std::string longest(253, 'x');
    EXPECT_LT(Names::make("lab")->pod_netns(std::string(63, 'n'), longest).size(), 255U);
    EXPECT_NE(pod_label("n", longest), pod_label("n", longest.substr(0, 252) + "y"));
}

TEST(PodEnvironment, ExpandsAsTheKubeletDoes) {
    const std::vector<std::pair<std::string, std::string>> known{{"A", "1"}};
    EXPECT_EQ(expand("$(A)-$(B)-$$(A)-$A-$", known), "1-$(B)-$(A)-$A-$");
    EXPECT_EQ(expand("$(A", known), "$(A");
}

TEST(PodEnvironment, TellsThePodAboutItselfAndItsNamespacesServices) {
    k8s::Pod pod;
    pod.meta.namespace_name = "shop";
    pod.meta.name = "web-0";
    pod.ips = {*Ip::parse("10.0.0.7")};
    pod.spec.containers.resize(1);
    pod.spec.containers[0].command = {"run", "$(IP)"};
    pod.spec.containers[0].env = {{"IP", "$(field:status.podIP)"}, {"URL", "http://$(IP)"}};
    k8s::Service service;
    service.meta.namespace_name = "shop";
    service.meta.name = "my-api";
    service.cluster_ips = {*Ip::parse("10.96.0.9")};
    service.ports = {{.name = "http", .protocol = 6, .port = 80, .target_port = std::uint16_t{80}, .node_port = 0}};
    store::Table<k8s::Service> services{{{"shop", "my-api"}, std::make_shared<k8s::Service>(service)}};
    const auto process = container_process(pod, services);
    EXPECT_EQ(process.argv, (std::vector<std::string>{"run", "10.0.0.7"}));
    EXPECT_THAT(process.env, Contains("URL=http://10.0.0.7"));
    EXPECT_THAT(process.env, Contains("MY_API_SERVICE_HOST=10.96.0.9"));
    EXPECT_THAT(process.env, Contains("MY_API_SERVICE_PORT_HTTP=80"));
    EXPECT_THAT(hosts_file(pod, services, {}),
                HasSubstr("10.96.0.9\tmy-api my-api.shop my-api.shop.svc my-api.shop.svc.cluster.local\n"));
}

TEST(Sctp, ChecksumIsTheStandardOne) {
    const std::string digits = "123456789"; // the check value that every CRC catalogue gives for CRC-32C
    EXPECT_EQ(crc32c({reinterpret_cast<const std::uint8_t*>(digits.data()), digits.size()}), 0xe3069283U);
}

TEST(Sctp, ReadsWhatItWritesAndRefusesDamage) {
    auto bytes = make_sctp(
        {.source = 1000, .destination = 80, .first_chunk = kSctpInitAck, .verification = 7, .initiate_tag = 9});
    const auto packet = parse_sctp(bytes);
    ASSERT_TRUE(packet.has_value());
    EXPECT_EQ(packet->source, 1000);
    EXPECT_EQ(packet->destination, 80);
    EXPECT_EQ(packet->first_chunk, kSctpInitAck);
    EXPECT_EQ(packet->verification, 7U);
    EXPECT_EQ(packet->initiate_tag, 9U);
    bytes[13] ^= 1;
    EXPECT_FALSE(parse_sctp(bytes).has_value());
    bytes.resize(20);
    EXPECT_FALSE(parse_sctp(bytes).has_value());
}

} // namespace
} // namespace weft::lab

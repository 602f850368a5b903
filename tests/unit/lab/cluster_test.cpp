// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/lab/cluster.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "agent/k8s/parse.hpp"

namespace weft::lab {
namespace {

k8s::Object object(const std::string& yaml) {
    auto parsed = k8s::parse_documents(yaml, "test.yaml");
    EXPECT_TRUE(parsed.refusals.empty());
    return parsed.objects.at(0);
}

Cluster two_nodes() {
    Cluster cluster;
    EXPECT_TRUE(cluster.make_nodes({}, 2).has_value());
    return cluster;
}

constexpr const char* kService = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, "
                                 "selector: {a: b}, ports: [{port: 80}]}\n";

TEST(Cluster, GivesNodesBlocksOfBothFamilies) {
    const auto cluster = two_nodes();
    ASSERT_EQ(cluster.wire_nodes().size(), 2U);
    EXPECT_EQ(cluster.wire_nodes()[1].pod_cidrs[0].to_string(), "10.244.2.0/24");
    EXPECT_EQ(cluster.wire_nodes()[1].pod_cidrs[1].to_string(), "fd00:244:2::/64");
    EXPECT_EQ(cluster.nodes().at({"", "node-2"})->zone(), "zone-2");
}

TEST(Cluster, RefusesNodesThatItCannotMake) {
    k8s::Node node;
    node.meta.name = "wire";
    EXPECT_FALSE(Cluster().make_nodes({node}, 0).has_value());
    node.meta.name = "a";
    node.pod_cidrs = {*Cidr::parse("10.0.0.0/31")};
    EXPECT_FALSE(Cluster().make_nodes({node}, 0).has_value());
    EXPECT_FALSE(Cluster().make_nodes({}, 0).has_value());
}

TEST(Cluster, KeepsAServicesAddressesThroughChanges) {
    auto cluster = two_nodes();
    ASSERT_EQ(*cluster.apply(object(kService)), Cluster::Change::kCreated);
    const auto before = *cluster.services().at({"default", "web"});
    ASSERT_EQ(before.cluster_ips.size(), 1U);
    EXPECT_TRUE(Cidr::parse("10.96.0.0/16")->contains(before.cluster_ips[0]));
    EXPECT_GE(before.ports[0].node_port, 30000);
    EXPECT_EQ(*cluster.apply(object(kService)), Cluster::Change::kUnchanged);
    auto changed = std::get<k8s::Service>(object(kService));
    changed.selector["a"] = "c";
    EXPECT_EQ(*cluster.apply(changed), Cluster::Change::kConfigured);
    const auto after = *cluster.services().at({"default", "web"});
    EXPECT_EQ(after.cluster_ips, before.cluster_ips);
    EXPECT_EQ(after.ports[0].node_port, before.ports[0].node_port);
}

TEST(Cluster, NeverGivesTwoServicesOneAddress) {
    auto cluster = two_nodes();
    std::vector<Ip> all;
    auto service = std::get<k8s::Service>(object(kService));
    for (int i = 0; i < 2000; ++i) {
        service.meta.name = fmt::format("s{}", i);
        ASSERT_TRUE(cluster.apply(service).has_value());
        all.push_back(cluster.services().at({"default", service.meta.name})->cluster_ips.at(0));
    }
    std::ranges::sort(all);
    EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

TEST(Cluster, PlacesOnTheEmptiestNodeThatIsOpen) {
    auto cluster = two_nodes();
    k8s::Pod first;
    first.meta.name = "first";
    cluster.place(first, {});
    EXPECT_EQ(first.spec.node_name, "node-1");
    k8s::Pod second;
    second.meta.name = "second";
    cluster.place(second, {first});
    EXPECT_EQ(second.spec.node_name, "node-2");
    ASSERT_TRUE(cluster.cordon("node-1", true).has_value());
    ASSERT_TRUE(cluster.cordon("node-2", true).has_value());
    k8s::Pod third;
    cluster.place(third, {first, second});
    EXPECT_EQ(third.spec.node_name, "");
    EXPECT_FALSE(cluster.cordon("node-3", true).has_value());
}

TEST(Cluster, RefusesAPodOnAnUnknownNode) {
    auto cluster = two_nodes();
    const auto result = cluster.apply(
        object("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeName: moon, containers: [{name: c}]}\n"));
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message().find("'moon'"), std::string::npos);
}

} // namespace
} // namespace weft::lab

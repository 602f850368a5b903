// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who may be where: Pods at their addresses, workloads of other trust domains in their blocks, nobody anywhere else.
#include "agent/mesh/view.hpp"

#include <gmock/gmock.h>

#include "agent/app/foreign_view.hpp"
#include "agent/k8s/parse.hpp"
#include "agent/store/store.hpp"

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const SpiffeId kWeb{"cluster.local", "shop", "web"};
const SpiffeId kTeller{"bank.example", "hall", "teller"};

Ip ip(const std::string& text) {
    return *Ip::parse(text);
}

class ViewTest : public ::testing::Test {
protected:
    /// A remote pod at 10.0.0.5 that must be kWeb; a local one at 10.0.0.6; a node at 192.0.2.7.
    ViewTest() { view.peers[ip("10.0.0.5")] = kWeb; }

    std::vector<std::string> federate(const std::map<std::string, std::vector<Cidr>>& blocks,
                                      const std::string& more = "") {
        auto outcome = k8s::parse_documents(R"(
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: shop}
spec: {nodeName: node-1}
status: {podIPs: [{ip: 192.0.2.66}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: shop}
spec: {nodeName: node-1}
status: {phase: Succeeded, podIPs: [{ip: 192.0.2.67}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDRs: [10.0.0.0/16]}
status: {addresses: [{type: InternalIP, address: 192.0.2.7}]}
)" + more,
                                            "objects.yaml");
        EXPECT_THAT(outcome.refusals, IsEmpty());
        store::Store store;
        store.replace_file("objects.yaml", std::move(outcome));
        store::LocalEndpoint endpoint; // wired, and no Pod object of it has come yet
        endpoint.container_id = "c";
        endpoint.netns_cookie = 7;
        endpoint.ips = {ip("192.0.2.68")};
        store.set_endpoint(std::move(endpoint));
        return app::add_foreign(view, *store.snapshot(), blocks);
    }
    [[nodiscard]] std::string verdict(const SpiffeId& id, const std::string& at,
                                      const std::string& serial = "1") const {
        const auto answer = view.authorise(ip(at).raw(), {id, serial, 0});
        return answer ? "allowed" : answer.error().message();
    }

    mesh::View view;
};

std::map<std::string, std::vector<Cidr>> bank(const std::string& block) {
    return {{"bank.example", {*Cidr::parse(block)}}};
}

TEST_F(ViewTest, APodsAddressIsThatPodsAlone) {
    EXPECT_EQ(verdict(kWeb, "10.0.0.5"), "allowed");
    EXPECT_THAT(verdict({"cluster.local", "shop", "other"}, "10.0.0.5"), HasSubstr("may only be " + kWeb.to_string()));
    EXPECT_THAT(verdict(kTeller, "10.0.0.5"), HasSubstr("may only be"));
    EXPECT_THAT(verdict(kWeb, "10.0.0.9"), HasSubstr("neither a Pod nor another trust domain"));
}

TEST_F(ViewTest, AForeignBlockIsItsTrustDomainsAlone) {
    EXPECT_THAT(federate(bank("192.0.2.0/24")), IsEmpty());
    EXPECT_EQ(verdict(kTeller, "192.0.2.200"), "allowed");
    EXPECT_EQ(verdict({"bank.example", "vault", "keeper"}, "192.0.2.200"), "allowed");
    EXPECT_THAT(verdict(kWeb, "192.0.2.200"), HasSubstr("an address of trust domain bank.example"));
    EXPECT_THAT(verdict({"shop.example", "hall", "teller"}, "192.0.2.200"), HasSubstr("an address of trust domain"));
    EXPECT_THAT(verdict(kTeller, "198.51.100.1"), HasSubstr("neither a Pod nor"));
    EXPECT_THAT(verdict(kTeller, "10.0.0.5"), HasSubstr("may only be")) << "a pod's address";
}

TEST_F(ViewTest, AddressesOfThisClusterAreNeverForeign) {
    EXPECT_THAT(federate(bank("192.0.2.0/24")), IsEmpty());
    for (const auto* at : {"192.0.2.66", "192.0.2.68", "192.0.2.7"}) {
        EXPECT_THAT(verdict(kTeller, at), HasSubstr("neither a Pod nor")) << at;
        EXPECT_EQ(view.foreign_domain(ip(at)), nullptr) << at;
    }
    EXPECT_EQ(verdict(kTeller, "192.0.2.67"), "allowed") << "that pod is over, and somebody else may have its address";
}

TEST_F(ViewTest, BlocksThatOverlapPodAddressesOfANodeAreNobodys) {
    EXPECT_THAT(federate(bank("10.0.128.0/24")),
                ElementsAre("federation_addresses: 10.0.128.0/24 of bank.example overlaps the Pod addresses of node "
                            "node-1; connections of that block are refused"));
    EXPECT_THAT(verdict(kTeller, "10.0.128.1"), HasSubstr("neither a Pod nor"));
    view.foreign.clear();
    EXPECT_EQ(federate(bank("10.0.0.0/8")).size(), 1U);
    EXPECT_THAT(verdict(kTeller, "10.77.0.1"), HasSubstr("neither a Pod nor")) << "also outside of the overlap";
}

TEST_F(ViewTest, Ipv6BlocksHoldNoIpv4) {
    EXPECT_THAT(federate(bank("::/0")), IsEmpty());
    EXPECT_EQ(verdict(kTeller, "2001:db8::1"), "allowed");
    EXPECT_THAT(verdict(kTeller, "198.51.100.1"), HasSubstr("neither a Pod nor"));
}

TEST_F(ViewTest, WhatIsRevokedIsRefusedEverywhere) {
    EXPECT_THAT(federate(bank("192.0.2.0/24")), IsEmpty());
    view.revoked = {"AB", kTeller.to_string()};
    EXPECT_THAT(verdict(kWeb, "10.0.0.5", "AB"), HasSubstr("is revoked"));
    EXPECT_THAT(verdict(kTeller, "192.0.2.200"), HasSubstr("is revoked"));
    EXPECT_THAT(verdict({"bank.example", "vault", "keeper"}, "192.0.2.200", "AB"), HasSubstr("is revoked"));
}

} // namespace
} // namespace weft

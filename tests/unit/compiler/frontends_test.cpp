// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which addresses lead to a Service, who gets a contested one, and what annotations may say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "tests/unit/compiler/world.hpp"

namespace weft::compiler {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kOne = "{addresses: [10.0.0.1]}";
const std::string kTwo = "{addresses: [10.0.0.2]}";

TEST(Frontends, NodePortIsAWildcardOfItsFamily) {
    World world;
    world.put("web", R"(---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: [10.96.0.1, "fd00:96::1"]
  ports: [{port: 80, nodePort: 30080}]
)" + slice({kOne}, "four") +
                         slice({"{addresses: [\"fd00::1\"]}"}, "six", "IPv6"));
    auto state = world.compile();
    for (const auto& [id, fragment] : state.services) {
        // The slice's port is 8080 and the Service has no targetPort: slices decide.
        for (const auto& [address, value] : fragment->frontends) {
            EXPECT_EQ((value.flags & WEFT_SERVICE_NODE_PORT) != 0, address.port == 30080);
        }
    }
    EXPECT_THAT(behind(state, "TCP 0.0.0.0:30080"), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(behind(state, "TCP [::]:30080"), ElementsAre("TCP [fd00::1]:8080"));
    EXPECT_THAT(behind(state, "TCP 10.96.0.1:80"), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(behind(state, "TCP [fd00:96::1]:80"), ElementsAre("TCP [fd00::1]:8080"));
}

TEST(Frontends, SingleStackServiceHasNoNodePortInTheOtherFamily) {
    World world;
    world.put("web", "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n"
                     "  type: NodePort\n  clusterIP: 10.96.0.1\n  ports: [{port: 80, nodePort: 30080}]\n");
    EXPECT_THAT(frontends(world.compile()), ElementsAre("TCP 0.0.0.0:30080", "TCP 10.96.0.1:80"));
}

TEST(Frontends, ExternalAndLoadBalancerAddressesLeadToTheService) {
    World world;
    world.put("web", "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n"
                     "  type: LoadBalancer\n  clusterIP: 10.96.0.1\n  externalIPs: [198.51.100.1]\n"
                     "  ports: [{port: 80}]\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.1}, "
                     "{ip: 203.0.113.2, ipMode: Proxy}, {hostname: lb.example}]}}\n" +
                         slice({kOne}));
    const auto state = world.compile();
    EXPECT_THAT(frontends(state), ElementsAre("TCP 10.96.0.1:80", "TCP 198.51.100.1:80", "TCP 203.0.113.1:80"))
        << "what a proxy answers for is the proxy's";
    EXPECT_THAT(behind(state, "TCP 203.0.113.1:80"), ElementsAre("TCP 10.0.0.1:8080"));
}

TEST(Frontends, HeadlessAndExternalNameHaveNone) {
    World world;
    world.put("web", service("", "web", "None") + slice({kOne}) +
                         "---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: shop}\n"
                         "spec: {type: ExternalName, externalName: example.org}\n");
    const auto state = world.compile();
    EXPECT_THAT(state.services, IsEmpty());
    EXPECT_THAT(refusals(state), IsEmpty());
}

TEST(Frontends, FamiliesDoNotMix) {
    World world;
    world.put("web", service("  clusterIPs: [10.96.0.1, \"fd00:96::1\"]\n") + slice({kOne}, "four"));
    const auto state = world.compile();
    EXPECT_THAT(behind(state, "TCP 10.96.0.1:80"), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(behind(state, "TCP [fd00:96::1]:80"), IsEmpty()) << "an IPv4 backend does not answer IPv6 clients";
}

TEST(Frontends, SctpIsRefusedByFieldAndTheRestGoesOn) {
    World world;
    world.put("web", "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n"
                     "  clusterIP: 10.96.0.1\n  ports: [{name: a, port: 80}, {name: b, port: 81, protocol: SCTP}]\n");
    const auto state = world.compile();
    EXPECT_THAT(frontends(state), ElementsAre("TCP 10.96.0.1:80"));
    EXPECT_THAT(refusals(state),
                ElementsAre(AllOf(HasSubstr("Service shop/web"), HasSubstr("spec.ports[1].protocol"))));
}

TEST(Conflicts, FirstByNameWinsAndTheOtherIsTold) {
    World world;
    const std::string shared = "  externalIPs: [198.51.100.1]\n";
    world.put("b", service(shared, "beta", "10.96.0.2") + slice({kTwo}, "beta-1", "IPv4", "{}", "beta"));
    auto state = world.compile();
    EXPECT_THAT(behind(state, "TCP 198.51.100.1:80"), ElementsAre("TCP 10.0.0.2:8080"));
    EXPECT_THAT(refusals(state), IsEmpty());

    // A name that comes first takes over, whichever was there before: every node decides alike.
    world.put("a", service(shared, "alpha", "10.96.0.3") + slice({kOne}, "alpha-1", "IPv4", "{}", "alpha"));
    state = world.compile();
    EXPECT_THAT(behind(state, "TCP 198.51.100.1:80"), ElementsAre("TCP 10.0.0.1:8080"));
    EXPECT_THAT(behind(state, "TCP 10.96.0.2:80"), ElementsAre("TCP 10.0.0.2:8080")) << "its own address stays";
    EXPECT_THAT(refusals(state),
                ElementsAre(AllOf(HasSubstr("Service shop/beta"), HasSubstr("TCP 198.51.100.1:80"),
                                  HasSubstr("already belongs to Service shop/alpha"), HasSubstr("another address"))));

    world.put("a", "");
    state = world.compile();
    EXPECT_THAT(behind(state, "TCP 198.51.100.1:80"), ElementsAre("TCP 10.0.0.2:8080")) << "free again";
    EXPECT_THAT(refusals(state), IsEmpty());
}

TEST(Conflicts, NodePortsAndThreeClaimants) {
    World world;
    for (const char* name : {"gamma", "alpha", "beta"}) {
        world.put(name,
                  fmt::format("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\nspec:\n"
                              "  type: NodePort\n  clusterIP: 10.96.0.{}\n"
                              "  ports: [{{port: 80, nodePort: 30080}}]\n",
                              name, static_cast<int>(name[0])));
    }
    const auto state = world.compile();
    EXPECT_EQ(std::ranges::count(frontends(state), "TCP 0.0.0.0:30080"), 1);
    EXPECT_THAT(refusals(state),
                ElementsAre(HasSubstr("belongs to Service shop/alpha"), HasSubstr("belongs to Service shop/alpha")));
}

TEST(Conflicts, OnePortForTwoProtocolsIsNone) {
    World world;
    auto udp = service("  externalIPs: [198.51.100.1]\n", "udp", "10.96.0.2");
    udp.replace(udp.find("targetPort: 8080"), 16, "protocol: UDP");
    world.put("both", service("  externalIPs: [198.51.100.1]\n") + udp);
    EXPECT_THAT(refusals(world.compile()), IsEmpty());
}

TEST(Annotations, AlgorithmByNameAndABadOneIsRefusedByField) {
    World world;
    for (const char* name : {"random", "round-robin", "maglev", "least-connections"}) {
        world.put("web", service("", "web", "10.96.0.1", fmt::format("{{weft.dev/load-balancing: {}}}", name)) +
                             slice({kOne, kTwo}));
        const auto state = world.compile();
        ASSERT_EQ(state.services.size(), 1U);
        const auto& fragment = *state.services.begin()->second;
        EXPECT_EQ(fragment.algorithm, name);
        EXPECT_EQ(fragment.maglev.empty(), std::string(name) != "maglev");
        EXPECT_THAT(refusals(state), IsEmpty());
    }
    world.put("web", service("", "web", "10.96.0.1", "{weft.dev/load-balancing: fastest}") + slice({kOne}));
    const auto state = world.compile();
    EXPECT_THAT(
        refusals(state),
        ElementsAre(AllOf(HasSubstr("Service shop/web"), HasSubstr("metadata.annotations[weft.dev/load-balancing]"),
                          HasSubstr("'fastest'"), HasSubstr("least-connections"), HasSubstr("random is used"))));
    EXPECT_THAT(behind(state, "TCP 10.96.0.1:80"), ElementsAre("TCP 10.0.0.1:8080")) << "the Service goes on";
}

std::string pod(const std::string& name, const std::string& ip, const std::string& weight) {
    return fmt::format("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: shop, annotations: "
                       "{{weft.dev/weight: \"{}\"}}}}\nspec: {{nodeName: a}}\nstatus: {{podIP: {}}}\n",
                       name, weight, ip);
}

TEST(Annotations, WeightsOfPodsComeBeforeTheSlicesOwn) {
    World world;
    const std::string a = "{addresses: [10.0.0.1], targetRef: {kind: Pod, name: one}}";
    world.put("web", service("", "web", "10.96.0.1", "{weft.dev/load-balancing: maglev}") +
                         slice({a, kTwo}, "web-1", "IPv4", "{weft.dev/weight: \"3\"}"));
    world.put("pods", pod("one", "10.0.0.1", "7"));
    auto state = world.compile();
    const auto weights = [&] {
        std::map<std::string, std::uint32_t> found;
        for (const auto& slot : state.services.begin()->second->slots) {
            found[to_string(slot.backend)] = slot.weight;
        }
        return found;
    };
    EXPECT_EQ(weights(), (std::map<std::string, std::uint32_t>{{"TCP 10.0.0.1:8080", 7}, {"TCP 10.0.0.2:8080", 3}}));
    world.put("pods", pod("one", "10.0.0.1", "0"));
    state = world.compile();
    EXPECT_EQ(weights(), (std::map<std::string, std::uint32_t>{{"TCP 10.0.0.2:8080", 3}})) << "weight 0: no traffic";
}

TEST(Annotations, BadWeightsAreRefusedByFieldAndCountAsOne) {
    for (const char* bad : {"-1", "1001", "heavy", "2.5", ""}) {
        World world;
        world.put("web",
                  service() + slice({kOne, kTwo}, "web-1", "IPv4", fmt::format("{{weft.dev/weight: \"{}\"}}", bad)));
        const auto state = world.compile();
        EXPECT_THAT(refusals(state), ElementsAre(AllOf(HasSubstr("EndpointSlice shop/web-1"),
                                                       HasSubstr("metadata.annotations[weft.dev/weight]"),
                                                       HasSubstr("0 to 1000"), HasSubstr("weight 1 is used"))))
            << bad;
        EXPECT_EQ(behind(state, "TCP 10.96.0.1:80").size(), 2U);
    }
    World world;
    world.put("pods", pod("one", "10.0.0.1", "heavy"));
    EXPECT_THAT(refusals(world.compile()),
                ElementsAre(HasSubstr("Pod shop/one metadata.annotations[weft.dev/weight]")));
}

TEST(Annotations, ABadWeightOfASliceIsToldOnceHoweverManyPortsThereAre) {
    World world;
    world.put("web", "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n"
                     "  clusterIP: 10.96.0.1\n  externalIPs: [198.51.100.1]\n"
                     "  ports: [{name: a, port: 80}, {name: b, port: 81}]\n" +
                         slice({kOne}, "web-1", "IPv4", "{weft.dev/weight: much}"));
    EXPECT_EQ(refusals(world.compile()).size(), 1U);
}

TEST(Fragments, UnchangedServicesKeepTheirs) {
    World world;
    world.put("a", service("", "alpha", "10.96.0.1") + slice({kOne}, "alpha-1", "IPv4", "{}", "alpha"));
    world.put("b", service("", "beta", "10.96.0.2") + slice({kTwo}, "beta-1", "IPv4", "{}", "beta"));
    const auto before = world.compile();
    world.put("b", service("", "beta", "10.96.0.2") + slice({kOne}, "beta-1", "IPv4", "{}", "beta"));
    const auto after = world.compile();
    int kept = 0;
    for (const auto& [id, fragment] : after.services) {
        kept += before.services.at(id) == fragment;
    }
    EXPECT_EQ(kept, 1);
}

} // namespace
} // namespace weft::compiler

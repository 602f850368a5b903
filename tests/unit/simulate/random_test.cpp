// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The compiler with the kernel's decision against the naive evaluator, on 10,000 random questions.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <random>

#include "tests/unit/simulate/naive_evaluator.hpp"
#include "tools/weft/simulate_cluster.hpp"

namespace weft::test {
namespace {

class Generator {
public:
    explicit Generator(unsigned seed) : random_(seed) {}

    NaiveCluster cluster() {
        NaiveCluster made;
        for (const char* name : {"alpha", "beta", "gamma"}) {
            k8s::Namespace ns;
            ns.meta.name = name;
            ns.meta.labels = labels();
            ns.meta.labels["kubernetes.io/metadata.name"] = name;
            made.namespaces.push_back(ns);
        }
        for (unsigned i = 0; i < 8; ++i) {
            k8s::Pod pod;
            pod.meta.namespace_name = name_of_namespace();
            pod.meta.name = "pod-" + std::to_string(i);
            pod.meta.labels = labels();
            pod.ips = {*Ip::parse(fmt::format("10.{}.0.{}", below(3), 10 + i))};
            k8s::Container container;
            container.name = "main";
            container.ports = {{"web", static_cast<std::uint16_t>(80 + below(3)), protocol()},
                               {"db", static_cast<std::uint16_t>(5000 + below(3)), protocol()}};
            pod.spec.containers = {container};
            made.pods.push_back(pod);
        }
        const unsigned policies = 1 + below(5);
        for (unsigned i = 0; i < policies; ++i) {
            made.policies.push_back(policy("policy-" + std::to_string(i)));
        }
        return made;
    }

    std::uint16_t port() { return static_cast<std::uint16_t>(chance(2) ? 80 + below(4) : 5000 + below(20)); }
    std::uint8_t protocol() {
        constexpr std::uint8_t kProtocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
        return kProtocols[below(4)];
    }
    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
    bool chance(unsigned one_in) { return below(one_in) == 0; }

private:
    std::string name_of_namespace() {
        constexpr const char* kNames[] = {"alpha", "beta", "gamma"};
        return kNames[below(3)];
    }
    k8s::Labels labels() {
        k8s::Labels made;
        for (const char* key : {"app", "tier", "env"}) {
            if (!chance(3)) {
                made[key] = std::string(1, static_cast<char>('a' + below(3)));
            }
        }
        return made;
    }
    k8s::LabelSelector selector() {
        k8s::LabelSelector made;
        if (chance(3)) {
            return made;
        }
        constexpr const char* kKeys[] = {"app", "tier", "env"};
        if (chance(2)) {
            made.match_labels[kKeys[below(3)]] = std::string(1, static_cast<char>('a' + below(3)));
        }
        if (chance(2)) {
            k8s::LabelRequirement requirement;
            requirement.key = kKeys[below(3)];
            requirement.op = static_cast<k8s::LabelRequirement::Operator>(below(4));
            if (requirement.op == k8s::LabelRequirement::Operator::kIn ||
                requirement.op == k8s::LabelRequirement::Operator::kNotIn) {
                requirement.values = {"a"};
                if (chance(2)) {
                    requirement.values.emplace_back("b");
                }
            }
            made.match_expressions.push_back(requirement);
        }
        return made;
    }
    k8s::PolicyPeer peer() {
        k8s::PolicyPeer made;
        switch (below(4)) {
        case 0:
            made.pod_selector = selector();
            break;
        case 1:
            made.namespace_selector = selector();
            break;
        case 2:
            made.pod_selector = selector();
            made.namespace_selector = selector();
            break;
        default:
            k8s::IpBlock block;
            constexpr const char* kBlocks[] = {"0.0.0.0/0",   "10.0.0.0/8",   "10.1.0.0/16",
                                               "10.0.0.0/15", "192.0.2.0/24", "::/0"};
            block.cidr = *Cidr::parse(kBlocks[below(6)]);
            for (const char* except : {"10.0.0.12/30", "10.1.0.0/24", "192.0.2.128/25"}) {
                if (chance(3) && block.cidr.contains(*Cidr::parse(except))) {
                    block.except.push_back(*Cidr::parse(except));
                }
            }
            made.ip_block = block;
        }
        return made;
    }
    k8s::PolicyPort policy_port() {
        k8s::PolicyPort made;
        made.protocol = protocol();
        switch (below(4)) {
        case 0:
            break;
        case 1:
            made.port = std::string(chance(2) ? "web" : "db");
            break;
        case 2:
            made.port = port();
            break;
        default:
            made.port = port();
            made.end_port = static_cast<std::uint16_t>(std::get<std::uint16_t>(*made.port) + below(12));
        }
        return made;
    }
    std::vector<k8s::PolicyRule> rules() {
        std::vector<k8s::PolicyRule> made(below(3));
        for (auto& rule : made) {
            for (unsigned i = below(3); i > 0; --i) {
                rule.peers.push_back(peer());
            }
            for (unsigned i = below(3); i > 0; --i) {
                rule.ports.push_back(policy_port());
            }
        }
        return made;
    }
    k8s::NetworkPolicy policy(const std::string& name) {
        k8s::NetworkPolicy made;
        made.meta.namespace_name = name_of_namespace();
        made.meta.name = name;
        made.pod_selector = selector();
        made.affects_ingress = !chance(3);
        made.affects_egress = !made.affects_ingress || chance(2);
        made.ingress = rules();
        made.egress = rules();
        return made;
    }

    std::mt19937 random_;
};

NaiveEnd end_of(Generator& generator, const NaiveCluster& cluster) {
    NaiveEnd end;
    if (generator.chance(5)) {
        end.ip = *Ip::parse(generator.chance(2) ? fmt::format("192.0.2.{}", generator.below(256))
                                                : fmt::format("10.{}.9.{}", generator.below(3), generator.below(256)));
        return end;
    }
    end.pod = &cluster.pods[generator.below(static_cast<unsigned>(cluster.pods.size()))];
    end.ip = end.pod->ips.front();
    return end;
}

probe::End probe_end(const NaiveEnd& end) {
    if (end.pod == nullptr) {
        return probe::AddressEnd{end.ip};
    }
    return probe::PodEnd{end.pod->meta.namespace_name, end.pod->meta.name};
}

TEST(Simulate, AgreesWithTheSpecificationOnTenThousandRandomQuestions) {
    constexpr unsigned kClusters = 250;
    constexpr unsigned kQuestions = 40;
    unsigned allowed = 0;
    unsigned asked = 0;
    for (unsigned seed = 1; seed <= kClusters; ++seed) {
        Generator generator(seed);
        const NaiveCluster naive = generator.cluster();
        std::vector<k8s::Object> objects;
        objects.insert(objects.end(), naive.namespaces.begin(), naive.namespaces.end());
        objects.insert(objects.end(), naive.pods.begin(), naive.pods.end());
        objects.insert(objects.end(), naive.policies.begin(), naive.policies.end());
        const simulate::Cluster simulated(objects, 2);
        for (unsigned question = 0; question < kQuestions; ++question) {
            const NaiveEnd from = end_of(generator, naive);
            NaiveEnd to = end_of(generator, naive);
            probe::Probe probe;
            probe.from = probe_end(from);
            probe.to = probe_end(to);
            probe.protocol = generator.protocol();
            probe.port = generator.port();
            const bool expected = naive_allowed(naive, from, to, probe.protocol, probe.port);
            const auto answer = simulated.answer(probe);
            ++asked;
            allowed += expected ? 1 : 0;
            ASSERT_EQ(answer.verdict, expected ? probe::Verdict::kAllow : probe::Verdict::kDeny)
                << "seed " << seed << ", question " << question << ": " << to_string(probe.from) << " to "
                << to_string(probe.to) << " " << protocol_name(probe.protocol) << " " << probe.port
                << ", simulate says rule " << answer.rule << " " << answer.error;
        }
    }
    EXPECT_EQ(asked, 10000U);
    EXPECT_GT(allowed, asked / 5) << "both answers must be common, or the test proves little";
    EXPECT_LT(allowed, asked * 4 / 5);
}

} // namespace
} // namespace weft::test

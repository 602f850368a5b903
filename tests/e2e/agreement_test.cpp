// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do the kernel and `weft simulate` give the same answers? Random NetworkPolicies, random probes, real connections.
#include <algorithm>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

using Lines = std::vector<nlohmann::json>;

constexpr int kRounds = 6;
constexpr int kProbesPerRound = 50;
const std::vector<std::string> kNamespaces{"red", "green", "blue"};
const std::vector<std::string> kApps{"a", "b", "c"};
const std::vector<std::string> kProtocols{"TCP", "UDP", "SCTP"};

/// Chooses; the seed is printed with every failure so that a run can be repeated.
class Dice {
public:
    explicit Dice(std::uint32_t seed) : engine_(seed) {}
    int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine_); }
    bool one_in(int n) { return below(n) == 0; }
    const std::string& of(const std::vector<std::string>& list) {
        return list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
    }

private:
    std::mt19937 engine_;
};

std::string pod_address(std::size_t space, std::size_t app) {
    return fmt::format("10.244.{}.{}", app % 2 + 1, 50 + space * 10 + app);
}

std::string cluster() {
    std::string text;
    for (std::size_t space = 0; space < kNamespaces.size(); ++space) {
        text += fmt::format("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {0}, labels: {{color: {0}}}}}\n---\n",
                            kNamespaces[space]);
        for (std::size_t app = 0; app < kApps.size(); ++app) {
            text +=
                fmt::format(R"(apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: {1}, labels: {{app: {0}, tier: t{2}}}}}
spec:
  nodeName: node-{3}
  terminationGracePeriodSeconds: 1
  containers: [{{name: c, command: [/usr/bin/sleep, infinity], ports: [{{name: web, containerPort: 80}}, {{name: dns, containerPort: 53, protocol: UDP}}]}}]
status: {{phase: Running, podIP: {4}}}
---
)",
                            kApps[app], kNamespaces[space], (space + app) % 2, app % 2 + 1, pod_address(space, app));
        }
    }
    return text;
}

std::string random_selector(Dice& dice) {
    switch (dice.below(5)) {
    case 0:
        return "{}";
    case 1:
        return fmt::format("{{matchLabels: {{tier: t{}}}}}", dice.below(2));
    case 2:
        return fmt::format("{{matchExpressions: [{{key: app, operator: NotIn, values: [{}]}}]}}", dice.of(kApps));
    default:
        return fmt::format("{{matchLabels: {{app: {}}}}}", dice.of(kApps));
    }
}

std::string random_peer(Dice& dice) {
    switch (dice.below(4)) {
    case 0:
        return fmt::format("{{podSelector: {}}}", random_selector(dice));
    case 1:
        return fmt::format("{{namespaceSelector: {{matchLabels: {{color: {}}}}}}}", dice.of(kNamespaces));
    case 2:
        return fmt::format("{{namespaceSelector: {{matchLabels: {{color: {}}}}}, podSelector: {}}}",
                           dice.of(kNamespaces), random_selector(dice));
    default:
        return dice.one_in(2) ? "{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}"
                              : fmt::format("{{ipBlock: {{cidr: 10.244.{}.0/24}}}}", dice.below(2) + 1);
    }
}

std::string random_port(Dice& dice) {
    switch (dice.below(4)) {
    case 0:
        return "{port: web}";
    case 1:
        return "{port: dns, protocol: UDP}";
    case 2:
        return fmt::format("{{port: {}, endPort: {}, protocol: {}}}", 60 + dice.below(20), 80 + dice.below(10),
                           dice.of(kProtocols));
    default:
        return fmt::format("{{port: 80, protocol: {}}}", dice.of(kProtocols));
    }
}

std::string random_rules(Dice& dice, const char* peers) {
    std::string rules;
    for (int rule = dice.below(3); rule >= 0; --rule) {
        std::string text;
        if (!dice.one_in(5)) {
            text += fmt::format("{}: [{}, {}]", peers, random_peer(dice), random_peer(dice));
        }
        if (!dice.one_in(2)) {
            text += fmt::format("{}ports: [{}]", text.empty() ? "" : ", ", random_port(dice));
        }
        rules += (rules.empty() ? "{" : ", {") + text + "}";
    }
    return dice.one_in(6) ? "[]" : "[" + rules + "]";
}

std::string random_policies(Dice& dice) {
    std::string text;
    for (int i = 0; i < 5; ++i) {
        text += fmt::format("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{}, namespace: "
                            "{}}}\nspec:\n  podSelector: {}\n",
                            i, dice.of(kNamespaces), random_selector(dice));
        const int directions = dice.below(3);
        text += directions == 0   ? "  policyTypes: [Ingress]\n"
                : directions == 1 ? "  policyTypes: [Egress]\n"
                                  : "  policyTypes: [Ingress, Egress]\n";
        text += directions != 1 ? "  ingress: " + random_rules(dice, "from") + "\n" : "";
        text += directions != 0 ? "  egress: " + random_rules(dice, "to") + "\n" : "";
        text += "---\n";
    }
    return text;
}

Lines random_probes(Dice& dice) {
    const std::vector<std::string> outside{"ip:198.51.100.7", "ip:198.51.100.200"};
    const std::vector<int> ports{80, 53, 65, 81, 90};
    Lines probes;
    while (static_cast<int>(probes.size()) < kProbesPerRound) {
        auto from = dice.one_in(10) ? dice.of(outside) : dice.of(kNamespaces) + "/" + dice.of(kApps);
        auto to = dice.one_in(10) ? dice.of(outside) : dice.of(kNamespaces) + "/" + dice.of(kApps);
        if (from.starts_with("ip:") && to.starts_with("ip:")) {
            continue; // nothing of Weft is between two hosts outside
        }
        probes.push_back({{"from", from},
                          {"to", to},
                          {"port", ports[static_cast<std::size_t>(dice.below(5))]},
                          {"protocol", dice.of(kProtocols)}});
    }
    return probes;
}

Lines simulate(const TestLab& lab, const Lines& probes) {
    std::string input;
    for (const auto& probe : probes) {
        input += probe.dump() + "\n";
    }
    const auto done = weft({"simulate", "--manifests", lab.folder(), "--probes", "-"}, input);
    EXPECT_EQ(done.exit_code, 0) << done.error_output;
    Lines answers;
    std::istringstream output(done.output);
    for (std::string line; std::getline(output, line);) {
        answers.push_back(nlohmann::json::parse(line));
    }
    return answers;
}

TEST(Agreement, ProbesInTheLabAnswerAsSimulateDoes) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Dice dice(seed);
    const TestLab lab;
    lab.write("cluster.yaml", cluster());
    lab.up();
    std::map<std::string, int> verdicts;
    for (int round = 0; round < kRounds; ++round) {
        if (round > 0) { // `apply` adds and changes; what a round no longer has must be deleted
            ASSERT_EQ(lab.run({"delete", lab.folder() + "/policies.yaml"}).exit_code, 0);
        }
        const auto policies = random_policies(dice);
        const auto file = lab.write("policies.yaml", policies);
        const auto applied = lab.run({"apply", file});
        ASSERT_EQ(applied.exit_code, 0) << applied.error_output << policies;
        const auto probes = random_probes(dice);
        const auto expected = simulate(lab, probes);
        ASSERT_EQ(expected.size(), probes.size());
        // Agents act on the new policies a moment after `apply` has published them.
        std::string differences;
        const bool agreed = eventually([&] {
            differences.clear();
            const auto answers = lab.probe(probes);
            for (std::size_t i = 0; i < std::min(answers.size(), expected.size()); ++i) {
                if (answers[i]["verdict"] != expected[i]["verdict"]) {
                    differences += "lab " + answers[i].dump() + "\nsim " + expected[i].dump() + "\n";
                }
            }
            return differences.empty();
        });
        for (const auto& answer : expected) {
            ++verdicts[answer["verdict"].get<std::string>()];
        }
        ASSERT_TRUE(agreed) << "round " << round << "\n" << differences << policies;
    }
    EXPECT_GT(verdicts["allow"], kRounds * kProbesPerRound / 20)
        << "the random policies must leave both answers possible";
    EXPECT_GT(verdicts["deny"], kRounds * kProbesPerRound / 20);
    EXPECT_EQ(verdicts["error"], 0);
}

} // namespace
} // namespace weft::e2e

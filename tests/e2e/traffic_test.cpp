// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does traffic through Services go on while pods come and go and agents die, and stop where a policy says so?
#include <future>
#include <map>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using Lines = std::vector<nlohmann::json>;

std::string policy(const std::string& name, const std::string& app, const std::string& from) {
    return fmt::format(R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {}}}}}
  ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {}}}}}}}]}}]
)",
                       name, app, from);
}

/// Starts wrk in the client's pod; what it printed.
std::future<std::string> load(const TestLab& lab, const std::string& arguments) {
    return std::async(std::launch::async,
                      [&lab, arguments] { return lab.in_pod("shop/client", "wrk " + arguments + " 2>&1"); });
}

void expect_no_error(const std::string& report) {
    EXPECT_THAT(report, HasSubstr("Requests/sec"));
    EXPECT_THAT(report, Not(HasSubstr("Socket errors")));
    EXPECT_THAT(report, Not(HasSubstr("Non-2xx")));
}

std::size_t ready_pods(const TestLab& lab, const std::string& prefix) {
    std::size_t count = 0;
    const auto status = lab.status(); // named: a temporary would be gone inside the loop (g++ 12 lacks P2718)
    for (const auto& pod : status["pods"]) {
        count += pod["name"].get<std::string>().starts_with(prefix) && pod["ready"] == true ? 1U : 0U;
    }
    return count;
}

std::size_t pods(const TestLab& lab, const std::string& prefix) {
    std::size_t count = 0;
    const auto status = lab.status(); // named: a temporary would be gone inside the loop (g++ 12 lacks P2718)
    for (const auto& pod : status["pods"]) {
        count += pod["name"].get<std::string>().starts_with(prefix) ? 1U : 0U;
    }
    return count;
}

TEST(Traffic, IsSpreadOverAllReadyPods) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 3));
    lab.write("client.yaml", idle_pod("client"));
    lab.up();
    std::istringstream answers(lab.in_pod("shop/client", "for i in $(seq 150); do curl -s -m 5 http://web/; done"));
    std::map<std::string, int> share;
    for (std::string name; std::getline(answers, name);) {
        ++share[name];
    }
    ASSERT_EQ(share.size(), 3U);
    for (const auto& [name, count] : share) {
        // 50 expected of 150 random choices; below 25 or above 80 is less likely than one in a million.
        EXPECT_GT(count, 25) << name;
        EXPECT_LT(count, 80) << name;
    }
}

TEST(Traffic, IsCutWherePolicySaysSo) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 1));
    lab.write("client.yaml", idle_pod("client") + "---\n" + idle_pod("friend"));
    lab.up();
    const Lines lines{{{"from", "shop/client"}, {"to", "shop/web-0"}, {"port", 8080}},
                      {{"from", "shop/client"}, {"to", "shop/svc:web"}, {"port", 80}},
                      {{"from", "shop/client"}, {"to", "shop/web-0"}, {"port", 99}, {"protocol", "UDP"}},
                      {{"from", "ip:198.51.100.7"}, {"to", "shop/web-0"}, {"port", 8080}},
                      {{"from", "shop/friend"}, {"to", "shop/web-0"}, {"port", 8080}},
                      {{"from", "shop/friend"}, {"to", "shop/svc:web"}, {"port", 80}}};
    const auto verdicts = [&] {
        std::string text;
        for (const auto& answer : lab.probe(lines)) {
            text += answer.value("verdict", "?") + " ";
        }
        return text;
    };
    EXPECT_EQ(verdicts(), "allow allow allow allow allow allow ");
    const auto file = lab.write("policy.yaml", policy("friends", "web", "friend"));
    ASSERT_EQ(lab.run({"apply", file}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return verdicts() == "deny deny deny deny allow allow "; })) << verdicts();
    ASSERT_EQ(lab.run({"delete", file}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return verdicts() == "allow allow allow allow allow allow "; })) << verdicts();
}

TEST(Traffic, LosesNoRequestWhileADeploymentIsScaled) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 2));
    lab.write("client.yaml", idle_pod("client"));
    lab.up();
    auto report = load(lab, "-t1 -c4 -d15s -H 'Connection: close' http://web/");
    ASSERT_EQ(lab.run({"scale", "shop/web", "20"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return ready_pods(lab, "web-") == 20; }, 12));
    ASSERT_EQ(lab.run({"scale", "shop/web", "2"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return pods(lab, "web-") == 2; }, 12));
    EXPECT_EQ(report.wait_for(std::chrono::seconds(0)), std::future_status::timeout)
        << "the load must outlast the scaling";
    expect_no_error(report.get());
}

TEST(Traffic, LosesNoRequestWhenEveryAgentIsKilled) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 4));
    lab.write("client.yaml", idle_pod("client"));
    lab.up();
    auto report = load(lab, "-t1 -c4 -d8s -H 'Connection: close' http://web/");
    const auto nodes = lab.status()["nodes"];
    for (const auto& node : nodes) {
        EXPECT_EQ(lab.run({"kill-agent", node["name"]}).exit_code, 0);
    }
    EXPECT_TRUE(eventually([&] {
        const auto now = lab.status()["nodes"];
        return std::ranges::all_of(now, [](const auto& node) { return node["agent"] == "killed"; });
    }));
    EXPECT_THAT(lab.in_pod("shop/client", "curl -s -m 5 http://web/"), HasSubstr("web-"));
    for (const auto& node : nodes) {
        EXPECT_EQ(lab.run({"restart-agent", node["name"]}).exit_code, 0);
    }
    EXPECT_TRUE(eventually([&] {
        const auto now = lab.status()["nodes"];
        return std::ranges::all_of(now, [](const auto& node) { return node["agentReady"] == true; });
    }));
    EXPECT_EQ(report.wait_for(std::chrono::seconds(0)), std::future_status::timeout)
        << "the load must outlast the agents";
    expect_no_error(report.get());
}

} // namespace
} // namespace weft::e2e

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The real chain: the reference plugins ptp or bridge with host-local, then weft-cni, run as a container runtime runs
// them, in a node namespace of the test's own. Needs root and the package containernetworking-plugins.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <set>

#include "tests/net/cni/node_agent.hpp"
#include "tests/net/cni/pod_netns.hpp"
#include "tests/support/cni_runner.hpp"

namespace weft::test {
namespace {

constexpr const char* kReferencePlugins = "/usr/lib/cni";

struct Chain {
    std::string interface_plugin; ///< "ptp", "bridge"
    std::string version;
};

class CniChain : public ::testing::TestWithParam<Chain> {
protected:
    void SetUp() override {
        if (::geteuid() != 0 || !std::filesystem::exists(std::string(kReferencePlugins) + "/ptp")) {
            if (::getenv("CI") != nullptr) {
                FAIL() << "needs root and containernetworking-plugins";
            }
            GTEST_SKIP() << "needs root and containernetworking-plugins";
        }
        std::string pattern = std::filesystem::temp_directory_path() / "weft-chain-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        const auto entered = enter_new_netns(); // a node of its own for each test
        ASSERT_TRUE(entered.has_value()) << entered.error().message();
        agent_ = std::make_unique<NodeAgent>(folder_);
    }
    void TearDown() override {
        agent_.reset();
        if (!folder_.empty()) {
            std::filesystem::remove_all(folder_);
        }
    }

    static std::string program_folder() {
        return std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "bin";
    }
    [[nodiscard]] Json conflist(const Chain& chain) const {
        Json interface = {{"type", chain.interface_plugin},
                          {"mtu", 1400},
                          {"ipam",
                           {{"type", "host-local"},
                            {"dataDir", folder_ + "/ipam"},
                            {"ranges", Json::array({Json::array({{{"subnet", "10.88.0.0/24"}}}),
                                                    Json::array({{{"subnet", "fd88::/64"}}})})}}}};
        if (chain.interface_plugin == "bridge") {
            interface["bridge"] = "cni0";
            interface["isGateway"] = true;
        }
        return {
            {"cniVersion", chain.version},
            {"name", "cluster"},
            {"plugins",
             Json::array({interface,
                          {{"type", "weft-cni"}, {"agentSocket", folder_ + "/enrol.sock"}, {"timeoutSeconds", 20}}})}};
    }
    static CniAttachment attachment(const std::string& id, const PodNetns& pod, const std::string& name = "web") {
        return {id, pod.path(), "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + name + ";K8S_POD_UID=u-1"};
    }
    /// Addresses that the pod really has, but loopback and link-local.
    static std::set<std::string> addresses_inside(const PodNetns& pod) {
        std::set<std::string> out;
        pod.run([&] {
            ifaddrs* list = nullptr;
            if (::getifaddrs(&list) != 0) {
                return;
            }
            for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
                char text[INET6_ADDRSTRLEN] = "";
                if (item->ifa_addr == nullptr || std::string(item->ifa_name) == "lo") {
                    continue;
                }
                if (item->ifa_addr->sa_family == AF_INET) {
                    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr, text,
                                sizeof text);
                    out.insert(text);
                } else if (item->ifa_addr->sa_family == AF_INET6) {
                    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr, text,
                                sizeof text);
                    if (!std::string(text).starts_with("fe80")) {
                        out.insert(text);
                    }
                }
            }
            ::freeifaddrs(list);
        });
        return out;
    }
    static std::set<std::string> texts(const std::vector<Ip>& ips) {
        std::set<std::string> out;
        for (const Ip& ip : ips) {
            out.insert(ip.to_string());
        }
        return out;
    }
    /// Addresses that host-local has given away.
    [[nodiscard]] std::size_t leases() const {
        std::size_t count = 0;
        std::error_code missing;
        for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/ipam/cluster", missing)) {
            const auto first = entry.path().filename().string().front();
            count += first == '1' || first == 'f' ? 1 : 0;
        }
        return count;
    }

    std::string folder_;
    std::unique_ptr<NodeAgent> agent_;
    CniRunner runner_{{program_folder(), kReferencePlugins}};
};

TEST_P(CniChain, GovernsWhatTheInterfacePluginMade) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);

    const auto result = runner_.add(list, attached);
    ASSERT_TRUE(result.has_value()) << result.error().message();
    EXPECT_EQ((*result)["cniVersion"], GetParam().version);
    const auto published = agent_->published();
    ASSERT_TRUE(published.contains("c1"));
    const store::LocalEndpoint& endpoint = published.at("c1");
    EXPECT_EQ(endpoint.namespace_name, "shop");
    EXPECT_EQ(endpoint.pod_name, "web");
    EXPECT_EQ(endpoint.pod_uid, "u-1");
    EXPECT_EQ(endpoint.netns_path, pod.path());
    EXPECT_EQ(endpoint.netns_cookie, cookie_of_netns(pod.path()).value());
    EXPECT_EQ(endpoint.ips.size(), 2U);
    EXPECT_EQ(texts(endpoint.ips), addresses_inside(pod));

    const auto checked = runner_.check(list, attached);
    EXPECT_TRUE(checked.has_value()) << checked.error().message();

    const auto gone = runner_.del(list, attached);
    EXPECT_TRUE(gone.has_value()) << gone.error().message();
    EXPECT_TRUE(agent_->published().empty());
    EXPECT_EQ(leases(), 0U);
    const auto again = runner_.del(list, attached);
    EXPECT_TRUE(again.has_value()) << again.error().message();
}

TEST_P(CniChain, PassesTheResultOnUnchanged) {
    Json alone = conflist(GetParam());
    Json chained = alone;
    alone["plugins"].erase(1);
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    const auto before = runner_.add(alone, attached);
    ASSERT_TRUE(before.has_value()) << before.error().message();
    Json conf = chained["plugins"][1];
    conf["name"] = "cluster";
    conf["cniVersion"] = GetParam().version;
    conf["prevResult"] = *before;
    const auto output = runner_.exec("weft-cni", "ADD", conf.dump(), attached);
    ASSERT_TRUE(output.has_value()) << output.error().message();
    ASSERT_EQ(output->status, 0) << output->out;
    EXPECT_EQ(Json::parse(output->out).dump(), before->dump());
    EXPECT_EQ(output->err, "");
    ASSERT_TRUE(runner_.del(chained, attached).has_value());
}

TEST_P(CniChain, AddReturnsOnlyWhenTheMapsAreInPlace) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    agent_->hold_maps(true);
    std::atomic<bool> returned = false;
    Result<Json> result;
    std::thread runtime([&] { // inherits this thread's namespace, the node's
        result = runner_.add(list, attached);
        returned = true;
    });
    EXPECT_TRUE(agent_->wait_for_held_add());
    EXPECT_FALSE(returned);
    agent_->hold_maps(false);
    runtime.join();
    EXPECT_TRUE(result.has_value()) << result.error().message();
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

TEST_P(CniChain, DelWorksWithoutNamespaceAndWithoutAgent) {
    const Json list = conflist(GetParam());
    PodNetns pod = PodNetns::create().value();
    CniAttachment attached = attachment("c1", pod);
    ASSERT_TRUE(runner_.add(list, attached).has_value());
    EXPECT_EQ(leases(), 2U);
    agent_.reset();
    pod.close();
    attached.netns = "";
    const auto gone = runner_.del(list, attached);
    EXPECT_TRUE(gone.has_value()) << gone.error().message();
    EXPECT_EQ(leases(), 0U);
    agent_ = std::make_unique<NodeAgent>(folder_);
    EXPECT_TRUE(agent_->published().empty()) << "the agent forgets by itself whose namespace is gone";
}

TEST_P(CniChain, AgentDownMeansTryAgainLater) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    agent_.reset();
    const auto refused = runner_.add(list, attached);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), 11) << refused.error().message();
    EXPECT_NE(refused.error().message().find("start weftd"), std::string::npos) << refused.error().message();
    ASSERT_TRUE(runner_.del(list, attached).has_value()) << "what runtimes do after a failed ADD";
    EXPECT_EQ(leases(), 0U);
    agent_ = std::make_unique<NodeAgent>(folder_);
    const auto result = runner_.add(list, attached);
    EXPECT_TRUE(result.has_value()) << result.error().message();
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

TEST_P(CniChain, RestartedAgentKnowsItsPods) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    ASSERT_TRUE(runner_.add(list, attached).has_value());
    const auto before = agent_->published();
    agent_.reset();
    agent_ = std::make_unique<NodeAgent>(folder_);
    EXPECT_EQ(agent_->published(), before);
    const auto checked = runner_.check(list, attached);
    EXPECT_TRUE(checked.has_value()) << checked.error().message();
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

TEST_P(CniChain, CheckFailsForAPodThatIsNotGoverned) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    ASSERT_TRUE(runner_.add(list, attached).has_value());
    agent_.reset();
    std::filesystem::remove_all(folder_ + "/endpoints");
    agent_ = std::make_unique<NodeAgent>(folder_);
    const auto checked = runner_.check(list, attached);
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error().code(), 3) << checked.error().message();
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

TEST_P(CniChain, UnknownPodMeansTryAgainLater) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod, "unknown");
    const auto refused = runner_.add(list, attached);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), 11) << refused.error().message();
    EXPECT_TRUE(agent_->published().empty());
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

TEST_P(CniChain, TwoPodsHaveTheirOwnAddresses) {
    const Json list = conflist(GetParam());
    const PodNetns first = PodNetns::create().value();
    const PodNetns second = PodNetns::create().value();
    const CniAttachment a = attachment("c1", first, "web");
    const CniAttachment b = attachment("c2", second, "api");
    ASSERT_TRUE(runner_.add(list, a).has_value());
    const auto result = runner_.add(list, b);
    ASSERT_TRUE(result.has_value()) << result.error().message();
    const auto published = agent_->published();
    ASSERT_EQ(published.size(), 2U);
    EXPECT_EQ(texts(published.at("c1").ips), addresses_inside(first));
    EXPECT_EQ(texts(published.at("c2").ips), addresses_inside(second));
    ASSERT_TRUE(runner_.del(list, a).has_value());
    EXPECT_TRUE(agent_->published().contains("c2"));
    ASSERT_TRUE(runner_.del(list, b).has_value());
}

// The reference plugins of Debian 12 speak up to 1.0.0; GC and STATUS are asked of weft-cni itself.
TEST_P(CniChain, GcAndStatusOfTheProgram) {
    const Json list = conflist(GetParam());
    const PodNetns pod = PodNetns::create().value();
    const CniAttachment attached = attachment("c1", pod);
    ASSERT_TRUE(runner_.add(list, attached).has_value());
    Json conf = list["plugins"][1];
    conf["name"] = "cluster";
    conf["cniVersion"] = "1.1.0";
    const auto status = runner_.exec("weft-cni", "STATUS", conf.dump(), {});
    ASSERT_TRUE(status.has_value());
    EXPECT_EQ(status->status, 0) << status->out;
    EXPECT_EQ(status->out, "");
    conf["cni.dev/valid-attachments"] = Json::array({{{"containerID", "c1"}, {"ifname", "eth0"}}});
    ASSERT_EQ(runner_.exec("weft-cni", "GC", conf.dump(), {}).value().status, 0);
    EXPECT_TRUE(agent_->published().contains("c1"));
    conf["cni.dev/valid-attachments"] = Json::array();
    ASSERT_EQ(runner_.exec("weft-cni", "GC", conf.dump(), {}).value().status, 0);
    EXPECT_TRUE(agent_->published().empty());
    conf.erase("cni.dev/valid-attachments");
    agent_.reset();
    const auto down = runner_.exec("weft-cni", "STATUS", conf.dump(), {});
    EXPECT_NE(down->status, 0);
    EXPECT_EQ(Json::parse(down->out)["code"], 50);
    ASSERT_TRUE(runner_.del(list, attached).has_value());
}

INSTANTIATE_TEST_SUITE_P(Chains, CniChain,
                         ::testing::Values(Chain{"ptp", "0.4.0"}, Chain{"ptp", "1.0.0"}, Chain{"bridge", "0.4.0"},
                                           Chain{"bridge", "1.0.0"}),
                         [](const auto& test) {
                             return test.param.interface_plugin + "_" +
                                    std::string(test.param.version == "1.0.0" ? "1_0_0" : "0_4_0");
                         });

} // namespace
} // namespace weft::test

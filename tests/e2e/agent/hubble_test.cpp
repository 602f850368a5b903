// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A foreign client of Hubble's API reads the flows of a real agent, over its socket and over TCP; and nothing is lost
// without being told.
#include <signal.h>

#include <filesystem>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/agent/hubble_client.hpp"
#include "tests/e2e/agent/traffic.hpp"
#include "weft/abi/event.h"
#include "weft/abi/reasons.h"

namespace weft::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string node(const std::string& name, const std::string& ip) {
    return fmt::format("---\napiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nstatus: {{addresses: [{{type: "
                       "InternalIP, address: {}}}]}}\n",
                       name, ip);
}

/// Sum of a per-CPU counter.
std::uint64_t sum(const AgentWorld& world, const std::string& map, std::uint32_t index) {
    const UniqueFd fd(bpf_obj_get(world.map_path(map).c_str()));
    std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    EXPECT_EQ(bpf_map_lookup_elem(fd.get(), &index, values.data()), 0);
    std::uint64_t total = 0;
    for (const auto value : values) {
        total += value;
    }
    return total;
}

/// Refused connects to ADDRESS:80, TIMES of them.
constexpr const char* kConnects = R"(
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.socket() as one:
        try:
            one.connect((sys.argv[1], 80))
        except ConnectionRefusedError:
            pass
)";

struct Tally {
    std::uint64_t flows = 0, kernel = 0, overwritten = 0;
};

Tally count(const std::vector<json>& answers) {
    Tally out;
    for (const auto& one : answers) {
        if (one.contains("flow")) {
            ++out.flows;
        } else if (one.contains("lost_events")) {
            auto& lost = one["lost_events"]["source"] == 1 ? out.kernel : out.overwritten;
            lost += std::stoull(one["lost_events"]["num_events_lost"].get<std::string>());
        }
    }
    return out;
}

class Hubble : public testing::Test {
protected:
    Hubble() {
        world.write("web.yaml", service_with_backend("web", "10.96.0.1") +
                                    "---\napiVersion: v1\nkind: Service\nmetadata: {name: none, namespace: shop}\n"
                                    "spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n");
        world.write("nodes.yaml", node("one", kBackendIp) + node("two", "192.0.2.2"));
    }
    void SetUp() override { server.emplace(world); }
    void start(std::vector<std::string> options = {}) {
        options.insert(options.end(), {"--node-name", "one"});
        agent.emplace(world, options);
        ASSERT_TRUE(agent->notified("READY=1")) << world.log();
    }
    AgentWorld world;
    std::optional<Server> server;
    std::optional<AgentProcess> agent;
};

TEST_F(Hubble, AForeignClientFollowsFlows) {
    start();
    const HubbleStream follower(
        world, admin_target(world),
        {"flows", R"({"follow": true, "number": 1000, "whitelist": [{"destination_service": ["shop/web"]}]})"});
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    ASSERT_TRUE(until([&] { return count(follower.read()).flows >= 2; })) << world.log();
    json opened, closed;
    for (const auto& one : follower.read()) {
        EXPECT_EQ(one["node_name"], "one");
        (one["flow"]["l4"]["TCP"]["flags"]["SYN"] == true ? opened : closed) = one["flow"];
    }
    for (const auto& flow : {opened, closed}) {
        EXPECT_EQ(flow["verdict"], "FORWARDED") << flow;
        EXPECT_EQ(flow["Type"], 1);
        EXPECT_EQ(flow["IP"]["destination"], kBackendIp);
        EXPECT_EQ(flow["IP"]["ipVersion"], 1);
        EXPECT_EQ(flow["l4"]["TCP"]["destination_port"], 8080);
        EXPECT_EQ(flow["destination_service"]["name"], "web");
        EXPECT_EQ(flow["destination_service"]["namespace"], "shop");
        EXPECT_EQ(flow["traffic_direction"], "EGRESS");
        EXPECT_EQ(flow["event_type"]["type"], 4);
        EXPECT_EQ(flow["source"]["identity"], 1) << "the host, in Cilium's numbers";
        EXPECT_EQ(flow["node_name"], "one");
        EXPECT_EQ(flow["socket_cookie"], opened["socket_cookie"]);
        EXPECT_THAT(flow["time"].get<std::string>(), StartsWith("20"));
    }
    EXPECT_EQ(closed["l4"]["TCP"]["flags"]["FIN"], true);
    EXPECT_NE(opened["uuid"], closed["uuid"]);

    const auto flows = [&](const std::string& wish) { return ask_hubble(world, admin_target(world), {"flows", wish}); };
    const auto only = [&](const std::string& wish) {
        const auto all = flows(wish);
        return all.size() == 1 && all[0].contains("flow") ? all[0]["flow"]["uuid"] : json(all);
    };
    EXPECT_EQ(only(R"({"first": true, "number": 1, "whitelist": [{"protocol": ["tcp"]}]})"), opened["uuid"]);
    EXPECT_EQ(only(R"({"number": 1})"), closed["uuid"]);
    EXPECT_EQ(flows(R"({"whitelist": [{"destination_port": ["8080"], "tcp_flags": [{"FIN": true}]}]})").size(), 1U);
    EXPECT_EQ(flows(R"({"whitelist": [{"destination_service": ["shop/w"], "event_type": [{"type": 4}]}]})").size(), 2U);
    EXPECT_EQ(flows(R"({"blacklist": [{"verdict": ["FORWARDED"]}, {"protocol": ["udp"]}]})").size(), 0U)
        << "udp: the agent's own look at its hooks";
    EXPECT_EQ(flows(R"({"since": "2100-01-01T00:00:00Z"})").size(), 0U);
    EXPECT_EQ(flows(R"({"until": "2000-01-01T00:00:00Z"})").size(), 0U);
    EXPECT_EQ(flows(R"({"since": ")" + closed["time"].get<std::string>() + R"("})").size(), 1U);
    EXPECT_EQ(flows(R"({"follow": true, "number": 9, "until": "2000-01-01T00:00:00Z"})").size(), 0U) << "and it ends";
    const auto refused = flows(R"({"whitelist": [{"http_method": ["GET"]}]})");
    ASSERT_EQ(refused.size(), 1U);
    EXPECT_THAT(refused[0].get<std::string>(), StartsWith("error 3 ")) << "INVALID_ARGUMENT, and not everything";
    EXPECT_THAT(refused[0].get<std::string>(), HasSubstr("number 21"));
}

TEST_F(Hubble, StatusNodesNamespacesAndPeers) {
    start();
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    const auto one = [&](const std::string& verb) {
        const auto all = ask_hubble(world, admin_target(world), {verb});
        return all.size() == 1 ? all[0] : json();
    };
    // The request, and two looks of the agent at its own hooks.
    ASSERT_TRUE(until([&] { return one("status")["seen_flows"] == "4"; })) << one("status");
    const auto status = one("status");
    EXPECT_EQ(status["num_flows"], "4");
    EXPECT_EQ(status["max_flows"], "4096");
    EXPECT_EQ(status["num_connected_nodes"], 1);
    EXPECT_GT(status["flows_rate"].get<double>(), 0);
    EXPECT_EQ(status["lost"]["kernel_ring"], "0");
    EXPECT_THAT(status["version"].get<std::string>(), StartsWith("weft "));
    const auto nodes = one("nodes")["nodes"];
    ASSERT_EQ(nodes.size(), 1U);
    EXPECT_EQ(nodes[0]["name"], "one");
    EXPECT_EQ(nodes[0]["state"], 1);
    EXPECT_EQ(nodes[0]["address"], "") << "it serves on its own socket only";
    EXPECT_EQ(nodes[0]["seen_flows"], "4");
    EXPECT_EQ(one("namespaces")["namespaces"].size(), 0U) << "neither end is a pod";
    const HubbleStream peers(world, admin_target(world), {"peers"});
    ASSERT_TRUE(until([&] { return !peers.read().empty(); }));
    EXPECT_EQ(peers.read()[0]["name"], "one");
    EXPECT_EQ(peers.read()[0]["type"], "PEER_ADDED");
    EXPECT_EQ(peers.read()[0]["address"], admin_target(world));
}

// The agent is held until the kernel's ring has overflowed, and its own ring is much smaller than that.
TEST_F(Hubble, DeliveredAndLostAreExactlyWhatWasProduced) {
    start({"--flow-buffer", "500"});
    const HubbleStream follower(world, admin_target(world), {"flows", R"({"follow": true, "number": 100000})"});
    // That Service has no backend: each connect is refused at once, and one event.
    const auto refused_connects = [&](int times) {
        const auto done = world.run_governed({"python3", "-c", kConnects, "10.96.0.9", std::to_string(times)}, 120000);
        EXPECT_EQ(done.exit_code, 0) << done.output << done.error_output;
    };
    refused_connects(100);
    ASSERT_TRUE(until([&] { return count(follower.read()).flows >= 100; }, 30)) << world.log();
    ASSERT_EQ(::kill(agent->pid(), SIGSTOP), 0);
    refused_connects(9000);
    const auto lost = [&] {
        return sum(world, "weft_drops", WEFT_REASON_EVENT_LOST * WEFT_DIRECTION_COUNT + WEFT_EGRESS) +
               sum(world, "weft_drops", WEFT_REASON_EVENT_LOST * WEFT_DIRECTION_COUNT + WEFT_INGRESS);
    };
    EXPECT_GT(lost(), 1000U);
    ASSERT_EQ(::kill(agent->pid(), SIGCONT), 0);
    ASSERT_TRUE(until([&] { return count(follower.read()).kernel > 0; }, 60));
    refused_connects(100);
    const auto produced = [&] { return sum(world, "weft_counters", WEFT_COUNTER_EVENTS); };
    const auto all_told = [&] {
        const auto told = count(follower.read());
        return told.flows + told.kernel + told.overwritten == produced();
    };
    EXPECT_TRUE(until(all_told, 60));
    const auto told = count(follower.read());
    EXPECT_EQ(told.flows + told.kernel + told.overwritten, produced());
    EXPECT_EQ(told.kernel, lost());
    EXPECT_GT(told.overwritten, 0U) << "5,957 events fit into the kernel's ring, 500 into the agent's";
    for (const auto& one : follower.read()) {
        if (one.contains("lost_events") && one["lost_events"]["source"] == 1) {
            EXPECT_LT(one["lost_events"]["first"].get<std::string>(), one["lost_events"]["last"].get<std::string>());
        }
    }
    const auto status = ask_hubble(world, admin_target(world), {"status"})[0];
    EXPECT_EQ(status["lost"]["kernel_ring"], std::to_string(lost()));
    EXPECT_EQ(status["lost"]["slow_clients"], std::to_string(told.overwritten));
    const auto page = world.run({"curl", "-s", "-m", "5", "http://127.0.0.1:9964/metrics"}).output;
    EXPECT_THAT(page, HasSubstr(fmt::format("weft_events_lost_total{{reason=\"kernel-ring\"}} {}\n", lost())));
    EXPECT_THAT(page,
                HasSubstr(fmt::format("weft_events_lost_total{{reason=\"slow-client\"}} {}\n", told.overwritten)));
}

class HubbleOverTcp : public Hubble {
protected:
    /// A certificate NAME.crt with NAME.key for host name `host`, by the authority AUTHORITY.
    void certificate(const std::string& name, const std::string& authority, const std::string& host) const {
        const auto made = world.run({"openssl",
                                     "req",
                                     "-x509",
                                     "-newkey",
                                     "ec",
                                     "-pkeyopt",
                                     "ec_paramgen_curve:P-256",
                                     "-nodes",
                                     "-days",
                                     "1",
                                     "-subj",
                                     "/CN=" + name,
                                     "-addext",
                                     "subjectAltName=DNS:" + host,
                                     "-keyout",
                                     file(name + ".key"),
                                     "-out",
                                     file(name + ".crt"),
                                     "-CA",
                                     file(authority + ".crt"),
                                     "-CAkey",
                                     file(authority + ".key")});
        ASSERT_EQ(made.exit_code, 0) << made.output;
    }
    void authority(const std::string& name) const {
        const auto made = world.run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                                     "-nodes", "-days", "1", "-subj", "/CN=" + name, "-keyout", file(name + ".key"),
                                     "-out", file(name + ".crt")});
        ASSERT_EQ(made.exit_code, 0) << made.output;
    }
    [[nodiscard]] std::string file(const std::string& name) const { return world.root() + "/" + name; }
    [[nodiscard]] std::vector<json> ask(const std::vector<std::string>& words) const {
        return ask_hubble(world, std::string(kBackendIp) + ":4244", words);
    }
    void SetUp() override {
        Hubble::SetUp();
        authority("ca");
        authority("other");
        certificate("server", "ca", "one");
        certificate("client", "ca", "relay");
        certificate("stranger", "other", "relay");
    }
};

TEST_F(HubbleOverTcp, AnswersOnlyCertificatesOfItsAuthority) {
    start({"--flow-address", "0.0.0.0:4244", "--flow-tls-cert", file("server.crt"), "--flow-tls-key",
           file("server.key"), "--flow-tls-ca", file("ca.crt")});
    ASSERT_EQ(request(world, "10.96.0.1"), "ok");
    const std::vector<std::string> right{"--ca",  file("ca.crt"),     "--cert", file("client.crt"),
                                         "--key", file("client.key"), "--name", "one"};
    const auto with = [](std::vector<std::string> words, const std::string& verb) {
        words.push_back(verb);
        return words;
    };
    ASSERT_TRUE(until([&] { return count(ask(with(right, "flows"))).flows == 4; }));
    const auto nodes = ask(with(right, "nodes"))[0]["nodes"];
    EXPECT_EQ(nodes[0]["address"], std::string(kBackendIp) + ":4244");
    EXPECT_EQ(nodes[0]["tls"]["enabled"], true);
    EXPECT_EQ(nodes[0]["tls"]["server_name"], "one");
    const HubbleStream peers(world, std::string(kBackendIp) + ":4244", with(right, "peers"));
    ASSERT_TRUE(until([&] { return peers.read().size() == 2; }));
    EXPECT_EQ(peers.read()[1]["address"], "192.0.2.2:4244");
    EXPECT_EQ(peers.read()[1]["tls"]["server_name"], "two");
    world.write("nodes.yaml", node("one", kBackendIp));
    ASSERT_TRUE(until([&] { return peers.read().size() == 3; }));
    EXPECT_EQ(peers.read()[2]["type"], "PEER_DELETED");

    constexpr const char* kUnavailable = "error 14 "; // no connection
    const auto refused = [&](const std::vector<std::string>& flags) {
        const auto answers = ask(with(flags, "status"));
        return answers.size() == 1 && answers[0].is_string() ? answers[0].get<std::string>() : "answered";
    };
    EXPECT_THAT(refused({"--ca", file("ca.crt"), "--name", "one"}), StartsWith(kUnavailable)) << "no certificate";
    EXPECT_THAT(refused({"--ca", file("ca.crt"), "--name", "one", "--cert", file("stranger.crt"), "--key",
                         file("stranger.key")}),
                StartsWith(kUnavailable))
        << "a certificate of another authority";
    EXPECT_THAT(refused({"--ca", file("other.crt"), "--name", "one", "--cert", file("client.crt"), "--key",
                         file("client.key")}),
                StartsWith(kUnavailable))
        << "the client expects another authority";
    EXPECT_THAT(refused({}), StartsWith(kUnavailable)) << "plaintext";
    const auto admin = ask(with(right, "admin"));
    ASSERT_EQ(admin.size(), 1U);
    EXPECT_THAT(admin[0].get<std::string>(), StartsWith("error 12 ")) << "UNIMPLEMENTED: only flows are served here";
    EXPECT_EQ(ask(with(right, "status")).size(), 1U) << "it goes on answering";
}

TEST_F(HubbleOverTcp, TakesChangedFilesWithoutARestart) {
    start({"--flow-address", "0.0.0.0:4244", "--flow-tls-cert", file("server.crt"), "--flow-tls-key",
           file("server.key"), "--flow-tls-ca", file("ca.crt")});
    const auto answered = [&](const std::string& ca, const std::string& client) {
        const auto got = ask({"--ca", file(ca + ".crt"), "--cert", file(client + ".crt"), "--key",
                              file(client + ".key"), "--name", "one", "status"});
        return got.size() == 1 && got[0].is_object();
    };
    ASSERT_TRUE(until([&] { return answered("ca", "client"); }));
    ASSERT_FALSE(answered("other", "stranger"));
    // As a renewal does it: new files under the old names, each whole at once.
    certificate("renewed", "other", "one");
    for (const auto& [from, to] :
         {std::pair("renewed.crt", "server.crt"), {"renewed.key", "server.key"}, {"other.crt", "ca.new"}}) {
        std::filesystem::copy_file(file(from), file(to) + ".tmp");
        std::filesystem::rename(file(to) + ".tmp", file(to));
    }
    std::filesystem::rename(file("ca.new"), file("ca.crt"));
    EXPECT_TRUE(until([&] { return answered("other", "stranger"); }, 30)) << world.log();
    EXPECT_FALSE(answered("other", "client")) << "its authority is not believed any more";
    EXPECT_EQ(agent->stop(), 0);
}

TEST_F(HubbleOverTcp, FilesThatCannotServeStopTheAgentWithTheirName) {
    const auto fault = [&](const std::string& cert, const std::string& key, const std::string& ca) {
        AgentProcess broken(world, {"--node-name", "one", "--flow-address", "0.0.0.0:4244", "--flow-tls-cert", cert,
                                    "--flow-tls-key", key, "--flow-tls-ca", ca});
        EXPECT_EQ(broken.wait(30), 1);
        return world.log();
    };
    EXPECT_THAT(
        fault(file("server.crt"), file("client.key"), file("ca.crt")),
        HasSubstr("flow_tls_key: " + file("client.key") + ": no PEM key of the certificate in " + file("server.crt")));
    EXPECT_THAT(fault(file("server.key"), file("server.key"), file("ca.crt")),
                HasSubstr("flow_tls_cert: " + file("server.key")));
    EXPECT_THAT(fault(file("server.crt"), file("server.key"), file("ca.key")),
                HasSubstr("flow_tls_ca: " + file("ca.key")));
}

TEST_F(HubbleOverTcp, PlaintextWhereItIsAskedFor) {
    start({"--flow-address", "0.0.0.0:4244", "--flow-plaintext", "true"});
    EXPECT_THAT(ask({"status"})[0].dump(), HasSubstr("max_flows"));
    const auto nodes = ask({"nodes"})[0]["nodes"];
    EXPECT_EQ(nodes[0]["tls"]["enabled"], false);
    const HubbleStream peers(world, admin_target(world), {"peers"});
    ASSERT_TRUE(until([&] { return peers.read().size() == 2; }));
    EXPECT_EQ(peers.read()[1]["tls"], json()) << "unset: no TLS";
}

} // namespace
} // namespace weft::test

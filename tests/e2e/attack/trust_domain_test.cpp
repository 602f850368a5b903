// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Another trust domain, bank.example, has workloads outside of the cluster. They come in, and are reached, at the
// addresses that the configuration gives them, with certificates of that trust domain's own roots, and never otherwise.
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "agent/ca/pki/key.hpp"
#include "tests/e2e/attack/attack_world.hpp"

namespace weft::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::array kServers{"vault", "impostor"};
constexpr const char* kTeller = "spiffe://bank.example/ns/hall/sa/teller";

/// Where pods can read it, unlike /tmp.
const fs::path& folder() {
    static const fs::path path = fmt::format("/var/tmp/weft-federation-{}", ::getpid());
    return path;
}

/// Renamed into place, so that nobody reads half of it.
void put(const std::string& name, const std::string& text) {
    std::ofstream(folder() / (name + ".new")) << text;
    fs::rename(folder() / (name + ".new"), folder() / name);
}

/// A host outside of the cluster.
std::string host(const std::string& name, const std::string& address, const std::string& command = "") {
    return fmt::format(R"(---
apiVersion: v1
kind: Pod
metadata: {{name: {}, namespace: abroad, annotations: {{weft.dev/lab-external: "true"}}}}
spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main{}}}]}}
status: {{podIP: {}}}
)",
                       name, command.empty() ? "" : ", command: [/bin/sh, -c, \"" + command + "\"]", address);
}

class Federation : public AttackTest {
protected:
    static void SetUpTestSuite() {
        shared_lab().reset();
        fs::create_directories(folder());
        put("bank.pem", bank().root_pem());
        write_material("vault", bank().issue("spiffe://bank.example/ns/hall/sa/vault"));
        write_material("impostor", RogueAuthority("bank.example").issue("spiffe://bank.example/ns/hall/sa/vault"));
        for (const auto* name : kServers) {
            EXPECT_EQ(::mkfifo(gate(name).c_str(), 0600), 0);
        }
    }
    void new_lab() override {
        const auto serve = [](const std::string& name) {
            return fmt::format("read -r _ <{2}; exec openssl s_server -accept 9000 -rev "
                               "-tls1_3 -num_tickets 1 -alpn weft/1 -cert {0}/{1}.crt -key {0}/{1}.key -CAfile "
                               "{0}/ca.crt -Verify 3 -verify_return_error",
                               folder().string(), name, gate(name).string());
        };
        bring_up(host("teller", "203.0.113.10") + host("stray", "203.0.113.200") +
                     host("vault", "203.0.113.70", serve("vault")) +
                     host("impostor", "203.0.113.71", serve("impostor")),
                 {"--agent", "federation_interval=1", "--agent",
                  "federation=bank.example=" + (folder() / "bank.pem").string(), "--agent",
                  "federation_addresses=bank.example=203.0.113.0/25", "--agent",
                  "federation_dial=bank.example=203.0.113.64/26"});
        fs::copy_file(names().run_dir() + "/ca/root-1.crt", folder() / "ca.crt", fs::copy_options::overwrite_existing);
        gates_.clear();
        for (const auto* name : kServers) { // they wait for that file; open both ways, which blocks nobody
            gates_.emplace_back(gate(name), std::ios::in | std::ios::out) << '\n' << std::flush;
        }
    }
    static void TearDownTestSuite() {
        shared_lab().reset();
        gates_.clear();
        std::error_code error;
        fs::remove_all(folder(), error);
    }
    /// What a server waits for, as the authority is there only when the lab is.
    static fs::path gate(const std::string& server) { return folder() / (server + ".go"); }
    static const RogueAuthority& bank() {
        static const RogueAuthority authority("bank.example");
        return authority;
    }

    /// NAME.crt, the chain, and NAME.key.
    static void write_material(const std::string& name, const Material& material) {
        std::string chain;
        for (const auto& one : material.chain) {
            chain += *pki::pem_of(one.get());
        }
        put(name + ".crt", chain);
        put(name + ".key", *pki::pem_of(material.key.get()));
    }
    /// What shop/api answers to somebody with that certificate, or how that ended.
    static std::string answer_to(const Material& own, const std::string& from) {
        auto fd = connect_from(from, address("api"));
        if (!fd.valid()) {
            return std::strerror(errno);
        }
        TlsEnd end(TlsEnd::Role::kClient, std::move(fd), {.own = &own});
        const auto answer = end.handshake() && end.send("hi\n") ? end.receive() : "";
        return answer.empty() ? end.ending() : answer;
    }
    /// node-2 refuses it for that reason, counts it, and names it in a flow.
    static void expect_refused(const std::string& reason, const Material& own, const std::string& from) {
        const auto before = counted("node-2", "server", reason);
        auto fd = connect_from(from, address("api"));
        ASSERT_TRUE(fd.valid()) << std::strerror(errno);
        const auto port = own_port(fd.get());
        TlsEnd end(TlsEnd::Role::kClient, std::move(fd), {.own = &own});
        if (end.handshake() && end.send("hi\n")) {
            EXPECT_EQ(end.receive(), "") << reason;
        }
        EXPECT_TRUE(eventually([&] { return counted("node-2", "server", reason) == before + 1; }, 20)) << reason;
        EXPECT_TRUE(flow_says("node-2", reason, port)) << ask("node-2", {"flows", "--last", "20"});
    }
    /// What a plain program in shop/client gets from port 9000 of a host for "olleh".
    static std::string ask_host(const std::string& at) {
        return lab().in_pod("shop/client",
                            fmt::format("python3 -c 'import socket; s = socket.create_connection((\"{}\", 9000), 20); "
                                        "s.sendall(b\"olleh\\n\"); print(s.recv(99).decode(), end=\"\")' 2>&1",
                                        at));
    }

private:
    inline static std::vector<std::fstream> gates_; ///< open as long as somebody may wait at them
};

TEST_F(Federation, WorkloadsOfAnotherTrustDomainAreLetIn) {
    EXPECT_EQ(answer_to(bank().issue(kTeller), "abroad/teller"), "hello\n");
    EXPECT_TRUE(honest_peer_is_served());
}

TEST_F(Federation, TheyAreWhoTheyAreOrNobody) {
    expect_refused("unknown-ca", RogueAuthority("bank.example").issue(kTeller), "abroad/teller");
    expect_refused("wrong-trust-domain",
                   RogueAuthority("evil.example").issue("spiffe://evil.example/ns/hall/sa/teller"), "abroad/teller");
    // Their root speaks for their trust domain only.
    expect_refused("unknown-ca", bank().issue("spiffe://cluster.local/ns/shop/sa/client"), "abroad/teller");
}

TEST_F(Federation, NobodyIsWhereHeDoesNotBelong) {
    // Our own workload's certificate at their address, theirs at a pod's.
    expect_refused("identity-refused", genuine("client"), "abroad/teller");
    expect_refused("identity-refused", bank().issue(kTeller), "shop/client");
    // An address that is nobody's comes in plaintext or not at all; this workload is strict.
    const auto before = dropped("node-2", "plaintext-refused");
    EXPECT_NE(answer_to(bank().issue(kTeller), "abroad/stray"), "hello\n");
    EXPECT_GT(dropped("node-2", "plaintext-refused"), before);
}

TEST_F(Federation, PlaintextIsRefusedWhereTheWorkloadIsStrict) {
    const auto before = counted("node-2", "server", "plaintext-refused");
    auto fd = connect_from("abroad/teller", address("api"));
    ASSERT_TRUE(fd.valid());
    EXPECT_TRUE(send_all(fd.get(), "hi\n"));
    EXPECT_EQ(read_to_end(fd.get()), "reset");
    EXPECT_TRUE(eventually([&] { return counted("node-2", "server", "plaintext-refused") == before + 1; }, 20));
}

TEST_F(Federation, OpensslServesAProgramOfOursByMutualTls) {
    std::string answer;
    EXPECT_TRUE(eventually([&] { return (answer = ask_host("203.0.113.70")) == "hello\n"; }, 60)) << answer;
    const auto before = counted("node-1", "client", "unknown-ca");
    EXPECT_THAT(ask_host("203.0.113.71"), HasSubstr("ConnectionResetError")) << "another authority's certificate";
    EXPECT_TRUE(eventually([&] { return counted("node-1", "client", "unknown-ca") == before + 1; }, 20));
}

TEST_F(Federation, ABundleIsFollowedAndABrokenOneLeavesTheLastGood) {
    const RogueAuthority next("bank.example");
    const auto served = [](const RogueAuthority& by) {
        return answer_to(by.issue(kTeller), "abroad/teller") == "hello\n";
    };
    EXPECT_FALSE(served(next));
    put("bank.pem", bank().root_pem() + next.root_pem());
    EXPECT_TRUE(eventually([&] { return served(next); }, 40));
    EXPECT_TRUE(served(bank())) << "both, while it rotates";
    EXPECT_EQ(metric("node-2", "weft_federation_bundle_roots{trust_domain=\"bank.example\"} "), 2);
    EXPECT_LT(metric("node-2", "weft_federation_bundle_age_seconds{trust_domain=\"bank.example\"} "), 60);

    put("bank.pem", "no certificate");
    EXPECT_TRUE(eventually([] { return ask("node-2", {"status"}).contains("trust domain bank.example: "); }, 40))
        << ask("node-2", {"status"});
    EXPECT_TRUE(served(next));
    put("bank.pem", next.root_pem());
    EXPECT_TRUE(eventually([&] { return !served(bank()); }, 40));
    EXPECT_TRUE(served(next));
    EXPECT_TRUE(eventually([] { return !ask("node-2", {"status"}).contains("bank.example: "); }, 40));
    put("bank.pem", bank().root_pem());
    EXPECT_TRUE(eventually([&] { return served(bank()); }, 40));
}

} // namespace
} // namespace weft::e2e

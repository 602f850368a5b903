// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A server that is not who the cluster says: its address belongs to a Pod that is published as enrolled, but who
// answers there is somebody on that node with certificates of his own. The application gets a reset, never a byte.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <functional>
#include <future>

#include <gmock/gmock.h>

#include "tests/e2e/attack/attack_world.hpp"
#include "tools/lab/netns.hpp"

namespace weft::e2e {
namespace {

using ::testing::StartsWith;

constexpr const char* kAddress = "10.244.2.200";
constexpr const char* kOwnId = "spiffe://cluster.local/ns/shop/sa/ledger";

constexpr const char* kPod = R"(apiVersion: v1
kind: Pod
metadata: {name: ledger, namespace: shop, uid: ledger-1, annotations: {weft.dev/enrolled: "true"}}
spec: {nodeName: node-2, serviceAccountName: ledger, containers: [{name: main}]}
status: {phase: Running, podIP: 10.244.2.200, podIPs: [{ip: 10.244.2.200}]}
)";

class ServerAttack : public AttackTest {
protected:
    void SetUp() override {
        AttackTest::SetUp();
        const auto node = names().node_netns("node-2");
        lab::ip_batch_best_effort(node, {fmt::format("addr add {}/32 dev lo", kAddress)});
        std::ofstream(names().scratch() + "/ledger.yaml") << kPod;
        std::filesystem::rename(names().scratch() + "/ledger.yaml", names().manifests() + "/ledger.yaml");
        const auto done = lab::in_netns(lab::netns_path(node), [&]() -> Result<> {
            listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            sockaddr_in at{};
            at.sin_family = AF_INET;
            at.sin_port = htons(8080);
            ::inet_pton(AF_INET, kAddress, &at.sin_addr);
            const int yes = 1;
            (void)::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
            if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
                ::listen(listener_.get(), 64) != 0) {
                return system_failure("listening on {}", kAddress);
            }
            return {};
        });
        ASSERT_TRUE(done) << done.error().message();
        limit_waiting(listener_.get(), std::chrono::seconds(30));
        // Until node-1 has read the Pod its connections would go as plaintext, as to any host.
        ASSERT_TRUE(eventually([this] { return dialled_by_tls(); }, 60));
    }
    void TearDown() override {
        std::error_code error;
        std::filesystem::remove(names().manifests() + "/ledger.yaml", error);
        lab::ip_batch_best_effort(names().node_netns("node-2"), {fmt::format("addr del {}/32 dev lo", kAddress)});
        AttackTest::TearDown();
    }

    /// The next connection that is still one: an agent that was cut off before any answer has tried once more since.
    [[nodiscard]] UniqueFd accept() const {
        while (true) {
            UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            sockaddr_storage peer{};
            socklen_t size = sizeof peer;
            if (!fd.valid() || ::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0) {
                return fd;
            }
        }
    }
    /// What an application in shop/client sees of a connection to the server: what came, and how it ended.
    [[nodiscard]] static std::future<std::string> application() {
        return std::async(std::launch::async, [] {
            return lab().in_pod("shop/client", fmt::format(R"(python3 -c '
import socket
try:
    s = socket.create_connection(("{}", 8080), 60)
    s.sendall(b"secret\n")
    while data := s.recv(999): print("got", data)
    print("end")
except OSError as error: print(error.strerror)
')",
                                                           kAddress));
        });
    }
    [[nodiscard]] bool dialled_by_tls() const {
        auto seen = application();
        auto fd = accept();
        char first = 0;
        const bool tls = fd.valid() && ::recv(fd.get(), &first, 1, 0) == 1 && first == 22;
        (void)send_all(fd.get(), "no handshake"); // an end without any answer would be tried once more
        fd.reset();
        seen.get();
        return tls;
    }
    /// The application's connection meets `act`; it must be reset, counted by node-1 as `reason`, and named in a flow.
    void attack(const std::string& reason, const std::function<std::string(UniqueFd)>& act,
                std::string* ending = nullptr) {
        SCOPED_TRACE(reason);
        const auto before = counted("node-1", "client", reason);
        auto seen = application();
        auto fd = accept();
        ASSERT_TRUE(fd.valid());
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        ASSERT_EQ(::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size), 0);
        const auto end = act(std::move(fd));
        EXPECT_EQ(seen.get(), "Connection reset by peer\n");
        EXPECT_TRUE(eventually([&] { return counted("node-1", "client", reason) == before + 1; }, 20));
        EXPECT_TRUE(flow_says("node-1", reason, ntohs(peer.sin_port))) << ask("node-1", {"flows", "--last", "20"});
        if (ending != nullptr) {
            *ending = end;
        }
    }
    void attack_with(const std::string& reason, const Material& own) {
        std::string ending;
        attack(
            reason,
            [&](UniqueFd fd) {
                TlsEnd end(TlsEnd::Role::kServer, std::move(fd), {.own = &own});
                EXPECT_FALSE(end.handshake());
                return end.ending();
            },
            &ending);
        EXPECT_THAT(ending, StartsWith("alert"));
    }

private:
    UniqueFd listener_;
};

TEST_F(ServerAttack, CertificatesThatProveNothing) {
    attack_with("identity-refused", genuine("api")); // a real one, of somebody else
    attack_with("expired", forged(kOwnId, -std::chrono::hours(2), -std::chrono::hours(1)));
    attack_with("not-yet-valid", forged(kOwnId, std::chrono::hours(1), std::chrono::hours(2)));
    attack_with("unknown-ca", RogueAuthority("cluster.local").issue(kOwnId));
    attack_with("wrong-trust-domain", RogueAuthority("evil.example").issue("spiffe://evil.example/ns/shop/sa/ledger"));
}

TEST_F(ServerAttack, AnswersThatAreNoHandshake) {
    attack("garbage", [](UniqueFd fd) {
        EXPECT_TRUE(send_all(fd.get(), "HTTP/1.1 200 OK\r\n\r\nhello"));
        return read_to_end(fd.get());
    });
    attack("protocol-version", [](UniqueFd fd) {
        TlsEnd end(TlsEnd::Role::kServer, std::move(fd), {.version = TLS1_2_VERSION});
        EXPECT_FALSE(end.handshake());
        return end.ending();
    });
}

TEST_F(ServerAttack, TruncatedAnswerIsAResetToTheApplication) {
    const auto own = genuine("ledger");
    for (const bool in_order : {true, false}) {
        auto seen = application();
        TlsEnd end(TlsEnd::Role::kServer, accept(), {.own = &own});
        ASSERT_TRUE(end.handshake()) << end.ending();
        EXPECT_EQ(end.receive(), "secret\n");
        EXPECT_TRUE(end.send("42 of 1000"));
        if (in_order) {
            end.say_goodbye();
        }
        ASSERT_EQ(::shutdown(end.fd(), SHUT_WR), 0);
        EXPECT_EQ(seen.get(), fmt::format("got b'42 of 1000'\n{}\n", in_order ? "end" : "Connection reset by peer"));
    }
}

} // namespace
} // namespace weft::e2e

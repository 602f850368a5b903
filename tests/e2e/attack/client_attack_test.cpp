// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Clients that are not who they say: each is refused before the application hears of it, counted, and named in flows.
#include <sys/socket.h>

#include <functional>
#include <sstream>

#include <gmock/gmock.h>

#include "tests/e2e/attack/attack_world.hpp"

namespace weft::e2e {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kClientId = "spiffe://cluster.local/ns/shop/sa/client";

class ClientAttack : public AttackTest {
protected:
    /// Does its worst from shop/client's address, and expects node-2 to count it as `reason` and to name it in a flow.
    /// Answers how it ended for the attacker.
    static std::string attack(const std::string& reason, const std::function<std::string(UniqueFd)>& act,
                              const std::string& from = "shop/client") {
        const auto before = counted("node-2", "server", reason);
        auto fd = connect_from(from, address("api"));
        EXPECT_TRUE(fd.valid()) << std::strerror(errno);
        if (!fd.valid()) {
            return "";
        }
        const auto port = own_port(fd.get());
        auto ending = act(std::move(fd));
        EXPECT_TRUE(eventually([&] { return counted("node-2", "server", reason) == before + 1; }, 20))
            << reason << " was " << before << ", is " << counted("node-2", "server", reason);
        EXPECT_TRUE(flow_says("node-2", reason, port)) << ask("node-2", {"flows", "--last", "20"});
        return ending;
    }
    /// A handshake with these manners, and data behind it; how it ended.
    static std::string shake(UniqueFd fd, const Manners& manners) {
        TlsEnd end(TlsEnd::Role::kClient, std::move(fd), manners);
        if (end.handshake() && end.send("let me in\n")) {
            EXPECT_EQ(end.receive(), "") << "the application answered";
        }
        return end.ending();
    }
    static std::string shake_with(const std::string& reason, const Material& own,
                                  const std::string& from = "shop/client") {
        return attack(reason, [&](UniqueFd fd) { return shake(std::move(fd), {.own = &own}); }, from);
    }
};

TEST_F(ClientAttack, OneThatIsWhoItSaysIsLetIn) {
    // The tool itself works: all that is refused below is refused for its own reason.
    const auto own = genuine("client");
    TlsEnd end(TlsEnd::Role::kClient, connect_from("shop/client", address("api")), {.own = &own});
    ASSERT_TRUE(end.handshake()) << end.ending();
    ASSERT_TRUE(end.send("hi\n"));
    EXPECT_EQ(end.receive(), "hello\n") << end.ending();
}

TEST_F(ClientAttack, CertificatesThatProveNothing) {
    EXPECT_THAT(attack("no-certificate", [](UniqueFd fd) { return shake(std::move(fd), {}); }),
                HasSubstr("certificate required"));
    EXPECT_THAT(shake_with("expired", forged(kClientId, -hours(2), -hours(1))), HasSubstr("expired"));
    EXPECT_THAT(shake_with("not-yet-valid", forged(kClientId, hours(1), hours(2))), StartsWith("alert"));
    EXPECT_THAT(shake_with("unknown-ca", RogueAuthority("cluster.local").issue(kClientId)), HasSubstr("unknown ca"));
    EXPECT_THAT(shake_with("wrong-trust-domain",
                           RogueAuthority("evil.example").issue("spiffe://evil.example/ns/shop/sa/client")),
                StartsWith("alert"));
    EXPECT_TRUE(honest_peer_is_served());
}

TEST_F(ClientAttack, IdentitiesThatTheAddressMayNotHave) {
    EXPECT_THAT(shake_with("identity-refused", genuine("admin")), StartsWith("alert"));
    const auto stolen = genuine("client");
    EXPECT_THAT(shake_with("identity-refused", stolen, "shop/other"), StartsWith("alert"));
    EXPECT_THAT(shake_with("identity-refused", genuine("api")), StartsWith("alert"))
        << "the server's own identity is no pass";
    // What our own authority signed for another trust domain is nobody's proof.
    EXPECT_THAT(
        shake_with("wrong-trust-domain", forged("spiffe://evil.example/ns/shop/sa/client", -minutes(1), hours(1))),
        StartsWith("alert"));
}

TEST_F(ClientAttack, NamesThatAreNoWorkloads) {
    for (const auto* uri : {"spiffe://cluster.local/node/node-1", "spiffe://cluster.local/weft-ca",
                            "spiffe://cluster.local/ns/shop/sa/client/", "spiffe://CLUSTER.LOCAL/ns/shop/sa/client",
                            "spiffe://cluster.local/ns/shop/sa/%63lient", "https://cluster.local/ns/shop/sa/client"}) {
        SCOPED_TRACE(uri);
        EXPECT_THAT(shake_with("bad-identity", forged(uri, -minutes(1), hours(1))), StartsWith("alert"));
    }
}

TEST_F(ClientAttack, OldProtocolsAndPlaintext) {
    const auto own = genuine("client");
    EXPECT_THAT(attack("protocol-version",
                       [&](UniqueFd fd) { return shake(std::move(fd), {.own = &own, .version = TLS1_2_VERSION}); }),
                HasSubstr("protocol version"));
    const auto plain = [](UniqueFd fd) {
        EXPECT_TRUE(send_all(fd.get(), "GET / HTTP/1.1\r\n\r\n"));
        return read_to_end(fd.get());
    };
    EXPECT_EQ(attack("plaintext-refused", plain), "reset");
    // TLS of the application's own is plaintext in Weft's eyes.
    EXPECT_EQ(
        attack("plaintext-refused", [&](UniqueFd fd) { return shake(std::move(fd), {.own = &own, .alpn = "h2"}); }),
        "reset");
    // A stranger does not even reach the agent: the kernel drops what it sends.
    const auto before = dropped("node-2", "plaintext-refused");
    auto stranger = connect_from("outside/stranger", address("api"), 8080);
    EXPECT_FALSE(stranger.valid()) << "a strict workload accepted a stranger";
    EXPECT_GT(dropped("node-2", "plaintext-refused"), before);
    EXPECT_TRUE(eventually(
        [&] {
            std::istringstream lines(ask("node-2", {"flows", "--last", "500"}));
            for (std::string line; std::getline(lines, line);) {
                if (line.contains("plaintext-refused") && line.contains("outside/stranger")) {
                    return true;
                }
            }
            return false;
        },
        20))
        << ask("node-2", {"flows", "--last", "20"});
    EXPECT_TRUE(honest_peer_is_served());
}

TEST_F(ClientAttack, GarbageAndReplay) {
    const auto own = genuine("client");
    EXPECT_EQ(attack("plaintext-refused",
                     [](UniqueFd fd) {
                         EXPECT_TRUE(send_all(fd.get(), std::string(5000, '\xA5')));
                         return read_to_end(fd.get());
                     }),
              "reset");
    std::string whole;
    {
        TlsEnd end(TlsEnd::Role::kClient, connect_from("shop/client", address("api")), {.own = &own});
        ASSERT_TRUE(end.handshake()) << end.ending();
        ASSERT_TRUE(end.send("pay 100\n"));
        ASSERT_EQ(end.receive(), "hello\n");
        whole = end.sent();
    }
    // Every byte that an honest client sent, once more: the server's part differs, so nothing behind the first flight
    // can be read, and nothing in the first flight does anything.
    EXPECT_NE(attack("garbage",
                     [&](UniqueFd fd) {
                         (void)send_all(fd.get(), whole); // the server may have seen enough before the end
                         return read_to_end(fd.get());
                     }),
              "timeout");
    // A first flight that turns into noise.
    const auto hello = whole.substr(0, 5U + static_cast<std::size_t>(static_cast<unsigned char>(whole[3]) << 8U |
                                                                     static_cast<unsigned char>(whole[4])));
    EXPECT_NE(attack("garbage",
                     [&](UniqueFd fd) {
                         (void)send_all(fd.get(), hello + std::string(500, '\xA5'));
                         return read_to_end(fd.get());
                     }),
              "timeout");
    EXPECT_NE(attack("eof",
                     [&](UniqueFd fd) {
                         EXPECT_TRUE(send_all(fd.get(), hello));
                         ::shutdown(fd.get(), SHUT_WR);
                         return read_to_end(fd.get());
                     }),
              "timeout");
    EXPECT_TRUE(eventually([] { return endings().contains(" 8 reset\n"); }, 20)) << "the honest one, cut off";
    const auto seen = endings();
    EXPECT_EQ(seen.find(" 8 "), seen.rfind(" 8 ")) << "the replayed payment reached the application:\n" << seen;
}

TEST_F(ClientAttack, TruncatedStreamIsAResetToTheApplication) {
    const auto own = genuine("client");
    for (const bool in_order : {true, false}) {
        TlsEnd end(TlsEnd::Role::kClient, connect_from("shop/client", address("api")), {.own = &own});
        ASSERT_TRUE(end.handshake()) << end.ending();
        ASSERT_TRUE(end.send("half of a messa"));
        ASSERT_TRUE(end.send("ge\n"));
        ASSERT_EQ(end.receive(), "hello\n");
        const auto port = own_port(end.fd());
        if (in_order) {
            end.say_goodbye();
        }
        ASSERT_EQ(::shutdown(end.fd(), SHUT_WR), 0);
        const auto wanted = fmt::format("{} 18 {}\n", port, in_order ? "eof" : "reset");
        EXPECT_TRUE(eventually([&] { return endings().contains(wanted); }, 20)) << wanted << endings();
    }
}

} // namespace
} // namespace weft::e2e

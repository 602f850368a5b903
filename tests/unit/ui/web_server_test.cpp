// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the listener of `weft ui` gives, to whom, and what it refuses.
#include "tools/weft/ui/web_server.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <set>

#include "tools/weft/ui/assets.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::ui {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kKey = "0123456789abcdef0123456789abcdef";

class Web : public testing::Test {
protected:
    static void SetUpTestSuite() {
        auto started =
            WebServer::start({.listen = "127.0.0.1:0", .hosts = {"Map.Example"}, .key = kKey},
                             {.graph = [] { return std::string("{\"nodes\":[]}"); },
                              .edge = [](const std::string& id) -> std::optional<std::string> {
                                  return id == "a/b>c/d" ? std::optional<std::string>("{\"id\":1}") : std::nullopt;
                              }});
        ASSERT_TRUE(started.has_value()) << started.error().message();
        server = std::make_unique<WebServer>(std::move(*started));
    }
    static void TearDownTestSuite() { server.reset(); }
    /// The whole answer to raw text.
    std::string raw(const std::string& text) const {
        const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<std::uint16_t>(server->port()));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
        EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
        std::string answer;
        std::array<char, 4096> buffer{};
        for (ssize_t size = 0; (size = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) {
            answer.append(buffer.data(), static_cast<std::size_t>(size));
        }
        return answer;
    }
    std::string ask(const std::string& line, const std::string& headers = "",
                    const std::string& host = "localhost") const {
        return raw(line + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n");
    }
    const std::string with_key = std::string("X-Weft-Key: ") + kKey + "\r\n";
    static inline std::unique_ptr<WebServer> server; ///< of all tests: it ends slowly
};

TEST_F(Web, GivesItsFilesToAnybodyAndAllowsNothingElseInThem) {
    const auto page = ask("GET /");
    EXPECT_THAT(page, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    EXPECT_THAT(page, HasSubstr("<title>Weft: services</title>"));
    EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'; script-src 'self'; "));
    EXPECT_THAT(page, HasSubstr("\r\nX-Content-Type-Options: nosniff\r\n"));
    EXPECT_THAT(page, HasSubstr("\r\nCache-Control: no-store\r\n"));
    EXPECT_THAT(page, Not(HasSubstr("unsafe-inline")));
    EXPECT_THAT(page, Not(HasSubstr("Access-Control-Allow")));
    EXPECT_THAT(ask("GET /main.js"), HasSubstr("Content-Type: text/javascript"));
    EXPECT_THAT(ask("GET /../../etc/passwd"), Not(HasSubstr("root:")));
    EXPECT_THAT(ask("GET /nothing"), StartsWith("HTTP/1.1 404"));
}

TEST_F(Web, PageNamesOnlyFilesThatAreThere) {
    for (const auto* path : {"/", "/ui.css", "/main.js", "/map.js", "/details.js", "/camera.js", "/edges.js"}) {
        const auto* asset = find_asset(path);
        ASSERT_NE(asset, nullptr) << path;
        const std::string body(asset->body);
        for (const std::string mark : {"href=\"/", "src=\"/", "from \"/"}) {
            for (auto at = body.find(mark); at != std::string::npos; at = body.find(mark, at + 1)) {
                const auto begin = at + mark.size() - 1;
                const auto named = body.substr(begin, body.find('"', begin) - begin);
                EXPECT_NE(find_asset(named), nullptr) << path << " names " << named;
            }
        }
        EXPECT_EQ(body.find("https://"), std::string::npos) << path;
    }
}

TEST_F(Web, GivesDataOnlyForTheKey) {
    EXPECT_THAT(ask("GET /api/graph"), StartsWith("HTTP/1.1 401"));
    EXPECT_THAT(ask("GET /api/graph", "X-Weft-Key: 0123456789abcdef0123456789abcdee\r\n"), StartsWith("HTTP/1.1 401"));
    EXPECT_THAT(ask("GET /api/graph", "X-Weft-Key: 0123\r\n"), StartsWith("HTTP/1.1 401"));
    EXPECT_THAT(ask("GET /api/graph", "X-Weft-Key: \r\n"), StartsWith("HTTP/1.1 401"));
    EXPECT_THAT(ask(std::string("GET /api/graph?key=") + kKey), StartsWith("HTTP/1.1 401")) << "not in the address";
    const auto graph = ask("GET /api/graph", with_key);
    EXPECT_THAT(graph, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
    EXPECT_THAT(graph, HasSubstr("\r\n\r\n{\"nodes\":[]}"));
    EXPECT_THAT(ask("GET /api/edge?id=a%2Fb%3Ec%2Fd", with_key), HasSubstr("{\"id\":1}"));
    EXPECT_THAT(ask("GET /api/edge?id=x", with_key), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(ask("GET /api/edge", with_key), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(ask("GET /api/edge?id=" + std::string(5000, 'a'), with_key), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(ask("GET /api/other", with_key), StartsWith("HTTP/1.1 404"));
}

TEST_F(Web, RefusesNamesThatAreNotItsOwn) {
    for (const auto* host :
         {"evil.example", "evil.example:4680", "127.0.0.1.evil.example", "192.0.2.7", "[2001:db8::1]:80", ""}) {
        EXPECT_THAT(ask("GET /api/graph", with_key, host), StartsWith("HTTP/1.1 4")) << host;
        EXPECT_THAT(ask("GET /", "", host), Not(HasSubstr("<title>"))) << host;
    }
    for (const auto* host :
         {"localhost:9", "LOCALHOST", "127.0.0.1:4680", "127.1.2.3", "[::1]:4680", "map.example", "MAP.example:80"}) {
        EXPECT_THAT(ask("GET /api/graph", with_key, host), StartsWith("HTTP/1.1 200")) << host;
    }
    EXPECT_THAT(raw("GET / HTTP/1.0\r\n\r\n"), Not(HasSubstr("<title>"))) << "no name at all";
}

TEST_F(Web, AnswersNothingButGet) {
    for (const auto* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"}) {
        EXPECT_THAT(ask(std::string(method) + " /api/graph", with_key + "Content-Length: 0\r\n"),
                    StartsWith("HTTP/1.1 405"))
            << method;
    }
}

TEST_F(Web, ListensOnLoopbackUnlessToldWhatItIsCalled) {
    for (const auto* address :
         {"0.0.0.0:0", "192.0.2.1:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0", "127.0.0.1:0s", "", "4680"}) {
        const auto started = WebServer::start({.listen = address, .hosts = {}, .key = kKey}, {});
        ASSERT_FALSE(started.has_value()) << address;
        EXPECT_EQ(started.error().code(), EINVAL) << address;
    }
    const auto taken =
        WebServer::start({.listen = "127.0.0.1:" + std::to_string(server->port()), .hosts = {}, .key = kKey}, {});
    ASSERT_FALSE(taken.has_value());
    EXPECT_EQ(taken.error().code(), EADDRINUSE);
}

TEST(WebKey, IsNeverTheSame) {
    std::set<std::string> keys;
    for (int i = 0; i < 100; ++i) {
        const auto key = make_key();
        ASSERT_TRUE(key.has_value());
        EXPECT_EQ(key->size(), 32U);
        keys.insert(*key);
    }
    EXPECT_EQ(keys.size(), 100U);
}

} // namespace
} // namespace weft::ui

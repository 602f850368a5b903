// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Sockets and handshakes for tests.
#include "tests/net/ktls/streams.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>

#include <gtest/gtest.h>

namespace weft::ktls::test {

using Clock = std::chrono::steady_clock;

namespace {

struct Listener {
    UniqueFd fd;
    sockaddr_storage where{};
    socklen_t size = sizeof where;
    int uses = 0;
};

UniqueFd new_socket(int family, int mss) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (mss != 0) {
        (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof mss);
    }
    return fd;
}

void listen_on_loopback(Listener& listener, int family, int mss) {
    listener.fd = new_socket(family, mss);
    listener.uses = 0;
    listener.where = {};
    listener.where.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET6) {
        reinterpret_cast<sockaddr_in6*>(&listener.where)->sin6_addr = in6addr_loopback;
        listener.size = sizeof(sockaddr_in6);
    } else {
        reinterpret_cast<sockaddr_in*>(&listener.where)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listener.size = sizeof(sockaddr_in);
    }
    auto* address = reinterpret_cast<sockaddr*>(&listener.where);
    EXPECT_EQ(::bind(listener.fd.get(), address, listener.size), 0);
    EXPECT_EQ(::listen(listener.fd.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener.fd.get(), address, &listener.size), 0);
}

} // namespace

TcpPair::TcpPair(int mss, bool ipv6) {
    const int family = ipv6 ? AF_INET6 : AF_INET;
    // One listener for many pairs: thousands of connections need their ports for themselves.
    constexpr int kUses = 4000;
    thread_local Listener shared[2];
    Listener own;
    Listener& listener = mss != 0 ? own : shared[ipv6 ? 1 : 0];
    if (!listener.fd.valid() || ++listener.uses > kUses) {
        listen_on_loopback(listener, family, mss);
    }
    client = new_socket(family, mss);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&listener.where), listener.size), 0)
        << std::strerror(errno);
    server = UniqueFd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(server.valid()) << std::strerror(errno);
    const int one = 1;
    (void)::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)::setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

short wait_for(int fd, short events, std::chrono::milliseconds limit) {
    pollfd p{fd, events, 0};
    (void)::poll(&p, 1, static_cast<int>(limit.count()));
    return p.revents;
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
    const auto end = Clock::now() + limit;
    while (!condition()) {
        if (Clock::now() > end) {
            return false;
        }
        (void)::poll(nullptr, 0, 2);
    }
    return true;
}

Outcome drive(Handshake& client, int client_fd, Handshake& server, int server_fd) {
    const auto is_end = [](Step step) { return step == Step::kDone || step == Step::kFailed; };
    const auto events = [](Step step) { return static_cast<short>(step == Step::kWantWrite ? POLLOUT : POLLIN); };
    Outcome outcome{client.step(), server.step()};
    const auto end = Clock::now() + kPatience;
    while (!is_end(outcome.client) || !is_end(outcome.server)) {
        if (Clock::now() > end) {
            ADD_FAILURE() << "the handshake hangs";
            break;
        }
        pollfd both[2] = {{is_end(outcome.client) ? -1 : client_fd, events(outcome.client), 0},
                          {is_end(outcome.server) ? -1 : server_fd, events(outcome.server), 0}};
        (void)::poll(both, 2, 1000);
        outcome = {client.step(), server.step()};
        // The other one would wait for ever: it learns of the end as from a closed socket.
        if (outcome.client == Step::kFailed && !is_end(outcome.server)) {
            (void)::shutdown(client_fd, SHUT_WR);
        }
        if (outcome.server == Step::kFailed && !is_end(outcome.client)) {
            (void)::shutdown(server_fd, SHUT_WR);
        }
    }
    return outcome;
}

Result<> anybody(const Peer&) {
    return {};
}

Secured secure(const std::shared_ptr<const Context>& client, const std::shared_ptr<const Context>& server,
               const std::string& resumption_key, int mss) {
    Secured made{TcpPair(mss), {}, {}};
    made.client = *Handshake::client(client, made.sockets.client.get(), {anybody, server->id(), resumption_key});
    made.server = *Handshake::server(server, made.sockets.server.get(), {anybody});
    const auto outcome = drive(*made.client, made.sockets.client.get(), *made.server, made.sockets.server.get());
    EXPECT_EQ(outcome.client, Step::kDone) << made.client->failure().detail;
    EXPECT_EQ(outcome.server, Step::kDone) << made.server->failure().detail;
    return made;
}

} // namespace weft::ktls::test

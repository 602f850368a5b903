// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/recovery.hpp"

#include <sys/socket.h>

#include <array>
#include <chrono>

#include "agent/mesh/label.hpp"
#include "agent/mesh/sockets.hpp"
#include "weft/ktls/relay_client.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::mesh {
namespace {

constexpr std::chrono::seconds kPatience{5};

using Listeners = std::array<UniqueFd, kListenerRoles>;

Result<UniqueFd> fetch(ktls::RelayClient& relay, std::uint64_t id) {
    WEFT_TRY(relay.fetch(id));
    WEFT_ASSIGN(auto answer, relay.await(WEFT_RELAY_FETCH, kPatience));
    return std::move(answer.peer); // invalid when it is gone by now
}

/// It listens, and in that namespace.
bool listens_in(int fd, std::uint64_t netns_cookie) {
    std::uint64_t cookie = 0;
    socklen_t cookie_size = sizeof cookie;
    int listening = 0;
    socklen_t size = sizeof listening;
    return ::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &cookie_size) == 0 && cookie == netns_cookie &&
           ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening == 1;
}

std::optional<PodSockets> assemble(std::uint64_t netns_cookie, Listeners& fds) {
    auto& [dial4, dial6, carrier4, carrier6] = fds;
    for (const auto& fd : fds) {
        if (fd.valid() && !listens_in(fd.get(), netns_cookie)) {
            return std::nullopt;
        }
    }
    if (!dial4.valid() || !carrier4.valid() || dial6.valid() != carrier6.valid()) {
        return std::nullopt;
    }
    const auto end4 = own_end(dial4.get());
    const auto end6 = dial6.valid() ? own_end(dial6.get()) : end4;
    if (!end4 || !end6 || end4->port != end6->port) {
        return std::nullopt;
    }
    PodSockets sockets;
    sockets.dial_port = end4->port;
    sockets.dial4 = std::move(dial4);
    sockets.dial6 = std::move(dial6);
    sockets.carrier4 = std::move(carrier4);
    sockets.carrier6 = std::move(carrier6);
    return sockets;
}

} // namespace

Result<Recovered> recover(const std::string& relay_socket) {
    WEFT_ASSIGN(auto relay, ktls::RelayClient::connect(relay_socket));
    std::map<std::uint64_t, Listeners> listeners;
    Recovered recovered;
    std::uint32_t cursor = 0;
    do {
        WEFT_TRY(relay.list(cursor));
        WEFT_ASSIGN(const auto answer, relay.await(WEFT_RELAY_LIST, kPatience));
        for (std::size_t i = 0; i < answer.entries.size(); ++i) {
            if (answer.entries[i].state != WEFT_RELAY_KEPT) {
                continue;
            }
            const auto id = answer.entries[i].id;
            const Label label = read_label(answer.labels[i]);
            if (const auto* listener = std::get_if<ListenerLabel>(&label); listener != nullptr) {
                WEFT_ASSIGN(listeners[listener->netns_cookie][static_cast<std::size_t>(listener->role)],
                            fetch(relay, id));
            } else if (const auto* waiting = std::get_if<WaitingLabel>(&label); waiting != nullptr) {
                WEFT_ASSIGN(auto app, fetch(relay, id));
                recovered.waiting[waiting->netns_cookie].push_back({id, std::move(app)});
            } else {
                recovered.useless.push_back(id);
            }
        }
        cursor = answer.head.cursor;
    } while (cursor != 0);
    for (auto& [cookie, fds] : listeners) {
        if (auto pod = assemble(cookie, fds); pod) {
            recovered.pods.emplace(cookie, std::move(*pod));
        } else {
            for (int role = 0; role < kListenerRoles; ++role) {
                recovered.useless.push_back(listener_id({cookie, static_cast<ListenerRole>(role)}));
            }
        }
    }
    return recovered;
}

} // namespace weft::mesh

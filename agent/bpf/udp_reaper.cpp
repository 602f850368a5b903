// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/udp_reaper.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "agent/bpf/netns.hpp"
#include "agent/bpf/sock_destroy.hpp"

namespace weft::bpf {
namespace {

constexpr std::uint32_t kConnected = 1; // TCP_ESTABLISHED, which the kernel also uses for connected UDP

bool same(const weft_addr_port& a, const weft_addr_port& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

} // namespace

std::vector<weft_conn> stale_udp_sockets(std::span<const weft_conn> connections, std::span<const StaleBackend> stale) {
    std::vector<weft_conn> found;
    for (const weft_conn& connection : connections) {
        if (connection.local.proto != IPPROTO_UDP || connection.state != kConnected ||
            (connection.socket.flags & WEFT_SOCKET_TRANSLATED) == 0) {
            continue;
        }
        const bool matches = std::ranges::any_of(stale, [&](const StaleBackend& gone) {
            return same(gone.backend, connection.socket.backend) &&
                   (gone.service == 0 || gone.service == connection.socket.service);
        });
        if (matches) {
            found.push_back(connection);
        }
    }
    return found;
}

ReapStats reap_udp_sockets(std::span<const weft_conn> sockets,
                           const std::map<std::uint64_t, std::string>& netns_paths) {
    ReapStats stats;
    std::map<std::uint64_t, std::vector<const weft_conn*>> by_netns;
    for (const weft_conn& socket : sockets) {
        by_netns[socket.socket.netns].push_back(&socket);
    }
    for (const auto& [cookie, members] : by_netns) {
        const auto path = netns_paths.find(cookie);
        if (path == netns_paths.end()) {
            stats.errors.emplace_back(
                ENOENT, fmt::format("network namespace with cookie {} has no known path; {} UDP sockets in it keep a "
                                    "backend that is gone",
                                    cookie, members.size()));
            continue;
        }
        const auto entered = in_netns(path->second, [&]() -> Result<> {
            WEFT_ASSIGN(SockDestroyer destroyer, SockDestroyer::open());
            for (const weft_conn* socket : members) {
                const auto destroyed = destroyer.destroy_udp(socket->local, socket->remote, socket->cookie);
                if (!destroyed) {
                    stats.errors.push_back(destroyed.error());
                } else {
                    ++(*destroyed ? stats.destroyed : stats.already_gone);
                }
            }
            return {};
        });
        if (!entered) {
            stats.errors.push_back(entered.error());
        }
    }
    return stats;
}

} // namespace weft::bpf

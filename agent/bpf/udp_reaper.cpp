// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/udp_reaper.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "agent/bpf/netns.hpp"
#include "agent/bpf/netns_finder.hpp"
#include "agent/bpf/sock_destroy.hpp"
#include "weft/base/ip.hpp"

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

UdpReaper UdpReaper::open() {
    auto iterator = UdpIterator::open();
    if (!iterator) {
        return UdpReaper(std::nullopt, iterator.error().message());
    }
    return UdpReaper(std::move(*iterator), "");
}

UdpReaper UdpReaper::by_netlink() {
    return UdpReaper(std::nullopt, "netlink was asked for");
}

const char* UdpReaper::mechanism() const {
    return iterator_ ? "bpf_sock_destroy" : "netlink";
}

Result<> UdpReaper::reap_here(std::span<const weft_conn* const> sockets, ReapStats& stats) {
    if (iterator_) {
        WEFT_ASSIGN(const std::vector<int> fates, iterator_->destroy(sockets));
        for (std::size_t i = 0; i < fates.size(); ++i) {
            if (fates[i] != 0 && fates[i] != ENOENT) {
                stats.errors.emplace_back(fates[i], fmt::format("destroying UDP socket {} -> {}: {}",
                                                                to_string(sockets[i]->local),
                                                                to_string(sockets[i]->remote), strerror(fates[i])));
                continue;
            }
            ++(fates[i] == 0 ? stats.destroyed : stats.already_gone);
        }
        return {};
    }
    WEFT_ASSIGN(SockDestroyer destroyer, SockDestroyer::open());
    for (const weft_conn* socket : sockets) {
        const auto destroyed = destroyer.destroy_udp(*socket);
        if (!destroyed) {
            stats.errors.push_back(destroyed.error());
        } else {
            ++(*destroyed ? stats.destroyed : stats.already_gone);
        }
    }
    return {};
}

ReapStats UdpReaper::reap(std::span<const weft_conn> sockets, const std::map<std::uint64_t, std::string>& netns_paths) {
    ReapStats stats;
    std::map<std::uint64_t, std::vector<const weft_conn*>> by_netns;
    std::set<std::uint64_t> unknown;
    for (const weft_conn& socket : sockets) {
        by_netns[socket.socket.netns].push_back(&socket);
        if (!netns_paths.contains(socket.socket.netns)) {
            unknown.insert(socket.socket.netns);
        }
    }
    std::map<std::uint64_t, std::string> paths = netns_paths;
    if (!unknown.empty()) {
        paths.merge(find_netns(std::move(unknown)));
    }
    for (const auto& [cookie, members] : by_netns) {
        const auto path = paths.find(cookie);
        if (path == paths.end()) {
            stats.errors.emplace_back(
                ENOENT, fmt::format("the network namespace with cookie {} was not found; {} UDP sockets in it keep a "
                                    "backend that is gone",
                                    cookie, members.size()));
            continue;
        }
        const auto entered = in_netns(path->second, [&] { return reap_here(members, stats); });
        if (!entered) {
            stats.errors.push_back(entered.error());
        }
    }
    return stats;
}

} // namespace weft::bpf

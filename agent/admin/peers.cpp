// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/admin/peers.hpp"

#include <thread>

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include "weft/base/ip.hpp"

namespace weft::admin {
namespace {

/// Nobody tells of a new snapshot, and a relay does not mind a moment.
constexpr auto kLook = std::chrono::milliseconds(250);

std::string join(const Ip& ip, std::uint16_t port) {
    return fmt::format(fmt::runtime(ip.is_v4() ? "{}:{}" : "[{}]:{}"), ip.to_string(), port);
}

/// Only programs of this machine reach a listener on such an address.
bool is_loopback(const Ip& ip) {
    static const auto kV4 = Cidr::parse("127.0.0.0/8"), kV6 = Cidr::parse("::1/128");
    return kV4->contains(ip) || kV6->contains(ip);
}

bool is_wildcard(const std::string& host) {
    return host.empty() || host == "*" || host == "0.0.0.0" || host == "::";
}

} // namespace

std::map<std::string, peer::ChangeNotification> peers_of(const store::Snapshot& snapshot, const std::string& own_name,
                                                         const Reach& reach) {
    std::map<std::string, peer::ChangeNotification> out;
    const auto add = [&](const std::string& name, const std::string& address, bool tls) {
        auto& one = out[name];
        one.set_name(name);
        one.set_address(address);
        one.set_type(peer::PEER_ADDED);
        if (tls) {
            one.mutable_tls()->set_server_name(name);
        }
    };
    const auto bound = Ip::parse(reach.host);
    if (reach.port != 0 && !(bound && is_loopback(*bound))) {
        for (const auto& [key, node] : *snapshot.nodes) {
            if (!node->addresses.empty()) {
                add(key.second, join(node->addresses.front(), reach.port), reach.tls);
            }
        }
    }
    if (reach.port != 0 && !is_wildcard(reach.host)) {
        add(own_name, bound ? join(*bound, reach.port) : fmt::format("{}:{}", reach.host, reach.port), reach.tls);
    } else if (!out.contains(own_name)) {
        add(own_name, "unix://" + reach.socket_path, false);
    }
    return out;
}

void stream_peers(const AgentView& view, const Reach& reach,
                  const std::function<bool(const peer::ChangeNotification&)>& send,
                  const std::function<bool()>& go_on) {
    std::map<std::string, peer::ChangeNotification> told;
    std::shared_ptr<const store::Snapshot> seen;
    for (; go_on(); std::this_thread::sleep_for(kLook)) {
        const auto snapshot = view.snapshot();
        if (snapshot == seen) {
            continue;
        }
        seen = snapshot;
        auto now = peers_of(*snapshot, view.health().node_name, reach);
        for (auto& [name, old] : told) {
            if (!now.contains(name)) {
                old.set_type(peer::PEER_DELETED);
                if (!send(old)) {
                    return;
                }
            }
        }
        for (const auto& [name, one] : now) {
            const auto old = told.find(name);
            if (old != told.end() && google::protobuf::util::MessageDifferencer::Equals(old->second, one)) {
                continue;
            }
            auto news = one;
            news.set_type(old == told.end() ? peer::PEER_ADDED : peer::PEER_UPDATED);
            if (!send(news)) {
                return;
            }
        }
        told = std::move(now);
    }
}

} // namespace weft::admin

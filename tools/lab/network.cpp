// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Lines for `ip -batch`, one batch per namespace.
#include "tools/lab/network.hpp"

#include <algorithm>

#include "tools/lab/netns.hpp"

namespace weft::lab {
namespace {

std::string host_route(const char* verb, const Ip& ip, const WireNode& via) {
    const auto& gateway = ip.is_v4() ? via.addresses[0] : via.addresses[1];
    return fmt::format("route {} {} via {}", verb, Cidr::host(ip).to_string(), gateway.to_string());
}

/// `port` on the wire's bridge, `eth0` in `netns`.
Result<> plug_in(const Names& names, const std::string& port, const std::string& netns) {
    return ip_batch(names.wire_netns(), {fmt::format("link add {} type veth peer name eth0 netns {}", port, netns),
                                         fmt::format("link set {} master wire up", port)});
}

std::vector<std::string> pod_block_routes(const std::vector<WireNode>& nodes, const WireNode* except) {
    std::vector<std::string> lines;
    for (const auto& node : nodes) {
        for (const auto& cidr : node.pod_cidrs) {
            if (&node != except) {
                const auto& gateway = cidr.is_v4() ? node.addresses[0] : node.addresses[1];
                lines.push_back(fmt::format("route replace {} via {}", cidr.to_string(), gateway.to_string()));
            }
        }
    }
    return lines;
}

} // namespace

Result<> create_wire(const Names& names) {
    WEFT_TRY(create_netns(names.wire_netns()));
    // Snooping would hold back neighbour discovery until it has seen a listener report.
    return ip_batch(names.wire_netns(),
                    {"link add wire type bridge mcast_snooping 0 forward_delay 0", "link set wire up"});
}

Result<> create_nodes(const Names& names, const std::vector<WireNode>& nodes) {
    for (const auto& node : nodes) {
        const auto netns = names.node_netns(node.name);
        WEFT_TRY(create_netns(netns));
        WEFT_TRY(in_netns(netns_path(netns), [] {
            return write_sysctls({{"net/ipv4/ip_forward", "1"},
                                  {"net/ipv6/conf/all/forwarding", "1"},
                                  {"net/ipv6/conf/default/forwarding", "1"}});
        }));
        WEFT_TRY(plug_in(names, fmt::format("n{}", node.number), netns));
        std::vector<std::string> lines{"link set eth0 up"};
        for (const auto& ip : node.addresses) {
            lines.push_back(fmt::format("addr add {}/{} dev eth0 {}", ip.to_string(), ip.is_v4() ? 24 : 64,
                                        ip.is_v4() ? "" : "nodad"));
        }
        for (const auto& ip : node.own_addresses) {
            lines.push_back(
                fmt::format("addr add {} dev eth0 {}", Cidr::host(ip).to_string(), ip.is_v4() ? "" : "nodad"));
        }
        for (const auto& other : nodes) {
            for (const auto& ip : other.name != node.name ? other.own_addresses : std::vector<Ip>{}) {
                lines.push_back(fmt::format("route replace {} dev eth0", Cidr::host(ip).to_string()));
            }
        }
        for (auto& route : pod_block_routes(nodes, &node)) {
            lines.push_back(std::move(route));
        }
        WEFT_TRY(ip_batch(netns, lines));
    }
    return {};
}

Result<> create_external(const Names& names, const std::string& netns, int number, const std::vector<Ip>& addresses,
                         const std::vector<WireNode>& nodes) {
    WEFT_TRY(create_netns(netns));
    WEFT_TRY(plug_in(names, fmt::format("x{}", number), netns));
    std::vector<std::string> lines{"link set eth0 up"};
    for (const auto& ip : addresses) {
        lines.push_back(fmt::format("addr add {} dev eth0 {}", Cidr::host(ip).to_string(), ip.is_v4() ? "" : "nodad"));
    }
    // Everything is on the wire: nodes by their own addresses, other outside hosts by theirs, pods behind their node.
    lines.emplace_back("route replace 0.0.0.0/0 dev eth0");
    lines.emplace_back("route replace ::/0 dev eth0");
    for (auto& route : pod_block_routes(nodes, nullptr)) {
        lines.push_back(route + " dev eth0 onlink");
    }
    WEFT_TRY(ip_batch(netns, lines));
    for (const auto& node : nodes) {
        std::vector<std::string> routes;
        for (const auto& ip : addresses) {
            routes.push_back(fmt::format("route replace {} dev eth0", Cidr::host(ip).to_string()));
        }
        WEFT_TRY(ip_batch(names.node_netns(node.name), routes));
    }
    return {};
}

Result<> remove_external(const Names& names, const std::string& netns, const std::vector<Ip>& addresses,
                         const std::vector<WireNode>& nodes) {
    for (const auto& node : nodes) {
        std::vector<std::string> routes;
        for (const auto& ip : addresses) {
            routes.push_back(fmt::format("route del {} dev eth0", Cidr::host(ip).to_string()));
        }
        ip_batch_best_effort(names.node_netns(node.name), routes);
    }
    ip_batch_best_effort(netns, {"link del eth0"});
    return remove_netns(netns);
}

Stray stray_addresses(const std::vector<Ip>& addresses, const WireNode& owner) {
    Stray stray{.owner = &owner};
    for (const auto& ip : addresses) {
        if (std::ranges::none_of(owner.pod_cidrs, [&](const Cidr& block) { return block.contains(ip); })) {
            stray.addresses.push_back(ip);
        }
    }
    return stray;
}

Result<> route_stray(const Names& names, const Stray& stray, const std::vector<WireNode>& nodes, bool add) {
    for (const auto& node : nodes) {
        if (node.name != stray.owner->name) {
            WEFT_TRY(route_stray_in(names.node_netns(node.name), stray, add));
        }
    }
    return {};
}

Result<> route_stray_in(const std::string& netns, const Stray& stray, bool add) {
    std::vector<std::string> lines;
    for (const auto& ip : stray.addresses) {
        lines.push_back(host_route(add ? "replace" : "del", ip, *stray.owner) + " dev eth0 onlink");
    }
    if (!add) {
        ip_batch_best_effort(netns, lines);
        return {};
    }
    return ip_batch(netns, lines);
}

} // namespace weft::lab

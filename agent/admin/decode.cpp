// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One decoder for each map: which ABI struct its keys and values are, and how they read.
#include "agent/admin/decode.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "agent/admin/decode_text.hpp"
#include "agent/telemetry/reasons.hpp"
#include "weft/abi/accel.h"
#include "weft/abi/endpoint.h"
#include "weft/abi/event.h"
#include "weft/abi/mesh.h"
#include "weft/abi/policy.h"
#include "weft/abi/rule_drops.h"
#include "weft/abi/service.h"
#include "weft/abi/socket.h"
#include "weft/abi/traffic.h"
#include "weft/abi/udp_flow.h"
#include "weft/base/content_hash.hpp"

namespace weft::admin {
namespace {

constexpr Flag kEndpointFlags[] = {{WEFT_ENDPOINT_HOST, "host"},
                                   {WEFT_ENDPOINT_ISOLATED_INGRESS, "isolated-ingress"},
                                   {WEFT_ENDPOINT_ISOLATED_EGRESS, "isolated-egress"},
                                   {WEFT_ENDPOINT_ANY_SOURCE, "any-source"},
                                   {WEFT_ENDPOINT_EXTERNAL, "bypassed"},
                                   {WEFT_ENDPOINT_MESH, "mesh"},
                                   {WEFT_ENDPOINT_DIALS, "dials-tls"},
                                   {WEFT_ENDPOINT_STRICT, "strict"},
                                   {WEFT_ENDPOINT_ACCEL, "accel"}};
constexpr Flag kServiceFlags[] = {{WEFT_SERVICE_AFFINITY, "affinity"}, {WEFT_SERVICE_NODE_PORT, "node-port"}};
constexpr Flag kPeerFlags[] = {
    {WEFT_PEER_LOCAL_NODE, "local-node"}, {WEFT_PEER_MESH, "takes-tls"}, {WEFT_PEER_DIALS, "dials-tls"}};
constexpr Flag kConfigFlags[] = {{WEFT_CONFIG_ALLOW_UNKNOWN, "allow-unknown"},
                                 {WEFT_CONFIG_EVENTS_OFF, "events-off"},
                                 {WEFT_CONFIG_TRACE, "trace"},
                                 {WEFT_CONFIG_RETIRED, "retired"},
                                 {WEFT_CONFIG_UDP_OFF, "udp-off"}};

const char* algorithm_name(std::uint16_t algorithm) {
    switch (algorithm) {
    case WEFT_ALGORITHM_RANDOM:
        return "random";
    case WEFT_ALGORITHM_ROUND_ROBIN:
        return "round-robin";
    case WEFT_ALGORITHM_MAGLEV:
        return "maglev";
    case WEFT_ALGORITHM_LEAST_CONNECTIONS:
        return "least-connections";
    default:
        return "unknown";
    }
}

std::string u32_text(Bytes bytes) {
    return shown<std::uint32_t>(bytes, [](std::uint32_t v) { return std::to_string(v); });
}

// A per-CPU value: the kernel hands out one after another.
std::string per_cpu_sum(Bytes bytes) {
    if (bytes.empty() || bytes.size() % sizeof(std::uint64_t) != 0) {
        return fmt::format("0x{} ({} bytes)", hex(bytes), bytes.size());
    }
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < bytes.size(); at += sizeof sum) {
        sum += *read<std::uint64_t>(bytes.subspan(at, sizeof sum));
    }
    return std::to_string(sum);
}

std::string cidr_text(const weft_cidr_key& key) {
    const Ip base(key.addr);
    return base.is_v4() && key.prefix_bits >= 96 ? fmt::format("{}/{}", base.to_string(), key.prefix_bits - 96)
                                                 : fmt::format("{}/{}", base.to_string(), key.prefix_bits);
}

std::string ports_text(const weft_ports_key& key) {
    const auto set = std::uint64_t{key.ports_hi} << 32 | key.ports_lo;
    if (key.prefix_bits < WEFT_PORTS_PREFIX || key.prefix_bits > WEFT_PORTS_PREFIX + 16) {
        return fmt::format("set={} {} prefix={}", id_text(set), protocol_name(key.proto), key.prefix_bits);
    }
    const auto bits = key.prefix_bits - WEFT_PORTS_PREFIX;
    const auto first = static_cast<std::uint32_t>(__builtin_bswap16(key.port_be));
    const auto last = first | (0xffffu >> bits);
    const auto ports = bits == 0    ? std::string("all ports")
                       : bits == 16 ? fmt::format("port {}", first)
                                    : fmt::format("ports {}-{}", first, last);
    return fmt::format("set={} {} {}", id_text(set), protocol_name(key.proto), ports);
}

std::string mesh_key_text(const Namer& names, Bytes bytes) {
    return shown<weft_mesh_key>(bytes, [&](const auto& key) {
        return fmt::format("netns={} {}", names.netns(key.netns), names.end(key.addr));
    });
}

std::string endpoint_text(const Namer& names, const weft_endpoint& e) {
    std::vector<std::string> ips;
    for (const auto& addr : {e.addr4, e.addr6}) {
        if (const Ip ip(addr); !ip.is_unspecified()) {
            ips.push_back(ip.to_string());
        }
    }
    return fmt::format("workload={} identity={} policy={} addresses={} flags={}", names.workload(e.workload),
                       names.identity(e.identity), names.policy(e.policy),
                       ips.empty() ? "-" : fmt::format("{}", fmt::join(ips, ",")), flag_names(e.flags, kEndpointFlags));
}

std::string service_text(const Namer& names, const weft_service& s) {
    return fmt::format("service={} set={} slots={} algorithm={} affinity={}s flags={}", names.service(s.service),
                       id_text(s.set), s.slot_count, algorithm_name(s.algorithm), s.affinity_seconds,
                       flag_names(s.flags, kServiceFlags));
}

std::string peer_text(const Namer& names, Bytes bytes) {
    return shown<weft_peer>(bytes, [&](const weft_peer& p) {
        return fmt::format("identity={} flags={}", names.identity(p.identity), flag_names(p.flags, kPeerFlags));
    });
}

std::string addr_text(const Namer& names, Bytes bytes) {
    return shown<weft_addr>(bytes, [&](const weft_addr& a) { return names.address(a); });
}

std::string end_text(const Namer& names, Bytes bytes) {
    return shown<weft_addr_port>(bytes, [&](const weft_addr_port& e) { return names.end(e); });
}

std::string maglev_text(const weft_maglev_chunk& chunk) {
    std::vector<std::uint16_t> distinct(std::begin(chunk.slot), std::end(chunk.slot));
    std::ranges::sort(distinct);
    const auto rest = std::ranges::unique(distinct);
    distinct.erase(rest.begin(), rest.end());
    return fmt::format("{} entries over {} slots, first {}", WEFT_MAGLEV_CHUNK, distinct.size(),
                       fmt::join(chunk.slot, chunk.slot + 8, ","));
}

using Decode = DecodedEntry (*)(const Namer&, Bytes, Bytes);

std::string traffic_text(const weft_traffic& t) {
    return fmt::format("opened={} closed={} sent={} received={}", t.opened, t.closed, t.sent, t.received);
}

std::string duration_key_text(Bytes key) {
    static constexpr const char* kKinds[] = {"connect", "srtt", "life"};
    static_assert(std::size(kKinds) == WEFT_DURATION_COUNT);
    return shown<std::uint32_t>(key, [](std::uint32_t index) {
        return fmt::format("{} {}", kKinds[index / WEFT_DIRECTION_COUNT % WEFT_DURATION_COUNT],
                           telemetry::direction_label(static_cast<std::uint8_t>(index % WEFT_DIRECTION_COUNT)));
    });
}

/// One value after another for each CPU.
std::string duration_text(Bytes values) {
    std::uint64_t count = 0, sum_us = 0;
    for (; values.size() >= sizeof(weft_histogram); values = values.subspan(sizeof(weft_histogram))) {
        const auto one = read<weft_histogram>(values.first(sizeof(weft_histogram)));
        sum_us += one->sum_us;
        for (const auto bucket : one->bucket) {
            count += bucket;
        }
    }
    return fmt::format("count={} sum={}us", count, sum_us);
}

struct Known {
    MapInfo info;
    Decode decode; ///< nullptr: the kernel has no list of entries
};

constexpr Known kMaps[] = {
    {{"weft_affinity", "kernel", "session affinity: which backend a client had last"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_affinity_key>(k,
                                                      [&](const auto& key) {
                                                          return fmt::format("service={} client={}",
                                                                             n.service(key.service),
                                                                             n.netns(key.client));
                                                      }),
                             shown<weft_affinity>(v, [&](const auto& a) {
                                 return fmt::format("backend={} last_used={:.3f}s after boot", n.end(a.backend),
                                                    static_cast<double>(a.last_used_ns) / 1e9);
                             })};
     }},
    {{"weft_accel", "kernel", "sockets that offered to skip TCP/IP; see `weft conn list`"}, nullptr},
    {{"weft_accel_meet", "kernel", "connections inside the node whose second end is awaited"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<weft_accel_tuple>(
                 k, [&](const auto& tuple) { return n.end(tuple.client) + " to " + n.end(tuple.server); }),
             shown<weft_accel_offer>(v, [&](const auto& offer) {
                 return fmt::format("socket={} netns={}", offer.cookie, n.netns(offer.netns));
             })};
     }},
    {{"weft_accel_pair", "kernel", "connections inside the node that may skip TCP/IP"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<std::uint64_t>(k, [](std::uint64_t cookie) { return fmt::format("client={}", cookie); }),
             shown<weft_accel_pair>(v, [&](const auto& pair) {
                 return fmt::format("server={} {} to {} bytes={}/{} revision={} flags=0x{:x}", pair.cookie[1],
                                    n.end(pair.end[0]), n.end(pair.end[1]), pair.bytes[0], pair.bytes[1], pair.revision,
                                    pair.flags);
             })};
     }},
    {{"weft_accel_sk", "kernel", "sockets by cookie that may be handed bytes by a socket of this node"}, nullptr},
    {{"weft_cidr", "agent", "prefixes of ipBlock rules and their identities"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_cidr_key>(k, cidr_text), peer_text(n, v)};
     }},
    {{"weft_config", "agent", "policy revision and switches"},
     [](const Namer&, Bytes k, Bytes v) {
         return DecodedEntry{u32_text(k), shown<weft_config>(v, [](const auto& c) {
                                 return fmt::format("revision={} flags={}", c.revision,
                                                    flag_names(c.flags, kConfigFlags));
                             })};
     }},
    {{"weft_conns", "kernel", "open connections of each backend"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{end_text(n, k),
                             shown<std::int64_t>(v, [](std::int64_t c) { return fmt::format("connections={}", c); })};
     }},
    {{"weft_counters", "kernel", "what happened, summed over CPUs"},
     [](const Namer&, Bytes k, Bytes v) {
         return DecodedEntry{shown<std::uint32_t>(k,
                                                  [](std::uint32_t index) {
#define WEFT_COUNTER_TEXT(name, help) help,
                                                      constexpr const char* kText[] = {
                                                          WEFT_COUNTERS(WEFT_COUNTER_TEXT)};
#undef WEFT_COUNTER_TEXT
                                                      return index < WEFT_COUNTER_COUNT ? std::string(kText[index])
                                                                                        : std::to_string(index);
                                                  }),
                             per_cpu_sum(v)};
     }},
    {{"weft_counted", "kernel", "which sum of weft_traffic each connection is part of"}, nullptr},
    {{"weft_drops", "kernel", "outcomes off the normal path, summed over CPUs"},
     [](const Namer&, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<std::uint32_t>(
                 k,
                 [](std::uint32_t index) {
                     return fmt::format(
                         "{} {}", telemetry::reason_label(static_cast<std::uint8_t>(index / WEFT_DIRECTION_COUNT)),
                         telemetry::direction_label(static_cast<std::uint8_t>(index % WEFT_DIRECTION_COUNT)));
                 }),
             per_cpu_sum(v)};
     }},
    {{"weft_durations", "kernel", "durations of connections by powers of two, summed over CPUs"},
     [](const Namer&, Bytes k, Bytes v) { return DecodedEntry{duration_key_text(k), duration_text(v)}; }},
    {{"weft_endpoint", "agent", "workloads of this node by network namespace"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<std::uint64_t>(k, [&](std::uint64_t cookie) { return "netns=" + n.netns(cookie); }),
                             shown<weft_endpoint>(v, [&](const auto& e) { return endpoint_text(n, e); })};
     }},
    {{"weft_events", "kernel", "ring buffer of flow events"}, nullptr},
    {{"weft_ipcache", "agent", "addresses of pods and nodes and their identities"},
     [](const Namer& n, Bytes k, Bytes v) { return DecodedEntry{addr_text(n, k), peer_text(n, v)}; }},
    {{"weft_local", "agent", "addresses of this node's workloads and their namespaces"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{addr_text(n, k),
                             shown<std::uint64_t>(v, [&](std::uint64_t c) { return "netns=" + n.netns(c); })};
     }},
    {{"weft_maglev", "agent", "lookup tables of services with maglev balancing"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<weft_maglev_key>(
                 k, [&](const auto& key) { return fmt::format("set={} chunk={}", n.backend_set(key.set), key.chunk); }),
             shown<weft_maglev_chunk>(v, maglev_text)};
     }},
    {{"weft_member", "agent", "backends that a service has now, for services that remember choices"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_member_key>(k,
                                                    [&](const auto& key) {
                                                        return fmt::format("service={} backend={}",
                                                                           n.service(key.service), n.end(key.backend));
                                                    }),
                             u32_text(v)};
     }},
    {{"weft_mesh_dial", "kernel", "whom an application dialled whose connection went to the agent for mutual TLS"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{mesh_key_text(n, k), shown<weft_mesh_dial>(v, [&](const auto& dial) {
                                 return fmt::format("backend={} asked={}", n.end(dial.backend), n.end(dial.asked));
                             })};
     }},
    {{"weft_mesh_lstn", "agent", "the agent's listeners in pods for encrypted connections"}, nullptr},
    {{"weft_mesh_peer", "agent", "who is behind a connection of the agent's to an application"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{mesh_key_text(n, k), shown<weft_mesh_peer>(v, [&](const auto& peer) {
                                 return "peer=" + n.end(peer.peer) +
                                        ((peer.flags & WEFT_MESH_PEER_PLAINTEXT) != 0 ? " plaintext" : "");
                             })};
     }},
    {{"weft_tls_port", "agent", "ports whose mode of mutual TLS is an exception"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_addr_port>(k, [&](const auto& end) { return n.end(end); }),
                             shown<std::uint32_t>(v, [](std::uint32_t mode) {
                                 return std::string(mode == WEFT_TLS_OFF          ? "off"
                                                    : mode == WEFT_TLS_PERMISSIVE ? "permissive"
                                                    : mode == WEFT_TLS_STRICT     ? "strict"
                                                                                  : "unknown");
                             })};
     }},
    {{"weft_node_addr", "agent", "node addresses that accept node ports; 1 is this node"},
     [](const Namer& n, Bytes k, Bytes v) { return DecodedEntry{addr_text(n, k), u32_text(v)}; }},
    {{"weft_others", "kernel", "connections of workloads with more peers than are counted on their own"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<std::uint64_t>(k, [&](std::uint64_t id) { return n.identity(id); }),
                             shown<weft_others>(v, [](const auto& o) {
                                 weft_traffic all{};
                                 for (const auto& sum : o.sum) {
                                     all.opened += sum.opened;
                                     all.closed += sum.closed;
                                     all.sent += sum.sent;
                                     all.received += sum.received;
                                 }
                                 return fmt::format("peers={} others: {}", o.peers, traffic_text(all));
                             })};
     }},
    {{"weft_policy", "agent", "who may talk to whom: policy class, peer identity, direction"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<weft_policy_key>(k,
                                    [&](const auto& key) {
                                        return fmt::format(
                                            "policy={} peer={} {}", n.policy(key.policy), n.identity(key.identity),
                                            telemetry::direction_label(static_cast<std::uint8_t>(key.direction)));
                                    }),
             shown<weft_policy_entry>(v, [&](const auto& e) {
                 return e.ports == 0 ? fmt::format("allow all ports rule={}", n.rule(e.rule))
                                     : fmt::format("allow ports of set {}", id_text(e.ports));
             })};
     }},
    {{"weft_ports", "agent", "ports that the rules of a port set allow"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_ports_key>(k, ports_text),
                             shown<std::uint64_t>(v, [&](std::uint64_t rule) { return "rule=" + n.rule(rule); })};
     }},
    {{"weft_rr", "kernel", "next slot of each round-robin service"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<std::uint64_t>(k, [&](std::uint64_t id) { return "service=" + n.service(id); }),
                             u32_text(v)};
     }},
    {{"weft_rule_drops", "kernel", "denials by the policies that isolate"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_rule_drops_key>(k,
                                                        [&](const auto& key) {
                                                            return fmt::format(
                                                                "policy={} {} {}", n.policy(key.policy),
                                                                telemetry::reason_label(key.reason),
                                                                telemetry::direction_label(key.direction));
                                                        }),
                             shown<std::uint64_t>(v, [](std::uint64_t c) { return fmt::format("denied={}", c); })};
     }},
    {{"weft_service", "agent", "addresses that applications dial and the services behind them"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{end_text(n, k), shown<weft_service>(v, [&](const auto& s) { return service_text(n, s); })};
     }},
    {{"weft_slot", "agent", "backends of each backend set"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<weft_slot_key>(
                 k, [&](const auto& key) { return fmt::format("set={} slot={}", n.backend_set(key.set), key.index); }),
             shown<weft_slot>(
                 v, [&](const auto& s) { return fmt::format("backend={} weight={}", n.end(s.backend), s.weight); })};
     }},
    {{"weft_socket", "kernel", "state that rides on each governed socket; see `weft conn list`"}, nullptr},
    {{"weft_traffic", "kernel", "connections by workload and peer: opened, closed, bytes"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_traffic_key>(k,
                                                     [&](const auto& key) {
                                                         return fmt::format(
                                                             "{} {} peer={} service={}{}", n.identity(key.workload),
                                                             telemetry::direction_label(key.direction),
                                                             n.identity(key.peer), n.service(key.service),
                                                             key.mutual_tls != 0 ? " mutual_tls" : "");
                                                     }),
                             shown<weft_traffic>(v, traffic_text)};
     }},
    {{"weft_udp_flow", "kernel", "UDP flows that go on, and what they carried so far"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{
             shown<weft_udp_flow_key>(k,
                                      [&](const auto& key) {
                                          return fmt::format("netns={} local={} peer={}", n.netns(key.netns),
                                                             n.end(key.local), n.end(key.peer));
                                      }),
             shown<weft_udp_flow>(v, [&](const auto& f) {
                 return fmt::format("{} service={} sent={} received={} datagrams_sent={} datagrams_received={}",
                                    telemetry::direction_label(f.direction), n.service(f.service), f.bytes_sent,
                                    f.bytes_received, f.packets_sent, f.packets_received);
             })};
     }},
    {{"weft_udp_nat", "kernel", "translation of unconnected UDP, both ways"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_udp_nat_key>(
                                 k,
                                 [&](const auto& key) {
                                     return fmt::format("socket={} {} {}", key.socket,
                                                        key.kind == WEFT_UDP_FORWARD ? "to" : "from", n.end(key.peer));
                                 }),
                             shown<weft_udp_nat>(v, [&](const auto& nat) {
                                 return fmt::format("{} service={}", n.end(nat.peer), n.service(nat.service));
                             })};
     }},
    {{"weft_udp_track", "kernel", "UDP flows that were allowed one way, so that replies pass"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{shown<weft_udp_track_key>(k,
                                                       [&](const auto& key) {
                                                           return fmt::format(
                                                               "netns={} port={} peer={} replies={}",
                                                               n.netns(key.netns), key.local_port, n.end(key.peer),
                                                               telemetry::direction_label(key.reply_direction));
                                                       }),
                             shown<weft_udp_track>(v, [&](const auto& t) {
                                 return fmt::format("revision={} last_seen={:.3f}s after boot", t.revision,
                                                    static_cast<double>(t.last_seen_ns) / 1e9);
                             })};
     }},
    {{"weft_veth", "agent", "devices of this node and the namespace of the pod behind each"},
     [](const Namer& n, Bytes k, Bytes v) {
         return DecodedEntry{u32_text(k),
                             shown<std::uint64_t>(v, [&](std::uint64_t c) { return "netns=" + n.netns(c); })};
     }},
};

const Known* find_known(std::string_view name) {
    const auto found = std::ranges::find_if(kMaps, [&](const Known& known) {
        return known.info.name == name || known.info.name.substr(std::string_view("weft_").size()) == name;
    });
    return found == std::end(kMaps) ? nullptr : found;
}

} // namespace

std::span<const MapInfo> known_maps() {
    static const auto kInfos = [] {
        std::array<MapInfo, std::size(kMaps)> out{};
        std::ranges::transform(kMaps, out.begin(), &Known::info);
        return out;
    }();
    return kInfos;
}

const MapInfo* find_map(std::string_view name) {
    const auto* known = find_known(name);
    return known == nullptr ? nullptr : &known->info;
}

DecodedEntry decode(const Namer& names, std::string_view map, std::span<const std::byte> key,
                    std::span<const std::byte> value) {
    const auto* known = find_known(map);
    if (known == nullptr || known->decode == nullptr) {
        return {"0x" + hex(key), "0x" + hex(value)};
    }
    return known->decode(names, key, value);
}

} // namespace weft::admin

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Answers that are read from the kernel: maps, their entries, and the sockets that are governed now.
#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <unordered_map>

#include <fmt/format.h>

#include "agent/admin/answers.hpp"
#include "agent/admin/decode.hpp"

namespace weft::admin {
namespace {

// As ss(8) names the kernel's TCP states.
constexpr std::array kTcpStates = {"?",          "ESTAB",     "SYN-SENT",    "SYN-RECV",   "FIN-WAIT-1",
                                   "FIN-WAIT-2", "TIME-WAIT", "UNCONN",      "CLOSE-WAIT", "LAST-ACK",
                                   "LISTEN",     "CLOSING",   "NEW-SYN-RECV"};
constexpr std::uint32_t kTcpListen = 10;

std::string bare(const weft_addr_port& at) {
    const auto text = to_string(at);
    return text.substr(text.find(' ') + 1);
}

double monotonic_seconds() {
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now); // this clock always exists
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Connection describe(const weft_conn& conn, const Namer& names, std::uint64_t revision, double now) {
    Connection to;
    const auto& socket = conn.socket;
    const auto pod = names.pod_of_netns(socket.netns);
    to.set_workload(pod.empty() ? fmt::format("netns:{}", socket.netns) : pod);
    to.set_protocol(protocol_name(conn.local.proto));
    to.set_local(bare(conn.local));
    const bool connected = conn.remote.port != 0;
    to.set_remote(connected ? bare(conn.remote) : "*");
    to.set_peer(connected ? names.pod_of(conn.remote.addr) : "");
    if ((socket.flags & WEFT_SOCKET_TRANSLATED) != 0) {
        to.set_service(names.service(socket.service));
        to.set_asked(bare(socket.asked));
    }
    to.set_state(conn.state < kTcpStates.size() ? kTcpStates[conn.state] : std::to_string(conn.state));
    to.set_role(socket.role == WEFT_ROLE_CLIENT ? "client" : conn.state == kTcpListen ? "listener" : "server");
    to.set_verdict(socket.verdict == WEFT_VERDICT_ALLOW  ? "allow"
                   : socket.verdict == WEFT_VERDICT_DENY ? "deny"
                                                         : "unknown");
    to.set_rule(socket.rule == 0 ? "" : names.rule(socket.rule));
    if (socket.connect_ns != 0) {
        to.set_age_seconds(std::max(0.0, now - static_cast<double>(socket.connect_ns) / 1e9));
    }
    to.set_cookie(conn.cookie);
    to.set_bytes_sent(conn.bytes_sent);
    to.set_bytes_received(conn.bytes_received);
    to.set_accel(conn.accel == WEFT_CONN_JOINED ? "joined" : conn.accel == WEFT_CONN_LEFT ? "left" : "");
    to.set_bytes_skipped(conn.bytes_skipped);
    to.set_stale(socket.revision != 0 && socket.revision != revision);
    return to;
}

/// Carried connections by what an application's socket tells: a client's cookie, a server's two ends.
class CarriedIndex {
public:
    explicit CarriedIndex(const std::optional<MeshHealth>& mesh) {
        for (std::size_t i = 0; mesh && i < mesh->connections.size(); ++i) {
            const auto& carried = mesh->connections[i];
            if (carried.client) {
                by_cookie_.emplace(carried.cookie, &carried);
            } else {
                by_ends_.emplace(Ends{key(carried.app), key(carried.remote)}, &carried);
            }
        }
    }
    [[nodiscard]] const MeshHealth::Carried* client(std::uint64_t cookie) const {
        const auto found = by_cookie_.find(cookie);
        return found == by_cookie_.end() ? nullptr : found->second;
    }
    [[nodiscard]] const MeshHealth::Carried* server(const weft_addr_port& app, const weft_addr_port& remote) const {
        const auto found = by_ends_.find(Ends{key(app), key(remote)});
        return found == by_ends_.end() ? nullptr : found->second;
    }

private:
    using End = std::pair<Ip, std::uint16_t>;
    using Ends = std::pair<End, End>;
    static End key(const weft_addr_port& end) { return {Ip(end.addr), end.port}; }

    std::unordered_map<std::uint64_t, const MeshHealth::Carried*> by_cookie_;
    std::map<Ends, const MeshHealth::Carried*> by_ends_;
};

/// The application's socket leads to the agent; the peer is the one that the agent proved.
void describe_mesh(const weft_conn& conn, const CarriedIndex& index, const Namer& names, Connection& to) {
    const bool client = conn.socket.role == WEFT_ROLE_CLIENT;
    const auto& peer = client ? conn.socket.backend : conn.socket.asked;
    to.set_remote(bare(peer));
    to.set_peer(names.pod_of(peer.addr));
    const auto* carried = client ? index.client(conn.cookie) : index.server(conn.local, peer);
    if (carried == nullptr) {
        return;
    }
    to.set_tier(carried->tier);
    if (carried->tier == "plaintext") {
        return;
    }
    to.set_security("mutual_tls");
    to.set_own_identity(carried->own_id);
    to.set_peer_identity(carried->peer_id);
    to.set_own_serial(carried->own_serial);
    to.set_peer_serial(carried->peer_serial);
    to.set_cipher(carried->cipher);
    to.set_key_exchange(carried->group);
    to.set_resumed(carried->resumed);
}

} // namespace

Result<ListMapsResponse> answer_maps(const AgentView& view) {
    WEFT_ASSIGN(auto maps, view.maps());
    std::ranges::sort(maps, {}, &MapHealth::name);
    ListMapsResponse out;
    for (const auto& map : maps) {
        auto& to = *out.add_maps();
        to.set_name(map.name);
        to.set_type(map.type);
        to.set_entries(map.entries);
        to.set_capacity(map.capacity);
        to.set_drift(map.drift);
        to.set_uncounted(!map.counted);
        if (const auto* info = find_map(map.name); info != nullptr) {
            to.set_writer(std::string(info->writer));
            to.set_help(std::string(info->help));
        }
    }
    return out;
}

Result<> answer_dump(const AgentView& view, const DumpMapRequest& request,
                     const std::function<bool(const MapEntry&)>& send) {
    const auto* info = find_map(request.name());
    if (info == nullptr) {
        return failure(ENOENT, "there is no map '{}'; `weft map list` names them", request.name());
    }
    WEFT_ASSIGN(const auto entries, view.dump_map(std::string(info->name)));
    const auto desired = view.desired();
    const Namer names(*desired);
    std::vector<std::pair<DecodedEntry, const RawEntry*>> decoded;
    decoded.reserve(entries.size());
    for (const auto& entry : entries) {
        decoded.emplace_back(decode(names, info->name, entry.key, entry.value), &entry);
    }
    std::ranges::sort(decoded, {}, [](const auto& one) -> const std::string& { return one.first.key; });
    for (const auto& [text, raw] : decoded) {
        MapEntry to;
        to.set_key(text.key);
        to.set_value(text.value);
        to.set_raw_key(raw->key.data(), raw->key.size());
        to.set_raw_value(raw->value.data(), raw->value.size());
        if (!send(to)) {
            break;
        }
    }
    return {};
}

Result<> answer_connections(const AgentView& view, const ListConnectionsRequest& request,
                            const std::function<bool(const Connection&)>& send) {
    WEFT_ASSIGN(const auto connections, view.connections());
    const auto desired = view.desired();
    const Namer names(*desired);
    const auto revision = view.health().policy_revision;
    const double now = monotonic_seconds();
    std::vector<Connection> out;
    out.reserve(connections.size());
    const auto mesh = view.mesh();
    const CarriedIndex index(mesh);
    for (const auto& connection : connections) {
        auto to = describe(connection, names, revision, now);
        if ((connection.socket.flags & WEFT_SOCKET_MESH) != 0) {
            describe_mesh(connection, index, names, to);
        }
        if (request.namespace_().empty() || to.workload().starts_with(request.namespace_() + "/")) {
            out.push_back(std::move(to));
        }
    }
    std::ranges::sort(out, {}, [](const Connection& c) {
        return std::tuple(c.workload(), c.protocol(), c.role(), c.local(), c.cookie());
    });
    for (const auto& connection : out) {
        if (!send(connection)) {
            break;
        }
    }
    return {};
}

} // namespace weft::admin

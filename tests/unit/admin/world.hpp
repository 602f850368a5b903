// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A small cluster compiled by hand: pod shop/web-1 (10.0.0.1) of this node calls Service pay/api (10.96.0.1:80), whose
// backend is pay/api-0 (10.0.0.2:8080); policy pay/allow-web isolates pay/api-0. What the tests of the API look at.
#pragma once

#include <memory>

#include "agent/admin/view.hpp"
#include "agent/telemetry/trace.hpp"
#include "weft/abi/event.h"
#include "weft/abi/reasons.h"
#include "weft/base/content_hash.hpp"

namespace weft::admin_test {

inline constexpr std::uint64_t kWebNetns = 4001, kApiNetns = 4002;
inline constexpr std::uint64_t kWebIdentity = 0x1000000000000011, kApiIdentity = 0x1000000000000022;
inline constexpr std::uint64_t kService = 0x2000000000000001, kSet = 0x3000000000000001;
inline constexpr std::uint64_t kPolicy = 0x4000000000000001, kRule = 0x5000000000000001, kPorts = 0x6000000000000001;

inline weft_addr_port end(const char* ip, std::uint16_t port) {
    return make_addr_port(*Ip::parse(ip), port, 6);
}

inline std::shared_ptr<const compiler::DesiredState> desired_state() {
    auto names = std::make_shared<compiler::Names>();
    auto image = std::make_shared<compiler::PolicyImage>();
    auto pod = [&](const char* ns, const char* name, const char* ip, std::uint64_t identity, std::uint64_t netns,
                   std::uint32_t flags, std::uint64_t policy) {
        auto workload = std::make_shared<compiler::Names::Workload>();
        workload->namespace_name = ns;
        workload->pod_name = name;
        workload->labels = {{"app", std::string(name).substr(0, 3)}};
        workload->service_account = "default";
        workload->ips = {*Ip::parse(ip)};
        workload->identity = identity;
        names->workloads[workload_id(ns, name)] = workload;
        names->workload_by_ip[*Ip::parse(ip)] = workload;
        names->identities[identity] = {.namespace_name = ns, .labels = workload->labels, .cidrs = {}, .addresses = 1};
        weft_endpoint entry{};
        entry.workload = workload_id(ns, name);
        entry.identity = identity;
        entry.policy = policy;
        entry.addr4 = Ip::parse(ip)->raw();
        entry.flags = flags;
        image->endpoints[netns] = entry;
        image->ipcache[Ip::parse(ip)->raw()] = {identity, 0, 0};
    };
    pod("shop", "web-1", "10.0.0.1", kWebIdentity, kWebNetns, 0, 0);
    pod("pay", "api-0", "10.0.0.2", kApiIdentity, kApiNetns, WEFT_ENDPOINT_ISOLATED_INGRESS, kPolicy);
    names->rules[kRule] = {.policy = "pay/allow-web", .text = "pay/allow-web ingress[0]"};
    names->policies[kPolicy] = {.selected_by = {"pay/allow-web"}};

    auto service = std::make_shared<compiler::ServiceFragment>();
    service->namespace_name = "pay";
    service->name = "api";
    service->port_name = "http";
    service->protocol = 6;
    service->scope = "cluster";
    service->service_id = kService;
    service->algorithm = "random";
    service->set_id = kSet;
    weft_service value{};
    value.service = kService;
    value.set = kSet;
    value.slot_count = 1;
    service->frontends = {{end("10.96.0.1", 80), value}};
    service->backends.push_back({.address = end("10.0.0.2", 8080), .pod = "api-0", .node = "a", .zone = ""});

    auto state = std::make_shared<compiler::DesiredState>();
    state->snapshot_version = 7;
    state->services.insert_or_assign(kService, service);
    state->policy = image;
    state->names = names;
    return state;
}

inline weft_event event(std::uint8_t kind, std::uint8_t direction) {
    weft_event e{};
    e.time_ns = 5'000'000'000;
    e.cookie = 77;
    e.kind = kind;
    e.direction = direction;
    const bool egress = direction == WEFT_EGRESS;
    e.netns = egress ? kWebNetns : kApiNetns;
    e.workload = egress ? workload_id("shop", "web-1") : workload_id("pay", "api-0");
    e.local = egress ? end("10.0.0.1", 41022) : end("10.0.0.2", 8080);
    e.remote = egress ? end("10.0.0.2", 8080) : end("10.0.0.1", 41022);
    e.asked = e.remote;
    return e;
}

inline const std::string kWebId = "spiffe://cluster.local/ns/shop/sa/web";
inline const std::string kApiId = "spiffe://cluster.local/ns/pay/sa/api";

/// One connection by mutual TLS, that of FixedView, and two certificates, one of which could not be renewed in time.
inline admin::MeshHealth mesh_health() {
    admin::MeshHealth out;
    out.tier = "relay";
    out.certificates.push_back({.id = kWebId,
                                .phase = "valid",
                                .serial = "0A1B",
                                .source = "weft-ca ca:8443",
                                .error = "",
                                .seconds_left = 7500,
                                .not_before = 1'700'000'000,
                                .not_after = 1'700'086'400});
    out.certificates.push_back({.id = kApiId,
                                .phase = "expired",
                                .serial = "0C2D",
                                .source = "weft-ca ca:8443",
                                .error = "weft-ca does not answer",
                                .seconds_left = -60,
                                .not_before = 1'600'000'000,
                                .not_after = 1'600'086'400});
    out.certificates.push_back({.id = kWebId + "2", .phase = "pending", .serial = "", .source = "", .error = ""});
    out.opened = {{"client", "relay", 3}};
    out.failed = {{"server", "identity-refused", 2}};
    out.resumed = 1;
    out.revoked = {{"client", 4}, {"server", 0}};
    out.principals.push_back({.side = "client",
                              .source = kWebId,
                              .destination = kApiId,
                              .mutual_tls = true,
                              .opened = 3,
                              .closed = 2,
                              .sent = 1000,
                              .received = 2000});
    out.handshake_us = {0, 0, 1, 2};
    out.handshake_sum_seconds = 0.00002;
    admin::MeshHealth::Carried one;
    one.client = true;
    one.cookie = 77;
    one.app = end("127.0.0.1", 41022);
    one.remote = end("10.0.0.2", 8080);
    one.own_id = kWebId;
    one.peer_id = kApiId;
    one.own_serial = "0A1B";
    one.peer_serial = "0C2D";
    one.cipher = "TLS_AES_128_GCM_SHA256";
    one.group = "x25519";
    one.tier = "relay";
    one.resumed = true;
    out.connections.push_back(one);
    return out;
}

/// What the agent would be: fixed answers, one refused object when `degraded`.
class FixedView final : public admin::AgentView {
public:
    bool degraded = false;
    bool meshed = false; ///< with mesh_health(), and its connection goes by mutual TLS
    mutable telemetry::Tracer traces;

    [[nodiscard]] std::shared_ptr<const compiler::DesiredState> desired() const override { return desired_; }
    [[nodiscard]] std::shared_ptr<const store::Snapshot> snapshot() const override {
        auto out = std::make_shared<store::Snapshot>();
        k8s::NetworkPolicy policy;
        policy.meta.namespace_name = "pay";
        policy.meta.name = "allow-web";
        policy.meta.origin = {"pay.yaml", 3};
        auto policies = std::make_shared<store::Table<k8s::NetworkPolicy>>();
        policies->insert_or_assign({"pay", "allow-web"}, std::make_shared<const k8s::NetworkPolicy>(policy));
        out->policies = policies;
        if (degraded) {
            store::Refusal refusal;
            refusal.key = {"Service", "pay", "bad"};
            refusal.origin = {"bad.yaml", 12};
            refusal.field = "spec.ports[0].port";
            refusal.message = "must be 1-65535";
            out->refusals = std::make_shared<const std::vector<store::Refusal>>(1, refusal);
        }
        return out;
    }
    [[nodiscard]] admin::AgentHealth health() const override {
        admin::AgentHealth out;
        out.node_name = "node-a";
        out.started = out.last_sync = std::chrono::steady_clock::now();
        out.synced = true;
        out.policy_revision = 5;
        out.probe = admin::HookProbe::kPassed;
        out.hooks = {"connect4"};
        return out;
    }
    [[nodiscard]] Result<std::vector<admin::MapHealth>> maps() const override {
        return std::vector<admin::MapHealth>{
            {.name = "weft_service", .type = "hash", .entries = 1, .capacity = 4, .counted = true, .drift = 2}};
    }
    [[nodiscard]] Result<admin::Counters> counters() const override {
        admin::Counters out;
        out.counters.assign(WEFT_COUNTER_COUNT, 0);
        out.counters[WEFT_COUNTER_CONNECTS] = 12;
        out.drops.assign(WEFT_REASON_COUNT * WEFT_DIRECTION_COUNT, 0);
        out.drops[WEFT_REASON_POLICY_DENIED * WEFT_DIRECTION_COUNT + WEFT_EGRESS] = 3;
        out.drops[WEFT_REASON_EVENT_LOST * WEFT_DIRECTION_COUNT + WEFT_INGRESS] = 4;
        return out;
    }
    [[nodiscard]] Result<std::vector<weft_conn>> connections() const override {
        weft_conn conn{};
        conn.socket.netns = kWebNetns;
        conn.socket.revision = 4;
        conn.socket.service = kService;
        conn.socket.asked = end("10.96.0.1", 80);
        conn.socket.flags = WEFT_SOCKET_TRANSLATED;
        conn.socket.role = WEFT_ROLE_CLIENT;
        conn.socket.verdict = WEFT_VERDICT_ALLOW;
        conn.local = end("10.0.0.1", 41022);
        conn.remote = end("10.0.0.2", 8080);
        conn.cookie = 77;
        conn.state = 1;
        conn.bytes_sent = 2048;
        conn.bytes_received = 5;
        if (meshed) {
            conn.socket.flags |= WEFT_SOCKET_MESH;
            conn.socket.backend = conn.remote;
            conn.remote = end("127.0.0.1", 15000);
        }
        return std::vector<weft_conn>{conn};
    }
    [[nodiscard]] std::optional<admin::MeshHealth> mesh() const override {
        return meshed ? std::optional(mesh_health()) : std::nullopt;
    }
    [[nodiscard]] telemetry::Tracer* tracer() const override { return &traces; }
    [[nodiscard]] Result<std::vector<admin::RawEntry>> dump_map(const std::string& name) const override {
        if (name != "weft_service") {
            return failure(EOPNOTSUPP, "{} has no list of entries", name);
        }
        admin::RawEntry out;
        const auto& [key, value] = desired_->services.at(kService)->frontends.front();
        const auto* k = reinterpret_cast<const std::byte*>(&key);
        const auto* v = reinterpret_cast<const std::byte*>(&value);
        out.key.assign(k, k + sizeof key);
        out.value.assign(v, v + sizeof value);
        return std::vector<admin::RawEntry>{out};
    }

private:
    std::shared_ptr<const compiler::DesiredState> desired_ = desired_state();
};

} // namespace weft::admin_test

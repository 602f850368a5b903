// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Small desired states, written as a test reads them, and what the data path makes of the maps: the look-ups of the
// BPF programs repeated over the maps in memory.
#pragma once

#include <netinet/in.h>

#include <set>
#include <string>
#include <vector>

#include "agent/compiler/desired_state.hpp"
#include "tests/unit/reconcile/fake_maps.hpp"
#include "weft/abi/reasons.h"
#include "weft/abi/socket.h"
#include "weft/base/content_hash.hpp"
#include "weft/base/ip.hpp"

namespace weft::test {

inline weft_addr_port at(const std::string& ip, std::uint16_t port, std::uint8_t proto = IPPROTO_TCP) {
    return make_addr_port(Ip::parse(ip).value(), port, proto);
}
inline weft_addr addr(const std::string& ip) {
    return Ip::parse(ip).value().raw();
}

struct ServiceSpec {
    std::string name;
    std::vector<std::string> frontends;
    std::vector<std::string> backends;
    std::uint8_t proto = IPPROTO_TCP;
    bool members = false;
    bool maglev = false;
};

inline std::shared_ptr<const compiler::ServiceFragment> service(const ServiceSpec& spec) {
    auto fragment = std::make_shared<compiler::ServiceFragment>();
    fragment->namespace_name = "default";
    fragment->name = spec.name;
    fragment->protocol = spec.proto;
    fragment->scope = "cluster";
    fragment->service_id = ContentHash("service").add(spec.name).id();
    ContentHash set("set");
    set.add(spec.maglev ? "maglev" : "random");
    for (const std::string& backend : spec.backends) {
        fragment->slots.push_back({at(backend, 8080, spec.proto), 1});
        set.add(backend).add(std::uint64_t{spec.proto});
        if (spec.members) {
            fragment->members.push_back(at(backend, 8080, spec.proto));
        }
    }
    fragment->set_id = spec.backends.empty() ? 0 : set.id();
    if (spec.maglev && !spec.backends.empty()) {
        for (std::size_t i = 0; i < WEFT_MAGLEV_SIZE; ++i) {
            fragment->maglev.push_back(static_cast<std::uint16_t>(i % spec.backends.size()));
        }
    }
    weft_service value{};
    value.service = fragment->service_id;
    value.set = fragment->set_id;
    value.slot_count = static_cast<std::uint32_t>(spec.backends.size());
    value.algorithm = spec.maglev ? WEFT_ALGORITHM_MAGLEV : WEFT_ALGORITHM_RANDOM;
    for (const std::string& frontend : spec.frontends) {
        fragment->frontends.emplace_back(at(frontend, 80, spec.proto), value);
    }
    return fragment;
}

inline compiler::DesiredState state(const std::vector<std::shared_ptr<const compiler::ServiceFragment>>& services,
                                    std::shared_ptr<const compiler::PolicyImage> policy = nullptr) {
    compiler::DesiredState desired;
    for (const auto& fragment : services) {
        desired.services.insert_or_assign(fragment->service_id, fragment);
    }
    desired.policy = policy ? std::move(policy) : std::make_shared<compiler::PolicyImage>();
    desired.names = std::make_shared<compiler::Names>();
    return desired;
}

/// Backends that a connect to `frontend` could get now; {"none"} when there is no such Service, {"refused"} when it has
/// no backend, {"broken"} when a slot, chunk or member that the programs would look up is missing.
inline std::set<std::string> resolve(const FakeKernel& kernel, const weft_addr_port& frontend, bool members = false) {
    const auto found = kernel.get<weft_addr_port, weft_service>(kernel.maps.service, frontend);
    if (!found) {
        return {"none"};
    }
    if (found->slot_count == 0) {
        return {"refused"};
    }
    std::set<std::string> backends;
    for (std::uint32_t i = 0; i < found->slot_count; ++i) {
        const auto slot = kernel.get<weft_slot_key, weft_slot>(kernel.maps.slot, {found->set, i, 0});
        if (!slot) {
            return {"broken"};
        }
        if (members &&
            !kernel.get<weft_member_key, std::uint32_t>(kernel.maps.member, {found->service, slot->backend, 0})) {
            return {"broken"};
        }
        backends.insert(Ip(slot->backend.addr).to_string());
    }
    for (std::uint32_t chunk = 0; found->algorithm == WEFT_ALGORITHM_MAGLEV && chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
        if (!kernel.get<weft_maglev_key, weft_maglev_chunk>(kernel.maps.maglev, {found->set, chunk, 0})) {
            return {"broken"};
        }
    }
    return backends;
}

/// An endpoint (cookie, address) whose policy allows ingress from these identities, each on TCP 80 only.
struct PolicySpec {
    std::uint64_t cookie = 1;
    std::string ip = "10.0.0.1";
    std::vector<std::uint64_t> allowed;
};

inline std::uint64_t policy_id(const PolicySpec& spec) {
    ContentHash hash("policy");
    for (const std::uint64_t identity : spec.allowed) {
        hash.add(identity);
    }
    return hash.id();
}

/// Endpoints with their policies, and peers: address -> identity.
inline std::shared_ptr<const compiler::PolicyImage>
policy(const std::vector<PolicySpec>& endpoints, const std::vector<std::pair<std::string, std::uint64_t>>& peers) {
    auto image = std::make_shared<compiler::PolicyImage>();
    for (const PolicySpec& spec : endpoints) {
        weft_endpoint endpoint{};
        endpoint.workload = spec.cookie + 1000;
        endpoint.policy = policy_id(spec);
        endpoint.addr4 = addr(spec.ip);
        endpoint.flags = WEFT_ENDPOINT_ISOLATED_INGRESS;
        image->endpoints[spec.cookie] = endpoint;
        image->local_addresses[addr(spec.ip)] = spec.cookie;
        const std::uint64_t ports = ContentHash("ports").add(endpoint.policy).id();
        for (const std::uint64_t identity : spec.allowed) {
            image->policies[{endpoint.policy, identity, WEFT_INGRESS, 0}] = {ports, 0};
        }
        image->ports[{WEFT_PORTS_PREFIX + 16, static_cast<__u32>(ports >> 32), static_cast<__u32>(ports), IPPROTO_TCP,
                      0, htons(80)}] = 77;
    }
    for (const auto& [ip, identity] : peers) {
        image->ipcache[addr(ip)] = {identity, 0, 0};
    }
    return image;
}

/// WEFT_VERDICT_* for TCP port 80 from `peer` to the endpoint, or -1 when the endpoint is unknown.
int decide(const FakeKernel& kernel, std::uint64_t cookie, const std::string& peer);

} // namespace weft::test

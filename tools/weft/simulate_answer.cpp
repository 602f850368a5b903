// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Answering a probe over the compiled state: egress at the sender, ingress at the receiver, the Service in between.
#include <netinet/in.h>

#include <algorithm>

#include "tools/weft/simulate_node.hpp"
#include "weft/abi/endpoint.h"
#include "weft/abi/reasons.h"

namespace weft::simulate {
namespace {

probe::Answer error(std::string text) {
    probe::Answer answer;
    answer.error = std::move(text);
    return answer;
}

probe::Answer deny(std::string errno_name, std::string rule) {
    probe::Answer answer;
    answer.verdict = probe::Verdict::kDeny;
    answer.error = std::move(errno_name);
    answer.rule = std::move(rule);
    return answer;
}

} // namespace

std::vector<store::Refusal> Cluster::refusals() const {
    return nodes_.empty() ? std::vector<store::Refusal>{} : nodes_.begin()->second->desired.refusals;
}

std::string Cluster::rule_text(const Node& node, std::uint64_t rule) const {
    const auto found = node.desired.names->rules.find(rule);
    return found == node.desired.names->rules.end() ? "default" : found->second.text;
}

Result<Cluster::Party> Cluster::pod_party(const store::Name& name) const {
    Party party;
    party.name = name.first + "/" + name.second;
    if (const auto external = externals_.find(name); external != externals_.end()) {
        party.ips = {external->second};
        return party;
    }
    const auto pod = pod_table_.find(name);
    if (pod == pod_table_.end()) {
        return failure(ENOENT, "there is no pod {} in the manifests", party.name);
    }
    party.ips = pod->second->ips;
    const auto node = nodes_.find(pod->second->spec.node_name);
    if (node == nodes_.end()) {
        return failure(ENOENT, "pod {} has no node: '{}' is not among the Node objects", party.name,
                       pod->second->spec.node_name);
    }
    party.node = node->second.get();
    if (const auto cookie = cookies_.find(name); cookie != cookies_.end()) {
        party.cookie = cookie->second;
        const auto& endpoint = party.node->desired.policy->endpoints.at(party.cookie);
        if ((endpoint.flags & WEFT_ENDPOINT_EXTERNAL) != 0) {
            party.node = nullptr; // opted out: hooks leave it alone
            party.cookie = 0;
        }
    }
    return party;
}

Result<Cluster::Party> Cluster::address_party(const Ip& ip) const {
    if (const auto pod = pod_by_ip_.find(ip); pod != pod_by_ip_.end()) {
        WEFT_ASSIGN(auto party, pod_party(pod->second));
        party.ips = {ip};
        return party;
    }
    Party party;
    party.ips = {ip};
    party.name = "ip:" + ip.to_string();
    for (const auto& [name, node] : node_objects_) {
        if (std::ranges::count(node->addresses, ip) > 0) {
            party.name = "node/" + node->meta.name;
            party.node = nodes_.at(node->meta.name).get();
        }
    }
    return party;
}

Result<Cluster::Party> Cluster::party(const probe::End& end) const {
    if (const auto* address = std::get_if<probe::AddressEnd>(&end)) {
        return address_party(address->ip);
    }
    if (const auto* pod = std::get_if<probe::PodEnd>(&end)) {
        return pod_party({pod->namespace_name, pod->pod});
    }
    return invalid("a Service cannot be where a probe comes from");
}

probe::Answer Cluster::judge(const Party& from, const Party& to, const Ip& ip, std::uint8_t protocol,
                             std::uint16_t port) const {
    probe::Answer answer;
    answer.verdict = probe::Verdict::kAllow;
    answer.rule = "default";
    answer.answered_by = to.name;
    if (from.name == to.name) {
        return answer;
    }
    if (from.cookie != 0) {
        const auto decision = from.node->index->decide(from.cookie, WEFT_EGRESS, ip, protocol, port);
        if (!decision.allow) {
            // SCTP has no hook at connect: its packets are dropped.
            return deny(protocol == IPPROTO_SCTP ? "ETIMEDOUT" : "ECONNREFUSED", "default-deny");
        }
        if (decision.rule != 0) {
            answer.rule = rule_text(*from.node, decision.rule);
        }
    }
    if (to.cookie != 0) {
        const auto own = from.of_family(ip.is_v4());
        const auto decision = to.node->index->decide(to.cookie, WEFT_INGRESS, own.value_or(Ip()), protocol, port);
        if (!decision.allow) {
            return deny("ETIMEDOUT", "default-deny");
        }
        if (decision.rule != 0) {
            answer.rule = rule_text(*to.node, decision.rule);
        }
    }
    return answer;
}

const compiler::ServiceFragment* Cluster::Node::service_at(const Ip& ip, std::uint16_t port,
                                                           std::uint8_t protocol) const {
    const auto at = [&](const Ip& address) -> const compiler::ServiceFragment* {
        const auto found = frontends.find(make_addr_port(address, port, protocol));
        return found == frontends.end() ? nullptr : found->second;
    };
    if (const auto* fragment = at(ip)) {
        return fragment;
    }
    return desired.policy->node_addresses.contains(ip.raw()) ? at(ip.is_v4() ? Ip::v4(0) : Ip()) : nullptr;
}

probe::Answer Cluster::dial(const Party& from, const Ip& ip, std::uint8_t protocol, std::uint16_t port) const {
    // Only workloads of the cluster have hooks that translate; to others a Service's address is just an address.
    if (const auto* fragment = from.node == nullptr ? nullptr : from.node->service_at(ip, port, protocol)) {
        if (fragment->slots.empty()) {
            return deny("ECONNREFUSED", "no-backend");
        }
        const auto& backend = fragment->slots.front().backend;
        const auto to = address_party(Ip(backend.addr));
        return to ? judge(from, *to, Ip(backend.addr), protocol, backend.port) : error(to.error().message());
    }
    const auto to = address_party(ip);
    if (!to) {
        return error(to.error().message());
    }
    auto answer = judge(from, *to, ip, protocol, port);
    if (answer.verdict == probe::Verdict::kAllow && service_addresses_.contains(ip)) {
        return deny("ETIMEDOUT", "no-service"); // allowed to ask, but nobody has this address and port
    }
    return answer;
}

Result<std::vector<Ip>> Cluster::addresses_of(const probe::ServiceEnd& end, const probe::Probe& probe) const {
    const auto found = services_.find({end.namespace_name, end.service});
    if (found == services_.end()) {
        return failure(ENOENT, "there is no Service {}/{} in the manifests", end.namespace_name, end.service);
    }
    const auto& service = *found->second;
    if (probe.protocol == IPPROTO_SCTP) {
        return failure(EPROTONOSUPPORT, "no Service balances SCTP: probe the pods");
    }
    if (!service.headless) {
        if (service.cluster_ips.empty()) {
            return failure(EADDRNOTAVAIL, "Service {}/{} has no address to dial", end.namespace_name, end.service);
        }
        return service.cluster_ips;
    }
    // A headless Service's name leads to its pods; the port is dialled as it is, not translated.
    const bool known = std::ranges::any_of(service.ports, [&](const k8s::ServicePort& port) {
        return port.port == probe.port && port.protocol == probe.protocol;
    });
    for (const auto& [name, slice] : slices_) {
        for (const auto& endpoint : slice->endpoints) {
            if (known && slice->service == end.service && name.first == end.namespace_name && endpoint.ready &&
                !endpoint.addresses.empty()) {
                WEFT_ASSIGN(const auto party, address_party(endpoint.addresses.front()));
                const auto pod = pod_table_.find({end.namespace_name, endpoint.target_pod});
                return pod == pod_table_.end() ? party.ips : pod->second->ips;
            }
        }
    }
    return failure(EADDRNOTAVAIL, "headless Service {}/{} has {} to dial", end.namespace_name, end.service,
                   known ? "no ready pod" : fmt::format("no port {}", probe.port));
}

probe::Answer Cluster::answer(const probe::Probe& probe) const {
    const auto from = party(probe.from);
    if (!from) {
        return error(from.error().message());
    }
    std::vector<Ip> targets;
    const auto* service = std::get_if<probe::ServiceEnd>(&probe.to);
    if (service != nullptr) {
        const auto found = addresses_of(*service, probe);
        if (!found) {
            return error(found.error().message());
        }
        targets = *found;
    } else {
        const auto to = party(probe.to);
        if (!to) {
            return error(to.error().message());
        }
        targets = to->ips;
    }
    std::ranges::stable_partition(targets, &Ip::is_v4); // IPv4 where both have it, as programs choose here
    for (const auto& ip : targets) {
        if (!from->of_family(ip.is_v4())) {
            continue;
        }
        if (const auto* pod = std::get_if<probe::PodEnd>(&probe.to)) {
            const auto to = pod_party({pod->namespace_name, pod->pod});
            return to ? judge(*from, *to, ip, probe.protocol, probe.port) : error(to.error().message());
        }
        return dial(*from, ip, probe.protocol, probe.port);
    }
    return error(fmt::format("{} and {} have no address family in common", probe::to_string(probe.from),
                             probe::to_string(probe.to)));
}

} // namespace weft::simulate

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Answering a probe over the compiled state: egress at the sender, ingress at the receiver, the Service in between.
#include <netinet/in.h>

#include <algorithm>

#include "tools/weft/simulate_node.hpp"
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

Result<Cluster::Party> Cluster::party(const probe::End& end) const {
    Party party;
    store::Name name;
    if (const auto* address = std::get_if<probe::AddressEnd>(&end)) {
        (address->ip.is_v4() ? party.ip4 : party.ip6) = address->ip;
        const auto pod = pod_by_ip_.find(address->ip);
        if (pod == pod_by_ip_.end()) {
            return party;
        }
        name = pod->second;
    } else {
        const auto& pod = std::get<probe::PodEnd>(end);
        name = {pod.namespace_name, pod.pod};
        if (const auto external = externals_.find(name); external != externals_.end()) {
            (external->second.is_v4() ? party.ip4 : party.ip6) = external->second;
            party.name = name.first + "/" + name.second;
            return party;
        }
    }
    const auto pod = pod_table_.find(name);
    if (pod == pod_table_.end()) {
        return failure(ENOENT, "there is no pod {}/{} in the manifests", name.first, name.second);
    }
    party.pod = pod->second.get();
    party.name = name.first + "/" + name.second;
    party.ip4 = party.ip6 = Ip();
    for (const auto& ip : party.pod->ips) {
        (ip.is_v4() ? party.ip4 : party.ip6) = ip;
    }
    const auto node = nodes_.find(party.pod->spec.node_name);
    if (node == nodes_.end()) {
        return failure(ENOENT, "pod {} has no node: '{}' is not among the Node objects", party.name,
                       party.pod->spec.node_name);
    }
    if (const auto cookie = cookies_.find(name); cookie != cookies_.end()) {
        party.node = node->second.get();
        party.cookie = cookie->second;
    }
    return party;
}

probe::Answer Cluster::judge(const Party& from, const Party& to, std::uint8_t protocol, std::uint16_t port) const {
    const bool v4 = !from.ip4.is_unspecified() && !to.ip4.is_unspecified();
    if (!v4 && (from.ip6.is_unspecified() || to.ip6.is_unspecified())) {
        return error("the two ends have no address family in common");
    }
    probe::Answer answer;
    answer.verdict = probe::Verdict::kAllow;
    answer.rule = "default";
    answer.answered_by = to.name;
    if (!from.name.empty() && from.name == to.name) {
        return answer;
    }
    if (from.node != nullptr) {
        const auto decision = from.node->index->decide(from.cookie, WEFT_EGRESS, to.ip(v4), protocol, port);
        if (!decision.allow) {
            // SCTP has no hook at connect: its packets are dropped.
            return deny(protocol == IPPROTO_SCTP ? "ETIMEDOUT" : "ECONNREFUSED", "default-deny");
        }
        if (decision.rule != 0) {
            answer.rule = rule_text(*from.node, decision.rule);
        }
    }
    if (to.node != nullptr) {
        const auto decision = to.node->index->decide(to.cookie, WEFT_INGRESS, from.ip(v4), protocol, port);
        if (!decision.allow) {
            return deny("ETIMEDOUT", "default-deny");
        }
        if (decision.rule != 0) {
            answer.rule = rule_text(*to.node, decision.rule);
        }
    }
    return answer;
}

probe::Answer Cluster::through_service(const Party& from, const probe::ServiceEnd& end,
                                       const probe::Probe& probe) const {
    const auto service = services_.find({end.namespace_name, end.service});
    if (service == services_.end()) {
        return error(fmt::format("there is no Service {}/{} in the manifests", end.namespace_name, end.service));
    }
    const Node* node = from.node;
    if (node == nullptr && from.pod != nullptr) {
        node = nodes_.at(from.pod->spec.node_name).get();
    }
    if (node == nullptr) {
        node = nodes_.begin()->second.get();
    }
    std::vector<weft_addr_port> backends;
    bool port_found = false;
    if (service->second->headless) {
        for (const auto& [name, slice] : slices_) {
            for (const auto& port : slice->ports) {
                port_found |=
                    slice->service == end.service && name.first == end.namespace_name && port.port == probe.port;
                for (const auto& endpoint : slice->endpoints) {
                    if (slice->service == end.service && name.first == end.namespace_name && port.port == probe.port &&
                        port.protocol == probe.protocol && endpoint.ready && !endpoint.addresses.empty()) {
                        backends.push_back(make_addr_port(endpoint.addresses.front(), port.port, port.protocol));
                    }
                }
            }
        }
    } else {
        for (const auto& [id, fragment] : node->desired.services) {
            if (fragment->namespace_name != end.namespace_name || fragment->name != end.service ||
                fragment->scope != "cluster") {
                continue;
            }
            for (const auto& [frontend, value] : fragment->frontends) {
                if (frontend.port == probe.port && frontend.proto == probe.protocol && backends.empty()) {
                    port_found = true;
                    for (const auto& slot : fragment->slots) {
                        backends.push_back(slot.backend);
                    }
                }
            }
        }
    }
    if (!port_found) {
        return error(fmt::format("Service {}/{} has no port {} for {}", end.namespace_name, end.service, probe.port,
                                 protocol_name(probe.protocol)));
    }
    if (backends.empty()) {
        return deny("ECONNREFUSED", "no-backend");
    }
    const auto to = party(probe::AddressEnd{Ip(backends.front().addr)});
    return to ? judge(from, *to, probe.protocol, backends.front().port) : error(to.error().message());
}

probe::Answer Cluster::answer(const probe::Probe& probe) const {
    const auto from = party(probe.from);
    if (!from) {
        return error(from.error().message());
    }
    if (const auto* service = std::get_if<probe::ServiceEnd>(&probe.to)) {
        return through_service(*from, *service, probe);
    }
    const auto to = party(probe.to);
    return to ? judge(*from, *to, probe.protocol, probe.port) : error(to.error().message());
}

} // namespace weft::simulate

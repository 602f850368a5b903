// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Lists of services, endpoints, policies and identities, from the desired state and the snapshot.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "agent/admin/answers.hpp"
#include "agent/admin/certificates.hpp"
#include "agent/admin/decode.hpp"

namespace weft::admin {
namespace {

std::string bare(const weft_addr_port& at) {
    const auto text = to_string(at);
    return text.substr(text.find(' ') + 1);
}

const char* condition(const compiler::ServiceFragment::BackendInfo& backend) {
    if (backend.ready) {
        return "ready";
    }
    if (backend.terminating) {
        return "terminating";
    }
    return backend.serving ? "serving" : "not-ready";
}

void add_labels(google::protobuf::RepeatedPtrField<std::string>& to, const k8s::Labels& labels) {
    for (const auto& [key, value] : labels) {
        to.Add(fmt::format("{}={}", key, value));
    }
}

bool wanted(const std::string& asked, const std::string& have) {
    return asked.empty() || asked == have;
}

// State and reason of a workload whose entry is in the kernel.
void set_state(Endpoint& to, std::uint32_t flags) {
    if ((flags & WEFT_ENDPOINT_HOST) != 0) {
        to.set_state("host");
        to.set_reason("the node's own network namespace: Services yes, policy no");
    } else if ((flags & WEFT_ENDPOINT_EXTERNAL) != 0) {
        to.set_state("bypassed");
        to.set_reason("annotation weft.dev/mesh-bypass: the hooks leave it alone");
    } else if ((flags & WEFT_ENDPOINT_ANY_SOURCE) != 0) {
        to.set_state("any-source");
        to.set_reason("annotation weft.dev/allow-any-source: it may send from any address");
    } else {
        to.set_state("governed");
    }
}

void fill_governed(Endpoint& to, const compiler::DesiredState& desired, const weft_endpoint& entry) {
    to.set_identity(entry.identity);
    to.set_policy_class(entry.policy);
    to.set_ingress_isolated(entry.flags & WEFT_ENDPOINT_ISOLATED_INGRESS);
    to.set_egress_isolated(entry.flags & WEFT_ENDPOINT_ISOLATED_EGRESS);
    set_state(to, entry.flags);
    if (desired.names == nullptr) {
        return;
    }
    if (const auto policies = desired.names->policies.find(entry.policy); policies != desired.names->policies.end()) {
        to.mutable_policies()->Assign(policies->second.selected_by.begin(), policies->second.selected_by.end());
    }
    if (const auto found = desired.names->workloads.find(entry.workload); found != desired.names->workloads.end()) {
        const auto& workload = *found->second;
        to.set_namespace_(workload.namespace_name);
        to.set_pod(workload.pod_name);
        to.set_service_account(workload.service_account);
        add_labels(*to.mutable_labels(), workload.labels);
    }
}

} // namespace

ListServicesResponse answer_services(const AgentView& view, const ListServicesRequest& request) {
    ListServicesResponse out;
    const auto desired = view.desired();
    for (const auto& [id, service] : desired->services) {
        if (!wanted(request.namespace_(), service->namespace_name)) {
            continue;
        }
        auto& to = *out.add_services();
        to.set_id(id);
        to.set_namespace_(service->namespace_name);
        to.set_name(service->name);
        to.set_port_name(service->port_name);
        to.set_protocol(protocol_name(service->protocol));
        to.set_scope(service->scope);
        to.set_algorithm(service->algorithm);
        for (const auto& [address, value] : service->frontends) {
            to.add_frontends((value.flags & WEFT_SERVICE_NODE_PORT) != 0 ? fmt::format("*:{}", address.port)
                                                                         : bare(address));
            if ((value.flags & WEFT_SERVICE_AFFINITY) != 0) {
                to.set_affinity_seconds(value.affinity_seconds);
            }
        }
        for (const auto& backend : service->backends) {
            auto& one = *to.add_backends();
            one.set_address(bare(backend.address));
            one.set_pod(backend.pod);
            one.set_node(backend.node);
            one.set_zone(backend.zone);
            one.set_condition(condition(backend));
            one.set_used(backend.used);
            one.set_weight(backend.weight);
        }
    }
    std::ranges::sort(*out.mutable_services(), {}, [](const Service& s) {
        return std::tuple(s.namespace_(), s.name(), s.port_name(), s.scope(), s.id());
    });
    return out;
}

ListEndpointsResponse answer_endpoints(const AgentView& view, const ListEndpointsRequest& request) {
    const auto desired = view.desired();
    const auto snapshot = view.snapshot();
    std::map<std::uint64_t, Endpoint> by_cookie;
    if (desired->policy != nullptr) {
        for (const auto& [cookie, entry] : desired->policy->endpoints) {
            auto& to = by_cookie[cookie];
            fill_governed(to, *desired, entry);
            for (const auto& addr : {entry.addr4, entry.addr6}) {
                if (const Ip ip(addr); !ip.is_unspecified()) {
                    to.add_ips(ip.to_string());
                }
            }
        }
    }
    for (const auto& [container, local] : *snapshot->endpoints) {
        auto& to = by_cookie[local.netns_cookie];
        if (to.state().empty()) {
            to.set_state("waiting");
            to.set_reason(fmt::format("the CNI plugin reported it, but no Pod {}/{} is known yet", local.namespace_name,
                                      local.pod_name));
        }
        to.set_namespace_(local.namespace_name);
        to.set_pod(local.pod_name);
        if (to.ips().empty()) {
            for (const auto& ip : local.ips) {
                to.add_ips(ip.to_string());
            }
        }
    }
    ListEndpointsResponse out;
    for (auto& [cookie, endpoint] : by_cookie) {
        endpoint.set_netns_cookie(cookie);
        if (wanted(request.namespace_(), endpoint.namespace_())) {
            *out.add_endpoints() = std::move(endpoint);
        }
    }
    std::ranges::sort(*out.mutable_endpoints(), {},
                      [](const Endpoint& e) { return std::tuple(e.namespace_(), e.pod(), e.netns_cookie()); });
    return out;
}

ListPoliciesResponse answer_policies(const AgentView& view, const ListPoliciesRequest& request) {
    const auto desired = view.desired();
    const auto snapshot = view.snapshot();
    std::map<std::string, std::set<std::string>> rules, endpoints;
    if (desired->names != nullptr) {
        for (const auto& [id, rule] : desired->names->rules) {
            rules[rule.policy].insert(rule.text);
        }
    }
    const auto workloads = answer_endpoints(view, {});
    for (const auto& endpoint : workloads.endpoints()) {
        for (const auto& policy : endpoint.policies()) {
            endpoints[policy].insert(fmt::format("{}/{}", endpoint.namespace_(), endpoint.pod()));
        }
    }
    std::map<std::string, Policy> by_name;
    for (const auto& [name, policy] : *snapshot->policies) {
        auto& to = by_name[fmt::format("{}/{}", name.first, name.second)];
        to.set_namespace_(name.first);
        to.set_name(name.second);
        if (policy->affects_ingress) {
            to.add_types("Ingress");
        }
        if (policy->affects_egress) {
            to.add_types("Egress");
        }
        to.set_state("in force");
        const auto& origin = policy->meta.origin;
        to.set_origin(origin.line > 0 ? fmt::format("{}:{}", origin.file, origin.line) : origin.file);
    }
    auto refuse = [&](const std::vector<store::Refusal>& refusals) {
        for (const auto& refusal : refusals) {
            if (refusal.key.kind != "NetworkPolicy") {
                continue;
            }
            auto& to = by_name[fmt::format("{}/{}", refusal.key.namespace_name, refusal.key.name)];
            to.set_namespace_(refusal.key.namespace_name);
            to.set_name(refusal.key.name);
            to.set_state(refusal.last_good_in_force ? "refused, older version in force" : "refused");
            to.set_origin(fmt::format("{}:{}", refusal.origin.file, refusal.origin.line));
        }
    };
    refuse(*snapshot->refusals);
    refuse(desired->refusals);
    ListPoliciesResponse out;
    for (auto& [name, policy] : by_name) {
        if (!wanted(request.namespace_(), policy.namespace_())) {
            continue;
        }
        policy.mutable_rules()->Assign(rules[name].begin(), rules[name].end());
        policy.mutable_endpoints()->Assign(endpoints[name].begin(), endpoints[name].end());
        *out.add_policies() = std::move(policy);
    }
    return out;
}

ListIdentitiesResponse answer_identities(const AgentView& view) {
    ListIdentitiesResponse out;
    if (const auto mesh = view.mesh(); mesh) {
        for (const auto& certificate : mesh->certificates) {
            *out.add_certificates() = describe(certificate);
        }
    }
    const auto desired = view.desired();
    const Namer names(*desired);
    for (std::uint64_t id = WEFT_IDENTITY_HOST; id <= WEFT_IDENTITY_WORLD; ++id) {
        auto& to = *out.add_identities();
        to.set_id(id);
        to.set_reserved(names.identity(id));
        if (desired->policy != nullptr) {
            to.set_addresses(static_cast<std::uint64_t>(std::ranges::count_if(
                desired->policy->ipcache, [&](const auto& entry) { return entry.second.identity == id; })));
        }
    }
    if (desired->names == nullptr) {
        return out;
    }
    std::map<std::uint64_t, const compiler::Names::Identity*> sorted;
    for (const auto& [id, identity] : desired->names->identities) {
        sorted.emplace(id, &identity);
    }
    for (const auto& [id, identity] : sorted) {
        if (id < WEFT_IDENTITY_FIRST) {
            continue; // the reserved ones are there already
        }
        auto& to = *out.add_identities();
        to.set_id(id);
        to.set_namespace_(identity->namespace_name);
        add_labels(*to.mutable_labels(), identity->labels);
        to.mutable_cidrs()->Assign(identity->cidrs.begin(), identity->cidrs.end());
        to.set_addresses(identity->addresses);
    }
    return out;
}

} // namespace weft::admin

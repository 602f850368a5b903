// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Names for the kernel's numbers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "agent/admin/decode.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::admin {
namespace {

std::string beside(std::string number, const std::string& name) {
    return name.empty() ? std::move(number) : fmt::format("{} ({})", number, name);
}

} // namespace

Namer::Namer(const compiler::DesiredState& desired) : desired_(&desired) {
    for (const auto& [id, service] : desired.services) {
        services_of_set_[service->set_id].push_back(this->service(id));
    }
}

std::string Namer::service(std::uint64_t id) const {
    if (id == 0) {
        return "-";
    }
    const auto found = desired_->services.find(id);
    if (found == desired_->services.end()) {
        return id_text(id);
    }
    const auto& service = *found->second;
    std::string port = service.port_name;
    if (port.empty() && !service.frontends.empty()) {
        port = std::to_string(service.frontends.front().first.port);
    }
    return fmt::format("{}/{}:{}{}", service.namespace_name, service.name, port,
                       service.scope == "external" ? " (external)" : "");
}

std::string Namer::backend_set(std::uint64_t id) const {
    const auto found = services_of_set_.find(id);
    return found == services_of_set_.end() ? id_text(id)
                                           : beside(id_text(id), fmt::format("{}", fmt::join(found->second, ", ")));
}

std::string Namer::identity(std::uint64_t id) const {
    switch (id) {
    case WEFT_IDENTITY_ANY:
        return "any";
    case WEFT_IDENTITY_HOST:
        return "host";
    case WEFT_IDENTITY_REMOTE_NODE:
        return "remote-node";
    case WEFT_IDENTITY_WORLD:
        return "world";
    default:
        break;
    }
    if (desired_->names == nullptr) {
        return id_text(id);
    }
    const auto found = desired_->names->identities.find(id);
    if (found == desired_->names->identities.end()) {
        return id_text(id);
    }
    const auto& identity = found->second;
    if (identity.namespace_name.empty()) {
        return beside(id_text(id), fmt::format("{}", fmt::join(identity.cidrs, ", ")));
    }
    std::string text = identity.namespace_name;
    char separator = ' ';
    for (const auto& [key, value] : identity.labels) {
        text += fmt::format("{}{}={}", separator, key, value);
        separator = ',';
    }
    return beside(id_text(id), text);
}

std::string Namer::rule(std::uint64_t id) const {
    if (id == 0) {
        return "default";
    }
    if (desired_->names != nullptr) {
        if (const auto found = desired_->names->rules.find(id); found != desired_->names->rules.end()) {
            return found->second.text;
        }
    }
    return id_text(id);
}

std::string Namer::policy(std::uint64_t id) const {
    if (id == 0) {
        return "-";
    }
    if (desired_->names != nullptr) {
        if (const auto found = desired_->names->policies.find(id); found != desired_->names->policies.end()) {
            return beside(id_text(id), fmt::format("{}", fmt::join(found->second.selected_by, ", ")));
        }
    }
    return id_text(id);
}

std::string Namer::workload(std::uint64_t id) const {
    if (id == 0) {
        return "-";
    }
    if (desired_->names != nullptr) {
        if (const auto found = desired_->names->workloads.find(id); found != desired_->names->workloads.end()) {
            return fmt::format("{}/{}", found->second->namespace_name, found->second->pod_name);
        }
    }
    return id_text(id);
}

std::string Namer::pod_of_netns(std::uint64_t cookie) const {
    if (desired_->policy == nullptr) {
        return {};
    }
    const auto found = desired_->policy->endpoints.find(cookie);
    if (found == desired_->policy->endpoints.end()) {
        return {};
    }
    if ((found->second.flags & WEFT_ENDPOINT_HOST) != 0) {
        return "host";
    }
    return workload(found->second.workload);
}

std::string Namer::netns(std::uint64_t cookie) const {
    return beside(std::to_string(cookie), pod_of_netns(cookie));
}

std::string Namer::pod_of(const weft_addr& addr) const {
    if (desired_->names == nullptr) {
        return {};
    }
    const auto found = desired_->names->workload_by_ip.find(Ip(addr));
    return found == desired_->names->workload_by_ip.end()
               ? std::string{}
               : fmt::format("{}/{}", found->second->namespace_name, found->second->pod_name);
}

std::string Namer::address(const weft_addr& addr) const {
    return beside(Ip(addr).to_string(), pod_of(addr));
}

std::string Namer::end(const weft_addr_port& end) const {
    return beside(to_string(end), pod_of(end.addr));
}

} // namespace weft::admin

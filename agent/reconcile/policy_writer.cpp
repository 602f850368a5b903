// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/reconcile/policy_writer.hpp"

#include "weft/base/content_hash.hpp"
#include "weft/base/ip.hpp"

namespace weft::reconcile {
namespace {

using compiler::Names;
using compiler::PolicyImage;

constexpr auto kAlways = [](const auto&, const auto&) { return true; };

std::uint64_t port_set(const weft_ports_key& key) {
    return std::uint64_t{key.ports_hi} << 32 | key.ports_lo;
}

std::string policy_title(std::uint64_t id, const Names* names) {
    std::string title = "policy " + id_text(id);
    if (names != nullptr) {
        if (const auto found = names->policies.find(id);
            found != names->policies.end() && !found->second.selected_by.empty()) {
            title += " (" + found->second.selected_by.front() + (found->second.selected_by.size() > 1 ? ", ...)" : ")");
        }
    }
    return title;
}

std::string endpoint_title(std::uint64_t cookie, const weft_endpoint& endpoint, const Names* names) {
    if (names != nullptr) {
        if (const auto found = names->workloads.find(endpoint.workload);
            found != names->workloads.end() && found->second != nullptr) {
            return fmt::format("endpoint {}/{}", found->second->namespace_name, found->second->pod_name);
        }
    }
    return fmt::format("endpoint {}", cookie);
}

Failure address_failure(const weft_addr& address, const std::string& map, const Error& error) {
    return {"address " + Ip(address).to_string(), map, error};
}

} // namespace

Result<> PolicyWriter::bind(const bpf::ConfigMaps& maps) {
    applied_ = nullptr;
    failed_.clear();
    held_.clear();
    WEFT_TRY(endpoints_.bind(maps.endpoint));
    WEFT_TRY(local_.bind(maps.local));
    WEFT_TRY(ipcache_.bind(maps.ipcache));
    WEFT_TRY(cidrs_.bind(maps.cidr));
    WEFT_TRY(policies_.bind(maps.policy));
    WEFT_TRY(ports_.bind(maps.ports));
    WEFT_TRY(tls_ports_.bind(maps.tls_port));
    return node_addresses_.bind(maps.node_addr);
}

void PolicyWriter::write_rules(const PolicyImage& image, const Names* names, ApplyStats& stats) {
    failed_.clear();
    held_.clear();
    std::map<std::uint64_t, Failure> failures;
    std::unordered_set<std::uint64_t> failed_ports;
    std::optional<Error> ports_error;
    ports_.put_all(image.ports, stats, kAlways, [&](const weft_ports_key& key, const Error& error) {
        failed_ports.insert(port_set(key));
        ports_error = error;
    });
    const auto fail = [&](std::uint64_t policy, const std::string& map, const Error& error) {
        failed_.try_emplace(policy, Refused{map, error});
        failures.try_emplace(
            policy,
            Failure{policy_title(policy, names), map,
                    Error(error.code(), error.message() + "; workloads keep their old policy, new ones are isolated")});
    };
    policies_.put_all(
        image.policies, stats,
        [&](const weft_policy_key& key, const weft_policy_entry& entry) {
            if (entry.ports == 0 || !failed_ports.contains(entry.ports)) {
                return true;
            }
            fail(key.policy, ports_.name(), *ports_error);
            return false;
        },
        [&](const weft_policy_key& key, const Error& error) { fail(key.policy, policies_.name(), error); });
    for (auto& [policy, failure] : failures) {
        stats.failures.push_back(std::move(failure));
    }
}

void PolicyWriter::write_addresses(const PolicyImage& image, ApplyStats& stats) {
    cidrs_.put_all(image.cidrs, stats, kAlways, [&](const weft_cidr_key& key, const Error& error) {
        stats.failures.push_back(
            {fmt::format("prefix {}/{}", Ip(key.addr).to_string(), key.prefix_bits), cidrs_.name(), error});
    });
    ipcache_.put_all(image.ipcache, stats, kAlways, [&](const weft_addr& key, const Error& error) {
        stats.failures.push_back(address_failure(key, ipcache_.name(), error));
    });
    node_addresses_.put_all(image.node_addresses, stats, kAlways, [&](const weft_addr& key, const Error& error) {
        stats.failures.push_back(address_failure(key, node_addresses_.name(), error));
    });
    tls_ports_.put_all(image.tls_ports, stats, kAlways, [&](const weft_addr_port& key, const Error& error) {
        stats.failures.push_back({fmt::format("mode of {}", to_string(key)), tls_ports_.name(), error});
    });
    local_.put_all(image.local_addresses, stats, kAlways, [&](const weft_addr& key, const Error& error) {
        stats.failures.push_back(address_failure(key, local_.name(), error));
    });
}

void PolicyWriter::flip(const PolicyImage& image, const Names* names, ApplyStats& stats) {
    for (const auto& [cookie, wanted] : image.endpoints) {
        weft_endpoint endpoint = wanted;
        const weft_endpoint* present = endpoints_.find(cookie);
        const auto failed = failed_.find(wanted.policy);
        if (failed != failed_.end()) {
            const bool same_workload = present != nullptr && present->workload == wanted.workload;
            if (same_workload && present->policy != wanted.policy) {
                held_.insert(present->policy);
                stats.failures.push_back(
                    {endpoint_title(cookie, wanted, names), failed->second.map,
                     Error(failed->second.error.code(), "its new policy could not be written; it keeps its old one")});
                continue;
            }
            if (!same_workload) {
                endpoint.policy = 0;
                endpoint.flags |= WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS;
                stats.failures.push_back(
                    {endpoint_title(cookie, wanted, names), failed->second.map,
                     Error(failed->second.error.code(),
                           "its policy could not be written; it is isolated until that succeeds")});
            }
        }
        if (auto written = endpoints_.put(cookie, endpoint, stats); !written) {
            stats.failures.push_back({endpoint_title(cookie, wanted, names), endpoints_.name(), written.error()});
            if (present != nullptr) {
                held_.insert(present->policy);
            }
        }
    }
}

void PolicyWriter::retire(const PolicyImage& image, const std::function<void()>& grace_period, ApplyStats& stats) {
    const auto fail = [&](const std::string& map) {
        return [&stats, map](const auto&, const Error& error) { stats.failures.push_back({"removal", map, error}); };
    };
    const auto drop = [&](auto& shadow, const auto& wanted) {
        shadow.drop_all(shadow.select([&](const auto& key) { return !wanted.contains(key); }), stats,
                        fail(shadow.name()));
    };
    drop(endpoints_, image.endpoints);
    drop(local_, image.local_addresses);
    drop(node_addresses_, image.node_addresses);
    drop(tls_ports_, image.tls_ports);
    drop(ipcache_, image.ipcache);
    drop(cidrs_, image.cidrs);

    const std::vector<weft_policy_key> policies = policies_.select(
        [&](const weft_policy_key& key) { return !image.policies.contains(key) && !held_.contains(key.policy); });
    std::unordered_set<std::uint64_t> held_ports;
    for (const auto& [key, entry] : policies_.actual()) {
        if (held_.contains(key.policy)) {
            held_ports.insert(entry.ports);
        }
    }
    const std::vector<weft_ports_key> ports = ports_.select(
        [&](const weft_ports_key& key) { return !image.ports.contains(key) && !held_ports.contains(port_set(key)); });
    if (!policies.empty() || !ports.empty()) {
        // A program that read an endpoint before its flip may be about to look these rules up.
        grace_period();
        policies_.drop_all(policies, stats, fail(policies_.name()));
        ports_.drop_all(ports, stats, fail(ports_.name()));
    }
}

Result<bool> PolicyWriter::mend(DriftReport& report) {
    bool mended = false;
    const auto each = [&](auto& shadow) -> Result<> {
        WEFT_ASSIGN(const MapDrift drift, shadow.mend_map([&](const Error& error) {
            report.failures.push_back({"repair", shadow.name(), error});
        }));
        if (drift.total() != 0) {
            report.maps[shadow.name()] = drift;
            mended = true;
        }
        return {};
    };
    WEFT_TRY(each(ports_));
    WEFT_TRY(each(policies_));
    WEFT_TRY(each(cidrs_));
    WEFT_TRY(each(ipcache_));
    WEFT_TRY(each(node_addresses_));
    WEFT_TRY(each(tls_ports_));
    WEFT_TRY(each(local_));
    WEFT_TRY(each(endpoints_));
    return mended;
}

} // namespace weft::reconcile

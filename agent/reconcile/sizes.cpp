// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/reconcile/sizes.hpp"

namespace weft::reconcile {
namespace {

std::uint32_t length(const auto& entries) {
    return static_cast<std::uint32_t>(entries.size());
}

} // namespace

bpf::MapSizes SizeCounter::count(const compiler::DesiredState& state) {
    decltype(counted_)::for_each_change(counted_, state.services,
                                        [&](std::uint64_t, const auto* before, const auto* after) {
                                            if (before != nullptr) {
                                                take_away(**before);
                                            }
                                            if (after != nullptr) {
                                                add(**after);
                                            }
                                        });
    counted_ = state.services;
    bpf::MapSizes sizes = services_;
    if (state.policy) {
        sizes.endpoint = length(state.policy->endpoints);
        sizes.local = length(state.policy->local_addresses);
        sizes.ipcache = length(state.policy->ipcache);
        sizes.cidr = length(state.policy->cidrs);
        sizes.policy = length(state.policy->policies);
        sizes.ports = length(state.policy->ports);
        sizes.node_addr = length(state.policy->node_addresses);
        sizes.tls_port = length(state.policy->tls_ports);
    }
    return sizes;
}

void SizeCounter::add(const compiler::ServiceFragment& fragment) {
    services_.service += length(fragment.frontends);
    services_.member += length(fragment.members);
    if (fragment.slots.empty()) {
        return;
    }
    Set& set = sets_[fragment.set_id];
    if (set.users++ == 0) {
        services_.slot += length(fragment.slots);
    }
    if (!fragment.maglev.empty() && set.maglev_users++ == 0) {
        services_.maglev += WEFT_MAGLEV_CHUNKS;
    }
}

void SizeCounter::take_away(const compiler::ServiceFragment& fragment) {
    services_.service -= length(fragment.frontends);
    services_.member -= length(fragment.members);
    if (fragment.slots.empty()) {
        return;
    }
    const auto set = sets_.find(fragment.set_id);
    if (!fragment.maglev.empty() && --set->second.maglev_users == 0) {
        services_.maglev -= WEFT_MAGLEV_CHUNKS;
    }
    if (--set->second.users == 0) {
        services_.slot -= length(fragment.slots);
        sets_.erase(set);
    }
}

bpf::MapSizes wanted_sizes(const compiler::DesiredState& state) {
    return SizeCounter().count(state);
}

} // namespace weft::reconcile

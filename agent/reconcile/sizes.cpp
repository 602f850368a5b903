// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How many entries does a desired state need in each map?
#include <unordered_map>

#include "agent/reconcile/reconciler.hpp"

namespace weft::reconcile {

bpf::MapSizes wanted_sizes(const compiler::DesiredState& state) {
    const auto count = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
    bpf::MapSizes sizes;
    if (state.policy) {
        sizes.endpoint = count(state.policy->endpoints.size());
        sizes.local = count(state.policy->local_addresses.size());
        sizes.ipcache = count(state.policy->ipcache.size());
        sizes.cidr = count(state.policy->cidrs.size());
        sizes.policy = count(state.policy->policies.size());
        sizes.ports = count(state.policy->ports.size());
        sizes.node_addr = count(state.policy->node_addresses.size());
        sizes.tls_port = count(state.policy->tls_ports.size());
    }
    std::unordered_map<std::uint64_t, bool> sets; // set -> its table is counted
    for (const auto& [id, fragment] : state.services) {
        sizes.service += count(fragment->frontends.size());
        sizes.member += count(fragment->members.size());
        if (fragment->slots.empty()) {
            continue;
        }
        const auto [set, fresh] = sets.try_emplace(fragment->set_id, false);
        if (fresh) {
            sizes.slot += count(fragment->slots.size());
        }
        if (!fragment->maglev.empty() && !set->second) {
            sizes.maglev += WEFT_MAGLEV_CHUNKS;
            set->second = true;
        }
    }
    return sizes;
}

} // namespace weft::reconcile

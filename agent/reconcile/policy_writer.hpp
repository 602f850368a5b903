// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do policies, identities and endpoints get into their maps? In the steps that the reconciler calls: rules that
// no endpoint names yet, then identities of addresses, then the endpoints that name the rules, then removals. What
// cannot be written fails closed: a new endpoint is isolated without rules, an old one keeps its old policy whole.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_set>

#include "agent/bpf/config_maps.hpp"
#include "agent/reconcile/shadow.hpp"

namespace weft::reconcile {

class PolicyWriter {
public:
    /// Reads the maps; their content is the actual state.
    Result<> bind(const bpf::ConfigMaps& maps);

    /// Is there anything to do for this image?
    [[nodiscard]] bool is_current(const std::shared_ptr<const compiler::PolicyImage>& image) const {
        return image == applied_;
    }

    /// Port sets and policy entries.
    void write_rules(const compiler::PolicyImage& image, const compiler::Names* names, ApplyStats& stats);
    /// Identities of addresses, node addresses, modes of ports, addresses of local workloads.
    void write_addresses(const compiler::PolicyImage& image, ApplyStats& stats);
    /// Endpoints whose rules are all there.
    void flip(const compiler::PolicyImage& image, const compiler::Names* names, ApplyStats& stats);
    /// Removes what `image` does not have. Rules go after `grace_period`, so that no program is between them.
    void retire(const compiler::PolicyImage& image, const std::function<void()>& grace_period, ApplyStats& stats);
    /// The round is over. Unless it was complete, the same image is worked on again.
    void finish(std::shared_ptr<const compiler::PolicyImage> image, bool complete) {
        applied_ = complete ? std::move(image) : nullptr;
    }

    /// Compares the maps with what should be there and mends them. True when something was mended that cached
    /// verdicts may rest on.
    Result<bool> mend(DriftReport& report);

private:
    Shadow<std::uint64_t, weft_endpoint> endpoints_;
    Shadow<weft_addr, std::uint64_t> local_;
    Shadow<weft_addr, weft_peer> ipcache_;
    Shadow<weft_cidr_key, weft_peer> cidrs_;
    Shadow<weft_policy_key, weft_policy_entry> policies_;
    Shadow<weft_ports_key, std::uint64_t> ports_;
    Shadow<weft_addr, std::uint32_t> node_addresses_;
    Shadow<weft_addr_port, std::uint32_t> tls_ports_;
    std::shared_ptr<const compiler::PolicyImage> applied_; ///< wholly in the maps; null: not known or not wholly

    // Of the current round:
    std::map<std::uint64_t, Refused> failed_; ///< policies that could not be written
    std::unordered_set<std::uint64_t> held_;      ///< old policies of endpoints that could not be flipped
};

} // namespace weft::reconcile

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// NetworkPolicies as map entries: for each set of policies that selects some pod of this node, and each identity that
// one of their rules names, the ports that are open. Everything else is closed by the absence of an entry.
#pragma once

#include <vector>

#include "agent/compiler/identities.hpp"

namespace weft::compiler {

/// What policies make of one pod.
struct PolicyClass {
    std::uint64_t id = 0;     ///< 0: no policy selects it
    std::uint32_t flags = 0;  ///< WEFT_ENDPOINT_ISOLATED_*
};

class PolicyCompiler {
public:
    /// Both must outlive the compiler; entries and names go to `image` and `names`.
    PolicyCompiler(const store::Snapshot& snapshot, const Identities& identities, PolicyImage& image, Names& names);

    /// The class of a pod; its entries are written when it is met for the first time.
    PolicyClass classify(const k8s::Pod& pod);

private:
    struct Opened;
    void write_class(std::uint64_t id, const std::vector<const k8s::NetworkPolicy*>& policies, const k8s::Pod& pod);
    void write_direction(std::uint64_t id, std::uint32_t direction,
                         const std::vector<const k8s::NetworkPolicy*>& policies, const k8s::Pod& pod);
    void write_entry(std::uint64_t id, std::uint64_t identity, std::uint32_t direction, const Opened& opened);

    const store::Snapshot& snapshot_;
    const Identities& identities_;
    PolicyImage& image_;
    Names& names_;
};

/// Id of a rule: what events and `weft policy list` name.
std::uint64_t rule_id(const k8s::NetworkPolicy& policy, std::uint32_t direction, std::size_t index);

} // namespace weft::compiler

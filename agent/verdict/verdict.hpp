// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The kernel's policy decision in user space: the same source (bpf/lib/verdict.h) over the compiler's output instead
// of BPF maps. No root, no kernel, so `weft simulate` and tests can ask what would happen.
// Thread: any; a PolicyIndex is immutable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "agent/compiler/desired_state.hpp"

namespace weft::verdict {

struct Decision {
    bool allow = false;
    std::uint64_t rule = 0; ///< 0: no rule was needed, or none allows
};

class PolicyIndex {
public:
    explicit PolicyIndex(std::shared_ptr<const compiler::PolicyImage> image);

    /// May the workload of this network namespace talk to `peer`? `port`: ingress the workload's own, egress the
    /// peer's. `direction`: WEFT_INGRESS or WEFT_EGRESS. An unknown workload is denied, as in the kernel.
    [[nodiscard]] Decision decide(std::uint64_t netns_cookie, std::uint8_t direction, const Ip& peer,
                                  std::uint8_t protocol, std::uint16_t port) const;

    // The look-ups of bpf/lib/verdict.h.
    [[nodiscard]] const weft_peer* peer_of(const weft_addr& addr) const;
    [[nodiscard]] const weft_policy_entry* policy_at(const weft_policy_key& key) const;
    [[nodiscard]] const std::uint64_t* rule_at(const weft_ports_key& key) const;

private:
    std::shared_ptr<const compiler::PolicyImage> image_;
    /// weft_cidr by prefix length, longest first.
    std::map<std::uint32_t, compiler::Image<weft_addr, weft_peer>, std::greater<>> prefixes_;
};

} // namespace weft::verdict

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who may be where. Fails closed: an address that neither a Pod nor the configuration explains admits nobody.
#include "agent/mesh/view.hpp"

#include <algorithm>

namespace weft::mesh {

const std::string* View::foreign_domain(const Ip& ip) const {
    if (peers.contains(ip) || own_addresses.contains(ip)) {
        return nullptr;
    }
    const auto found = std::ranges::find_if(foreign, [&](const ForeignBlock& one) { return one.block.contains(ip); });
    return found == foreign.end() ? nullptr : &found->trust_domain;
}

Result<> View::authorise(const weft_addr& addr, const ktls::Peer& peer) const {
    const Ip ip(addr);
    if (const auto expected = peers.find(ip); expected != peers.end()) {
        if (peer.id != expected->second) {
            return failure(EACCES, "{} at {} may only be {}", peer.id.to_string(), ip.to_string(),
                           expected->second.to_string());
        }
    } else if (const auto* domain = foreign_domain(ip); domain != nullptr) {
        if (peer.id.trust_domain != *domain) {
            return failure(EACCES, "{} at {}, an address of trust domain {}", peer.id.to_string(), ip.to_string(),
                           *domain);
        }
    } else {
        return failure(EACCES, "{} at {}, where neither a Pod nor another trust domain is known", peer.id.to_string(),
                       ip.to_string());
    }
    if (is_revoked(peer.id, peer.serial)) {
        return failure(EACCES, "{} with serial {} is revoked", peer.id.to_string(), peer.serial);
    }
    return {};
}

} // namespace weft::mesh

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/view.hpp"

namespace weft::mesh {

Result<> View::authorise(const weft_addr& addr, const ktls::Peer& peer) const {
    const auto expected = peers.find(Ip(addr));
    if (expected == peers.end()) {
        return failure(EACCES, "no Pod is known at {}", Ip(addr).to_string());
    }
    if (peer.id != expected->second) {
        return failure(EACCES, "{} at {} may only be {}", peer.id.to_string(), Ip(addr).to_string(),
                       expected->second.to_string());
    }
    if (is_revoked(peer.id, peer.serial)) {
        return failure(EACCES, "{} with serial {} is revoked", peer.id.to_string(), peer.serial);
    }
    return {};
}

} // namespace weft::mesh

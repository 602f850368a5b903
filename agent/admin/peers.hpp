// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where can the flows of this cluster be read? The answer of peer.Peer: every Node with the address of its listener, as
// all agents of a cluster listen on the same port. Without a listener there is only this node's own socket.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "agent/admin/view.hpp"
#include "peer/peer.pb.h"

namespace weft::admin {

/// How this agent serves flows.
struct Reach {
    std::string socket_path = {}; ///< of the admin socket
    std::string host = {}; ///< of the TCP listener; empty or a wildcard: each node's own address
    std::uint16_t port = 0; ///< of the TCP listener; 0: there is none
    bool tls = false; ///< the listener takes TLS only; certificates hold their Node's name
};

/// By node name; the agent's own node is always there. A Node without an address is not.
std::map<std::string, peer::ChangeNotification> peers_of(const store::Snapshot& snapshot, const std::string& own_name,
                                                         const Reach& reach);

/// Sends every node as added, then each change, until `send` or `go_on` returns false.
void stream_peers(const AgentView& view, const Reach& reach,
                  const std::function<bool(const peer::ChangeNotification&)>& send, const std::function<bool()>& go_on);

} // namespace weft::admin

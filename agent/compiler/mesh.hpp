// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is a pod to be enrolled in the mesh, in which mode, and has its own node's agent published that it is?
#pragma once

#include <vector>

#include "agent/compiler/compiler.hpp"

namespace weft::compiler {

/// Label on pods and namespaces: "enabled" or "disabled"; the pod's own wins.
inline constexpr const char* kMeshLabel = "weft.dev/mesh";
/// Annotation that a pod's node agent publishes once its hooks are armed: "true".
inline constexpr const char* kEnrolledAnnotation = "weft.dev/enrolled";

struct MeshStanding {
    k8s::TlsMode mode = k8s::TlsMode::kOff;
    std::map<std::uint16_t, k8s::TlsMode> ports; ///< exceptions, by the pod's own port
    bool published = false; ///< its agent takes mutual TLS for it
    bool entering = false;  ///< other nodes may not expect mutual TLS from it yet
    bool leaving = false;   ///< other nodes may still dial it, and expect mutual TLS from it
};

/// Pods on the host's network and finished ones are never enrolled. A label with another value is refused and does not
/// enrol: a pod that its owner meant to protect is then reachable by plaintext only from those who do not ask for more.
///
/// The mode is that of the first MeshTLS by name that selects it, else of the first one for its whole namespace, else
/// the MeshConfig's, else permissive.
MeshStanding mesh_standing(const store::Snapshot& snapshot, const k8s::Pod& pod, const InTransit& in_transit,
                           std::vector<store::Refusal>* refusals);

/// Entries of weft_tls_port for an enrolled pod at `ip`.
void add_tls_ports(const MeshStanding& standing, const Ip& ip, Image<weft_addr_port, std::uint32_t>& out);

/// What the hooks are told of a pod of this node (WEFT_ENDPOINT_*).
std::uint32_t endpoint_flags(const MeshStanding& standing);
/// What they are told of a pod of another node (WEFT_PEER_*).
std::uint32_t peer_flags(const MeshStanding& standing);

} // namespace weft::compiler

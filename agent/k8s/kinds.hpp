// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One parser for each kind: from the document's root and the metadata already read to a checked value. What is wrong is
// recorded in the Field's Faults; the value then is not used. Internal to this folder.
#pragma once

#include <string_view>

#include "agent/k8s/field.hpp"
#include "agent/k8s/objects.hpp"

namespace weft::k8s {

Node parse_node(const Field& root, Meta meta);
Pod parse_pod(const Field& root, Meta meta);
Deployment parse_deployment(const Field& root, Meta meta);
Service parse_service(const Field& root, Meta meta);
/// `beta`: discovery.k8s.io/v1beta1, where node and zone are in a topology map.
EndpointSlice parse_slice(const Field& root, Meta meta, bool beta);
NetworkPolicy parse_policy(const Field& root, Meta meta);
MeshTls parse_mesh_tls(const Field& root, Meta meta);
MeshConfig parse_mesh_config(const Field& root, Meta meta);

/// metadata of an object, or of a pod template.
Meta parse_meta(const Field& metadata);
/// A PodSpec.
PodSpec parse_pod_spec(const Field& spec);
/// A metav1.LabelSelector that is there.
LabelSelector parse_selector(const Field& selector);
/// A fault for an address that no peer can have: unspecified, loopback, link-local, multicast.
void check_unicast(const Field& field, const Ip& ip);

} // namespace weft::k8s

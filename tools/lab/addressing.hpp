// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which address everything in a lab has. Pure: the same manifests get the same addresses on every run.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/objects.hpp"

namespace weft::lab {

/// Most nodes that a lab can have: the node's number is one byte of its addresses.
inline constexpr int kMostNodes = 200;

/// The node's addresses on the wire: 172.31.0.N and fd00:31::N, N from 1.
std::vector<Ip> node_addresses(int number);

/// The default pod blocks of node N: 10.244.N.0/24 and fd00:244:N::/64.
std::vector<Cidr> default_pod_cidrs(int number);

/// The first address that nobody has for a host outside the cluster: 203.0.113.10 and up.
Ip external_address(const std::set<Ip>& taken);

/// Gives a Service what the API server would give it: cluster IPs (10.96.0.0/16, fd00:96::/112), node ports (30000 and
/// up) and a load-balancer IP (192.0.2.0/24). Numbers follow from the Service's name, so they survive a restart; a
/// taken one moves on to the next. Keeps what the manifest sets.
class ServiceAddresses {
public:
    /// Marks what a manifest asks for by itself, so that nobody else gets it.
    void reserve(const k8s::Service& service);
    /// Fills in what is missing: one cluster IP for each wanted family, IPv4 when it names none.
    void assign(k8s::Service& service);
    /// The Service is gone; its numbers may be given to others.
    void release(const k8s::Service& service);

private:
    std::set<Ip> ips_;
    std::set<std::uint16_t> node_ports_;
};

} // namespace weft::lab

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The lab's network: a bridge in a namespace of its own (the wire), and veth pairs from it to nodes and outside hosts.
// Every pair is made inside the lab's namespaces; none of its ends is ever in the machine's own.
#pragma once

#include <string>
#include <vector>

#include "tools/lab/names.hpp"
#include "weft/base/ip.hpp"

namespace weft::lab {

/// A node as the network sees it.
struct WireNode {
    std::string name = {};
    int number = 0; ///< from 1
    std::vector<Ip> addresses = {};     ///< on the wire: one IPv4, one IPv6
    std::vector<Ip> own_addresses = {}; ///< further ones that its Node object gives it
    std::vector<Cidr> pod_cidrs = {};
};

/// Makes the wire's namespace and bridge.
Result<> create_wire(const Names& names);

/// Makes all nodes' namespaces, joins them to the wire, and gives each routes to the others' pod blocks.
Result<> create_nodes(const Names& names, const std::vector<WireNode>& nodes);

/// Makes a host outside the cluster with these addresses; `number` is unique among the lab's outside hosts.
Result<> create_external(const Names& names, const std::string& netns, int number, const std::vector<Ip>& addresses,
                         const std::vector<WireNode>& nodes);

/// Takes the outside host's cable out of the wire (removing its namespace does the rest) and its routes out of the nodes.
Result<> remove_external(const Names& names, const std::string& netns, const std::vector<Ip>& addresses,
                         const std::vector<WireNode>& nodes);

/// Tells every other node and `externals` (namespaces) how to reach pod addresses outside their node's blocks.
Result<> route_pod(const Names& names, const std::vector<Ip>& addresses, const WireNode& owner,
                   const std::vector<WireNode>& nodes, const std::vector<std::string>& externals, bool add);

} // namespace weft::lab

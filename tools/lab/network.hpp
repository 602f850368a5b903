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

/// Takes the outside host's cable out of the wire (removing its namespace does the rest) and its routes out of the
/// nodes.
Result<> remove_external(const Names& names, const std::string& netns, const std::vector<Ip>& addresses,
                         const std::vector<WireNode>& nodes);

/// Addresses of a pod that are outside its node's blocks, so that everybody needs a route for each.
struct Stray {
    std::vector<Ip> addresses = {};
    const WireNode* owner = nullptr;
};

/// Those of `addresses` that are outside the blocks of `owner`.
Stray stray_addresses(const std::vector<Ip>& addresses, const WireNode& owner);

/// Adds or removes the routes to a stray pod in every other node.
Result<> route_stray(const Names& names, const Stray& stray, const std::vector<WireNode>& nodes, bool add);

/// The same in one outside host.
Result<> route_stray_in(const std::string& netns, const Stray& stray, bool add);

} // namespace weft::lab

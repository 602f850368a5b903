// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which addresses belong to workloads of other trust domains? What the configuration says, less what is this cluster's
// own. Pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/mesh/view.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::app {

/// Tells the view about blocks of other trust domains, and about the addresses of this cluster that are nobody else's.
/// A block that overlaps a node's Pod addresses is left out, so nobody is believed there. Returns one line for each
/// such block.
std::vector<std::string> add_foreign(mesh::View& view, const store::Snapshot& snapshot,
                                     const std::map<std::string, std::vector<Cidr>>& blocks);

/// All blocks, whatever their trust domain.
std::vector<Cidr> all_blocks(const std::map<std::string, std::vector<Cidr>>& blocks);

} // namespace weft::app

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What mutual TLS needs beside weftd: weft-ca on the first node, and a weft-relay on every node. Thread: loop.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/lab/names.hpp"
#include "tools/lab/process.hpp"

namespace weft::lab {

/// One node of the lab, as far as this file needs it.
struct AuthorityNode {
    std::string name;
    std::string address; ///< on the wire
};

class Authority {
public:
    /// Makes an authority with a join token for each node, and starts weft-ca and the relays. They live until the lab
    /// is taken down. `weft_ca`: false when certificates come from elsewhere, then there are only the relays. Error: a
    /// program is missing, or what it said on standard error.
    static Result<Authority> start(const Names& names, const std::string& cgroup_mount,
                                   const std::vector<AuthorityNode>& nodes, bool weft_ca);

    /// weftd's flags on that node.
    [[nodiscard]] const std::vector<std::string>& flags(const std::string& node) const { return flags_.at(node); }

private:
    std::vector<Child> children_;
    std::map<std::string, std::vector<std::string>> flags_;
};

} // namespace weft::lab

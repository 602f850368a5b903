// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What a node keeps between two runs of its agent: its own key and certificate, and the roots. Keys of workloads are
// never among it. Mode 0600, in a folder with mode 0700.
#pragma once

#include <optional>
#include <string>

#include "agent/identity/source.hpp"

namespace weft::identity {

class NodeFiles {
public:
    /// Makes or checks the folder.
    static Result<NodeFiles> open(const std::string& folder);

    /// The node's key and chain; nothing before it has joined. Errors: EPERM, EINVAL naming the file.
    [[nodiscard]] Result<std::optional<Svid>> read_node() const;
    [[nodiscard]] Result<> write_node(const Svid& node) const;
    /// The roots; nothing before it has joined.
    [[nodiscard]] Result<std::vector<OsslPtr<X509>>> read_roots() const;
    [[nodiscard]] Result<> write_roots(const std::vector<OsslPtr<X509>>& roots) const;
    /// The key with which this node tries to join: the same one until it has, as the token counts for one key only.
    [[nodiscard]] Result<OsslPtr<EVP_PKEY>> joining_key() const;
    /// It has joined.
    [[nodiscard]] Result<> drop_joining_key() const;

private:
    [[nodiscard]] std::string file(const char* name) const { return folder_ + "/" + name; }
    std::string folder_;
};

} // namespace weft::identity

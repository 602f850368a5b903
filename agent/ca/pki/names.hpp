// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Names in certificates that are no workload's: nodes, and weft-ca itself. Their paths have two or one segments where a
// workload's has four, so that no reader of workload identities takes one of them for a workload.
#pragma once

#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::pki {

/// A node: spiffe://TRUST-DOMAIN/node/NAME.
struct NodeId {
    std::string trust_domain;
    std::string name;

    /// Errors: EINVAL naming the text and its fault. NAME is a Kubernetes node name.
    static Result<NodeId> parse(std::string_view text);
    static Result<NodeId> make(std::string_view trust_domain, std::string_view name);
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const NodeId&, const NodeId&) = default;
};

/// spiffe://TRUST-DOMAIN/weft-ca: what the server's certificate must say.
std::string server_uri(std::string_view trust_domain);

/// weft-ca's name for TLS stacks that want a host name: also in its certificate, and proof of nothing.
inline constexpr const char* kServerName = "weft-ca";

/// What only node certificates carry as extended key usage, beside clientAuth.
inline constexpr const char* kNodeUsage = "2.25.287226430298084784631750746119384633695";

} // namespace weft::pki

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Text of node names, as strict as that of workloads.
#include "agent/ca/pki/names.hpp"

#include <algorithm>

#include "weft/base/spiffe_id.hpp"

namespace weft::pki {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::string_view kPath = "/node/";

} // namespace

Result<NodeId> NodeId::make(std::string_view trust_domain, std::string_view name) {
    // Node names follow the rule of service accounts: labels joined by dots.
    if (const auto checked = SpiffeId::make(trust_domain, "default", name); !checked) {
        WEFT_TRY(check_trust_domain(trust_domain));
        return invalid("node '{}' is no Kubernetes node name", name);
    }
    return NodeId{std::string(trust_domain), std::string(name)};
}

Result<NodeId> NodeId::parse(std::string_view text) {
    const auto path = text.find(kPath);
    if (text.size() > kMaxSpiffeId || !text.starts_with(kScheme) || path == std::string_view::npos) {
        return invalid("'{}' is no node's SPIFFE ID: write spiffe://TRUST-DOMAIN/node/NAME", text.substr(0, 256));
    }
    auto id = make(text.substr(kScheme.size(), path - kScheme.size()), text.substr(path + kPath.size()));
    if (!id) {
        return std::unexpected(id.error().within(fmt::format("SPIFFE ID '{}'", text)));
    }
    return id;
}

std::string NodeId::to_string() const {
    return fmt::format("{}{}{}{}", kScheme, trust_domain, kPath, name);
}

std::string server_uri(std::string_view trust_domain) {
    return fmt::format("{}{}/weft-ca", kScheme, trust_domain);
}

} // namespace weft::pki

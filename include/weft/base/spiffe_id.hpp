// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Names of workloads as certificates carry them: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, the shape that
// Istio uses. Parsing accepts exactly what to_string() writes, so two ids are equal when their texts are.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft {

/// The longest text that parse() accepts, as the SPIFFE standard sets it.
inline constexpr std::size_t kMaxSpiffeId = 2048;

/// A workload's identity.
struct SpiffeId {
    std::string trust_domain;
    std::string namespace_name;
    std::string service_account;

    /// From "spiffe://cluster.local/ns/shop/sa/web". Error: EINVAL naming the text and its fault. No user, port, query,
    /// fragment, percent code, empty or further path segment; the trust domain is lower case, the rest are names as
    /// Kubernetes allows them.
    static Result<SpiffeId> parse(std::string_view text);
    /// The same rules for parts that come from elsewhere. Error: EINVAL naming the part.
    static Result<SpiffeId> make(std::string_view trust_domain, std::string_view namespace_name,
                                 std::string_view service_account);

    /// The URI.
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const SpiffeId&, const SpiffeId&) = default;
    friend auto operator<=>(const SpiffeId&, const SpiffeId&) = default;
};

/// Whether `name` can be a trust domain: 1 to 255 of a-z 0-9 . - _. Error: EINVAL naming the fault.
Result<> check_trust_domain(std::string_view name);

} // namespace weft

template <>
struct std::hash<weft::SpiffeId> {
    std::size_t operator()(const weft::SpiffeId& id) const noexcept {
        const std::hash<std::string> one;
        return (one(id.trust_domain) * 31 + one(id.namespace_name)) * 31 + one(id.service_account);
    }
};

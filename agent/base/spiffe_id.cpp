// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Text of workload identities. Strict on purpose: this text decides who may talk to whom, so there is one spelling.
#include "weft/base/spiffe_id.hpp"

#include <algorithm>

namespace weft {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kMaxTrustDomain = 255;
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxSubdomain = 253;

bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/// RFC 1123 label: what Kubernetes allows as name of a namespace.
bool is_label(std::string_view name) {
    return !name.empty() && name.size() <= kMaxLabel && is_lower_or_digit(name.front()) &&
           is_lower_or_digit(name.back()) &&
           std::ranges::all_of(name, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

/// Labels joined by dots: what Kubernetes allows as name of a service account.
bool is_subdomain(std::string_view name) {
    if (name.size() > kMaxSubdomain) {
        return false;
    }
    while (true) {
        const auto dot = name.find('.');
        // A label of a subdomain may be longer than a namespace's, Kubernetes only bounds the whole.
        const auto label = name.substr(0, dot);
        if (label.empty() || !is_lower_or_digit(label.front()) || !is_lower_or_digit(label.back()) ||
            !std::ranges::all_of(label, [](char c) { return is_lower_or_digit(c) || c == '-'; })) {
            return false;
        }
        if (dot == std::string_view::npos) {
            return true;
        }
        name.remove_prefix(dot + 1);
    }
}

} // namespace

Result<> check_trust_domain(std::string_view name) {
    if (name.empty() || name.size() > kMaxTrustDomain ||
        !std::ranges::all_of(name, [](char c) { return is_lower_or_digit(c) || c == '.' || c == '-' || c == '_'; })) {
        return invalid("trust domain '{}': write 1 to {} of a-z, 0-9, '.', '-', '_'", name, kMaxTrustDomain);
    }
    return {};
}

Result<SpiffeId> SpiffeId::make(std::string_view trust_domain, std::string_view namespace_name,
                                std::string_view service_account) {
    WEFT_TRY(check_trust_domain(trust_domain));
    if (!is_label(namespace_name)) {
        return invalid("namespace '{}' is no Kubernetes namespace name", namespace_name);
    }
    if (!is_subdomain(service_account)) {
        return invalid("service account '{}' is no Kubernetes service account name", service_account);
    }
    return SpiffeId{std::string(trust_domain), std::string(namespace_name), std::string(service_account)};
}

Result<SpiffeId> SpiffeId::parse(std::string_view text) {
    if (text.size() > kMaxSpiffeId) {
        return invalid("SPIFFE ID of {} bytes: at most {} are allowed", text.size(), kMaxSpiffeId);
    }
    if (!text.starts_with(kScheme)) {
        return invalid("'{}' is no SPIFFE ID: it must begin with {}", text, kScheme);
    }
    std::string_view rest = text.substr(kScheme.size());
    const auto next_part = [&rest] {
        const auto slash = rest.find('/');
        const auto part = rest.substr(0, slash);
        rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
        return part;
    };
    const auto trust_domain = next_part();
    const auto ns = next_part();
    const auto namespace_name = next_part();
    const auto sa = next_part();
    if (ns != "ns" || sa != "sa") {
        return invalid("SPIFFE ID '{}': the path must be /ns/NAMESPACE/sa/SERVICE-ACCOUNT", text);
    }
    auto id = make(trust_domain, namespace_name, rest);
    if (!id) {
        return std::unexpected(id.error().within(fmt::format("SPIFFE ID '{}'", text)));
    }
    return id;
}

std::string SpiffeId::to_string() const {
    return fmt::format("{}{}/ns/{}/sa/{}", kScheme, trust_domain, namespace_name, service_account);
}

} // namespace weft

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Roots of other trust domains, from a file or an https URL, read again and again by a thread of its own. A bundle that
// cannot be read keeps the last good one.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/identity/source.hpp"

namespace weft::identity {

/// Where the roots of one trust domain are.
struct FederatedDomain {
    std::string trust_domain;
    std::string location; ///< absolute path, or https://...; PEM or a SPIFFE bundle (JSON)
    std::string ca_file; ///< for https: whom to believe; the system's roots when empty
};

/// What is known of one domain's bundle, for people and metrics.
struct BundleState {
    std::string trust_domain;
    std::string location;
    std::size_t roots = 0; ///< in force
    std::optional<Time> read_at; ///< when the roots in force were last read there; nothing: never
    std::string trouble; ///< why the last reading failed; empty: it did not
};

/// Immutable.
struct Federated {
    ktls::TrustBundles roots;
    std::vector<std::string> troubles; ///< one line for each domain that could not be read last time
};
using FederatedPtr = std::shared_ptr<const Federated>;

class Federation {
public:
    /// Errors: EINVAL for our own or a repeated trust domain, and for a location that is neither. Reads once at once,
    /// in its thread.
    static Result<std::unique_ptr<Federation>>
    start(std::vector<FederatedDomain> domains, const std::string& own_trust_domain, std::chrono::seconds interval);
    ~Federation();
    Federation(const Federation&) = delete;
    Federation& operator=(const Federation&) = delete;

    /// Never null; the same pointer as long as nothing changed.
    [[nodiscard]] FederatedPtr current() const;
    /// All domains, in order.
    [[nodiscard]] std::vector<BundleState> states() const;
    /// Called by the thread after each change.
    void listen(std::function<void()> changed);
    /// Reads again now.
    void refresh();

private:
    class Impl;
    explicit Federation(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Roots from PEM, or from a SPIFFE bundle document (JSON Web Keys with x5c). Errors: EINVAL naming the fault.
Result<std::vector<OsslPtr<X509>>> parse_bundle(std::string_view text);

} // namespace weft::identity

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A certificate authority for tests, which also makes the certificates that no honest one would.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "weft/ktls/context.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ktls::test {

/// What a leaf is to look like; the default is right.
struct LeafOptions {
    std::vector<std::string> uris = {"spiffe://cluster.local/ns/shop/sa/web"};
    long starts_in_seconds = -60;
    long ends_in_seconds = 3600;
    bool is_ca = false;
    std::string extended_key_usage = "serverAuth,clientAuth";
    int rsa_bits = 0; ///< 0: ECDSA P-256
};

struct Leaf {
    OsslPtr<EVP_PKEY> key;
    OsslPtr<X509> certificate;
};

class Authority {
public:
    /// How long a root lives.
    static constexpr long kRootSeconds = 86400;

    /// A new root, with an intermediate when asked for.
    explicit Authority(bool with_intermediate = false);
    /// Another intermediate of the same root.
    [[nodiscard]] Authority sibling(long ends_in_seconds = kRootSeconds - 60) const;
    [[nodiscard]] Leaf issue(const LeafOptions& options = {}) const;
    /// Leaf, intermediate and this root for `trust_domain`.
    [[nodiscard]] Credentials credentials(const LeafOptions& options = {},
                                          const std::string& trust_domain = "cluster.local") const;
    /// The same made into a context; the test fails when that does not work.
    [[nodiscard]] std::shared_ptr<const Context> context(const LeafOptions& options = {},
                                                         const ContextOptions& context_options = {}) const;
    [[nodiscard]] X509* root() const { return root_.get(); }

private:
    void make_intermediate(long ends_in_seconds);

    OsslPtr<EVP_PKEY> root_key_;
    OsslPtr<X509> root_;
    OsslPtr<EVP_PKEY> intermediate_key_;
    OsslPtr<X509> intermediate_;
};

/// PEM text of a certificate or a key.
std::string pem_of(X509* certificate);
std::string pem_of(EVP_PKEY* key);

/// A leaf of that service account in namespace shop.
LeafOptions leaf_of(const std::string& service_account);

} // namespace weft::ktls::test

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates of any trust domain for tests of sources that are not weft-ca.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/key.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::identity::test {

using pki::OsslPtr;

inline pki::Time now() {
    return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

/// A key, its chain and the root above, as texts.
struct Material {
    OsslPtr<EVP_PKEY> key;
    std::vector<OsslPtr<X509>> chain;
    [[nodiscard]] std::string key_pem() const { return *pki::pem_of(key.get()); }
    [[nodiscard]] std::string chain_pem() const {
        std::string text;
        for (const auto& one : chain) {
            text += *pki::pem_of(one.get());
        }
        return text;
    }
    [[nodiscard]] std::string chain_der() const {
        std::string bytes;
        for (const auto& one : chain) {
            bytes += *pki::der_of(one.get());
        }
        return bytes;
    }
    [[nodiscard]] std::string key_der() const {
        unsigned char* der = nullptr;
        const int size = i2d_PrivateKey(key.get(), &der);
        std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
        OPENSSL_free(der);
        return bytes;
    }
    [[nodiscard]] std::string serial() const { return ktls::serial_of(chain.front().get()); }
};

/// A root and an intermediate of one trust domain.
class SmallPki {
public:
    explicit SmallPki(std::string trust_domain = "cluster.local") : domain_(std::move(trust_domain)) {
        const pki::Validity life{now() - std::chrono::hours(100), now() + std::chrono::hours(1000)};
        root_key_ = *pki::new_key();
        root_ = *pki::make_root(root_key_.get(), "root of " + domain_, life);
        key_ = *pki::new_key();
        intermediate_ = *pki::make_intermediate(key_.get(), "intermediate of " + domain_, domain_, life,
                                                {root_.get(), root_key_.get()});
    }
    [[nodiscard]] Material issue(const std::string& uri, std::chrono::seconds from = std::chrono::minutes(-1),
                                 std::chrono::seconds to = std::chrono::hours(24)) const {
        Material made;
        made.key = *pki::new_key();
        made.chain.push_back(*pki::make_leaf(pki::LeafKind::kWorkload, made.key.get(), uri, {now() + from, now() + to},
                                             {intermediate_.get(), key_.get()}));
        made.chain.push_back(ktls::share(intermediate_.get()));
        return made;
    }
    [[nodiscard]] std::string root_pem() const { return *pki::pem_of(root_.get()); }
    [[nodiscard]] std::string root_der() const { return *pki::der_of(root_.get()); }

private:
    std::string domain_;
    OsslPtr<EVP_PKEY> root_key_, key_;
    OsslPtr<X509> root_, intermediate_;
};

} // namespace weft::identity::test

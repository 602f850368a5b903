// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What a source hands over is believed only when it fits: identity, key, chain, dates. And: one trust out of the
// source's and the federated domains', with the credentials that follow from it.
#include <algorithm>

#include <openssl/err.h>

#include "agent/ca/pki/chain.hpp"
#include "agent/identity/keeper.hpp"

namespace weft::identity {
namespace {

ktls::TrustBundles share_all(const ktls::TrustBundles& bundles) {
    ktls::TrustBundles copies;
    for (const auto& [domain, roots] : bundles) {
        auto& list = copies[domain];
        for (const auto& root : roots) {
            list.push_back(ktls::share(root.get()));
        }
    }
    return copies;
}

CredentialsPtr with_roots(const Svid& svid, const ktls::TrustBundles& bundles) {
    auto made = std::make_shared<ktls::Credentials>();
    made->key = ktls::share(svid.key.get());
    for (const auto& one : svid.chain) {
        made->chain.push_back(ktls::share(one.get()));
    }
    made->roots = share_all(bundles);
    return made;
}

bool same_roots(const ktls::TrustBundles& a, const ktls::TrustBundles& b) {
    return std::ranges::equal(a, b, [](const auto& one, const auto& other) {
        return one.first == other.first &&
               std::ranges::equal(one.second, other.second,
                                  [](const auto& x, const auto& y) { return X509_cmp(x.get(), y.get()) == 0; });
    });
}

bool leads_to(const std::vector<OsslPtr<X509>>& chain, const OsslPtr<X509>& root) {
    const std::span<const OsslPtr<X509>> only(&root, 1);
    return pki::verify_chain(chain, only, pki::Purpose::kAny, std::nullopt).has_value();
}

} // namespace

Result<Keeper::Entry> Keeper::accept(const SpiffeId& id, Svid svid, Time now) {
    if (svid.chain.empty() || !svid.key) {
        return invalid("{}: no certificate or no key", id.to_string());
    }
    X509* const leaf = svid.chain.front().get();
    const auto proven = ktls::spiffe_id_of(leaf);
    if (!proven) {
        return std::unexpected(proven.error().within(id.to_string()));
    }
    if (*proven != id) {
        return invalid("the certificate is for {}, not for {}", proven->to_string(), id.to_string());
    }
    if (X509_check_private_key(leaf, svid.key.get()) != 1) {
        ERR_clear_error();
        return invalid("{}: the key is not the certificate's", id.to_string());
    }
    const auto trust = this->trust();
    if (!trust || !trust->roots.contains(id.trust_domain)) {
        return failure(ENOKEY, "{}: no trust bundle for '{}'", id.to_string(), id.trust_domain);
    }
    for (const auto purpose : {pki::Purpose::kClient, pki::Purpose::kServer}) {
        if (auto valid = pki::verify_chain(svid.chain, trust->roots.at(id.trust_domain), purpose, now); !valid) {
            const bool dates = valid.error().code() == EKEYEXPIRED;
            return std::unexpected(valid.error().within(
                fmt::format("{}{}", id.to_string(), dates ? " (is this node's clock right?)" : "")));
        }
    }
    Entry entry;
    entry.serial = ktls::serial_of(leaf);
    if (trust->revocations.contains(id.to_string(), entry.serial)) {
        return failure(EKEYREVOKED, "the certificate {} of {} is revoked", entry.serial, id.to_string());
    }
    WEFT_ASSIGN(const auto life, pki::validity_of(leaf));
    entry.not_before = life.from;
    entry.not_after = life.to;
    // Half of what is left now, give or take a tenth: a certificate that comes late is not asked for at once again.
    const auto left = life.to - std::max(now, life.from);
    const auto percent = std::uniform_int_distribution<int>(45, 55)(random_);
    entry.renew_at = std::max(now, life.from) + std::max(left * percent / 100, std::chrono::seconds(1));
    entry.credentials = with_roots(svid, trust->roots);
    return entry;
}

void Keeper::update_trust() {
    auto own = source_->trust();
    auto federated = federation_ ? federation_->current() : nullptr;
    if (own == source_trust_ && federated == federated_) {
        return;
    }
    auto merged = std::make_shared<Trust>();
    if (own) {
        merged->version = own->version;
        merged->roots = share_all(own->roots);
        merged->revocations = own->revocations;
        merged->signing_root = ktls::share(own->signing_root.get());
    }
    if (federated) {
        for (auto& [domain, roots] : share_all(federated->roots)) {
            merged->roots.try_emplace(domain, std::move(roots)); // the source's own domains are its own business
        }
    }
    std::vector<SpiffeId> touched;
    {
        const auto moment = options_.steady();
        const std::scoped_lock lock(mutex_);
        const bool rebuild = !trust_ || !same_roots(trust_->roots, merged->roots);
        for (auto& [id, entry] : entries_) {
            if (!entry.credentials) {
                continue;
            }
            const auto& old = *entry.credentials;
            const bool away = merged->signing_root && !leads_to(old.chain, merged->signing_root);
            if (away && !entry.rotate_at) {
                const auto most = static_cast<int>(options_.rotation_spread.count());
                entry.rotate_at =
                    moment + std::chrono::milliseconds(std::uniform_int_distribution<int>(0, most)(random_));
            }
            const bool was = trust_ && trust_->revocations.contains(id.to_string(), entry.serial);
            const bool is = merged->revocations.contains(id.to_string(), entry.serial);
            if (rebuild) {
                Svid svid{ktls::share(old.key.get()), {}};
                for (const auto& one : old.chain) {
                    svid.chain.push_back(ktls::share(one.get()));
                }
                entry.credentials = with_roots(svid, merged->roots);
            }
            if (rebuild || was != is) {
                touched.push_back(id);
            }
        }
        trust_ = merged;
    }
    source_trust_ = own;
    federated_ = std::move(federated);
    for (const auto& id : touched) {
        tell(id);
    }
    if (trust_changed_) {
        trust_changed_(merged);
    }
    if (own) {
        source_->applied(own);
    }
}

} // namespace weft::identity

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Each step writes new key files first and ca.json last; files that ca.json does not name are removed.
#include "agent/ca/authority.hpp"

#include <algorithm>
#include <filesystem>

#include "agent/ca/authority_files.hpp"
#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "weft/base/spiffe_id.hpp"

namespace weft::ca {
namespace {

/// A throw-away leaf of this trust domain must lead to the root: what was imported can do its work.
Result<> prove(const Authority& authority, Time now) {
    WEFT_ASSIGN(const auto key, pki::new_key());
    const auto uri = SpiffeId{authority.trust_domain(), "default", "default"}.to_string();
    WEFT_ASSIGN(const auto chain, authority.sign(pki::LeafKind::kWorkload, key.get(), uri, seconds(60), now));
    std::vector<OsslPtr<X509>> roots;
    roots.push_back(ktls::share(authority.signing_root().certificate.get()));
    for (const auto purpose : {pki::Purpose::kClient, pki::Purpose::kServer}) {
        if (auto valid = pki::verify_chain(chain, roots, purpose, now); !valid) {
            return invalid("a certificate that it signed for {} would be refused: {}", uri, valid.error().message());
        }
    }
    return {};
}

} // namespace

std::string_view phase_name(Phase phase) {
    switch (phase) {
    case Phase::kNext:
        return "next";
    case Phase::kRetiring:
        return "retiring";
    case Phase::kSigning:
        break;
    }
    return "signing";
}

Result<Authority> Authority::create(const StateFolder& folder, const std::string& trust_domain, const Lifetimes& lives,
                                    Time now, const std::optional<Imported>& imported) {
    WEFT_TRY(check_trust_domain(trust_domain));
    if (auto existing = folder.read_json(kStateFile); existing || existing.error().code() != ENOENT) {
        return failure(EEXIST, "{}: there is an authority already", folder.path());
    }
    Authority made;
    made.trust_domain_ = trust_domain;
    made.lives_ = lives;
    if (!imported) {
        WEFT_ASSIGN(auto root, made.new_root(folder, Phase::kSigning, now));
        made.roots_.push_back(std::move(root));
        WEFT_ASSIGN(made.intermediate_, made.new_intermediate(folder, made.roots_.back(), now));
    } else {
        HeldRoot root;
        root.number = ++made.last_number_;
        WEFT_ASSIGN(root.certificate, only_certificate("the root", imported->root_certificate));
        if (!imported->root_key.empty()) {
            WEFT_ASSIGN(root.key, fitting_key("the root's key", imported->root_key, root.certificate.get()));
        }
        WEFT_TRY(write_pair(folder, root_file(root.number), root.certificate.get(), root.key.get()));
        made.roots_.push_back(std::move(root));
        if (imported->intermediate_certificate.empty()) {
            WEFT_ASSIGN(made.intermediate_, made.new_intermediate(folder, made.roots_.back(), now));
        } else {
            auto& own = made.intermediate_;
            own.number = ++made.last_number_;
            own.root = made.roots_.back().number;
            WEFT_ASSIGN(own.certificate, only_certificate("the intermediate", imported->intermediate_certificate));
            WEFT_ASSIGN(own.key,
                        fitting_key("the intermediate's key", imported->intermediate_key, own.certificate.get()));
            WEFT_TRY(write_pair(folder, intermediate_file(own.number), own.certificate.get(), own.key.get()));
        }
    }
    WEFT_TRY(prove(made, now));
    WEFT_TRY(made.save(folder));
    return made;
}

Result<Authority> Authority::open(const StateFolder& folder) {
    WEFT_ASSIGN(const auto saved, read_state(folder));
    Authority found;
    found.trust_domain_ = saved.trust_domain;
    found.lives_ = saved.lives;
    found.version_ = saved.version;
    found.last_number_ = saved.last_number;
    for (const auto& one : saved.roots) {
        HeldRoot root{one.number, one.phase, nullptr, nullptr};
        WEFT_TRY(read_pair(folder, root_file(one.number), one.has_key, root.certificate, root.key));
        found.roots_.push_back(std::move(root));
    }
    found.intermediate_.number = saved.intermediate;
    found.intermediate_.root = saved.intermediate_root;
    WEFT_TRY(read_pair(folder, intermediate_file(saved.intermediate), true, found.intermediate_.certificate,
                       found.intermediate_.key));
    if (std::ranges::count(found.roots_, Phase::kSigning, &HeldRoot::phase) != 1) {
        return invalid("{}: not exactly one root signs", folder.file(kStateFile));
    }
    const std::span<const OsslPtr<X509>> chain(&found.intermediate_.certificate, 1);
    const std::span<const OsslPtr<X509>> root(&found.signing_root().certificate, 1);
    if (auto valid = pki::verify_chain(chain, root, pki::Purpose::kAny, std::nullopt); !valid) {
        return std::unexpected(valid.error().within(fmt::format("{}.crt is not signed by {}.crt",
                                                                folder.file(intermediate_file(saved.intermediate)),
                                                                folder.file(root_file(found.signing_root().number)))));
    }
    found.remove_strays(folder);
    return found;
}

const HeldRoot& Authority::signing_root() const {
    return *std::ranges::find(roots_, Phase::kSigning, &HeldRoot::phase);
}

const HeldRoot* Authority::next_root() const {
    const auto next = std::ranges::find(roots_, Phase::kNext, &HeldRoot::phase);
    return next == roots_.end() ? nullptr : &*next;
}

Result<std::vector<OsslPtr<X509>>> Authority::sign(pki::LeafKind kind, EVP_PKEY* key, std::string_view uri,
                                                   seconds life, Time now) const {
    WEFT_ASSIGN(const auto limit, pki::validity_of(intermediate_.certificate.get()));
    WEFT_ASSIGN(const auto root_limit, pki::validity_of(signing_root().certificate.get()));
    const auto end = std::min(limit.to, root_limit.to);
    if (now >= end) {
        return failure(EKEYEXPIRED, "the authority itself expired at {}: rotate it with weft-ca rotate",
                       pki::time_text(end));
    }
    WEFT_ASSIGN(auto leaf, pki::make_leaf(kind, key, uri, {now - kBackdate, std::min(now + life, end)},
                                          {intermediate_.certificate.get(), intermediate_.key.get()}));
    std::vector<OsslPtr<X509>> chain;
    chain.push_back(std::move(leaf));
    chain.push_back(ktls::share(intermediate_.certificate.get()));
    return chain;
}

Result<HeldRoot> Authority::new_root(const StateFolder& folder, Phase phase, Time now) {
    HeldRoot root{++last_number_, phase, nullptr, nullptr};
    WEFT_ASSIGN(root.key, pki::new_key());
    WEFT_ASSIGN(root.certificate, pki::make_root(root.key.get(), fmt::format("Weft root {}", root.number),
                                                 {now - kBackdate, now + lives_.root}));
    WEFT_TRY(write_pair(folder, root_file(root.number), root.certificate.get(), root.key.get()));
    return root;
}

Result<HeldIntermediate> Authority::new_intermediate(const StateFolder& folder, const HeldRoot& root, Time now) {
    if (!root.key) {
        return failure(ENOKEY,
                       "the key of root {} is not here: an intermediate must be signed where it is, and imported",
                       root.number);
    }
    HeldIntermediate made{++last_number_, root.number, nullptr, nullptr};
    WEFT_ASSIGN(made.key, pki::new_key());
    WEFT_ASSIGN(made.certificate,
                pki::make_intermediate(made.key.get(), fmt::format("Weft intermediate {}", made.number), trust_domain_,
                                       {now - kBackdate, now + lives_.intermediate},
                                       {root.certificate.get(), root.key.get()}));
    WEFT_TRY(write_pair(folder, intermediate_file(made.number), made.certificate.get(), made.key.get()));
    return made;
}

Result<> Authority::publish_next(const StateFolder& folder, Time now) {
    if (roots_.size() > 1) {
        return failure(EBUSY, "a rotation is under way: finish it first (weft-ca show says how far it is)");
    }
    WEFT_ASSIGN(auto root, new_root(folder, Phase::kNext, now));
    roots_.push_back(std::move(root));
    ++version_;
    if (auto saved = save(folder); !saved) {
        roots_.pop_back();
        --version_;
        return saved;
    }
    return {};
}

Result<> Authority::switch_signing(const StateFolder& folder, Time now) {
    const auto next = std::ranges::find(roots_, Phase::kNext, &HeldRoot::phase);
    if (next == roots_.end()) {
        return failure(EBUSY, "no next root is published: begin with weft-ca rotate publish");
    }
    const auto signing = std::ranges::find(roots_, Phase::kSigning, &HeldRoot::phase);
    WEFT_ASSIGN(auto intermediate, new_intermediate(folder, *next, now));
    signing->phase = Phase::kRetiring;
    next->phase = Phase::kSigning;
    std::swap(intermediate_, intermediate);
    ++version_;
    if (auto saved = save(folder); !saved) {
        signing->phase = Phase::kSigning;
        next->phase = Phase::kNext;
        std::swap(intermediate_, intermediate);
        --version_;
        return saved;
    }
    remove_strays(folder);
    return {};
}

Result<> Authority::retire(const StateFolder& folder) {
    const auto old = std::ranges::find(roots_, Phase::kRetiring, &HeldRoot::phase);
    if (old == roots_.end()) {
        return failure(EBUSY, "no root retires: weft-ca rotate switch comes first");
    }
    const auto at = old - roots_.begin();
    HeldRoot gone = std::move(*old);
    roots_.erase(old);
    ++version_;
    if (auto saved = save(folder); !saved) {
        roots_.insert(roots_.begin() + at, std::move(gone));
        --version_;
        return saved;
    }
    remove_strays(folder);
    return {};
}

Result<> Authority::renew_intermediate(const StateFolder& folder, Time now) {
    WEFT_ASSIGN(auto made, new_intermediate(folder, signing_root(), now));
    std::swap(intermediate_, made);
    if (auto saved = save(folder); !saved) {
        std::swap(intermediate_, made);
        return saved;
    }
    remove_strays(folder);
    return {};
}

Result<> Authority::bump(const StateFolder& folder) {
    ++version_;
    return save(folder);
}

Result<> Authority::save(const StateFolder& folder) const {
    SavedState state{trust_domain_, lives_, version_, last_number_, {}, intermediate_.number, intermediate_.root};
    for (const auto& root : roots_) {
        state.roots.push_back({root.number, root.phase, root.key != nullptr});
    }
    return write_state(folder, state);
}

void Authority::remove_strays(const StateFolder& folder) const {
    std::vector<std::string> wanted{intermediate_file(intermediate_.number)};
    for (const auto& root : roots_) {
        wanted.push_back(root_file(root.number));
    }
    std::error_code ignored; // what cannot be listed or removed now is removed next time; nothing depends on it
    for (const auto& entry : std::filesystem::directory_iterator(folder.path(), ignored)) {
        const auto name = entry.path().filename().string();
        const bool ours = name.starts_with("root-") || name.starts_with("intermediate-");
        if (ours && std::ranges::find(wanted, entry.path().stem().string()) == wanted.end()) {
            (void)pki::remove_durable(entry.path().string());
        }
    }
}

} // namespace weft::ca

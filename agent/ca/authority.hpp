// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Keys and certificates of the authority: which roots are trusted, which intermediate signs, and the steps in which a
// root is replaced while both are trusted. ca.json is the one place that says which key files count, so a power cut
// leaves the state before a step or the one after it. Thread: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/state_folder.hpp"

namespace weft::ca {

using pki::OsslPtr;
using pki::Time;
using std::chrono::seconds;

/// How long certificates count. All start kBackdate in the past, as clocks differ.
struct Lifetimes {
    seconds root = std::chrono::days(3650);
    seconds intermediate = std::chrono::days(365);
    seconds node = std::chrono::days(7);
    seconds workload = std::chrono::hours(24);
    seconds server = std::chrono::days(30);
};
inline constexpr seconds kBackdate{60};

/// A rotation goes next -> signing -> retiring; a retired root is forgotten.
enum class Phase : std::uint8_t { kNext, kSigning, kRetiring };
std::string_view phase_name(Phase phase);

struct HeldRoot {
    unsigned number = 0; ///< 1, 2, ...; never used twice
    Phase phase = Phase::kSigning;
    OsslPtr<X509> certificate;
    OsslPtr<EVP_PKEY> key; ///< null when it is kept elsewhere
};

struct HeldIntermediate {
    unsigned number = 0;
    unsigned root = 0; ///< number of the root that signed it
    OsslPtr<X509> certificate;
    OsslPtr<EVP_PKEY> key;
};

/// PEM texts of an authority that exists already.
struct Imported {
    std::string root_certificate;
    std::string root_key; ///< may be empty: then roots and intermediates cannot be rotated here
    std::string intermediate_certificate; ///< may be empty when the root's key is given
    std::string intermediate_key;
};

class Authority {
public:
    /// A new authority in an empty folder. Errors: EEXIST when there is one, EINVAL for a bad trust domain, and for
    /// what `imported` lacks: a CA that may sign leaves for this trust domain, with the key that fits.
    static Result<Authority> create(const StateFolder& folder, const std::string& trust_domain, const Lifetimes& lives,
                                    Time now, const std::optional<Imported>& imported = {});
    /// The one that is there. Errors: ENOENT, EPERM for a file that others may read, EINVAL naming file and fault.
    static Result<Authority> open(const StateFolder& folder);

    [[nodiscard]] const std::string& trust_domain() const { return trust_domain_; }
    [[nodiscard]] const Lifetimes& lives() const { return lives_; }
    [[nodiscard]] const std::vector<HeldRoot>& roots() const { return roots_; }
    [[nodiscard]] const HeldRoot& signing_root() const;
    [[nodiscard]] const HeldRoot* next_root() const;
    [[nodiscard]] const HeldIntermediate& intermediate() const { return intermediate_; }
    /// Grows with every change of what nodes have to know.
    [[nodiscard]] std::uint64_t version() const { return version_; }

    /// Leaf and intermediate. Error: EKEYEXPIRED when the intermediate has.
    [[nodiscard]] Result<std::vector<OsslPtr<X509>>> sign(pki::LeafKind kind, EVP_PKEY* key, std::string_view uri,
                                                          seconds life, Time now) const;

    /// Step 1: a new root beside the present one. Error: EBUSY while a rotation is under way.
    Result<> publish_next(const StateFolder& folder, Time now);
    /// Step 2: it signs from now on. Error: EBUSY when there is none.
    Result<> switch_signing(const StateFolder& folder, Time now);
    /// Step 3: the old one is forgotten, its key removed. Error: EBUSY when there is none.
    Result<> retire(const StateFolder& folder);
    /// A new intermediate below the root that signs. Error: ENOKEY when that root's key is not here.
    Result<> renew_intermediate(const StateFolder& folder, Time now);
    /// A new version, as the revocation list changed.
    Result<> bump(const StateFolder& folder);

private:
    [[nodiscard]] Result<> save(const StateFolder& folder) const;
    Result<HeldIntermediate> new_intermediate(const StateFolder& folder, const HeldRoot& root, Time now);
    Result<HeldRoot> new_root(const StateFolder& folder, Phase phase, Time now);
    void remove_strays(const StateFolder& folder) const;

    std::string trust_domain_;
    Lifetimes lives_;
    std::vector<HeldRoot> roots_;
    HeldIntermediate intermediate_;
    std::uint64_t version_ = 1;
    unsigned last_number_ = 0; ///< highest number that was ever used
};

} // namespace weft::ca

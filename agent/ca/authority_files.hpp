// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How the authority's state looks on disk: ca.json, and a certificate and a key file for each root and intermediate.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/authority.hpp"

namespace weft::ca {

inline constexpr const char* kStateFile = "ca.json";

struct SavedRoot {
    unsigned number;
    Phase phase;
    bool has_key;
};

/// ca.json.
struct SavedState {
    std::string trust_domain;
    Lifetimes lives;
    std::uint64_t version;
    unsigned last_number;
    std::vector<SavedRoot> roots;
    unsigned intermediate;
    unsigned intermediate_root;
};

/// Errors: ENOENT, EPERM, EINVAL naming file and field.
Result<SavedState> read_state(const StateFolder& folder);
Result<> write_state(const StateFolder& folder, const SavedState& state);

/// "root-3"; the files are root-3.crt and root-3.key.
std::string root_file(unsigned number);
std::string intermediate_file(unsigned number);

/// Writes both; no key file without a key.
Result<> write_pair(const StateFolder& folder, const std::string& name, X509* certificate, EVP_PKEY* key);
/// Reads both. Errors: as read_private(); EINVAL when they do not belong together.
Result<> read_pair(const StateFolder& folder, const std::string& name, bool with_key, OsslPtr<X509>& certificate,
                   OsslPtr<EVP_PKEY>& key);

/// The one certificate of a PEM text, which must be a CA's. `what` begins the error's text.
Result<OsslPtr<X509>> only_certificate(std::string_view what, std::string_view pem);
/// The key of a PEM text, which must be the certificate's.
Result<OsslPtr<EVP_PKEY>> fitting_key(std::string_view what, std::string_view pem, X509* certificate);

} // namespace weft::ca

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Every kind of certificate that Weft makes, each with its fixed form: nothing in one is taken from a requester but the
// public key and a name that was judged before.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/pki/openssl_owner.hpp"
#include "weft/base/result.hpp"

namespace weft::pki {

using Time = std::chrono::sys_seconds;

/// How long a certificate is to count. A start in the past allows for clocks that differ.
struct Validity {
    Time from;
    Time to;
};

/// Who signs: a certificate that is a CA's, and its key. Both are borrowed.
struct Signer {
    X509* certificate;
    EVP_PKEY* key;
};

enum class LeafKind {
    kWorkload, ///< serverAuth and clientAuth
    kNode, ///< clientAuth and kNodeUsage
    kServer, ///< serverAuth: weft-ca itself
};

/// A self-signed CA. `name` becomes its common name. Error: EIO.
Result<OsslPtr<X509>> make_root(EVP_PKEY* key, std::string_view name, const Validity& validity);
/// A CA that may sign leaves only, whose URIs are all of `trust_domain`. `key`: public half is enough. Error: EIO.
Result<OsslPtr<X509>> make_intermediate(EVP_PKEY* key, std::string_view name, std::string_view trust_domain,
                                        const Validity& validity, const Signer& root);
/// A leaf with `uri` as its only name; a server's has kServerName beside it. It never outlives its signer. Error: EIO.
Result<OsslPtr<X509>> make_leaf(LeafKind kind, EVP_PKEY* key, std::string_view uri, const Validity& validity,
                                const Signer& signer);

/// A subject alternative name extension with that one URI, and a DNS name unless empty. Critical, as RFC 5280 asks when
/// the subject is empty.
Result<Owner<X509_EXTENSION>> names_extension(std::string_view uri, std::string_view dns = "");

/// Both ends of its life. Error: EINVAL for a time that cannot be read.
Result<Validity> validity_of(const X509* certificate);
/// All URIs among its names.
std::vector<std::string> uris_of(const X509* certificate);
/// Whether that extended key usage (short name or dotted number) stands in it.
bool has_usage(X509* certificate, const char* usage);
/// SHA-256 of the DER, lower case hex.
Result<std::string> fingerprint_of(const X509* certificate);

Result<std::string> der_of(const X509* certificate);
/// Error: EINVAL when the bytes are not exactly one certificate.
Result<OsslPtr<X509>> certificate_from_der(std::string_view der);
/// DER certificates one after the other, as SPIFFE writes chains. Errors: EINVAL also for none at all.
Result<std::vector<OsslPtr<X509>>> certificates_from_der(std::string_view der);
Result<std::string> pem_of(const X509* certificate);
/// 2026-01-31T12:00:00Z.
std::string time_text(Time time);

} // namespace weft::pki

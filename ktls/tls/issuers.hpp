// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which certificate between leaf and root need not be sent, as the other end has it already? Workloads of one mesh have
// leaves of the same intermediate, and reading and checking it anew is a quarter of a whole handshake's work.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "ktls/tls/verify.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ktls {

/// An intermediate by its content: the beginning of its SHA-256.
using IssuerName = std::array<std::uint8_t, 16>;

/// Number of the extension in ClientHello and CertificateRequest whose body is the IssuerName of what the sender has;
/// of the range for private use. An end that does not know it ignores it, and gets the whole chain.
inline constexpr unsigned int kIssuerExtension = 65367;

/// Trusts the issuer of our own leaf as it is, if our own chain proves it against the roots in `store`, and if that
/// makes nothing valid that would not be valid by the whole chain. Nullopt: it stays one of those that peers must send.
std::optional<IssuerName> adopt_issuer(X509_STORE* store, const Credentials& credentials);

} // namespace weft::ktls

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Every way in which a handshake can fail, as a closed list: one counter and one word for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::ktls {

/// X(enumerator, the word in metrics and flows, what it means)
#define WEFT_KTLS_FAILURES(X)                                                                                          \
    X(kNoCertificate, "no-certificate", "the peer sent no certificate")                                                \
    X(kExpired, "expired", "the peer's certificate has expired")                                                       \
    X(kNotYetValid, "not-yet-valid", "the peer's certificate is not valid yet")                                        \
    X(kUnknownCa, "unknown-ca", "no root of the peer's trust domain signed its certificate")                           \
    X(kWrongTrustDomain, "wrong-trust-domain", "no trust bundle for the peer's trust domain")                          \
    X(kBadIdentity, "bad-identity", "the certificate does not hold exactly one SPIFFE ID as URI")                      \
    X(kBadCertificate, "bad-certificate", "the chain breaks a rule: purpose, name constraint, strength")               \
    X(kIdentityRefused, "identity-refused", "the identity is proven, and not allowed here")                            \
    X(kProtocolVersion, "protocol-version", "the peer does not speak TLS 1.3")                                         \
    X(kNoAlpn, "no-alpn", "the peer does not speak weft/1")                                                            \
    X(kNoSharedParameters, "no-shared-parameters", "no cipher, group or signature that both ends accept")              \
    X(kRefusedByPeer, "refused-by-peer", "the peer answered with an alert")                                            \
    X(kGarbage, "garbage", "what came is no TLS, or breaks its rules")                                                 \
    X(kEof, "eof", "the peer closed during the handshake")                                                             \
    X(kReset, "reset", "the connection broke during the handshake")                                                    \
    X(kTimeout, "timeout", "the handshake took too long")                                                              \
    X(kInternal, "internal", "a fault on this side")

enum class Failure : std::uint8_t {
#define WEFT_KTLS_FAILURE_ENUMERATOR(name, word, meaning) name,
    WEFT_KTLS_FAILURES(WEFT_KTLS_FAILURE_ENUMERATOR)
#undef WEFT_KTLS_FAILURE_ENUMERATOR
};

#define WEFT_KTLS_FAILURE_ONE(name, word, meaning) +1
/// How many there are: failures are numbered from 0 without holes.
inline constexpr std::size_t kFailureCount = 0 WEFT_KTLS_FAILURES(WEFT_KTLS_FAILURE_ONE);
#undef WEFT_KTLS_FAILURE_ONE

/// "no-certificate": the label of the counter.
std::string_view failure_name(Failure failure);
/// One sentence for people.
std::string_view failure_meaning(Failure failure);

} // namespace weft::ktls

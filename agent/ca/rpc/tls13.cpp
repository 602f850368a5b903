// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/ca/rpc/tls13.hpp"

#include <cstdlib>
#include <string_view>

namespace weft::ca {
namespace {

constexpr const char* kVariable = "GRPC_SSL_CIPHER_SUITES";
// gRPC gives this list to SSL_CTX_set_cipher_list, which is about TLS 1.2 only. A list with nothing but pre-shared
// keys, which nobody has, leaves TLS 1.2 without a cipher; TLS 1.3 has its own list.
constexpr const char* kNothing = "PSK-AES256-GCM-SHA384";

} // namespace

void require_tls13() {
    (void)::setenv(kVariable, kNothing, 1); // check_tls13() finds out
}

Result<> check_tls13() {
    const char* const now = std::getenv(kVariable);
    if (now == nullptr || std::string_view(now) != kNothing) {
        return failure(EPROTO, "this program would speak TLS 1.2 with weft-ca");
    }
    return {};
}

} // namespace weft::ca

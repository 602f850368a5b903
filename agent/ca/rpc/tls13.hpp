// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// TLS 1.3 and nothing older for gRPC, whose API has no switch for that; for both ends of weft-ca.
#pragma once

#include "weft/base/result.hpp"

namespace weft::ca {

/// Makes gRPC refuse TLS 1.2 in this process, as server and as client. Call before there are threads and before the
/// first use of gRPC.
void require_tls13();
/// Fails closed where that was forgotten. Error: EPROTO.
Result<> check_tls13();

} // namespace weft::ca

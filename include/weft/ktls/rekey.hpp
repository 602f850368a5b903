// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Changes keys of a kTLS connection (RFC 8446, 4.6.3), on kernels that can: see Probe::rekey. Both ends must have
// agreed (Established::rekey), as a KeyUpdate ends a connection elsewhere.
//
// For a connection that weft-relay carries: RelayClient::hold(), then these calls on the descriptor that comes with the
// answer, close it, RelayClient::go_on(). `traffic` is what Established brought; whoever wants to change keys keeps it.
#pragma once

#include "weft/base/result.hpp"
#include "weft/ktls/traffic.hpp"

namespace weft::ktls {

/// Announces a new key for what is sent and uses it from then on. `request`: the peer is to change its own, too.
/// Errors: EAGAIN when the send buffer is full (nothing is changed then), else the connection is lost.
Result<> update_send_key(int fd, Traffic& traffic, bool request = false);
/// After the peer's KeyUpdate was read. Error: the connection is lost.
Result<> update_receive_key(int fd, Traffic& traffic);

} // namespace weft::ktls

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do the first bytes of a connection begin a Weft handshake? For listeners that also take plain connections: they look
// with MSG_PEEK, so that an application gets every byte of a connection that is not ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::ktls {

enum class FirstFlight : std::uint8_t {
    kWeft,     ///< a TLS ClientHello that offers ALPN weft/1
    kOther,    ///< surely not; also TLS of the application's own
    kNeedMore, ///< may still become one; peek again when more bytes have come
};

/// Peeking this much always suffices for an answer other than kNeedMore.
inline constexpr std::size_t kFirstFlightMost = 16 * 1024 + 64;

/// Pure; any bytes are allowed. A ClientHello may be spread over several records.
FirstFlight classify_first_flight(std::span<const std::uint8_t> bytes);

} // namespace weft::ktls

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The first two packets of an SCTP association (RFC 9260), made by hand: kernels without SCTP still carry its packets,
// and policy judges packets. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace weft::lab {

/// What this code understands of an SCTP packet.
struct SctpPacket {
    std::uint16_t source = 0;
    std::uint16_t destination = 0;
    std::uint8_t first_chunk = 0;    ///< kSctpInit, kSctpInitAck, others
    std::uint32_t verification = 0;  ///< host order
    std::uint32_t initiate_tag = 0;  ///< of INIT and INIT ACK, host order
};

inline constexpr std::uint8_t kSctpInit = 1;
inline constexpr std::uint8_t kSctpInitAck = 2;

/// CRC32c as RFC 9260 appendix A defines it.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes);

/// An INIT (verification tag 0) or INIT ACK with checksum; `tag` is its own initiate tag.
std::vector<std::uint8_t> make_sctp(const SctpPacket& packet);

/// Reads a packet without its IP header; nullopt when it is too short or its checksum is wrong.
std::optional<SctpPacket> parse_sctp(std::span<const std::uint8_t> bytes);

} // namespace weft::lab

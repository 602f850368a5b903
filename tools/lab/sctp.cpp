// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Common header, INIT / INIT ACK chunk, CRC32c.
#include "tools/lab/sctp.hpp"

#include <algorithm>
#include <array>

namespace weft::lab {
namespace {

constexpr std::size_t kHeader = 12;
constexpr std::size_t kInit = 20;
constexpr std::size_t kCookie = 8; ///< an INIT ACK must carry a state cookie

void put16(std::vector<std::uint8_t>& out, std::uint16_t value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8));
    out.push_back(static_cast<std::uint8_t>(value));
}

void put32(std::vector<std::uint8_t>& out, std::uint32_t value) {
    put16(out, static_cast<std::uint16_t>(value >> 16));
    put16(out, static_cast<std::uint16_t>(value));
}

std::uint16_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t at) {
    return std::uint32_t{get16(bytes, at)} << 16 | get16(bytes, at + 2);
}

constexpr std::array<std::uint32_t, 256> make_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = (value & 1) != 0 ? (value >> 1) ^ 0x82f63b78U : value >> 1;
        }
        table[i] = value;
    }
    return table;
}

} // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> bytes) {
    static constexpr auto kTable = make_table();
    std::uint32_t crc = 0xffffffffU;
    for (const auto byte : bytes) {
        crc = (crc >> 8) ^ kTable[(crc ^ byte) & 0xff];
    }
    return ~crc;
}

std::vector<std::uint8_t> make_sctp(const SctpPacket& packet) {
    const bool answer = packet.first_chunk == kSctpInitAck;
    std::vector<std::uint8_t> out;
    put16(out, packet.source);
    put16(out, packet.destination);
    put32(out, packet.verification);
    put32(out, 0); // checksum, below
    out.push_back(packet.first_chunk);
    out.push_back(0);
    put16(out, static_cast<std::uint16_t>(kInit + (answer ? kCookie : 0)));
    put32(out, packet.initiate_tag);
    put32(out, 65536); // advertised window
    put16(out, 1);     // outbound streams
    put16(out, 1);     // inbound streams
    put32(out, 1);     // initial TSN
    if (answer) {
        put16(out, 7); // state cookie
        put16(out, static_cast<std::uint16_t>(kCookie));
        put32(out, 0x77656674);
    }
    const auto crc = crc32c(out);
    for (std::size_t i = 0; i < 4; ++i) {
        out[8 + i] = static_cast<std::uint8_t>(crc >> (8 * i)); // the one little-endian field of the protocol
    }
    return out;
}

std::optional<SctpPacket> parse_sctp(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < kHeader + kInit) {
        return std::nullopt;
    }
    std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
    std::uint32_t sent = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        sent |= std::uint32_t{copy[8 + i]} << (8 * i);
        copy[8 + i] = 0;
    }
    if (crc32c(copy) != sent) {
        return std::nullopt;
    }
    return SctpPacket{.source = get16(bytes, 0),
                      .destination = get16(bytes, 2),
                      .first_chunk = bytes[kHeader],
                      .verification = get32(bytes, 4),
                      .initiate_tag = get32(bytes, kHeader + 4)};
}

} // namespace weft::lab

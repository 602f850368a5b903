// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// IP addresses and prefixes as values: parsed from text, printed as text, stored as the kernel's maps store them.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "weft/abi/types.h"
#include "weft/base/result.hpp"

namespace weft {

/// An IPv4 or IPv6 address; IPv4 is kept as ::ffff:a.b.c.d, as in `weft_addr`.
class Ip {
public:
    /// The unspecified address ::.
    Ip() = default;
    explicit Ip(const weft_addr& addr) : addr_(addr) {}
    /// From "10.0.0.1" or "fd00::1". A mapped "::ffff:10.0.0.1" is IPv4. Error: EINVAL naming the text.
    static Result<Ip> parse(std::string_view text);
    /// From four bytes in network order, as in in_addr.s_addr.
    static Ip v4(std::uint32_t addr_be);

    [[nodiscard]] bool is_v4() const {
        return addr_.word[0] == 0 && addr_.word[1] == 0 && addr_.word[2] == WEFT_V4_MAPPED_WORD;
    }
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_unspecified() const;
    /// Dotted or RFC 5952 text.
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] const weft_addr& raw() const { return addr_; }
    /// IPv4 address in network order; only for is_v4().
    [[nodiscard]] std::uint32_t v4_be() const { return addr_.word[3]; }

    friend bool operator==(const Ip& a, const Ip& b) { return (a <=> b) == 0; }
    /// Numeric order of the 16 bytes.
    friend std::strong_ordering operator<=>(const Ip& a, const Ip& b);

private:
    weft_addr addr_{};
};

/// An address prefix. `bits` counts within 128, so an IPv4 /24 has 120.
class Cidr {
public:
    Cidr() = default;
    /// From "10.0.0.0/8" or "fd00::/64". Host bits are cleared. Error: EINVAL naming the text and the fault.
    static Result<Cidr> parse(std::string_view text);
    /// The prefix that holds one address.
    static Cidr host(const Ip& ip);

    [[nodiscard]] const Ip& base() const { return base_; }
    [[nodiscard]] int bits() const { return bits_; }
    [[nodiscard]] bool is_v4() const { return base_.is_v4() && bits_ >= 96; }
    [[nodiscard]] bool contains(const Ip& ip) const;
    [[nodiscard]] bool contains(const Cidr& other) const { return other.bits_ >= bits_ && contains(other.base_); }
    /// "10.0.0.0/8": IPv4 prefixes print their IPv4 length.
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const Cidr&, const Cidr&) = default;
    friend auto operator<=>(const Cidr&, const Cidr&) = default;

private:
    Ip base_;
    int bits_ = 0;
};

/// "TCP", "UDP", "SCTP" (upper case, as Kubernetes writes them) to IPPROTO_*; nullopt for anything else.
std::optional<std::uint8_t> protocol_number(std::string_view name);
/// IPPROTO_* to its name; numbers without one print as a number.
std::string protocol_name(std::uint8_t number);

/// An address with port and protocol as text: "TCP 10.0.0.1:80", "UDP [fd00::1]:53".
std::string to_string(const weft_addr_port& end);
/// The same as a struct, `pad` zero.
weft_addr_port make_addr_port(const Ip& ip, std::uint16_t port, std::uint8_t proto);

} // namespace weft

template <>
struct std::hash<weft::Ip> {
    std::size_t operator()(const weft::Ip& ip) const noexcept {
        const auto& word = ip.raw().word;
        std::uint64_t h = (std::uint64_t{word[0]} << 32 | word[1]) * 0x9e3779b97f4a7c15ULL;
        h ^= (std::uint64_t{word[2]} << 32 | word[3]) + (h >> 29);
        return static_cast<std::size_t>(h * 0xbf58476d1ce4e5b9ULL);
    }
};

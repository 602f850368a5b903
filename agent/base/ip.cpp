// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Text and arithmetic of addresses; the parsing itself is inet_pton's.
#include "weft/base/ip.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>

namespace weft {

Result<Ip> Ip::parse(std::string_view text) {
    const std::string copy(text);
    in_addr four{};
    if (::inet_pton(AF_INET, copy.c_str(), &four) == 1) {
        return v4(four.s_addr);
    }
    weft_addr six{};
    if (copy.size() == std::strlen(copy.c_str()) && ::inet_pton(AF_INET6, copy.c_str(), &six) == 1) {
        return Ip(six);
    }
    return invalid("'{}' is not an IPv4 or IPv6 address", text);
}

Ip Ip::v4(std::uint32_t addr_be) {
    return Ip(weft_addr{{0, 0, WEFT_V4_MAPPED_WORD, addr_be}});
}

bool Ip::is_loopback() const {
    if (is_v4()) {
        return (ntohl(addr_.word[3]) >> 24) == 127;
    }
    return addr_.word[0] == 0 && addr_.word[1] == 0 && addr_.word[2] == 0 && ntohl(addr_.word[3]) == 1;
}

bool Ip::is_unspecified() const {
    return addr_.word[0] == 0 && addr_.word[1] == 0 && (addr_.word[2] == 0 || is_v4()) && addr_.word[3] == 0;
}

std::string Ip::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (is_v4()) {
        (void)::inet_ntop(AF_INET, &addr_.word[3], text.data(), text.size()); // cannot fail: family and size are right
    } else {
        (void)::inet_ntop(AF_INET6, &addr_, text.data(), text.size());
    }
    return text.data();
}

std::strong_ordering operator<=>(const Ip& a, const Ip& b) {
    return std::memcmp(&a.addr_, &b.addr_, sizeof(weft_addr)) <=> 0;
}

Result<Cidr> Cidr::parse(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) {
        return invalid("'{}' is not a CIDR block: write ADDRESS/LENGTH, for example 10.0.0.0/8", text);
    }
    auto ip = Ip::parse(text.substr(0, slash));
    if (!ip) {
        return std::unexpected(ip.error().within("CIDR block"));
    }
    // A mapped text address is IPv4 to us, but its length would count within 128: refuse the mix.
    const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
    if (!v4 && ip->is_v4()) {
        return invalid("CIDR block '{}': write an IPv4 prefix in dotted form", text);
    }
    const auto digits = text.substr(slash + 1);
    int length = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    const int most = v4 ? 32 : 128;
    if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty() || length < 0 || length > most) {
        return invalid("CIDR block '{}': the prefix length must be 0 to {}", text, most);
    }
    Cidr cidr;
    cidr.bits_ = v4 ? length + 96 : length;
    weft_addr addr = ip->raw();
    auto* bytes = reinterpret_cast<std::uint8_t*>(&addr);
    for (int bit = cidr.bits_; bit < 128; ++bit) {
        bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80 >> (bit % 8)));
    }
    cidr.base_ = Ip(addr);
    return cidr;
}

Cidr Cidr::host(const Ip& ip) {
    Cidr cidr;
    cidr.base_ = ip;
    cidr.bits_ = 128;
    return cidr;
}

bool Cidr::contains(const Ip& ip) const {
    // ::/0 means "all of IPv6" in Kubernetes, and the mapped range is IPv4's.
    if (bits_ < 96 && ip.is_v4()) {
        return false;
    }
    const auto* a = reinterpret_cast<const std::uint8_t*>(&base_.raw());
    const auto* b = reinterpret_cast<const std::uint8_t*>(&ip.raw());
    const int whole = bits_ / 8;
    if (std::memcmp(a, b, static_cast<std::size_t>(whole)) != 0) {
        return false;
    }
    const int rest = bits_ % 8;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

std::string Cidr::to_string() const {
    return fmt::format("{}/{}", base_.to_string(), is_v4() ? bits_ - 96 : bits_);
}

std::optional<std::uint8_t> protocol_number(std::string_view name) {
    if (name == "TCP") {
        return IPPROTO_TCP;
    }
    if (name == "UDP") {
        return IPPROTO_UDP;
    }
    if (name == "SCTP") {
        return IPPROTO_SCTP;
    }
    return std::nullopt;
}

std::string protocol_name(std::uint8_t number) {
    switch (number) {
    case IPPROTO_TCP:
        return "TCP";
    case IPPROTO_UDP:
        return "UDP";
    case IPPROTO_SCTP:
        return "SCTP";
    case IPPROTO_ICMP:
        return "ICMP";
    case IPPROTO_ICMPV6:
        return "ICMPv6";
    default:
        return std::to_string(number);
    }
}

std::string to_string(const weft_addr_port& end) {
    const Ip ip(end.addr);
    return ip.is_v4() ? fmt::format("{} {}:{}", protocol_name(end.proto), ip.to_string(), end.port)
                      : fmt::format("{} [{}]:{}", protocol_name(end.proto), ip.to_string(), end.port);
}

weft_addr_port make_addr_port(const Ip& ip, std::uint16_t port, std::uint8_t proto) {
    return weft_addr_port{ip.raw(), port, proto, 0};
}

} // namespace weft

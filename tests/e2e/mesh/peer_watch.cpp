// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Looks at every TCP packet on one interface: is there plaintext in it, and between whom does it go?
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>

#include <set>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "tests/e2e/mesh/peer_client.hpp"

namespace weft::e2e::peer {
namespace {

struct Seen {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;   ///< of TCP payload
    std::uint64_t marked = 0;  ///< packets with the mark in them
    std::uint64_t records = 0; ///< packets that begin with a TLS record of application data
    std::set<std::string> ends;
};

std::uint16_t number(const std::uint8_t* at) {
    return static_cast<std::uint16_t>(at[0] << 8U | at[1]);
}

void look_at(const std::uint8_t* frame, std::size_t size, Seen& seen) {
    if (size < 54) {
        return;
    }
    const bool four = number(frame + 12) == ETH_P_IP;
    const std::size_t head = four ? 14U + (frame[14] & 15U) * 4U : 54U; // no extension headers on this wire
    if ((!four && number(frame + 12) != ETH_P_IPV6) || (four ? frame[23] : frame[20]) != IPPROTO_TCP ||
        size < head + 20) {
        return;
    }
    const auto source_port = number(frame + head);
    const auto target_port = number(frame + head + 2);
    char source[INET6_ADDRSTRLEN];
    char target[INET6_ADDRSTRLEN];
    (void)::inet_ntop(four ? AF_INET : AF_INET6, frame + (four ? 26 : 22), source, sizeof source);
    (void)::inet_ntop(four ? AF_INET : AF_INET6, frame + (four ? 30 : 38), target, sizeof target);
    // Told from the side of the server, which has the lower port here.
    seen.ends.insert(source_port > target_port ? fmt::format("{} > {}:{}", source, target, target_port)
                                               : fmt::format("{} > {}:{}", target, source, source_port));
    const std::size_t body = head + std::size_t{4} * (frame[head + 12] >> 4U);
    const auto total = four ? 14U + number(frame + 16) : 54U + number(frame + 18);
    // Offloaded IPv6 packets of more than 64 KiB say zero; then the frame's own size counts.
    const std::size_t end = total > body && total < size ? total : size;
    if (end <= body) {
        return;
    }
    const std::string_view payload(reinterpret_cast<const char*>(frame + body), end - body);
    ++seen.packets;
    seen.bytes += payload.size();
    seen.marked += payload.find(kMark) != std::string_view::npos ? 1U : 0U;
    seen.records += payload.starts_with("\x17\x03\x03") ? 1U : 0U;
}

} // namespace

int watch(const std::vector<std::string>& arguments) {
    const UniqueFd wire(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex(arguments[0].c_str()));
    const int room = 64 << 20;
    if (!wire.valid() || ::setsockopt(wire.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
        ::bind(wire.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
        fmt::print(stderr, "watch {}: {}\n", arguments[0], std::strerror(errno));
        return 1;
    }
    tell(arguments[1], "watching");
    Seen seen;
    std::vector<std::uint8_t> frame(std::size_t{256} << 10);
    for (;;) {
        pollfd ready{wire.get(), POLLIN, 0};
        if (::poll(&ready, 1, 50) > 0) {
            const auto size = ::recv(wire.get(), frame.data(), frame.size(), 0);
            look_at(frame.data(), size > 0 ? static_cast<std::size_t>(size) : 0U, seen);
        } else if (stopped(arguments[1])) {
            break; // and nothing is waiting any more
        }
    }
    tpacket_stats lost{};
    socklen_t length = sizeof lost;
    (void)::getsockopt(wire.get(), SOL_PACKET, PACKET_STATISTICS, &lost, &length);
    fmt::print("{}\n", nlohmann::json{{"packets", seen.packets},
                                      {"bytes", seen.bytes},
                                      {"marked", seen.marked},
                                      {"records", seen.records},
                                      {"dropped", lost.tp_drops},
                                      {"ends", seen.ends}}
                           .dump());
    return 0;
}

} // namespace weft::e2e::peer

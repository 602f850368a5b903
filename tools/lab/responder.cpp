// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One poll loop over all listeners. Answers are sent at once and from the address that was asked.
#include "tools/lab/responder.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "tools/lab/fork_into.hpp"
#include "tools/lab/sctp.hpp"
#include "tools/lab/socket_address.hpp"

namespace weft::lab {
namespace {

struct Listener {
    UniqueFd fd;
    std::uint8_t protocol = 0;
    bool v4 = false; ///< SCTP only: raw IPv4 sockets deliver the IP header too
};

/// One socket for both families. nullopt-like invalid descriptor with errno when it cannot be had.
UniqueFd open_port(std::uint8_t protocol, std::uint16_t port) {
    const int type = protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
    UniqueFd fd(::socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int off = 0;
    const int on = 1;
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (protocol == IPPROTO_TCP) {
        // Only past connections in TIME_WAIT are overridden by this, never a listener.
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    } else {
        (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    }
    const auto any = socket_address(Ip(), port);
    if (::bind(fd.get(), any.get(), any.size) != 0 || (protocol == IPPROTO_TCP && ::listen(fd.get(), 512) != 0)) {
        return UniqueFd();
    }
    return fd;
}

void answer_tcp(const Listener& listener, const std::string& text) {
    for (;;) {
        const UniqueFd peer(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer.valid()) {
            return;
        }
        (void)::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL); // the prober sees what is missing
    }
}

void answer_udp(const Listener& listener, const std::string& text) {
    for (;;) {
        std::array<char, 256> payload{};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
        SocketAddress peer;
        iovec part{payload.data(), payload.size()};
        msghdr message{};
        message.msg_name = &peer.storage;
        message.msg_namelen = peer.size;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto got = ::recvmsg(listener.fd.get(), &message, 0);
        if (got < 0) {
            return;
        }
        // The control message comes back as it went: the answer leaves from the address that was asked. Its interface
        // must not stick, because the way back may be another one.
        if (auto* header = CMSG_FIRSTHDR(&message); header != nullptr && header->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(header), sizeof info);
            info.ipi6_ifindex = 0;
            std::memcpy(CMSG_DATA(header), &info, sizeof info);
        }
        std::string reply = text + std::string(payload.data(), static_cast<std::size_t>(got));
        part = {reply.data(), reply.size()};
        message.msg_flags = 0;
        (void)::sendmsg(listener.fd.get(), &message, MSG_NOSIGNAL); // the prober asks again
    }
}

void answer_sctp(const Listener& listener, const std::set<ListenPort>& ports) {
    for (;;) {
        std::array<std::uint8_t, 2048> packet{};
        SocketAddress peer;
        const auto got = ::recvfrom(listener.fd.get(), packet.data(), packet.size(), 0, peer.get(), &peer.size);
        if (got < 0) {
            return;
        }
        std::span<const std::uint8_t> bytes(packet.data(), static_cast<std::size_t>(got));
        const std::size_t header = listener.v4 ? std::size_t{packet[0] & 0x0fU} * 4 : 0;
        const auto init = header <= bytes.size() ? parse_sctp(bytes.subspan(header)) : std::nullopt;
        if (!init || init->first_chunk != kSctpInit || !ports.contains({IPPROTO_SCTP, init->destination})) {
            continue;
        }
        const auto ack = make_sctp({.source = init->destination,
                                    .destination = init->source,
                                    .first_chunk = kSctpInitAck,
                                    .verification = init->initiate_tag,
                                    .initiate_tag = 0x77656674});
        const auto back = socket_address(ip_of(peer), 0);
        (void)::sendto(listener.fd.get(), ack.data(), ack.size(), 0, back.get(), back.size); // asked again when lost
    }
}

} // namespace

void respond(const std::string& name, const std::set<ListenPort>& ports, int output) {
    std::vector<Listener> listeners;
    std::string report;
    bool sctp = false;
    for (const auto& [protocol, port] : ports) {
        const auto label = fmt::format("{} {}", protocol_name(protocol), port);
        if (protocol == IPPROTO_SCTP) {
            for (const bool v4 : sctp ? std::vector<bool>{} : std::vector<bool>{true, false}) {
                UniqueFd raw(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_SCTP));
                listeners.push_back({std::move(raw), protocol, v4});
            }
            sctp = true;
            report += label + " open\n";
            continue;
        }
        auto fd = open_port(protocol, port);
        if (fd.valid()) {
            listeners.push_back({std::move(fd), protocol, false});
            report += label + " open\n";
        } else {
            report += errno == EADDRINUSE ? label + " taken\n"
                                          : fmt::format("error listen on {}: {}\n", label, std::strerror(errno));
        }
    }
    write_all(output, report + "done\n");
    const auto text = fmt::format("{}{}\n", kAnswerMark, name);
    std::vector<pollfd> events;
    for (const auto& listener : listeners) {
        events.push_back({listener.fd.get(), POLLIN, 0});
    }
    while (::poll(events.data(), events.size(), -1) > 0 || errno == EINTR) {
        for (std::size_t i = 0; i < events.size(); ++i) {
            if ((events[i].revents & POLLIN) == 0) {
                continue;
            }
            const auto& listener = listeners[i];
            if (listener.protocol == IPPROTO_TCP) {
                answer_tcp(listener, text);
            } else if (listener.protocol == IPPROTO_UDP) {
                answer_udp(listener, text);
            } else {
                answer_sctp(listener, ports);
            }
        }
    }
}

} // namespace weft::lab

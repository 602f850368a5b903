// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/sock_destroy.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

#include "weft/base/ip.hpp"

namespace weft::bpf {
namespace {

constexpr std::uint16_t kSockDestroy = 21; // SOCK_DESTROY of linux/sock_diag.h, which libc's own headers may lack

} // namespace

void SockDestroyer::Close::operator()(mnl_socket* socket) const {
    (void)mnl_socket_close(socket); // nothing is left to mend
}

Result<SockDestroyer> SockDestroyer::open() {
    std::unique_ptr<mnl_socket, Close> socket(mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC));
    if (socket == nullptr || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
        return system_failure("opening a sock_diag netlink socket");
    }
    return SockDestroyer(std::move(socket));
}

Result<bool> SockDestroyer::destroy_udp(const weft_conn& socket) {
    const weft_addr_port& local = socket.local;
    const weft_addr_port& remote = socket.remote;
    std::array<char, 1024> buffer{};
    nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
    header->nlmsg_type = kSockDestroy;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = ++sequence_;
    auto* request = static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
    // The IPv4 lookup also finds IPv6 sockets that talk to a mapped address.
    const bool v4 = Ip(remote.addr).is_v4();
    request->sdiag_family = v4 ? AF_INET : AF_INET6;
    request->sdiag_protocol = IPPROTO_UDP;
    request->idiag_states = ~0u;
    request->id.idiag_sport = htons(local.port);
    request->id.idiag_dport = htons(remote.port);
    if (v4) {
        request->id.idiag_src[0] = local.addr.word[3];
        request->id.idiag_dst[0] = remote.addr.word[3];
    } else {
        std::memcpy(request->id.idiag_src, local.addr.word, sizeof local.addr.word);
        std::memcpy(request->id.idiag_dst, remote.addr.word, sizeof remote.addr.word);
    }
    request->id.idiag_if = socket.device; // a bound socket is found by its device only
    request->id.idiag_cookie[0] = static_cast<__u32>(socket.cookie);
    request->id.idiag_cookie[1] = static_cast<__u32>(socket.cookie >> 32);
    if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) {
        return system_failure("asking to destroy a UDP socket");
    }
    std::array<char, 8192> answer{};
    const ssize_t length = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
    if (length < 0) {
        return system_failure("waiting for a UDP socket to be destroyed");
    }
    if (mnl_cb_run(answer.data(), static_cast<std::size_t>(length), header->nlmsg_seq,
                   mnl_socket_get_portid(socket_.get()), nullptr, nullptr) >= 0) {
        return true;
    }
    if (errno == ENOENT || errno == ESTALE) {
        return false;
    }
    return system_failure("destroying UDP socket {} -> {}", to_string(local), to_string(remote));
}

} // namespace weft::bpf

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/rtnetlink.hpp"

#include <linux/netlink.h>

#include <memory>
#include <vector>

namespace weft::bpf {
namespace {

// The size that the kernel fills at most in one message of a dump.
constexpr std::size_t kDumpBytes = 32 * 1024;

struct Close {
    void operator()(mnl_socket* socket) const { (void)mnl_socket_close(socket); } // nothing is left to mend
};
using Socket = std::unique_ptr<mnl_socket, Close>;

} // namespace

Result<> ask_rtnetlink(nlmsghdr* request, mnl_cb_t take, void* data) {
    const Socket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
    if (socket == nullptr || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) {
        return system_failure("asking the kernel about its network devices");
    }
    std::vector<char> answer(kDumpBytes);
    const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    for (int more = MNL_CB_OK; more > MNL_CB_STOP;) {
        const ssize_t length = mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
        if (length < 0) {
            return system_failure("reading what the kernel knows about its network devices");
        }
        more = mnl_cb_run(answer.data(), static_cast<std::size_t>(length), request->nlmsg_seq,
                          mnl_socket_get_portid(socket.get()), take, data);
        if (more < 0) {
            return system_failure("reading what the kernel knows about its network devices");
        }
        if (!dump) {
            break;
        }
    }
    return {};
}

} // namespace weft::bpf

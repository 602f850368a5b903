// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How is another process's UDP socket made to fail, so that it connects anew? By netlink sock_diag SOCK_DESTROY, in
// the network namespace of the calling thread. A reader sees ECONNABORTED, a sender EDESTADDRREQ.
#pragma once

#include <cstdint>
#include <memory>

#include "weft/abi/socket.h"
#include "weft/base/result.hpp"

struct mnl_socket;

namespace weft::bpf {

class SockDestroyer {
public:
    /// A netlink socket in this thread's network namespace.
    static Result<SockDestroyer> open();

    /// Destroys this connected UDP socket. False: it is gone already, or is another socket by now. Errors: EPERM
    /// (CAP_NET_ADMIN), EOPNOTSUPP (kernel without CONFIG_INET_DIAG_DESTROY or udp_diag).
    Result<bool> destroy_udp(const weft_conn& socket);

private:
    struct Close {
        void operator()(mnl_socket* socket) const;
    };
    explicit SockDestroyer(std::unique_ptr<mnl_socket, Close> socket) : socket_(std::move(socket)) {}

    std::unique_ptr<mnl_socket, Close> socket_;
    std::uint32_t sequence_ = 0;
};

} // namespace weft::bpf

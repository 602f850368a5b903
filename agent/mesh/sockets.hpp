// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The socket calls of the mesh, with addresses as Weft writes them and errors as errno values.
#pragma once

#include <sys/socket.h>

#include "weft/abi/types.h"
#include "weft/base/ip.hpp"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::mesh {

/// AF_INET or AF_INET6, by the address.
int family_of(const weft_addr& addr);

/// An address as the socket calls take it.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    explicit SocketAddress(const weft_addr_port& end);
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// The own and the other end of a connected TCP socket.
Result<weft_addr_port> own_end(int fd);
Result<weft_addr_port> other_end(int fd);

/// Accepts one connection, non-blocking; an invalid descriptor when none waits. Error: no descriptors left (EMFILE,
/// ENFILE) and the like; errors of a single connection are skipped.
Result<UniqueFd> accept_one(int listener);

/// A non-blocking TCP socket in the network namespace `netns_fd`, made by a thread that goes there and back
/// (`home_fd`). Failing to come back would leave the thread in a foreign namespace, so that ends the process.
Result<UniqueFd> socket_in(int netns_fd, int home_fd, int family);

/// Closes with a reset: the peer sees ECONNRESET, never a clean end.
void reset(UniqueFd& fd);

/// Closes in order, behind what is still to be sent; the opposite of what tune() has chosen.
void close_in_order(UniqueFd& fd);

/// Errno of a finished non-blocking connect, 0 when it succeeded.
int connect_error(int fd);

/// Low delay, keep-alive so that a vanished peer is noticed, and a reset when it is closed: however this process ends,
/// nobody must take a cut connection for a finished one. Urgent data comes in line, as TLS has no other place for it.
void tune(int fd);

} // namespace weft::mesh

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What agent and hooks tell each other about one connection: marks on the agent's sockets, whom an application dialled,
// who really calls. Thread: any; the kernel orders the accesses.
#pragma once

#include <cstdint>
#include <optional>

#include "weft/abi/mesh.h"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::mesh {

class KernelState {
public:
    /// Descriptors of the maps weft_socket, weft_mesh_dial, weft_mesh_peer, weft_mesh_lstn; they are duplicated.
    static Result<KernelState> open(int sockets, int dials, int peers, int listeners);

    /// Tells the hooks what kind of socket this is (WEFT_SOCKET_AGENT, WEFT_SOCKET_CARRIER). What it accepts inherits
    /// it.
    [[nodiscard]] Result<> mark(int fd, std::uint64_t netns_cookie, std::uint16_t flags) const;
    /// Whom the application behind `local` (as the agent's accept sees it) dialled. Nothing: no hook said so, thus it
    /// is no application's connection.
    [[nodiscard]] Result<std::optional<weft_mesh_dial>> dial(std::uint64_t netns_cookie,
                                                             const weft_addr_port& local) const;
    /// Once nobody can ask again: the connection is carried or has ended.
    void forget_dial(std::uint64_t netns_cookie, const weft_addr_port& local) const;
    /// Announces who is behind the connection that comes from `local`. Before connect. `plaintext`: nothing was proven.
    [[nodiscard]] Result<> announce_peer(std::uint64_t netns_cookie, const weft_addr_port& local,
                                         const weft_addr_port& peer, bool plaintext) const;
    void forget_peer(std::uint64_t netns_cookie, const weft_addr_port& local) const;
    /// Where the steering program sends encrypted connections to this workload.
    [[nodiscard]] Result<> set_listener(std::uint64_t netns_cookie, int family, int fd) const;
    void remove_listener(std::uint64_t netns_cookie, int family) const;

private:
    UniqueFd sockets_, dials_, peers_, listeners_;
};

} // namespace weft::mesh

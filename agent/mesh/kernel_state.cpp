// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/kernel_state.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>

#include "weft/abi/socket.h"

namespace weft::mesh {
namespace {

Result<UniqueFd> duplicate(int fd) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) {
        return system_failure("duplicating a map's descriptor");
    }
    return copy;
}

} // namespace

Result<KernelState> KernelState::open(int sockets, int dials, int peers, int listeners) {
    KernelState state;
    WEFT_ASSIGN(state.sockets_, duplicate(sockets));
    WEFT_ASSIGN(state.dials_, duplicate(dials));
    WEFT_ASSIGN(state.peers_, duplicate(peers));
    WEFT_ASSIGN(state.listeners_, duplicate(listeners));
    return state;
}

Result<> KernelState::mark(int fd, std::uint64_t netns_cookie, std::uint16_t flags) const {
    weft_socket state{};
    (void)bpf_map_lookup_elem(sockets_.get(), &fd, &state); // none when it was made outside of the governed cgroup
    state.netns = netns_cookie;
    state.flags = flags;
    if (bpf_map_update_elem(sockets_.get(), &fd, &state, BPF_ANY) != 0) {
        return system_failure("marking a socket as the agent's");
    }
    return {};
}

Result<std::optional<weft_mesh_dial>> KernelState::dial(std::uint64_t netns_cookie, const weft_addr_port& local) const {
    const weft_mesh_key key{netns_cookie, local, 0};
    weft_mesh_dial dial{};
    if (bpf_map_lookup_elem(dials_.get(), &key, &dial) != 0) {
        if (errno == ENOENT) {
            return std::nullopt;
        }
        return system_failure("looking up whom an application dialled");
    }
    return dial;
}

void KernelState::forget_dial(std::uint64_t netns_cookie, const weft_addr_port& local) const {
    const weft_mesh_key key{netns_cookie, local, 0};
    (void)bpf_map_delete_elem(dials_.get(), &key); // a full map may have forgotten it before
}

Result<> KernelState::announce_peer(std::uint64_t netns_cookie, const weft_addr_port& local, const weft_addr_port& peer,
                                    bool plaintext) const {
    const weft_mesh_key key{netns_cookie, local, 0};
    const weft_mesh_peer value{peer, plaintext ? WEFT_MESH_PEER_PLAINTEXT : 0U};
    if (bpf_map_update_elem(peers_.get(), &key, &value, BPF_ANY) != 0) {
        return system_failure("announcing the peer of a connection");
    }
    return {};
}

void KernelState::forget_peer(std::uint64_t netns_cookie, const weft_addr_port& local) const {
    const weft_mesh_key key{netns_cookie, local, 0};
    (void)bpf_map_delete_elem(peers_.get(), &key); // usually the hook has taken it
}

Result<> KernelState::set_listener(std::uint64_t netns_cookie, int family, int fd) const {
    const weft_mesh_listen_key key{netns_cookie, static_cast<__u32>(family), 0};
    const __u64 value = static_cast<__u64>(fd);
    if (bpf_map_update_elem(listeners_.get(), &key, &value, BPF_ANY) != 0) {
        return system_failure("naming the listener for encrypted connections");
    }
    return {};
}

void KernelState::remove_listener(std::uint64_t netns_cookie, int family) const {
    const weft_mesh_listen_key key{netns_cookie, static_cast<__u32>(family), 0};
    (void)bpf_map_delete_elem(listeners_.get(), &key); // a closed listener has left the map by itself
}

} // namespace weft::mesh

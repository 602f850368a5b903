// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What should the kernel's maps contain, given what the sources say? A pure function of its input: equal snapshots give
// equal results. It remembers its last input and output only to do less: unchanged Services keep their fragments.
// Thread: control (or any single thread).
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "agent/compiler/desired_state.hpp"
#include "agent/compiler/transit.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::compiler {

/// The node that is compiled for.
/// May bytes between two workloads of this node skip TCP/IP?
enum class Acceleration {
    kOff,
    kAuto, ///< if the kernel is proven to keep all of TCP's rules then
    kOn, ///< whatever the kernel does: whoever says so knows the programs
};

struct NodeContext {
    std::string node_name;
    std::uint64_t host_netns_cookie = 0;
    std::vector<Ip> host_addresses; ///< every address of the node itself
    Acceleration acceleration = Acceleration::kOff; ///< what the node's configuration says
    bool acceleration_proven = false; ///< this kernel keeps all of TCP's rules for joined sockets
    bool mesh = false; ///< this node has a source of identities: workloads that ask for the mesh are enrolled
    /// Loopback ports of the agent's listeners in pods, by netns cookie.
    std::map<std::uint64_t, std::uint16_t> dial_ports;
    InTransit in_transit; ///< pods that enter or leave the mesh
    std::vector<Cidr> foreign; ///< whose addresses belong to workloads of other trust domains
    std::vector<Cidr> foreign_dialled; ///< those of them that are reached by mutual TLS

    friend bool operator==(const NodeContext&, const NodeContext&) = default;
};

class Compiler {
public:
    Compiler();
    Compiler(Compiler&&) noexcept;
    Compiler& operator=(Compiler&&) noexcept;
    ~Compiler();

    /// Never fails: what cannot be enforced is in DesiredState::refusals, and everything else goes on.
    DesiredState compile(const store::Snapshot& snapshot, const NodeContext& node);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::compiler
